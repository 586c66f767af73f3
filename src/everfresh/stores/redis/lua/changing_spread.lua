-- How a change spreads, and what every step that writes an entry needs. Follows stores/changing.py, its second half.
-- needs: tables, states, scheduling, comparing, evicting
--
-- Rules
-- - A touched entry becomes dirty and is queued, or is dropped: when it has no recipe, or its function says so.
-- - Who was built from a dropped or changed entry is touched too; who was built from those, directly or not, is
--   suspect.
-- - A why is a table: `text`, `cause` (array), `encoded` (the event as entries keep it, or nil), `is_by_call` (an entry
--   that it was built from changed). `spread(keys, whys)` takes two arrays side by side, each key once.
-- - What is touched at a pace waits for its place: { per_s = ..., n_before = ... }, how many a second, and how many of the
--   same event are before. What falls due earlier anyway is not kept waiting.
-- - `tables.members` may give the live table: it is copied before anything that stands in it is taken out.
-- - Its own file, so that the script of a commit does not carry the steps of changing.lua, which adds them to it.

local changing = {}

-- Events reach the shapes of tags and calls by name: a group says in `r` whether its shape is to be known. Shapes that
-- come without a group's values are.
function changing.is_registered(shape)
  return shape.r or shape.v == nil
end

-- Make the shapes, or those of the groups, known, dated by the last events: none can have been missed since.
function changing.learn(shapes)
  for _, shape in ipairs(shapes) do
    if changing.is_registered(shape) and tables.born(shape.s) == nil then
      tables.learn(shape.s, shape.blob, tables.counters.applied)
    end
  end
end

local function _is_among(group, linked)
  for _, other in ipairs(linked) do
    if other.s == group.s and other.v == group.v then
      return true
    end
  end
  return false
end

local function _is_probed(group, begun)
  for number, stem in ipairs(group.t or {}) do
    local probes, is_lost = tables.probes(stem, begun)
    if is_lost then
      return true
    end
    for _, probe in ipairs(probes) do
      if comparing.touches(probe, group.o[number]) then
        return true
      end
    end
  end
  return false
end

