-- Which entries stand in a bucket.
-- needs: tables_saving, tables_shapes
--
-- A bucket is a shape's 8 bytes and a hash of 8; a filtered one has 8 more, and its first 16 are its stem. The buckets
-- of a shape are spread over 16384 small hashes by 14 bits of the first hash, so that a bucket costs some 20 bytes:
-- P..i:<shape><part> has, by the rest of the bucket, the ids of its members: a number when it is one, ":" and 5 bytes
-- each when they are a few, "*" when they are more and stand in a set of their own, P..b:<bucket>. P..o:<shape><part>
-- has a filtered bucket's operands in the same way, and P..p:<shape> the parts that are not empty.
--
-- Rules
-- - An entry's links are written when it is linked, and name its id, which is never given twice.
-- - Members come in the order of their ids.
-- - A part, a set, a block of numbers, or operands that are not there though others tell of them, were lost: a new life
--   begins. What told of them is put right at once, so that it happens but once.
-- - The counters say how many parts the shape of calls has, or more if somebody deleted some of them.
-- - "-1" among a shape's parts says that they are all there; else they are looked for, one by one.
local PART = 4
local N_PACKED = 12
local N_PARTS = 16384
local N_AT_A_TIME = 512

-- The shape, the part, the name under which the part stands, and the rest of the bucket.
local function _place(bucket, beginning)
  -- By remainders: a call of `math.floor` costs as much as all of it.
  local first, second = string.byte(bucket, 9, 10)
  local low_first, low_second = first % PART, second % PART
  local rest_of_part = (second - low_second) / PART
  local shape = string.sub(bucket, 1, 8)
  local suffix = string.char((first - low_first) / PART, low_first * (256 / PART) + rest_of_part)
  return shape, first * (256 / PART) + rest_of_part, P .. (beginning or "i:") .. shape .. suffix, string.sub(bucket, 10)
end

