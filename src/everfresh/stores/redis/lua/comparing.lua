-- Conditions beyond equality, answered from texts; follows matching/comparing.py and matching/probes.py.
-- needs:
--
-- Rules
-- - An answer is true, false or UNKNOWN, which counts as touched. UNKNOWN is no nil, and it is true to an `if`: so every
--   answer is compared with `==`.
-- - Texts are UTF-8. Their bytes are in the order of their code points, but `<` asks the server's language: texts are
--   compared byte by byte. Framed texts count code points.
-- - Numbers are decimal texts of up to 1,000 digits with exponents of up to 17: no float holds them. They are compared
--   by their sign, then by the power of ten of their first digit, then by their digits.
-- - What was read of a text is kept for a while: what an event brought meets many operands, and many are alike.
-- - A framed text that is broken answers UNKNOWN; in Python it raises, but here nothing is undone.
local comparing = { UNKNOWN = "unknown" }

-- In a block of its own: the locals of a script are limited, over all files.
do
local UNKNOWN = comparing.UNKNOWN
-- The texts of matching/canonical.py and matching/comparing.py.
local NULL_TEXT, LIKE, NO_TEXT = "\0null", "\0like ", "\0no text"
local MAX_DIGITS = 1000
-- Exponents are held in two parts, as one double is exact to 15 digits only.
local PART = 1e9
-- How many bytes are looked at in one go.
local N_CHUNK = 64
-- Of how many texts is kept what was read of them; then it begins anew.
local MAX_KEPT = 1000

