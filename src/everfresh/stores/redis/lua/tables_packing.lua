-- Rows and counters as bytes.
-- needs: head
--
-- A row is the number of its state above a tag, its flags, the numbers that each row has, the lengths of the texts that
-- each row has, and these; then, as its flags say, when it falls due and ends, what else is under way, and the texts that
-- few rows have, each behind its length. The counters are a tag, the numbers that most steps change, those that few
-- steps change, and the rest as msgpack, which changes with the store's life alone. packing.py reads both.
--
-- Rules
-- - What is nil is no number, or an empty text; of lists and maps, empty ones are no text at all.
-- - To write a number that few steps change has it packed anew; else they stay as they were packed last.
-- - A list or map of a row is never written in place: what was read of a row and is still there need not be packed anew.
local NO_NUMBER = 0 / 0
-- Shared by all rows that have none.
local EMPTY = {}
local _unpacked_row, _packed_row, _with_rare, _unpacked_counters, _forget_packed_life, _pack_counters

-- In a block of its own: the locals of a script are limited, over all files.
do
local ROW_TAG, COUNTERS_TAG = 0xE0, 0xD1
local ROW_FORMAT = "<BBI5I5I6I6I6ddI4dI2I2I2I2BI4I4"
local WITH_TEXTS_FORMAT = ROW_FORMAT .. "c0c0c0c0c0c0c0"
local ENDING_FORMAT, UNDER_WAY_FORMAT = "<ddd", "<dddddddddd"
-- What the flags say.
local IS_ENDING, IS_UNDER_WAY, HAS_TEXTS, HAS_FUNCTION, IS_ERROR, IS_UNSWEPT = 1, 2, 4, 8, 16, 32
local TEXTS_FORMAT = "<I4c0I4c0I4c0I4c0I4c0I4c0"
local COUNTERS_FORMAT, RARE_FORMAT, WITH_RARE_FORMAT = "<Bddddddddddddddddd", "<dddddddddddc0", "<Bddddddc0"

local _TAG_OF = {}
for number, state in pairs(CONST.STATES) do
  _TAG_OF[state] = ROW_TAG + number
end

local function _has(flags, flag)
  return flags % (2 * flag) >= flag
end

local function _or_nil(number)
  -- No number is not equal to itself.
  return number == number and number or nil
end

-- The list or map; and the same as it was packed, to be used again as long as it is the same table.
local function _items(packed)
  if packed == "" then
    return EMPTY
  end
  return unpack_(packed)
end

local function _packed_items(items, known, packed)
  if items == known then
    return packed
  end
  return next(items) and pack(items) or ""
end

-- The texts that few rows have, from there on, as they go into the row; and where they end.
local function _read_texts(packed, at)
  local reason, event, seen, terms, cause, history, ends_at = unpacked_as(TEXTS_FORMAT, packed, at)
  local texts = {
    reason = reason, event = event ~= "" and event or nil, seen = _items(seen), terms = _items(terms),
    cause = _items(cause), history = _items(history),
    packed_seen = seen, packed_terms = terms, packed_cause = cause, packed_history = history,
  }
  return texts, ends_at
end

local _NO_TEXTS = { reason = "", seen = EMPTY, terms = EMPTY, cause = EMPTY, history = EMPTY }

-- stylua: ignore
local function _packed_texts(row)
  if row.reason == "" and row.event == nil and row.seen == EMPTY and row.terms == EMPTY and row.cause == EMPTY
    and row.history == EMPTY then
    return nil
  end
  local was = row.texts or _NO_TEXTS
  local event = row.event or ""
  local seen = _packed_items(row.seen, was.seen, was.packed_seen or "")
  local terms = _packed_items(row.terms, was.terms, was.packed_terms or "")
  local cause = _packed_items(row.cause, was.cause, was.packed_cause or "")
  local history = _packed_items(row.history, was.history, was.packed_history or "")
  if row.reason == "" and event == "" and seen == "" and terms == "" and cause == "" and history == "" then
    return nil
  end
  return packed_as(
    TEXTS_FORMAT, #row.reason, row.reason, #event, event, #seen, seen, #terms, terms, #cause, cause, #history, history
  )
