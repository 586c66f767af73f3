-- The steps about sources: what is known of them, and the messages that nobody could read.
-- needs: tables_rows, tables_shards, tables_saving, tables_sources
--
-- P..reports:<source> is an array of what its consumers told last, the newest first: each one's name, when, and the
-- report. P..quarantine orders messages by a number that grows, P..unread is a hash of them by their ids: the source,
-- when the message came, and all else as Python packed it. P..quarantined is a hash of how many there are of each source,
-- and how many bytes they have as Python packed them: two numbers with a space between them.
-- With several shards the first has all of these, and the offsets.
--
-- Rules
-- - What is read here was written in the same form by some step, or by somebody's hand: what makes no sense is as good
--   as not there. Where the parts of the quarantine do not fit each other, all of it is let go: else what nothing names
--   would stay for ever.
-- - Names and texts travel as bytes, as somebody's hand may have made them of any.
-- - No step gives more than so many messages, or, but for the first, bytes.
local sourcing = {}

local N_FORGOTTEN = 500
local MAX_BYTES = 1000000

-- What was packed, as a table; nil when it was not.
local function _unpacked(packed)
  local is_read, found = pcall(unpack_, packed)
  return is_read and type(found) == "table" and found or nil
end

-- The reports, of which each is a table of a name, a time and bytes.
local function _reports(packed)
  local found = {}
  for _, one in ipairs(packed and _unpacked(packed) or {}) do
    if type(one) == "table" and type(one[1]) == "string" and type(one[2]) == "number" and type(one[3]) == "string" then
      found[#found + 1] = one
    end
  end
  return found
end

-- Carry out `KeepOffsets`.
function sourcing.keep_offsets(request)
  tables.set_offsets(request.offsets)
  return true
end

-- Carry out `Tell`.
function sourcing.tell(request)
  local name = P .. "reports:" .. request.source
  local reports = { { request.consumer, tables.now, request.report } }
  for _, one in ipairs(_reports(call("MGET", name)[1])) do
    if one[1] ~= request.consumer and #reports < CONST.MAX_REPORTS then
      reports[#reports + 1] = one
    end
  end
  call("SET", name, pack(reports))
  tables.know_source(request.source)
  return tables.now
end

-- The first names behind that one, and whether these are all.
local function _names_after(after, n)
  local names, found = call("SMEMBERS", P .. "sources"), {}
  table.sort(names)
  for _, name in ipairs(names) do
    if name > after then
      if #found == n then
        return found, false
      end
      found[#found + 1] = name
    end
  end
  return found, true
end

-- How many messages, and how many bytes.
local function _numbers(text)
  local n, n_bytes = string.match(text or "", "^(%d+) (%d+)$")
  return tonumber(n) or 0, tonumber(n_bytes) or 0
end

-- Carry out `ReadSome`.
function sourcing.read_some(request)
  local names, is_end = request.names, true
  if names == nil then
    names, is_end = _names_after(request.after, request.n)
  end
  local found = {}
  for number, name in ipairs(names) do
    local said = call("MGET", P .. "offset:" .. name, P .. "reports:" .. name)
    local reports = _reports(said[2])
    for place, one in ipairs(reports) do
      reports[place] = { one[2], blob(one[3]) }
    end
    local n_quarantined = _numbers(call("HGET", P .. "quarantined", name) or nil)
    found[number] = { blob(name), said[1] and blob(said[1]) or NULL, reports, n_quarantined }
  end
  return { tables.now, found, is_end }
end

-- Carry out `ForgetSome`.
function sourcing.forget(request)
  local n = 0
  for _, name in ipairs(request.names) do
    if call("UNLINK", P .. "offset:" .. name, P .. "reports:" .. name) > 0 then
      n = n + 1
    end
    -- What it has in quarantine stays, under its name.
    if call("HEXISTS", P .. "quarantined", name) == 0 then
      call("SREM", P .. "sources", name)
    end
  end
  return n
end

-- The source of a message, when it came, and all else; nil when it is none.
local function _message(packed)
  local is_read, source, at, data = pcall(unpack_, packed)
  if is_read and type(source) == "string" and type(at) == "number" and type(data) == "string" then
    return source, at, data
  end
end

-- How many messages there are of each source, and how many bytes; where that cannot be, or not all is there, none are.
local function _counts()
  local counts = { n = 0, n_bytes = 0, of = {} }
  local found = call("HGETALL", P .. "quarantined")
  for number = 1, #found, 2 do
    local n, n_bytes = _numbers(found[number + 1])
    counts.of[found[number]] = { n, n_bytes }
    counts.n, counts.n_bytes = counts.n + n, counts.n_bytes + n_bytes
  end
  if call("ZCARD", P .. "quarantine") ~= counts.n or call("HLEN", P .. "unread") ~= counts.n then
    call("UNLINK", P .. "quarantine", P .. "unread", P .. "quarantined")
    return { n = 0, n_bytes = 0, of = {} }
  end
  return counts
end

local function _count(counts, source, n_more, n_bytes_more)
  local before = counts.of[source] or { 0, 0 }
  local n, n_bytes = before[1] + n_more, before[2] + n_bytes_more
  counts.of[source] = { n, n_bytes }
  counts.n, counts.n_bytes = counts.n + n_more, counts.n_bytes + n_bytes_more
  if n > 0 then
    call("HSET", P .. "quarantined", source, string.format("%.0f %.0f", n, n_bytes))
  else
    call("HDEL", P .. "quarantined", source)
  end
end

-- Let go of a message; whether it was there, and how many bytes were read.
local function _forget(counts, id)
  local packed = call("HGET", P .. "unread", id)
  call("ZREM", P .. "quarantine", id)
  if not packed then
    return false, 0
  end
  call("HDEL", P .. "unread", id)
  local source, _, data = _message(packed)
  if source then
    _count(counts, source, -1, -#data)
  end
  return true, #packed
end

-- Let go of the oldest for which there is no room; how many went, and whether no more are to go.
local function _forget_oldest(counts, n_max, max_bytes)
  local function is_full()
    return counts.n > n_max or counts.n_bytes > max_bytes
  end
  if not is_full() then
    return { 0, true }
  end
  local n, n_bytes = 0, 0
  local ids = call("ZRANGE", P .. "quarantine", 0, N_FORGOTTEN - 1)
  for _, id in ipairs(ids) do
    if not is_full() or n_bytes > MAX_BYTES then
      break
    end
    local was_there, n_read = _forget(counts, id)
    n, n_bytes = n + (was_there and 1 or 0), n_bytes + n_read
  end
  return { n, not is_full() or #ids == 0 }
end

-- Carry out `QuarantineSome`.
function sourcing.quarantine(request)
  local counts = _counts()
  local newest = call("ZRANGE", P .. "quarantine", 0, 0, "REV", "WITHSCORES")
  local number = tonumber(newest[2] or 0)
  for _, message in ipairs(request.messages) do
    local id, source, data, at = message[1], message[2], message[3], message[4]
    if call("HSETNX", P .. "unread", id, pack(source, at or tables.now, data)) == 1 then
      number = number + 1
      call("ZADD", P .. "quarantine", number, id)
      _count(counts, source, 1, #data)
      tables.know_source(source)
    end
  end
  return _forget_oldest(counts, request.n_max, request.max_bytes)
end

-- Add the message to what is found, if it is of the source; how many bytes were read.
local function _add(found, id, number, source)
  local packed = number and call("HGET", P .. "unread", id)
  if not packed then
    return 0
  end
  local its_source, at, data = _message(packed)
  if its_source and (source == nil or its_source == source) then
    found[#found + 1] = { tonumber(number), at, blob(data) }
  end
  return #packed
end

-- Carry out `ReadIds`.
function sourcing.read_ids(request)
  local found, n_bytes = {}, 0
  for place, id in ipairs(request.ids) do
    if n_bytes > MAX_BYTES then
      return { found, place - 1 }
    end
    n_bytes = n_bytes + _add(found, id, call("ZSCORE", P .. "quarantine", id))
  end
  return { found, #request.ids }
end

-- Carry out `ReadAfter`.
function sourcing.read_after(request)
  local found, n_bytes, last = {}, 0, request.after
  local after = string.format("(%.0f", last)
  local items = call("ZRANGE", P .. "quarantine", after, "+inf", "BYSCORE", "LIMIT", 0, request.n, "WITHSCORES")
  for number = 1, #items, 2 do
    if n_bytes > MAX_BYTES then
      return { found, last, false }
    end
    last = tonumber(items[number + 1])
    n_bytes = n_bytes + _add(found, items[number], last, request.source)
  end
  return { found, last, #items < 2 * request.n }
end

-- Carry out `ReleaseSome`.
function sourcing.release(request)
  local counts, n, n_bytes = _counts(), 0, 0
  for place, id in ipairs(request.ids) do
    if n_bytes > MAX_BYTES then
      return { n, place - 1 }
    end
    local was_there, n_read = _forget(counts, id)
    n, n_bytes = n + (was_there and 1 or 0), n_bytes + n_read
  end
  return { n, #request.ids }
end
