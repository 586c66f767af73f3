-- Who stands in buckets and shapes, found as far as one step may go.
-- needs: tables
--
-- Rules
-- - `found` has ids, each once, by id the number of the last event that touches it and the bucket in which it stood; no
--   more than `n_max` of them. Their keys and rows are read when that is known.
-- - What does not fit is not taken in part, but for a set that no step can take whole: it is gone through, with a cursor.
--   Nobody who stands in it all the time is passed by, and some may be found twice. A small one (512 numbers, unless the
--   server was told otherwise) comes in one piece.
-- - A shape is gone through by its parts: the cursor is the part that comes next.
-- - It adds to the tables, with names of its own: a script has hardly any left.
local N_SCANNED = "200"
-- There is room for what a scan may bring.
local N_FREE = 250
local SET_BEGIN = "0"

-- Nothing was found yet.
function tables.new_found(n_max)
  return { n_max = n_max, ids = {}, event_of = {}, bucket_of = {}, later = {}, named = {} }
end

function tables.room_of(found)
  return found.n_max - #found.ids
end

function tables.add_found(found, ids, event, bucket)
  local event_of = found.event_of
  for _, id in ipairs(ids) do
    local before = event_of[id]
    if before == nil then
      found.ids[#found.ids + 1], found.bucket_of[id] = id, bucket
    end
    if event >= (before or 0) then
      event_of[id] = event
    end
  end
end

-- The keys of those that were found, with the number of the event that touches each.
function tables.found_keys(found)
  local keys, events = {}, {}
  for _, id in ipairs(found.ids) do
    local key = _keys_of({ id }, found.bucket_of[id])[1]
    if key then
      keys[#keys + 1], events[#events + 1] = key, found.event_of[id]
    end
  end
  return keys, events
end

-- All ids in the bucket; nil when there are more than that.
function tables.ids_in(bucket, n_max)
  local _, _, name, rest = _place(bucket)
  local packed = call("HGET", name, rest)
  if packed == "*" and call("SCARD", P .. "b:" .. bucket) > n_max then
    return nil
  end
  local ids = packed and _ids_of(packed, bucket) or EMPTY
  if #ids == 0 then
    -- Nobody is there, or something was lost.
    ids = _find_ids(bucket)
  end
  return #ids <= n_max and ids or nil
end

-- Some ids of a set from the cursor on; and where to go on, nil at its end.
local function _scanned(bucket, n_max, cursor)
  local ids = {}
  while cursor and n_max - #ids >= N_FREE do
    local answer = call("SSCAN", P .. "b:" .. bucket, cursor, "COUNT", N_SCANNED)
    for _, text in ipairs(answer[2]) do
      ids[#ids + 1] = tonumber(text)
    end
    cursor = answer[1] ~= SET_BEGIN and answer[1] or nil
  end
  table.sort(ids)
  return ids, cursor
end

-- Ids in the bucket, from the cursor on, as many as there is room for; and where to go on, nil at its end.
function tables.some_ids_in(bucket, n_max, cursor)
  if cursor == nil or cursor == SET_BEGIN then
    local ids = tables.ids_in(bucket, n_max)
    if ids then
      return ids
    end
  end
  return _scanned(bucket, n_max, cursor or SET_BEGIN)
end

-- Add those in a part of a shape to `ids`; false when there are more than fit, of which nobody is added then. A set that
-- does not fit is left for later by itself.
local function _add_part(found, shape, part, ids)
  local items = call("HGETALL", _part_key(shape, part))
  if #items == 0 then
    tables.lose("a part of its index")
    if not tables.is_reading then
      call("SREM", K.parts[shape], part)
    end
  end
  local first, own, large = shape .. string.char(math.floor(part / 64)), {}, {}
  local n_before = #found.ids + #ids
  for number = 1, #items, 2 do
    local bucket, packed = first .. items[number], items[number + 1]
    if packed == "*" and n_before + #own + call("SCARD", P .. "b:" .. bucket) > found.n_max then
      large[#large + 1] = bucket
    else
      for _, id in ipairs(_ids_of(packed, bucket)) do
        own[#own + 1] = id
      end
    end
  end
  if n_before > 0 and n_before + #own > found.n_max then
    return false
  end
  for _, id in ipairs(own) do
    ids[#ids + 1] = id
  end
  for _, bucket in ipairs(large) do
    found.later[#found.later + 1] = bucket
  end
  return true
end

-- The parts of the shape that are not empty, when they are few or have to be looked for; else nil.
local function _listed_parts(shape)
  local is_known = call("SISMEMBER", K.parts[shape], "-1") == 1
  if is_known and call("SCARD", K.parts[shape]) > N_AT_A_TIME then
    return nil
  end
  local parts = {}
  for number, text in ipairs(_parts_of(shape)) do
    parts[number] = tonumber(text)
  end
  table.sort(parts)
  return parts
end

-- Those of the next numbers from that one on that are parts which are not empty.
local function _next_parts(shape, first)
  local asked, parts = {}, {}
  for part = first, math.min(first + N_AT_A_TIME, N_PARTS) - 1 do
    asked[#asked + 1] = _digits(part)
  end
  for number, is_there in ipairs(call("SMISMEMBER", K.parts[shape], unpack(asked))) do
    if is_there == 1 then
      parts[#parts + 1] = first + number - 1
    end
  end
  return parts
end

-- Add those in the parts, from that one on, to `ids`; where to go on, nil when all were added.
local function _add_parts(found, shape, parts, first, ids)
  for _, part in ipairs(parts) do
    if part >= first then
      if #found.later > 0 or #found.ids + #ids >= found.n_max or not _add_part(found, shape, part, ids) then
        return _digits(part)
      end
    end
  end
  return nil
end

-- Find those who stand in the shape, from the cursor on; where to go on, nil at its end. They come in the order of
-- their ids.
function tables.find_in_shape(found, shape, event, cursor)
  local first, ids, listed = tonumber(cursor or 0), {}, _listed_parts(shape)
  if listed then
    cursor = _add_parts(found, shape, listed, first, ids)
  else
    cursor = nil
    while first < N_PARTS and not cursor do
      cursor = _add_parts(found, shape, _next_parts(shape, first), first, ids)
      first = first + N_AT_A_TIME
    end
  end
  table.sort(ids)
  tables.add_found(found, ids, event)
  return cursor
end

-- As `conditions`, but some of them, from the cursor on, when there are more than that; and where to go on.
function tables.some_conditions(stem, n_max, cursor)
  local _, _, name, rest = _place(stem, "o:")
  if cursor == nil and call("HLEN", name) <= n_max then
    return tables.conditions(stem)
  end
  if call("HLEN", name) ~= call("HLEN", (select(3, _place(stem)))) then
    -- It is all that the other one does then.
    return tables.conditions(stem)
  end
  local answer, found = call("HSCAN", name, cursor or SET_BEGIN, "COUNT", N_SCANNED), {}
  for number = 1, #answer[2], 2 do
    local other = answer[2][number]
    if string.sub(other, 1, 7) == rest then
      found[#found + 1] = { stem .. string.sub(other, 8), unpack_(answer[2][number + 1]) }
    end
  end
  return found, answer[1] ~= SET_BEGIN and answer[1] or nil
end
