-- The steps of the refresh queue: take what is due, queue, retry, note who reads, distrust; follows stores/queueing.py.
-- needs: tables, states, scheduling, changing_spread, building
--
-- Rules
-- - To distrust everything is one short step that begins a new life, and then a sweep in chunks which drops what nobody
--   builds anew and queues the rest. Whatever is read of an older life is dirty from the first of these steps on.
-- - What was built or put since is of the new life, and the sweep leaves it alone. What was only written in passing, as
--   it was touched or read, is not.
local queueing = {}

-- Who sweeps and is not heard of for so long has died; another goes on.
local SWEEPER_S = 5

-- How many refreshes of the function may begin now, and when to ask again.
local function _quota(limit, n_max)
  local name, n_at_once, per_s = limit[1], limit[2], limit[3]
  local pace, n_leased = tables.pace(name), 0
  if n_at_once ~= nil or scheduling.is_broken(pace) then
    n_leased = tables.n_leased(name)
  end
  return scheduling.quota_of({ n_at_once = n_at_once, per_s = per_s }, pace, n_leased, n_max, tables.now)
end

local function _note_starts(functions, taken)
  local n_started = {}
  for _, due in ipairs(taken) do
    n_started[due[2]] = (n_started[due[2]] or 0) + 1
  end
  for _, limit in ipairs(functions) do
    local name, per_s = limit[1], limit[3]
    if per_s ~= nil then
      local n = n_started[name] or 0
      local pace = scheduling.pace_after_start({ per_s = per_s }, tables.pace(name), n, tables.now)
      tables.set_pace(name, pace)
    end
  end
end

local function _lowest(times)
  local lowest
  for _, at in ipairs(times) do
    if lowest == nil or at < lowest then
      lowest = at
    end
  end
  return lowest
end