-- Whether one of the dependencies fired, or may have fired unseen, after the position.
-- Events that a predicate looked at have touched those that stood in its bucket, as the groups of the `linked` row say;
-- only to those that did not are its marks news.
function changing.is_outrun(groups, begun, linked)
  if begun < tables.counters.fired_floor then
    return true
  end
  local marks, filtered = {}, {}
  for _, group in ipairs(groups) do
    if not (group.p and linked and _is_among(group, tables.groups(linked))) then
      -- A shape younger than the build: events before it was known left no mark.
      if (tables.born(group.s) or 0) > begun then
        return true
      end
      marks[#marks + 1] = group.s
      for _, bucket in ipairs(group.b) do
        marks[#marks + 1] = bucket
      end
      if group.t then
        filtered[#filtered + 1] = group
      end
    end
  end
  if not tables.any_fired(begun) then
    return false
  end
  -- All are asked about at once, as each question costs a call.
  if #marks > 0 and tables.last_fired(marks) > begun then
    return true
  end
  for _, group in ipairs(filtered) do
    if _is_probed(group, begun) then
      return true
    end
  end
  return false
end

-- Have the queue look at the row at `due`, or not at all; the row is not saved.
function changing.queue(row, due)
  row.due = due
  if due then
    row.rank = scheduling.rank_of(row.terms, due, tables.now, row.read_at, row.watched_until)
  end
end

-- Whether its time to be dropped has come. While somebody builds it, nobody is given it to drop.
function changing.has_gone(row)
  if row.version == 0 and not tables.is_wanted(row) then
    -- Its first builder died. Whoever asked for it builds it; nobody else knows that it is wanted.
    return not tables.is_leased(row)
  end
  local gone_at = tables.time_to_go(row)
  return gone_at ~= nil and gone_at <= tables.now
end

-- Mark as suspect whoever was built from these unsettled entries, directly or not; the keys that became so.
-- Every step that may leave an entry unsettled ends with this. So one that is unsettled already has shaken its own.
function changing.shake_outward(keys)
  local frontier, shaken = {}, {}
  for number, key in ipairs(keys) do
    frontier[number] = key
  end
  while #frontier > 0 do
    local inner = tables.inner(table.remove(frontier))
    if inner then
      tables.tell_elsewhere(inner)
    end
    -- Whoever found no value here hears of the first one.
    for _, outer in ipairs(inner and inner.version > 0 and tables.members(inner.call) or {}) do
      local row = tables.row(outer)
      if row and row.stale_since == nil then
        row.state = states.next_state(row.state, "shake")
        row.stale_since, row.reason = tables.now, inner.key .. " is unsettled"
        tables.record(row, "stale")
        tables.save(row)
        shaken[#shaken + 1] = outer
        frontier[#frontier + 1] = outer
      end
    end
  end
  return shaken
end

-- A new array: rows of one event may share what they remember of it, but not what each adds.
local function _remembered(history, text)
  local longer = {}
  for number = math.max(1, #history + 2 - CONST.N_REMEMBERED), #history do
    longer[#longer + 1] = history[number]
  end
  longer[#longer + 1] = text
  return longer
end

-- Have the touched row fall due at `due`; or in its turn, if it is to wait for that.
local function _queue_touched(row, due, in_turn)
  if in_turn then
    in_turn[#in_turn + 1] = { row, due, row.due or NULL }
  else
    changing.queue(row, due)
  end
end

-- With `in_turn`, those are added to it that are to wait for their turn.
local function _make_dirty(row, why, in_turn)
  local now = tables.now
  -- One that waits for its next try is due at once, which is news for workers.
  local is_news = row.state ~= "dirty" or row.retry_at ~= nil
  -- The job that failed is over.
  local is_under_way = row.retry_at == nil and row.state ~= "failed"
  local queued_at = is_under_way and row.queued_at or now
  -- A build under way may have caused, and seen, the change of an entry below it. Its commit compares what it saw with
  -- what is there, so the change by itself does not outrun it.
  local step = why.is_by_call and tables.is_leased(row) and "shake" or "touch"
  row.state = states.next_state(row.state, step)
  row.reason, row.attempts, row.retry_at, row.cause = why.text, 0, nil, why.cause
  row.n_died = 0
  row.stale_since = row.stale_since or now
  row.queued_at = queued_at
  if not why.is_by_call then
    row.event_at, row.event = nil, nil
    if #scheduling.term(row.terms, "settle_s") > 0 then
      row.event_at = now
    end
    if scheduling.term(row.terms, "keeps_event") then
      row.event = why.encoded
    end
    row.history = _remembered(row.history, why.text)
  end
  -- While a lease is held, `due` is its end; whoever ends it queues the entry again. What is due already stays so.
  if row.token == nil and (row.due == nil or row.due > now) then
    _queue_touched(row, scheduling.due_after_touch(row.terms, now, queued_at), in_turn)
  end
  -- Of an entry without a value nobody was told yet.
  if is_news and row.version > 0 then
    tables.record(row, "stale")
  end
  tables.save(row)
end

-- Queue touched rows one after the other; none before its debounce is over, or later than it was due before. Of each
-- its key, its urgency, when it falls due now, when its debounce is over, and when it was due before.
local function _queue_in_turn(in_turn, pace)
  local found = {}
  for number, item in ipairs(in_turn) do
    local row = item[1]
    local level, seen = scheduling.urgency_of(row.terms, row.read_at, row.watched_until)
    found[number] = { row.key, level, seen, 0, item[2], item[3] }
  end
  table.sort(found, function(one, other)
    if one[2] ~= other[2] then
      return one[2] < other[2]
    end
    return one[3] < other[3] or (one[3] == other[3] and one[1] < other[1])
  end)
  for number, item in ipairs(found) do
    local row, turn = tables.row(item[1]), scheduling.due_in_turn(pace.n_before + number - 1, pace.per_s, tables.now)
    if item[6] ~= NULL then
      turn = math.min(turn, item[6])
    end
    item[4] = math.max(turn, item[5])
    changing.queue(row, item[4])
    tables.save(row)
  end
  return found
end

-- Touch the entries and shake who was built from them; the keys touched and the keys made suspect, and at a pace who
-- has which place.
function changing.spread(keys, whys, pace)
  local in_turn = pace and {}
  -- Both grow while they are gone through.
  local waiting, why_of = {}, {}
  for number, key in ipairs(keys) do
    waiting[number], why_of[number] = key, whys[number]
  end
  local touched, is_touched, dirty = {}, {}, {}
  local number = 1
  while waiting[number] do
    local key, why = waiting[number], why_of[number]
    local row = not is_touched[key] and tables.row(key)
    if row then
      is_touched[key] = true
      touched[#touched + 1] = key
      if row.func == nil or scheduling.term(row.terms, "on_change") == "drop" then
        evicting.take_out(row)
        tables.tell_elsewhere(row, "changed", why.cause)
        local outer_why = { text = key .. " was dropped", cause = why.cause, is_by_call = true }
        for _, outer in ipairs(tables.members(row.call)) do
          waiting[#waiting + 1] = outer
          why_of[#waiting] = outer_why
        end
      else
        _make_dirty(row, why, in_turn)
        dirty[#dirty + 1] = key
      end
    end
    number = number + 1
  end
  local places = pace and _queue_in_turn(in_turn, pace)
  return touched, changing.shake_outward(dirty), places
end

-- Touch who was built from the entry, which was `done`: "changed", say.
function changing.touch_outer(row, done, cause)
  tables.tell_elsewhere(row, "changed", cause)
  local keys, whys = tables.members(row.call), {}
  if #keys == 0 then
    return
  end
  local why = { text = row.key .. " " .. done, cause = cause, is_by_call = true }
  for number = 1, #keys do
    whys[number] = why
  end
  changing.spread(keys, whys)
end

-- Remove an entry; who was built from it is touched, as nobody watches over its dependencies any more.
function changing.drop(row)
  evicting.take_out(row)
  changing.touch_outer(row, "was dropped", row.cause)
end

-- Drop a few of the same kind whose time has come, at each that is written: it may be that no worker ever does.
function changing.sweep(written)
  if tables.time_to_go(written) == nil then
    return
  end
  local gone = {}
  for _, row in ipairs((tables.due({ [tables.func_of(written)] = CONST.N_LOOKED_AT }, CONST.N_LOOKED_AT))) do
    if #gone < CONST.N_SWEPT and changing.has_gone(row) then
      gone[#gone + 1] = row
    end
  end
  for _, row in ipairs(gone) do
    if tables.row(row.key) == row then
      changing.drop(row)
    end
  end
end

-- Write the row, which has its new links; a changed value gets a version, a record, and touches who was built from it.
function changing.store_value(row, value, is_changed, cause)
  local counters = tables.counters
  if is_changed then
    -- Above every version that a dropped entry of this key may have had.
    row.version = math.max(row.version, counters.version_floor) + 1
  end
  if is_changed then
    row.changed_at = tables.record(row, "changed")
    counters.n_bytes = counters.n_bytes + #value - row.n_bytes
    row.n_bytes = #value
  end
  tables.save(row)
  if is_changed then
    tables.set_value(row, value)
    if tables.has_outer() then
      changing.touch_outer(row, "changed", cause or EMPTY)
    end
  end
end
