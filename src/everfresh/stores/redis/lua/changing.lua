-- The steps that change what is known of entries: apply, touch, pace, candidates, register, put, delete. Follows stores/changing.py.
-- needs: tables, tables_sources, evicting, finding, changing_spread
--
-- Rules
-- - Every bucket that an event meets is marked as fired, with entries or without, so that a build under way learns of
--   it.
-- - Numbers of events and of puts begin with 0, as Python counts them.

local function _is_newer(row, request)
  if row.func ~= nil or request.fence_sequence == nil or request.fence_epoch ~= tables.counters.epoch then
    return false
  end
  return row.good_from > request.fence_sequence
end

-- The entries that a put value was computed from, with their values; nil when an event, or they, outran it.
local function _seen_by_put(request)
  local fence = request.fence_sequence
  if fence and (request.fence_epoch ~= tables.counters.epoch or changing.is_outrun(request.groups, fence)) then
    return nil
  end
  -- Whoever deleted the key since then knew of something newer.
  if fence and tables.any_fired(fence) and tables.last_fired_of(request.call) > fence then
    return nil
  end
  local seen = {}
  for _, group in ipairs(request.groups) do
    for _, key in ipairs(group.k or {}) do
      local inner = tables.inner(key)
      if inner == nil or inner.version == 0 or inner.stale_since ~= nil then
        return nil
      end
      local its_fence = fence
      if fence and inner.is_mirror then
        its_fence = request.fences and request.fences[inner.epoch] or -1
      end
      if fence and inner.changed_at > its_fence then
        return nil
      end
      seen[#seen + 1] = { inner.key, inner.digest }
    end
  end
  return seen
end

-- Whether a put to come would be refused now. To a shape that is not known yet no event can have left a mark.
local function _is_refused(request)
  for _, group in ipairs(request.groups) do
    if changing.is_registered(group) and tables.born(group.s) == nil then
      return true
    end
  end
  return _seen_by_put(request) == nil
end

local function _outrun(puts)
  local numbers = {}
  for number, put in ipairs(puts) do
    if _is_refused(put) then
      numbers[#numbers + 1] = number - 1
    end
  end
  return numbers
end

-- The shapes from that number on; and how many these are.
local function _moved(n_shapes)
  local shapes, numbers = tables.known(n_shapes), {}
  for number, shape in ipairs(shapes) do
    numbers[number] = blob(shape)
  end
  return { "moved", tables.counters.epoch, n_shapes, numbers }, #shapes
end

local function _fire(request)
  local marks = {}
  for _, pairs_of_marks in ipairs({ request.buckets, request.shapes, request.predicates }) do
    for _, pair in ipairs(pairs_of_marks) do
      marks[#marks + 1] = pair[1]
    end
  end
  for _, probe in ipairs(request.probes) do
    tables.keep_probe(probe)
    -- By its mark it is known when probes were lost.
    marks[#marks + 1] = probe.stem
  end
  if #marks > 0 then
    tables.fire(marks)
  end
end

-- Why each of the keys that were found is touched; those that one event touches share it.
local function _why_of(request)
  local why_of = {}
  for number, mention in ipairs(request.mentions) do
    why_of[number - 1] = { text = mention[1], cause = request.cause, encoded = mention[2] }
  end
  return why_of
end

-- The keys of those that were found, and why each is touched.
local function _keys_and_whys(request, found)
  local why_of, whys = _why_of(request), {}
  local keys, events = tables.found_keys(found)
  for number, event in ipairs(events) do
    whys[number] = why_of[event]
  end
  return keys, whys
end

-- Nobody is touched yet.
local ALL_LEFT = { 0, NULL, NULL, {} }

-- What was applied, as it is answered; and where the touched wait for their places, since when, and who does.
local function _applied(touched, suspect, outrun, left, places)
  local counters = tables.counters
  local answer = { "applied", counters.epoch, counters.sequence, touched, suspect, outrun, left or NULL }
  if places then
    answer[8], answer[9] = tables.now, places
  end
  return answer
end

-- How fast what is touched is to fall due; nil for at once.
local function _pace_of(request)
  return request.per_s and { per_s = request.per_s, n_before = request.n_before or 0 }
end

-- Carry out `Apply`.
function changing.apply(request)
  local counters = tables.counters
  if request.epoch ~= counters.epoch then
    return (_moved(0))
  end
  if request.n_shapes < tables.n_known() then
    local moved, n_more = _moved(request.n_shapes)
    -- None were there only if somebody deleted them: a step that changes nothing is content with that.
    if n_more > 0 then
      return moved
    end
  end
  local found = finding.all(request)
  if request.is_dry then
    return _applied((tables.found_keys(found)), {}, {})
  end
  local outrun = _outrun(request.puts)
  counters.sequence = counters.sequence + 1
  counters.applied = counters.sequence
  _fire(request)
  if not found then
    -- Who has to touch them writes the offsets with the last of it.
    return _applied({}, {}, outrun, ALL_LEFT, request.per_s and {})
  end
  local keys, whys = _keys_and_whys(request, found)
  local touched, suspect, places = changing.spread(keys, whys, _pace_of(request))
  if request.offsets then
    tables.set_offsets(request.offsets)
  end
  return _applied(touched, suspect, outrun, nil, places)
end

-- Touch some of what events that were applied as of `sequence` had left; whoever was built since has seen them.
function changing.touch(request)
  local counters, keys, whys, left = tables.counters, {}, {}, nil
  if request.epoch == counters.epoch then
    local found
    found, left = finding.some(request.items)
    local found_keys, found_whys = _keys_and_whys(request, found)
    for number, key in ipairs(found_keys) do
      if tables.row(key).good_from < request.sequence then
        keys[#keys + 1], whys[#whys + 1] = key, found_whys[number]
      end
    end
  end
  local touched, suspect, places = changing.spread(keys, whys, _pace_of(request))
  if request.offsets and not left then
    tables.set_offsets(request.offsets)
  end
  return _applied(touched, suspect, {}, left, places)
end

-- Carry out `Pace`: have those fall due then that still wait for where they were put first.
function changing.pace(request)
  for _, item in ipairs(request.places) do
    local row, was_due = tables.row(item[1]), item[2]
    if row ~= nil and row.due == was_due then
      changing.queue(row, item[3])
      tables.save(row)
    end
  end
  return true
end

-- Carry out `Candidates`.
function changing.candidates(request)
  local found = {}
  for _, bucket in ipairs(request.buckets) do
    local bucket_number
    for _, key in ipairs(tables.members(bucket)) do
      local row = tables.row(key)
      if row and row.func ~= nil then
        bucket_number = bucket_number or blob(bucket)
        found[#found + 1] = { bucket_number, key, row.func, blob(row.args) }
      end
    end
  end
  return found
end

-- Carry out `Register`.
function changing.register(request)
  changing.learn(request.shapes)
  return true
end

-- The row as a value that was just put, but for its links, its version and its place in the queue.
local function _take_over(row, request, seen)
  local now = tables.now
  row.func, row.args, row.state, row.terms, row.call = nil, nil, "fresh", {}, request.call
  row.token, row.stale_since, row.retry_at, row.queued_at, row.event_at, row.event = nil, nil, nil, nil, nil, nil
  row.fingerprint, row.digest, row.reason, row.attempts, row.seen = "", request.digest, "", 0, seen
  row.good_from, row.built_at, row.build_s = tables.counters.sequence, now, 0
  row.builder, row.is_error, row.read_at, row.history = "", false, math.max(now, row.read_at), {}
  row.expires_at = request.expires_s and now + request.expires_s
end

-- Carry out `Put`.
function changing.put(request, value)
  local unattached = tables.unattached(request.groups, {}, request.is_asked)
  if unattached ~= nil and not request.is_last then
    return tables.refusal(unattached)
  end
  changing.learn(request.groups)
  local row = tables.row(request.key)
  local seen = _seen_by_put(request)
  if seen == nil then
    -- One that was put after the miss stands by its own dependencies.
    if row and not _is_newer(row, request) then
      changing.drop(row)
    end
    return false
  end
  if row == nil then
    row = tables.new_row({ key = request.key, call = request.call })
    tables.counters.n_entries = tables.counters.n_entries + 1
  end
  -- Over anything that was not served, or is built, the same value is news too; or that somebody deleted by hand.
  local is_served = row.func == nil and not tables.is_gone(row)
  local is_same = is_served and row.digest == request.digest and tables.has_value(row)
  _take_over(row, request, seen)
  changing.queue(row, row.expires_at)
  tables.relink(row, request.groups)
  changing.store_value(row, value, not is_same, {})
  if is_same then
    -- It may last longer.
    tables.tell_elsewhere(row)
  end
  changing.sweep(row)
  evicting.make_room(row)
  return true
end

-- Carry out `Delete`.
function changing.delete(request)
  local n_deleted = 0
  if request.calls then
    tables.counters.sequence = tables.counters.sequence + 1
    tables.fire(request.calls)
  end
  for _, key in ipairs(request.keys) do
    -- Looked up one by one: to drop an entry may drop those built from it.
    local row = tables.row(key)
    if row then
      n_deleted = n_deleted + (row.version > 0 and 1 or 0)
      changing.drop(row)
    end
  end
  return n_deleted
end