-- Take the row, or drop it: into which of the lists it goes. The last drops say nothing to anybody.
local function _take(row, lease_s, taken, expired, cold)
  local now = tables.now
  if scheduling.has_lapsed(row.terms, row.queued_at, now, row.due) then
    expired[#expired + 1] = row.key
    changing.drop(row)
  elseif scheduling.is_cold(row.terms, row.read_at, row.watched_until, now) then
    cold[#cold + 1] = row.key
    changing.drop(row)
  elseif changing.has_gone(row) then
    changing.drop(row)
  else
    taken[#taken + 1] = { building.take_lease(row, lease_s), row.func, blob(row.args) }
  end
end

function queueing.take_due(request)
  local now = tables.now
  local quotas, nexts = {}, {}
  for _, limit in ipairs(request.functions) do
    local n, next_at = _quota(limit, request.n_max)
    if n > 0 then
      quotas[limit[1]] = n
    end
    nexts[#nexts + 1] = next_at
  end
  local rows, next_due = tables.due(quotas, request.n_max)
  local taken, expired, cold = {}, {}, {}
  for _, row in ipairs(rows) do
    -- Else it was built from one that this step has dropped, and went with it.
    if tables.row(row.key) == row and row.func ~= nil then
      _take(row, request.lease_s, taken, expired, cold)
    end
  end
  _note_starts(request.functions, taken)
  nexts[#nexts + 1] = next_due
  if #taken < #rows then
    nexts[#nexts + 1] = now
  end
  return { taken, now, _lowest(nexts) or NULL, expired, cold }
end

function queueing.enqueue(request)
  local now, n_new = tables.now, 0
  for _, recipe in ipairs(request.recipes) do
    local key = recipe[1]
    if tables.row(key) == nil then
      local row = tables.new_row({
        key = key,
        call = recipe[2],
        func = recipe[3],
        args = recipe[4],
        state = "dirty",
        terms = request.terms,
        read_at = now,
        queued_at = now,
        stale_since = now,
        reason = "not built yet",
        builder = "queued",
      })
      changing.queue(row, now)
      tables.counters.n_entries = tables.counters.n_entries + 1
      tables.record(row, "stale")
      tables.save(row)
      n_new = n_new + 1
    end
  end
  return n_new
end

function queueing.retry(request)
  local now, n_queued = tables.now, 0
  for _, key in ipairs(request.keys) do
    local row = tables.row(key)
    if row ~= nil and not tables.is_leased(row) and (row.state == "failed" or row.retry_at ~= nil) then
      row.state = states.next_state(row.state, "touch")
      row.attempts, row.retry_at, row.queued_at = 0, nil, now
      changing.queue(row, now)
      tables.record(row, "stale")
      tables.save(row)
      n_queued = n_queued + 1
    end
  end
  return n_queued
end

local function _note(key, read_at, watched_until)
  local row = tables.row(key)
  if row == nil then
    return
  end
  row.read_at = math.max(row.read_at, read_at or 0)
  row.watched_until = math.max(row.watched_until, watched_until or 0)
  if row.token == nil and row.due ~= nil then
    changing.queue(row, row.due)
  end
  tables.save(row)
end

function queueing.note(request)
  for key, read_at in pairs(request.reads) do
    _note(key, read_at, request.watched[key])
  end
  for key, watched_until in pairs(request.watched) do
    if request.reads[key] == nil then
      _note(key, nil, watched_until)
    end
  end
  return true
end

-- Say that somebody sweeps, for as long as a chunk may take.
local function _sweep_on()
  call("SET", P .. "sweeper", "1", "EX", SWEEPER_S)
end

local function _distrust(request)
  tables.begin_life(tables.new_epoch, request.reason)
  _sweep_on()
end

-- Begin a new life; false when the store has another one than the asker knows.
function queueing.distrust_begin(request)
  local counters = tables.counters
  if request.only_epoch ~= nil and request.only_epoch ~= counters.epoch then
    return false
  end
  _distrust(request)
  return { counters.epoch, counters.sequence }
end

-- Say which run of a server answers; whether somebody should sweep.
function queueing.greet(request)
  local n_shards = tables.other_number()
  if n_shards ~= nil then
    return n_shards
  end
  local known = call("GET", P .. "run")
  if known ~= request.run_id then
    call("SET", P .. "run", request.run_id)
    -- A store that was never written has nothing to distrust. One that was and does not know by whom was meddled with.
    if tables.counters.sequence > 0 then
      _distrust(request)
      return true
    end
  end
  return call("EXISTS", P .. "unswept") == 1 and call("EXISTS", P .. "sweeper") == 0
end

-- The sweep has come to its end.
function queueing.distrust_end(request)
  -- Else another life has begun meanwhile, which has to be swept again.
  if tables.counters.epoch == request.epoch then
    call("UNLINK", P .. "unswept", P .. "sweeper")
  end
  return true
end

-- Drop those of a chunk that nobody builds anew; the others, with what decides their order.
function queueing.distrust_scan(request)
  _sweep_on()
  local counters = tables.counters
  local rows, last = tables.scan(request.after_id, request.n)
  local found = {}
  for _, row in ipairs(rows) do
    -- Else it was built from one that was dropped, and went with it.
    if tables.row(row.key) == row and row.life ~= tables.life() then
      local first = -scheduling.term(row.terms, "priority")
      if tables.is_wanted(row) then
        -- It holds nothing yet that could be wrong.
        found[#found + 1] = { row.key, first, -row.read_at }
      elseif row.func == nil or row.version == 0 or scheduling.term(row.terms, "on_change") == "drop" then
        changing.drop(row)
      else
        found[#found + 1] = { row.key, first, -math.max(row.watched_until, row.read_at) }
      end
    end
  end
  return { found, last, last >= counters.id }
end

-- Queue the next of those that were found, one after the other; how many there were still.
function queueing.distrust_rows(request)
  _sweep_on()
  local n_dirty = 0
  for number, key in ipairs(request.keys) do
    local row = tables.row(key)
    if row ~= nil and row.life ~= tables.life() then
      -- All else is what reading it has made of it already; but it may have been touched since.
      row.life, row.reason = tables.life(), request.reason
      local place = request.places and request.places[number] or request.n_before + n_dirty
      changing.queue(row, tables.now + place / request.per_s)
      tables.save(row)
      n_dirty = n_dirty + 1
    end
  end
  return n_dirty
end