local function _starts_with(text, start)
  return text:sub(1, #start) == start
end

-- The same function of one text, which keeps its answers.
local function _keeping(answer_of)
  local answers, n_kept = {}, 0
  return function(text)
    local answer = answers[text]
    if answer == nil then
      if n_kept == MAX_KEPT then
        answers, n_kept = {}, 0
      end
      answer = answer_of(text)
      answers[text], n_kept = answer, n_kept + 1
    end
    return answer
  end
end

-- Where the code points from `at` on end, so many of them; the text may be shorter.
local function _after_code_points(text, at, n)
  local size = #text
  while n > 0 and at <= size do
    local byte = text:byte(at)
    at = at + (byte < 0x80 and 1 or byte < 0xE0 and 2 or byte < 0xF0 and 3 or 4)
    n = n - 1
  end
  return at
end

-- The framed texts that stand in a row; false when they are broken.
local _unframed = _keeping(function(joined)
  local texts, at, is_ascii = {}, 1, not joined:find("[\128-\255]")
  while at <= #joined do
    local digits, start = joined:match("^(%d+):()", at)
    if digits == nil then
      return false
    end
    local n = tonumber(digits)
    at = is_ascii and start + n or _after_code_points(joined, start, n)
    texts[#texts + 1] = joined:sub(start, at - 1)
  end
  return texts
end)

local function _holds(texts, text)
  for _, other in ipairs(texts) do
    if other == text then
      return true
    end
  end
  return false
end

-- Negative or positive as the text comes before the other, which is another text, in the order of code points.
local function _order_of_texts(text, other)
  local at, size = 1, math.min(#text, #other)
  while at + N_CHUNK <= size and text:sub(at, at + N_CHUNK - 1) == other:sub(at, at + N_CHUNK - 1) do
    at = at + N_CHUNK
  end
  while at <= size do
    local difference = text:byte(at) - other:byte(at)
    if difference ~= 0 then
      return difference
    end
    at = at + 1
  end
  return #text - #other
end

-- The sum of an exponent, as it is written, and a small number, in two parts, the second one from 0 on.
local function _power(sign, digits, offset)
  local high, low = tonumber(digits:sub(1, -10)) or 0, tonumber(digits:sub(-9))
  if sign == "-" then
    high, low = -high, -low
  end
  local carry = math.floor((low + offset) / PART)
  return high + carry, low + offset - carry * PART
end

-- The number that the parts of its text mean: its sign, the power of ten of its first digit, and its digits.
local function _number_of(minus, whole, fraction, sign, exponent)
  local digits = whole .. fraction
  local zeros = digits:match("^0*()") - 1
  local number = { sign = minus == "-" and -1 or 1 }
  if zeros == #digits then
    number.sign = 0
  end
  number.high, number.low = _power(sign, exponent, #whole - zeros - 1)
  -- By hand: a pattern that ends in zeros would try at every zero.
  local last = #digits
  while last > zeros and digits:byte(last) == 48 do
    last = last - 1
  end
  number.digits = digits:sub(zeros + 1, last)
  return number
end

-- The number that a text is, or false: -?(digits(.digits)?(E[+-]up to 17 digits)?|Infinity), and nothing else. One of
-- more digits than are compared is true.
local _parsed = _keeping(function(text)
  local minus, at = text:match("^(%-?)()")
  if text:sub(at) == "Infinity" then
    return { sign = minus == "-" and -1 or 1, high = math.huge, low = 0, digits = "" }
  end
  local whole, after = text:match("^(%d+)()", at)
  if whole == nil then
    return false
  end
  local fraction, after_fraction = text:match("^%.(%d+)()", after)
  after = after_fraction or after
  local sign, exponent, after_exponent = text:match("^E([+-])(%d+)()", after)
  if exponent ~= nil and #exponent <= 17 then
    after = after_exponent
  end
  if after <= #text then
    return false
  end
  return #text > MAX_DIGITS or _number_of(minus, whole, fraction or "", sign or "+", exponent or "0")
end)

local function _order_of_numbers(number, limit)
  if number.sign ~= limit.sign or number.sign == 0 then
    return number.sign - limit.sign
  end
  if number.high ~= limit.high then
    return number.sign * (number.high < limit.high and -1 or 1)
  end
  if number.low ~= limit.low then
    return number.sign * (number.low - limit.low)
  end
  return number.sign * _order_of_texts(number.digits, limit.digits)
end

-- Negative, zero or positive as the value is less, equal or greater; UNKNOWN when nobody can tell.
local function _order_of(value, other)
  if value == other then
    return 0
  end
  local number, limit = _parsed(value), _parsed(other)
  if (number == false) ~= (limit == false) or value:byte(1) == 0 or other:byte(1) == 0 then
    return UNKNOWN
  end
  if number ~= false then
    if number == true or limit == true then
      return UNKNOWN
    end
    return _order_of_numbers(number, limit)
  end
  -- A day against a moment of that day: nobody can tell whether the day stands for its first moment.
  if _starts_with(value, other .. "T") or _starts_with(other, value .. "T") then
    return UNKNOWN
  end
  return _order_of_texts(value, other)
end

local function _is_null(value)
  return value == NULL_TEXT
end

local function _ordered(holds)
  return function(value, operand)
    if value == NULL_TEXT then
      return false
    end
    local order = _order_of(value, operand)
    if order == UNKNOWN then
      return UNKNOWN
    end
    return holds(order)
  end
end

local function _is_between(value, operand)
  if value == NULL_TEXT then
    return false
  end
  local limits = _unframed(operand)
  if not limits or #limits ~= 2 then
    return UNKNOWN
  end
  local below, above = _order_of(value, limits[1]), _order_of(value, limits[2])
  if (below ~= UNKNOWN and below < 0) or (above ~= UNKNOWN and above > 0) then
    return false
  end
  if below == UNKNOWN or above == UNKNOWN then
    return UNKNOWN
  end
  return true
end

local function _starts(value, operand)
  if value == NULL_TEXT then
    return false
  end
  local forms = value ~= NO_TEXT and _unframed(value) or {}
  local is_met, is_missed = false, false
  for _, form in ipairs(forms) do
    if _starts_with(form, operand) then
      is_met = true
    else
      is_missed = true
    end
  end
  if is_met == is_missed then
    return UNKNOWN
  end
  return is_met
end

local function _equals(value, operand)
  if value == LIKE .. operand then
    return UNKNOWN
  end
  return value == operand
end

local function _is_one_of(value, operand)
  local texts, is_like = _unframed(operand), _starts_with(value, LIKE)
  if not texts then
    return UNKNOWN
  end
  local is_found = _holds(texts, is_like and value:sub(#LIKE + 1) or value)
  if is_found and is_like then
    return UNKNOWN
  end
  return is_found
end

-- The same test, where what is equal may be so in its text alone.
local function _in_doubt(test)
  return function(value, operand)
    if test(value, operand) == false then
      return false
    end
    return UNKNOWN
  end
end

local _TESTS = {
  ["eq"] = _equals,
  ["is_null"] = _is_null,
  ["one_of"] = _is_one_of,
  ["roughly eq"] = _in_doubt(_equals),
  ["roughly one_of"] = _in_doubt(_is_one_of),
  ["lt"] = _ordered(function(order) return order < 0 end),
  ["le"] = _ordered(function(order) return order <= 0 end),
  ["gt"] = _ordered(function(order) return order > 0 end),
  ["ge"] = _ordered(function(order) return order >= 0 end),
  ["between"] = _is_between,
  ["startswith"] = _starts,
}

local function _negated(test, value, operand)
  local answer = test(value, operand)
  -- Whether null differs from a value, databases and Python do not agree.
  if answer == UNKNOWN or (value == NULL_TEXT and answer == false and test ~= _is_null) then
    return UNKNOWN
  end
  return not answer
end

-- Whether no value at all meets the condition. Whether it counts as null, databases and Python do not agree.
local function _passes_without_values(operator, is_negated, operand)
  if is_negated or operator == "is_null" then
    return UNKNOWN
  end
  if operator:sub(-6) == "one_of" then
    local texts = _unframed(operand)
    if not texts or _holds(texts, NULL_TEXT) then
      return UNKNOWN
    end
  end
  return false
end

local function _passes_negated(test, values, operand)
  local common = _negated(test, values[1], operand)
  for number = 2, #values do
    if _negated(test, values[number], operand) ~= common then
      return UNKNOWN
    end
  end
  return common
end

-- Whether any of the values meets the condition; UNKNOWN when that cannot be told, or the values are unknown.
-- Of a negated one nobody can tell when the values disagree: it may mean that any of them differs, or that all do.
function comparing.passes(operator, values, operand)
  if values == nil or values == NULL then
    return UNKNOWN
  end
  local is_negated = _starts_with(operator, "not")
  if #values == 0 then
    return _passes_without_values(operator, is_negated, operand)
  end
  local test = _TESTS[_starts_with(operator, "not ") and operator:sub(5) or operator]
  if test == nil then
    -- Written by a newer version.
    return UNKNOWN
  end
  if is_negated then
    return _passes_negated(test, values, operand)
  end
  local passed = false
  for _, value in ipairs(values) do
    local answer = test(value, operand)
    if answer == true then
      return true
    end
    if answer == UNKNOWN then
      passed = UNKNOWN
    end
  end
  return passed
end

-- Whether the image meets all conditions but those that are left out.
local function _meets(probe, image, operands, is_left_out)
  local answer = true
  for number, operator in ipairs(probe.operators) do
    if not is_left_out(number) then
      local passed = comparing.passes(operator, image[number], operands[number])
      if passed == false then
        return false
      end
      if passed == UNKNOWN then
        answer = UNKNOWN
      end
    end
  end
  return answer
end

local function _is_none()
  return false
end

-- Whether the event touches an entry with these operands; what cannot be answered counts as touched.
function comparing.touches(probe, operands)
  if operands == nil or #operands ~= #probe.operators then
    -- They are lost: nobody can tell.
    return true
  end
  local before, after, steady = probe.before, probe.after, probe.steady or {}
  local is_before, is_after = before ~= nil and before ~= NULL, after ~= nil and after ~= NULL
  if probe.is_any or not is_before or not is_after then
    return is_after and _meets(probe, after, operands, _is_none) ~= false
      or is_before and _meets(probe, before, operands, _is_none) ~= false
  end
  local function _is_changing(number)
    return steady[number] ~= true
  end
  local function _is_steady(number)
    return steady[number] == true
  end
  if _meets(probe, after, operands, _is_changing) == false then
    return false
  end
  local met = _meets(probe, before, operands, _is_steady)
  local meets = _meets(probe, after, operands, _is_steady)
  return met == UNKNOWN or meets == UNKNOWN or met ~= meets
end

end