end

-- The texts that each row has, one behind the other, whose lengths these are; and where they end.
local function _read_each(packed, at, ...)
  local texts = {}
  for number = 1, select("#", ...) do
    local ends_at = at + select(number, ...)
    texts[number] = string.sub(packed, at, ends_at - 1)
    at = ends_at
  end
  return texts, at
end

-- The row; false when it cannot be what was packed here.
-- stylua: ignore
function _unpacked_row(key, packed)
  local tag, flags, id, life, version, good_from, changed_at, built_at, build_s, n_bytes, read_at, n_func, n_fingerprint,
    n_digest, n_builder, n_call, n_args, n_groups, at = unpacked_as(ROW_FORMAT, packed)
  local of_each, of_few, state, texts = nil, _NO_TEXTS, CONST.STATES[tag - ROW_TAG], nil
  of_each, at = _read_each(packed, at, n_func, n_fingerprint, n_digest, n_builder, n_call, n_args, n_groups)
  local due, rank, expires_at = nil, 0, nil
  if _has(flags, IS_ENDING) then
    due, rank, expires_at, at = unpacked_as(ENDING_FORMAT, packed, at)
    due, expires_at = _or_nil(due), _or_nil(expires_at)
  end
  local stale_since, retry_at, token, until_, begun, n_died, attempts, queued_at, event_at, watched_until
    = nil, nil, nil, 0, 0, 0, 0, nil, nil, 0
  if _has(flags, IS_UNDER_WAY) then
    stale_since, retry_at, token, until_, begun, n_died, attempts, queued_at, event_at, watched_until, at
      = unpacked_as(UNDER_WAY_FORMAT, packed, at)
    stale_since, retry_at, token = _or_nil(stale_since), _or_nil(retry_at), _or_nil(token)
    queued_at, event_at = _or_nil(queued_at), _or_nil(event_at)
  end
  if _has(flags, HAS_TEXTS) then
    texts, at = _read_texts(packed, at)
    of_few = texts
  end
  local func = _has(flags, HAS_FUNCTION) and of_each[1] or nil
  return state and at == #packed + 1 and {
    key = key, id = id, life = _has(flags, IS_UNSWEPT) and -life or life, state = state, func = func,
    args = func and of_each[6], call = of_each[5], fingerprint = of_each[2], digest = of_each[3], version = version,
    good_from = good_from, changed_at = changed_at, built_at = built_at, build_s = build_s,
    packed_groups = n_groups > 0 and of_each[7] or nil, seen = of_few.seen, terms = of_few.terms,
    stale_since = stale_since, reason = of_few.reason, attempts = attempts, retry_at = retry_at, due = due, rank = rank,
    token = token, ["until"] = until_, begun = begun, n_died = n_died, expires_at = expires_at, queued_at = queued_at,
    event_at = event_at, event = of_few.event, cause = of_few.cause, history = of_few.history, builder = of_each[4],
    packed = packed, is_error = _has(flags, IS_ERROR), n_bytes = n_bytes, read_at = read_at,
    watched_until = watched_until, texts = texts, was_saved = true, was_func = func, was_due = due, was_rank = rank,
    was_token = token, was_until = until_, was_begun = begun,
  }
end

-- stylua: ignore
local function _packed_under_way(row)
  local token, stale_since, queued_at, event_at = row.token, row.stale_since, row.queued_at, row.event_at
  if token or stale_since or queued_at or event_at or row.retry_at or row.attempts ~= 0 or row.n_died ~= 0
    or row.watched_until ~= 0 or row["until"] ~= 0 then
    return packed_as(
      UNDER_WAY_FORMAT, stale_since or NO_NUMBER, row.retry_at or NO_NUMBER, token or NO_NUMBER, row["until"], row.begun,
      row.n_died, row.attempts, queued_at or NO_NUMBER, event_at or NO_NUMBER, row.watched_until
    )
  end
  return nil
