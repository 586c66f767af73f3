-- What is due, how fast functions are refreshed, who may go when room is needed, and all entries in turn.
-- needs: tables_saving
--
-- Rules
-- - What has fallen due moves to where the rank decides, some at a time; what is left follows with the next call.
-- - A place in the queue that a row knows nothing of is taken away when somebody comes upon it.

-- In a block of its own: the locals of a script are limited, over all files.
do
local END = tables.id_bytes(0)
local N_MOVED = 500
local N_TAKEN_IN = 256
local N_LOOKS = 8
local BLOCK_LENGTH = 64

local function _ripen(func)
  local waiting = K.waiting[func]
  local due = call("ZRANGE", waiting, "-inf", _micros(tables.now), "BYSCORE", "LIMIT", 0, N_MOVED)
  if #due == 0 then
    return
  end
  local ready = {}
  for number, member in ipairs(due) do
    ready[2 * number - 1] = _micros((struct.unpack(">d", member, 6)))
    ready[2 * number] = string.sub(member, 1, 5)
  end
  call("ZADD", K.ready[func], unpack(ready))
  call("ZREM", waiting, unpack(due))
end

-- The row that stands so in the ready part of the function's queue; nil, and it stands there no longer, if none does.
local function _ready_row(func, bytes)
  local key = tables.key_of(tables.id_of(bytes))
  local row = key and tables.row(key)
  if row and row.due ~= nil and _micros(row.due) <= _micros(tables.now) and (row.func or "") == func then
    -- It waits no longer: whoever queues it anew need not look there.
    row.was_ready = row.was_due ~= nil
    return row
  end
  call("ZREM", K.ready[func], bytes)
  if row and row.due ~= nil then
    -- The clock was put back, or its places were lost: it is queued anew.
    row.was_due, row.was_rank = nil, nil
    tables.save(row)
  end
  return nil
end

-- See that the function's queues are there.
local function _check_queues(func)
  if call("EXISTS", K.waiting[func], K.ready[func]) == 2 then
    return
  end
  local was_functions_lost = tables.counters.n_entries > 0 and call("EXISTS", K.f) == 0
  if was_functions_lost or call("SISMEMBER", K.f, func) == 1 then
    tables.lose("a queue")
    tables.begin_queues(func)
  end
end

-- When the first that waits there falls due; nil when none does.
local function _next_due(func)
  local first = call("ZRANGE", K.waiting[func], 0, 0)
  local due = first[1] and (struct.unpack(">d", first[1], 14))
  return due ~= math.huge and due or nil
end

