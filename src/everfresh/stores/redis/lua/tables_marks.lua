-- When buckets and shapes fired, and what events said about filtered shapes: for the builds under way.
-- needs: tables_queue
--
-- P..e orders marks by the position at which they fired last. P..q:<stem> is a list of probes, the oldest first, and
-- P..k the list of all stems to which one was added, in the same order. A stem has a mark too: where none of its probes
-- is as new as that, they were lost.
--
-- Rules
-- - What is forgotten raises `fired_floor`: a build that began before it counts as outrun.
-- - Forgetting goes a chunk at a time, with the events that make it needed.

-- In a block of its own: the locals of a script are limited, over all files.
do
local N_AT_ONCE = 500
local N_PRUNED = 1000

local function _prune_marks(n_fired, n_kept)
  local counters = tables.counters
  if n_kept <= counters.marks_max then
    return
  end
  local oldest = tables.oldest_lease()
  -- A build that never ends may not have all marks kept for it: it counts as outrun.
  local is_kept = oldest ~= nil and n_kept <= CONST.MARKS_KEPT_FOR_LEASES * CONST.MAX_FIRED
  local below = is_kept and oldest or counters.sequence
  local old = call("ZRANGE", K.e, 0, math.max(N_PRUNED, n_fired) - 1, "WITHSCORES")
  local n_old = 0
  for number = 2, #old, 2 do
    local sequence = tonumber(old[number])
    if sequence > below then
      break
    end
    n_old = number / 2
    counters.fired_floor = math.max(counters.fired_floor, sequence)
  end
  if n_old > 0 then
    call("ZREMRANGEBYRANK", K.e, 0, n_old - 1)
    counters.marks_max = CONST.MAX_FIRED
  else
    -- What a lease needs is not asked about at each event.
    counters.marks_max = n_kept + CONST.MAX_FIRED / 4
  end
end

-- Note that the buckets, or whole shapes, fired.
function tables.fire(marks)
  local counters = tables.counters
  local sequence, n_new = counters.sequence, 0
  for start = 1, #marks, N_AT_ONCE do
    local items = {}
    for number = start, math.min(start + N_AT_ONCE - 1, #marks) do
      items[#items + 1] = sequence
      items[#items + 1] = marks[number]
    end
    n_new = n_new + call("ZADD", K.e, unpack(items))
  end
  local n_kept = call("ZCARD", K.e)
  if n_kept == n_new then
    -- Those before were lost, or there were none.
    counters.fired_floor = math.max(counters.fired_floor, counters.last_mark)
  end
  counters.last_mark = sequence
  _prune_marks(#marks, n_kept)
end

local function _newest_of(...)
  local last, found = 0, call("ZMSCORE", K.e, ...)
  for number = 1, select("#", ...) do
    local sequence = found[number] and tonumber(found[number]) or 0
    if sequence > last then
      last = sequence
    end
  end
  return last
end

local function _unless_lost(last)
  local counters = tables.counters
  if last == 0 and counters.last_mark > counters.fired_floor and call("EXISTS", K.e) == 0 then
    -- The marks were lost: any of them may have fired.
    counters.fired_floor = counters.sequence
    return counters.sequence
  end
  return last
end

-- Whether anything at all fired after the position; if not, no mark need be asked about.
function tables.any_fired(after)
  return tables.counters.last_mark > after
end

-- The newest position at which one of them fired; 0 for never.
function tables.last_fired(marks)
  local last = 0
  for start = 1, #marks, N_AT_ONCE do
    last = math.max(last, _newest_of(unpack(marks, start, math.min(start + N_AT_ONCE - 1, #marks))))
  end
  return _unless_lost(last)
end

-- The same of a few that are in no table.
function tables.last_fired_of(...)
  return _unless_lost(select("#", ...) > 0 and _newest_of(...) or 0)
end

-- Keep what an event said about a stem.
function tables.keep_probe(probe)
  local counters = tables.counters
  call("RPUSH", P .. "q:" .. probe.stem, pack(counters.sequence, probe, counters.life))
  if call("RPUSH", K.k, pack(counters.sequence, probe.stem)) <= CONST.MAX_PROBES then
    return
  end
  for _, packed in ipairs(call("LPOP", K.k, N_AT_ONCE)) do
    local sequence, stem = unpack_(packed)
    call("LPOP", P .. "q:" .. stem)
    counters.fired_floor = math.max(counters.fired_floor, sequence)
  end
end

-- What events after the position said about the stem; and whether some of that was lost.
function tables.probes(stem, after)
  local found, newest = {}, 0
  for _, packed in ipairs(call("LRANGE", P .. "q:" .. stem, 0, -1)) do
    local sequence, probe, life = unpack_(packed)
    -- Positions of a life that was lost say nothing in this one.
    if sequence > after and life == tables.counters.life then
      found[#found + 1] = probe
      newest = math.max(newest, sequence)
    end
  end
  local fired = tables.last_fired({ stem })
  return found, fired > after and newest < fired
end
end