end

-- stylua: ignore
function _packed_row(row)
  local func, args, groups, builder, call_ = row.func, row.args or "", row.packed_groups or "", row.builder or "", row.call
  local life, flags, rest = row.life, 0, ""
  if func then
    flags = HAS_FUNCTION
  else
    func = ""
  end
  if row.is_error then
    flags = flags + IS_ERROR
  end
  if life < 0 then
    life, flags = -life, flags + IS_UNSWEPT
  end
  if row.due or row.expires_at then
    rest, flags = packed_as(ENDING_FORMAT, row.due or NO_NUMBER, row.rank, row.expires_at or NO_NUMBER), flags + IS_ENDING
  end
  local under_way, texts = _packed_under_way(row), _packed_texts(row)
  if under_way then
    rest, flags = rest .. under_way, flags + IS_UNDER_WAY
  end
  if texts then
    rest, flags = rest .. texts, flags + HAS_TEXTS
  end
  local fingerprint, digest = row.fingerprint, row.digest
  local packed = packed_as(
    WITH_TEXTS_FORMAT, _TAG_OF[row.state], flags, row.id, life, row.version, row.good_from, row.changed_at, row.built_at,
    row.build_s, row.n_bytes, row.read_at, #func, #fingerprint, #digest, #builder, #call_, #args, #groups, func,
    fingerprint, digest, builder, call_, args, groups
  )
  return rest == "" and packed or packed .. rest
end

-- The counters, of which a step changes the `rare` ones at most now and then.
function _with_rare(c, rare)
  local function set_rare(_, name, value)
    rare[name] = value
    -- Not nil, as it is to be found in its own table.
    c.of_rare = false
  end
  return setmetatable(c, { __index = rare, __newindex = set_rare })
end

-- The counters; what is read of them is not theirs if its tag is another.
-- stylua: ignore
function _unpacked_counters(packed)
  local c, rare, at, tag = { of_rare = false }, {}, nil, nil
  tag, c.sequence, c.token, c.n_entries, c.n_bytes, c.id, c.n_feed, rare.applied, rare.fired_floor, rare.feed_floor,
    rare.version_floor, rare.n_shapes, rare.marks_max, rare.cold_id, rare.last_mark, rare.n_attached, rare.n_posted,
    rare.n_call_parts, at
    = unpacked_as(COUNTERS_FORMAT, packed)
  c.of_life = string.sub(packed, at)
  c.epoch, c.born_at, c.distrusted_at, c.distrust_reason, c.life, c.lives = unpack_(c.of_life)
  return tag == COUNTERS_TAG and type(c.epoch) == "string" and type(c.life) == "number" and type(c.lives) == "table"
    and _with_rare(c, rare) or nil
end

-- Have what belongs to the store's life be packed anew.
function _forget_packed_life(c)
  c.of_life, c.of_rare = false, false
end

-- stylua: ignore
function _pack_counters(c)
  if not c.of_rare then
    c.of_life = c.of_life or pack(c.epoch, c.born_at, c.distrusted_at, c.distrust_reason, c.life, c.lives)
    c.of_rare = packed_as(
      RARE_FORMAT, c.applied, c.fired_floor, c.feed_floor, c.version_floor, c.n_shapes, c.marks_max, c.cold_id,
      c.last_mark, c.n_attached, c.n_posted, c.n_call_parts, c.of_life
    )
  end
  return packed_as(
    WITH_RARE_FORMAT, COUNTERS_TAG, c.sequence, c.token, c.n_entries, c.n_bytes, c.id, c.n_feed, c.of_rare
  )
end
end