-- The due rows of the functions, lowest rank first, and when the next one falls due.
function tables.due(quotas, n_max, n_looked)
  tables.flush()
  local ready, next_due = {}, nil
  for func, quota in pairs(quotas) do
    _check_queues(func)
    _ripen(func)
    local due = _next_due(func)
    if due and (next_due == nil or due < next_due) then
      next_due = due
    end
    -- One more than may be taken, unless its quota holds it back: to know whether there are more.
    local n_read = quota < n_max and quota or n_max + 1
    local found = n_read > 0 and call("ZRANGE", K.ready[func], 0, n_read - 1, "WITHSCORES") or {}
    for number = 1, #found, 2 do
      if found[number] ~= END then
        ready[#ready + 1] = { tonumber(found[number + 1]), found[number], func }
      end
    end
  end
  table.sort(ready, function(one, other)
    return one[1] < other[1] or (one[1] == other[1] and one[2] < other[2])
  end)
  local rows, n_taken, n_gone = {}, math.min(#ready, n_max), 0
  for number = 1, n_taken do
    local row = _ready_row(ready[number][3], ready[number][2])
    if row then
      rows[#rows + 1] = row
    else
      n_gone = n_gone + 1
    end
  end
  if n_gone > 0 and (n_looked or 0) < N_LOOKS then
    -- There may be others in their places. They are queued anew by now, but not in a step that never ends.
    return tables.due(quotas, n_max, (n_looked or 0) + 1)
  end
  if #ready > n_max or n_gone > 0 then
    next_due = tables.now
  end
  return rows, next_due
end

-- The ranks of what is due of the function, lowest first, at most n; and when the next of it falls due.
-- Of a place that no row knows of there is one too many, until somebody would take it.
function tables.due_ranks(func, n)
  tables.flush()
  _check_queues(func)
  _ripen(func)
  local found = call("ZRANGE", K.ready[func], 0, n - 1, "WITHSCORES")
  local ranks = {}
  for number = 2, #found, 2 do
    if found[number - 1] ~= END then
      ranks[#ranks + 1] = tonumber(found[number])
    end
  end
  return ranks, _next_due(func)
end

-- How many entries of the function are being built.
function tables.n_leased(func)
  tables.flush()
  return call("ZCOUNT", K.leases[func], "(" .. string.format("%.0f", _micros(tables.now)), "+inf")
end

-- The position at which the oldest live lease began; nil when there is none.
function tables.oldest_lease()
  tables.flush()
  local oldest
  local now = "(" .. string.format("%.0f", _micros(tables.now))
  for _, func in ipairs(call("SMEMBERS", K.f)) do
    for _, member in ipairs(call("ZRANGE", K.leases[func], now, "+inf", "BYSCORE")) do
      local begun = struct.unpack(">I6", member, 6)
      if oldest == nil or begun < oldest then
        oldest = begun
      end
    end
  end
  return oldest
end

-- How the function's refreshes went lately.
function tables.pace(func)
  local pace = _paces[func]
  if pace == nil then
    local packed = call("HGET", K.a, func)
    pace = {}
    if packed then
      pace.failed, pace.n_failures, pace.n_pauses, pace.paused_until, pace.spent, pace.spent_at = unpack_(packed)
    end
    pace.failed = pace.failed or {}
    pace.n_failures, pace.n_pauses = pace.n_failures or 0, pace.n_pauses or 0
    pace.paused_until, pace.spent, pace.spent_at = pace.paused_until or 0, pace.spent or 0, pace.spent_at or 0
    pace.packed = packed
    _paces[func] = pace
  end
  return pace
end

-- Note it.
function tables.set_pace(func, pace)
  local was = tables.pace(func).packed
  local is_plain = #pace.failed == 0 and pace.n_failures == 0 and pace.n_pauses == 0 and pace.paused_until == 0
  if is_plain and pace.spent == 0 and pace.spent_at == 0 then
    if was then
      call("HDEL", K.a, func)
    end
    pace.packed = false
  else
    local packed = pack(pace.failed, pace.n_failures, pace.n_pauses, pace.paused_until, pace.spent, pace.spent_at)
    if packed ~= was then
      call("HSET", K.a, func, packed)
    end
    pace.packed = packed
  end
  _paces[func] = pace
end

-- At most n rows with a number above the given one, in their order, and up to which number that was.
-- What was looked at may be less than that: nothing is left when that number is the newest.
function tables.scan(after_id, n)
  tables.flush()
  local rows, newest = {}, tables.counters.id
  local id, last_block = after_id, math.floor(newest / BLOCK_LENGTH)
  local first_block = math.floor((after_id + 1) / BLOCK_LENGTH)
  for block = first_block, math.min(last_block, first_block + n) do
    local items = call("HGETALL", P .. "n:" .. block)
    local key_at = {}
    for number = 1, #items, 2 do
      key_at[tonumber(items[number]) or -1] = items[number + 1]
    end
    for place = 0, BLOCK_LENGTH - 1 do
      local here = block * BLOCK_LENGTH + place
      if key_at[place] and here > after_id then
        if #rows == n then
          return rows, id
        end
        rows[#rows + 1] = tables.row(key_at[place])
      end
      id = math.max(id, here)
    end
  end
  return rows, math.min(id, newest)
end

-- Entries from a time when room did not matter are not known by when they were read: some of them come to be here.
local function _warm_up()
  local counters = tables.counters
  if counters.cold_id >= counters.id then
    return false
  end
  local rows, last = tables.scan(counters.cold_id, N_TAKEN_IN)
  for _, row in ipairs(rows) do
    if row.version > 0 and row.id then
      call("ZADD", K.c, _micros(row.read_at), tables.id_bytes(row.id))
    end
  end
  counters.cold_id = last
  return true
end

-- The rows with a value that were read longest ago, the longest first.
function tables.coldest(n)
  tables.flush()
  local rows, n_gone = {}, 0
  local found = call("ZRANGE", K.c, 0, n - 1, "WITHSCORES")
  for number = 1, #found, 2 do
    local key = tables.key_of(tables.id_of(found[number]))
    local row = key and tables.row(key)
    if row and row.version > 0 then
      rows[#rows + 1] = row
      if _micros(row.read_at) ~= tonumber(found[number + 1]) then
        call("ZADD", K.c, _micros(row.read_at), found[number])
      end
    else
      call("ZREM", K.c, found[number])
      n_gone = n_gone + 1
    end
  end
  local counters = tables.counters
  if #found == 0 and counters.n_entries > 0 and counters.cold_id >= counters.id and not tables.is_warmed_up then
    -- It was lost, or nothing has a value.
    counters.cold_id, tables.is_warmed_up = 0, true
  end
  if n_gone > 0 or (#rows < n and _warm_up()) then
    return tables.coldest(n)
  end
  return rows
end
end