-- The ids as they stand beside the bucket's rest.
local function _ids_of(packed, bucket)
  local ids = {}
  if packed == "*" then
    local is_sorted = true
    for number, text in ipairs(call("SMEMBERS", P .. "b:" .. bucket)) do
      ids[number] = tonumber(text)
      is_sorted = is_sorted and (number == 1 or ids[number - 1] < ids[number])
    end
    if not is_sorted then
      table.sort(ids)
    end
  elseif string.sub(packed, 1, 1) == ":" then
    for start = 2, #packed, 5 do
      ids[#ids + 1] = tables.id_of(string.sub(packed, start, start + 4))
    end
  else
    ids[1] = tonumber(packed)
  end
  return ids
end

local function _packed_ids(ids)
  if #ids == 1 then
    return tostring(ids[1])
  end
  local packed = {}
  for number, id in ipairs(ids) do
    packed[number] = tables.id_bytes(id)
  end
  return ":" .. table.concat(packed)
end

-- A number as a text of its digits: a command writes one as if it had a fraction, which takes four times as long.
local function _digits(number)
  return format("%d", number)
end

-- The part is empty by now.
local function _forget_part(shape, part)
  local n_removed = call("SREM", K.parts[shape], part)
  if shape == CONST.CALL_SHAPE then
    tables.counters.n_call_parts = tables.counters.n_call_parts - n_removed
  end
end

-- Who stands in which bucket is another from now on.
local function _forget_met()
  if next(_met) ~= nil then
    _met = {}
  end
end

-- Have the id stand in the bucket, in which there is nobody; false when somebody is. In most shapes either nearly all
-- buckets have one member, or many do: so what was met last in the shape says what to ask first.
local function _is_first_in(name, rest, shape, part_digits, digits)
  if call("HSETNX", name, rest, digits) == 0 then
    return false
  end
  K.alone[shape] = true
  if call("SADD", K.parts[shape], part_digits) == 0 then
    if call("HLEN", name) == 1 then
      tables.lose("a part of its index")
    end
  elseif shape == CONST.CALL_SHAPE then
    tables.counters.n_call_parts = tables.counters.n_call_parts + 1
  end
  return true
end

-- The set of a bucket with many members. Its first byte behind the shape is in the part's number, all eight bits.
local function _set_name(shape, rest, part_digits)
  return P .. "b:" .. shape .. string.char(math.floor(part_digits * PART / 256)) .. rest
end

-- Have the id, whose digits these are, stand in the bucket that is at this place.
local function _link_at(shape, name, rest, part_digits, id, digits)
  if K.alone[shape] and _is_first_in(name, rest, shape, part_digits, digits) then
    return
  end
  K.alone[shape] = false
  local packed = call("HGET", name, rest)
  if not packed then
    _is_first_in(name, rest, shape, part_digits, digits)
    return
  end
  if packed == "*" then
    local set = _set_name(shape, rest, part_digits)
    if call("SADD", set, id) == 1 and call("SCARD", set) == 1 then
      tables.lose("a part of its index")
    end
    return
  end
  local ids = _ids_of(packed)
  if #ids == 0 then
    -- Somebody has written something else there.
    call("HSET", name, rest, id)
    tables.lose("a part of its index")
    return
  end
  for place, other in ipairs(ids) do
    if other == id then
      return
    end
    if other > id then
      table.insert(ids, place, id)
      break
    end
  end
  if ids[#ids] < id then
    ids[#ids + 1] = id
  end
  if #ids > N_PACKED then
    call("SADD", _set_name(shape, rest, part_digits), unpack(ids))
    call("HSET", name, rest, "*")
  else
    call("HSET", name, rest, _packed_ids(ids))
  end
end

local function _link(bucket, id, digits)
  _forget_met()
  local shape, part, name, rest = _place(bucket)
  _link_at(shape, name, rest, _digits(part), id, digits)
end

local function _unlink(bucket, id)
  _forget_met()
  local shape, part, name, rest = _place(bucket)
  local packed = call("HGET", name, rest)
  if not packed then
    return
  end
  if packed == "*" then
    call("SREM", P .. "b:" .. bucket, id)
    if call("EXISTS", P .. "b:" .. bucket) == 1 then
      return
    end
  else
    local left = {}
    for _, other in ipairs(_ids_of(packed)) do
      if other ~= id then
        left[#left + 1] = other
      end
    end
    if #left > 0 then
      call("HSET", name, rest, _packed_ids(left))
      return
    end
  end
  call("HDEL", name, rest)
  if #bucket > 16 then
    local _, _, operands = _place(bucket, "o:")
    call("HDEL", operands, rest)
  end
  if call("EXISTS", name) == 0 then
    _forget_part(shape, part)
  end
end

-- A number in a bucket that is no entry's.
local function _miss(id)
  local block = P .. "n:" .. math.floor(id / BLOCK)
  if call("HEXISTS", block, "whole") == 0 then
    tables.lose("the names of entries")
    if not tables.is_reading then
      call("HSET", block, "whole", "")
    end
  end
end

-- An entry's row was lost: who was built from it could not be found any more.
local function _lose_row(id)
  tables.lose("an entry")
  if not tables.is_reading then
    call("HDEL", P .. "n:" .. math.floor(id / BLOCK), id % BLOCK)
    _keys[id] = false
  end
end

-- Those that are read are read in any case by whoever asks for members.
local function _keys_of(ids, bucket)
  local keys = {}
  for _, id in ipairs(ids) do
    local key = tables.key_of(id)
    local row = key and tables.row(key)
    if row and row.id == id then
      keys[#keys + 1] = key
    else
      if not key then
        _miss(id)
      elseif not row then
        _lose_row(id)
      end
      if bucket and not tables.is_reading then
        _unlink(bucket, id)
      end
    end
  end
  return keys
end

-- Whether the part is known to be empty. Of the shape that most ask about for nothing, every commit of an entry from
-- which none was built, one question is enough; and none where no entry was built from another.
local function _is_empty(bucket)
  local shape = string.sub(bucket, 1, 8)
  if shape ~= CONST.CALL_SHAPE then
    return false
  end
  if tables.counters.n_call_parts == 0 then
    return true
  end
  local first, second = string.byte(bucket, 9, 10)
  local part = first * (256 / PART) + (second - second % PART) / PART
  local is_there = call("SMISMEMBER", K.parts[shape], _digits(part), "-1")
  return is_there[1] == 0 and is_there[2] == 1
end

-- The ids in the bucket.
local function _find_ids(bucket)
  if _is_empty(bucket) then
    return EMPTY
  end
  local shape, part, name, rest = _place(bucket)
  local packed = call("HGET", name, rest)
  if not packed then
    if call("SISMEMBER", K.parts[shape], part) == 1 and call("EXISTS", name) == 0 then
      tables.lose("a part of its index")
      if not tables.is_reading then
        _forget_part(shape, part)
      end
    end
    return {}
  end
  local ids = _ids_of(packed, bucket)
  if #ids == 0 then
    tables.lose("a part of its index")
    if not tables.is_reading then
      call("HDEL", name, rest)
    end
  end
  return ids
end

-- Whether there may be an entry, here or elsewhere, that was built from another.
function tables.has_outer()
  return tables.n_shards ~= nil or tables.counters.n_call_parts > 0
end

-- The keys of the entries in the bucket. A step asks several times who was built from an entry.
function tables.members(bucket)
  local keys = _met[bucket]
  if keys == nil then
    local ids = _find_ids(bucket)
    keys = #ids > 0 and _keys_of(ids, bucket) or EMPTY
    _met[bucket] = keys
  end
  return keys
end

-- The buckets of a filtered shape that begin with the stem and have members, each with its operands.
function tables.conditions(stem)
  local shape, part, name, rest = _place(stem)
  local _, _, operands = _place(stem, "o:")
  local found = {}
  local items = call("HGETALL", operands)
  if #items ~= 2 * call("HLEN", name) then
    tables.lose("conditions")
    if not tables.is_reading then
      -- In the new life each entry is linked anew with its next writing.
      call("UNLINK", operands, name)
      _forget_part(shape, part)
    end
    return found
  end
  for number = 1, #items, 2 do
    local other = items[number]
    if string.sub(other, 1, 7) == rest then
      found[#found + 1] = { stem .. string.sub(other, 8), unpack_(items[number + 1]) }
    end
  end
  return found
end

local function _part_key(shape, part)
  return P .. "i:" .. shape .. string.char(math.floor(part / 256), part % 256)
end

-- The parts of the shape that are not empty.
local function _parts_of(shape)
  local parts = call("SMEMBERS", K.parts[shape])
  for number, text in ipairs(parts) do
    if text == "-1" then
      table.remove(parts, number)
      return parts
    end
  end
  if #parts == 0 and tables.born(shape) == nil and call("HEXISTS", K.d, shape) == 0 then
    -- Nobody here has ever hung on it: of events that name whole shapes, most shards have never heard of some.
    return parts
  end
  -- Nobody has looked yet, or some of them were lost.
  parts = {}
  for start = 0, N_PARTS - 1, N_AT_A_TIME do
    local some = {}
    for part = start, start + N_AT_A_TIME - 1 do
      some[#some + 1] = _part_key(shape, part)
    end
    if call("EXISTS", unpack(some)) > 0 then
      for number, key in ipairs(some) do
        if call("EXISTS", key) == 1 then
          parts[#parts + 1] = start + number - 1
        end
      end
    end
  end
  if not tables.is_reading then
    call("SADD", K.parts[shape], -1)
    for _, part in ipairs(parts) do
      call("SADD", K.parts[shape], part)
    end
  end
  return parts
end
