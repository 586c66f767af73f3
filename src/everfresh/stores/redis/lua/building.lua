-- The steps around a build: load, begin, commit, fail, give up, extend; follows stores/building.py.
-- needs: tables, states, scheduling, showing, evicting, changing_spread
--
-- Rules
-- - A lease is an entry's token and its end by the server's clock. Who shows another token, or is late, changes
--   nothing.
-- - A commit is outrun when one of its dependencies fired after its lease began, or when an entry that it read has
--   another value by now: the value is stored, as it is newer than what was there, but the entry stays dirty and
--   queued.
-- - A commit above something unsettled is suspect. An equal commit settles who was built from it, as far as that goes.
-- - An entry whose value somebody deleted by hand is built again, and its value counts as changed.
local building = {}

local _OUTRUN = "an event came while it was built"
local _PRIVATE = "it hangs on a list that nobody described"
local _NOT_KEPT = "its own change dropped it, or the store has no room for it and what it was built from"

-- The lower of two numbers, either of which may be missing.
local function _earlier(one, other)
  if one == nil then
    return other
  end
  if other == nil then
    return one
  end
  return math.min(one, other)
end

-- The row, if the lease still holds.
local function _held_by(key, token, epoch)
  local row = tables.row(key)
  if row == nil or row.token ~= token or epoch ~= tables.counters.epoch then
    return nil
  end
  return tables.is_leased(row) and row or nil
end

local function _held(lease)
  return _held_by(lease.key, lease.token, lease.epoch)
end

local function _end_lease(row)
  row.token, row["until"], row.due, row.n_died = nil, 0, nil, 0
end

-- Why only its builder may have the value; nil when it is stored.
local function _why_unstored(row, is_private, terms)
  if is_private then
    return _PRIVATE
  end
  if row.state ~= "dirty" then
    return nil
  end
  if scheduling.term(terms, "on_change") == "drop" then
    return _OUTRUN
  end
  if tables.room.max_entries == nil and tables.room.max_bytes == nil then
    return nil
  end
  -- To queue it would build what it was built from, which drives something out again, and so on without an end.
  for _, seen in ipairs(row.seen) do
    if seen[2] ~= showing.ABSENT and showing.digest_of(seen[1]) == showing.ABSENT then
      return _NOT_KEPT
    end
  end
  return nil
end

-- Whether a build without a value leaves the old one as good as it was: nothing is known against it.
local function _is_unharmed(row)
  return row.state == "building" and row.stale_since == nil and not tables.has_expired(row)
end

-- Queue an entry that is settled, for what may come by time alone: its end, or a look for a late change.
-- A build that began before it was time to look, however late it ended, has not looked.
local function _queue_settled(row, begun_at, look)
  row.queued_at = nil
  if row.event_at == nil then
    row.event = nil
  elseif look == nil then
    look = scheduling.next_look(row.terms, row.event_at, begun_at)
    if look == nil then
      row.event_at, row.event = nil, nil
    end
  end
  -- What ends by time is refreshed by time, or dropped when its function leaves the building to the next reader.
  local ends_at
  if scheduling.term(row.terms, "on_change") == "refresh" then
    ends_at = row.expires_at
  else
    ends_at = tables.time_to_go(row)
  end
  changing.queue(row, look and _earlier(look, ends_at) or ends_at)
end

-- Leave the value as it was. A build that was to look for a late change has not looked: another is to.
local function _keep(row, lease, again_s)
  local now, look = tables.now, nil
  local looked_at = row.built_at - row.build_s
  if again_s ~= nil and scheduling.was_look(row.terms, row.event_at, looked_at, lease.begun_at) then
    look = now + again_s
    if again_s > 0 then
      row.attempts = row.attempts + 1
    end
  end
  row.state = states.next_state(row.state, "keep")
  _end_lease(row)
  _queue_settled(row, lease.begun_at, look)
  tables.record(row, "fresh")
  tables.save(row)
end

-- Note that a build of the function failed; for how long this pauses its refreshes, nil when it does not.
local function _note_failure(row, roll)
  local name, now = tables.func_of(row), tables.now
  local before = tables.pace(name)
  local paused_until = before.paused_until
  local after = scheduling.pace_after_failure(before, row.key, now, roll)
  tables.set_pace(name, after)
  tables.post_pace(name, after)
  if after.paused_until > math.max(now, paused_until) then
    return after.paused_until - now
  end
  return nil
end

local function _fail(row, request)
  local now, pace, retry_s = tables.now, tables.pace(tables.func_of(row)), request.retry_in_s
  local is_broken = scheduling.is_broken(pace)
  if row.retry_at ~= nil and request.lease.begun_at < row.retry_at then
    -- A reader tried out of turn. The next try comes when it was to come, and is not the last one for that.
    row.attempts, retry_s = row.attempts - 1, math.max(row.retry_at - now, 0)
  elseif row.state == "dirty" then
    -- An event came during this try: the source has changed, so the count begins anew, as it would after the try.
    row.attempts, retry_s = -1, 0
  elseif is_broken or request.is_shared then
    -- Its upstream is down for all, or another entry is the matter. To count this try would only give it up sooner.
    row.attempts = row.attempts - 1
  end
  if is_broken then
    retry_s = math.max(pace.paused_until - now, retry_s or 0)
  end
  row.state = states.next_state(row.state, retry_s == nil and "exhaust" or "fail")
  _end_lease(row)
  row.attempts = row.attempts + 1
  row.reason = request.reason
  row.stale_since = row.stale_since or now
  if retry_s == nil then
    row.retry_at, row.queued_at = nil, nil
    changing.queue(row, tables.time_to_go(row))
  else
    row.retry_at = now + retry_s
    -- A time of 0 counts as none.
    if row.queued_at == nil or row.queued_at == 0 then
      row.queued_at = now
    end
    changing.queue(row, row.retry_at)
  end
  tables.record(row, "failed")
  tables.save(row)
  changing.shake_outward({ row.key })
end

-- Whether every entry that was read still has the value that was seen, or still is not there.
local function _is_seen_current(row)
  for _, seen in ipairs(row.seen) do
    if showing.digest_of(seen[1]) ~= seen[2] then
      return false
    end
  end
  return true
end

local function _is_outrun(row, groups, newest_born, marks)
  if marks then
    local begun = row.begun
    -- A shape younger than the build: events before it was known left no mark.
    return begun < tables.counters.fired_floor
      or newest_born > begun
      or (tables.any_fired(begun) and tables.last_fired_of(unpack_(marks)) > begun)
  end
  return changing.is_outrun(tables.groups_of(groups), row.begun, row)
end

local function _commit_step(row, is_unready, groups, newest_born, marks)
  if is_unready or _is_outrun(row, groups, newest_born, marks) then
    return "commit_outrun"
  end
  if #row.seen == 0 then
    return "commit"
  end
  if not _is_seen_current(row) then
    return "commit_outrun"
  end
  return #showing.unsettled_below(row) > 0 and "commit_shaken" or "commit"
end

-- The earlier of that time and since when what it was built from is out of date.
local function _earliest_below(row, since)
  for _, key in ipairs(showing.unsettled_below(row)) do
    local inner = tables.inner(key)
    since = _earlier(since, inner and inner.stale_since)
  end
  return since
end

local function _queue_again(row, now, attempts, retry_in_s)
  if retry_in_s ~= nil then
    row.attempts = attempts + 1
    row.retry_at = now + retry_in_s
    row.reason = "built without an entry whose build failed"
    changing.queue(row, row.retry_at)
    return
  end
  if row.reason == "" then
    row.reason = _OUTRUN
  end
  row.queued_at = row.queued_at or now
  if #scheduling.term(row.terms, "settle_s") > 0 and row.event_at == nil then
    -- The event came before the entry was known to hang on it. This build has not shown it, nor may the next.
    row.event_at = now
  end
  changing.queue(row, scheduling.due_after_touch(row.terms, now, row.queued_at))
end

-- Set what follows from the state that the commit led to.
local function _after_commit(row, begun_at, attempts, retry_in_s, shows_event)
  local now = tables.now
  if row.state == "dirty" then
    -- What made the old value stale before this build began, this one has seen; what came since, it may have missed.
    local since = math.max(row.stale_since or 0, begun_at)
    row.stale_since = _earliest_below(row, math.min(now, since))
    _queue_again(row, now, attempts, retry_in_s)
    return
  end
  if row.event_at ~= nil and shows_event then
    row.event_at, row.event = nil, nil
  end
  _queue_settled(row, begun_at)
  if row.state == "fresh" then
    row.stale_since, row.reason = nil, ""
  else
    row.stale_since = _earliest_below(row, math.min(now, begun_at))
    row.reason = "built from an unsettled entry"
  end
end

-- The digest of the value of `inner` that the entry saw; nil when it has not read it.
local function _seen_of(row, inner)
  for _, seen in ipairs(row.seen) do
    if seen[1] == inner then
      return seen[2]
    end
  end
  return nil
end

local function _is_stale_below(row)
  local keys = {}
  for number, seen in ipairs(row.seen) do
    keys[number] = seen[1]
  end
  return tables.any_stale(keys)
end

-- Members may be the live table, and what is touched may be taken out of it.
local function _copy(keys)
  local copy = {}
  for number, key in ipairs(keys) do
    copy[number] = key
  end
  return copy
end

-- With `spares_failed` nothing has happened to the entry, and it was only asked what it is.
function building.settle_outward(settled, cause, spares_failed)
  local frontier = { settled }
  while #frontier > 0 do
    local inner = table.remove(frontier)
    tables.tell_elsewhere(inner, "settled", cause)
    for _, outer in ipairs(_copy(tables.members(inner.call))) do
      local row = tables.row(outer)
      if row ~= nil and row.state ~= "dirty" and not tables.is_leased(row) then
        -- What broke it may be well again, though its value is the same; or it did without what is there now. Only the
        -- inner entry that changed is looked at: what the others changed has touched this one already.
        local is_broken = row.state == "failed" and not (spares_failed and inner == settled)
        if is_broken or _seen_of(row, inner.key) ~= showing.digest_of(inner.key) then
          changing.spread({ outer }, { { text = inner.key .. " was refreshed", cause = cause, is_by_call = true } })
        elseif row.state == "suspect" and not _is_stale_below(row) then
          row.state, row.stale_since, row.reason = states.next_state(row.state, "settle"), nil, ""
          tables.record(row, "fresh")
          tables.save(row)
          frontier[#frontier + 1] = row
        end
      end
    end
  end
end

-- Settle or shake who was built from the entry, as it came out of the commit.
local function _tell_outward(row, cause, is_changed)
  if row.state ~= "fresh" then
    tables.record(row, "stale")
    changing.shake_outward({ row.key })
    return
  end
  if not is_changed then
    tables.record(row, "fresh")
  end
  if tables.has_outer() and (tables.n_shards or #tables.members(row.call) > 0) then
    building.settle_outward(row, cause)
  end
end

-- Whether a group equal to that one is among the groups.
local function _has_group(groups, group)
  for _, known in ipairs(groups) do
    if known.s == group.s and known.v == group.v then
      return true
    end
  end
  return false
end

-- The groups of the row and those that are watched, each once.
local function _with_watched(row, watched)
  local found = {}
  for _, groups in ipairs({ tables.groups(row), watched }) do
    for _, group in ipairs(groups) do
      if not _has_group(found, group) then
        found[#found + 1] = group
      end
    end
  end
  return found
end

local function _is_watched(row, watched)
  for _, group in ipairs(watched) do
    if not _has_group(tables.groups(row), group) then
      return false
    end
  end
  return true
end

-- The terms with which a first build begins.
local function _first_terms(terms)
  local first = {}
  for name, value in pairs(terms) do
    first[name] = value
  end
  first.on_change = nil
  return first
end

-- Give the row to a new builder; nobody holds it.
function building.take_lease(row, lease_s)
  local counters, now = tables.counters, tables.now
  -- A lease that ran out while nobody ended it: its builder died, which counts as a failed try.
  if row.token ~= nil then
    row.attempts = row.attempts + 1
    row.n_died = row.n_died + 1
  end
  row.state = states.next_state(row.state, "begin")
  row.token, row.begun = tables.new_token(), counters.sequence
  -- What comes from now on is a job of its own.
  local cause = row.cause
  row.cause, row.queued_at = EMPTY, nil
  row["until"] = now + lease_s
  changing.queue(row, row["until"])
  tables.save(row)
  return {
    row.key,
    row.token,
    counters.epoch,
    row.begun,
    row["until"],
    now,
    row.attempts,
    row.n_died,
    row.event and blob(row.event) or NULL,
    cause,
  }
end

function building.load(request)
  return showing.loaded(tables.row(request.key), request.fingerprint)
end

function building.load_many(request)
  local found = {}
  for number, key in ipairs(request.keys) do
    found[number] = showing.loaded(tables.row(key), request.fingerprint)
  end
  return found
end

function building.begin(request)
  if tables.newest_born(request.ids) == nil then
    changing.learn(unpack_(request.shapes))
  end
  local now, row = tables.now, tables.row(request.key)
  if row == nil then
    -- An event during the first build does not end it: what comes out is dropped, if the function wants that.
    row = tables.new_row({
      key = request.key,
      func = request.func,
      args = request.args,
      call = request.call,
      read_at = now,
      terms = _first_terms(request.terms),
    })
    tables.counters.n_entries = tables.counters.n_entries + 1
  elseif row.version > 0 and row.fingerprint == request.fingerprint and request.good_from ~= nil then
    -- The same that a reader asks of what it loads; else the two would send each other round for ever.
    local is_good = row.stale_since == nil or row.good_from >= request.good_from
    if is_good and not tables.has_expired(row) and tables.has_value(row) then
      return { "not_needed" }
    end
  end
  if tables.is_leased(row) then
    return { "busy", now, row["until"] }
  end
  row.func, row.args = request.func, request.args
  if not _is_watched(row, request.watched) then
    tables.relink(row, _with_watched(row, request.watched))
  end
  return { "lease", building.take_lease(row, request.lease_s) }
end

-- The answer to a commit whose value only its builder may use.
local function _unstored(row, reason, is_recovery)
  local answer = showing.unstored(row, nil, reason)
  answer[7] = is_recovery
  return answer
end

-- Of the sharded alone: what it hangs on and cannot be asked about here.
local function _unattached(groups, seen, is_asked)
  return tables.unattached(tables.groups_of(groups), seen, is_asked)
end

-- The pace of the row's function once this build has succeeded; whether whatever was wrong with it is over.
local function _note_success(row)
  local name = row.func or ""
  local pace = tables.pace(name)
  if pace.n_failures == 0 and pace.n_pauses == 0 and pace.paused_until == 0 then
    return false
  end
  local is_recovery = scheduling.is_broken(pace)
  local after = scheduling.pace_after_success(pace)
  tables.post_pace(name, after)
  tables.set_pace(name, after)
  return is_recovery
end

-- The answer to a commit in few bytes, packed, when there is nothing to say of it but what most have in common: the entry
-- is fresh, and the feed's one record is its own. Else nil, and the answer names the entry.
-- stylua: ignore
local function _short(answer, serial, at, is_plain)
  local row, is_changed, is_recovery = answer[2], answer[3], answer[5]
  local records = tables.records
  if is_plain and #records == 1 and records[1][2] == row.key and row.state == "fresh" and not tables.has_expired(row) then
    return packed_as(
      SHORT_FORMAT, SHORT_TAG, serial, at, (is_changed and 1 or 0) + (is_recovery and 2 or 0), row.version, row.good_from,
      row.changed_at, row.built_at, records[1][1], row.expires_at or NO_NUMBER, tables.look_at(row) or NO_NUMBER,
      tables.func_of(row)
    )
  end
  answer[2] = showing.entry_of(row, true)
  return nil
end

-- What is said of a build comes as one value after the other, and stays so: to put them into tables takes longer than
-- most of what is done with them.
-- stylua: ignore
local function _commit(
  request, value, token, epoch, begun_at, attempts, cause, digest, good_from, build_s, expires_at, is_error, is_private,
  is_awaited, fingerprint, terms, retry_in_s, builder, seen, groups, shapes, ids, marks, places
)
  local row = _held_by(request.key, token, epoch)
  if row == nil then
    return { "overtaken", tables.counters.epoch, tables.counters.sequence, tables.now }
  end
  cause, seen, terms = cause or EMPTY, seen or EMPTY, next(terms) and terms or EMPTY
  local unattached = tables.n_shards and _unattached(groups, seen, request.is_asked)
  if unattached and not request.is_last then
    return tables.refusal(unattached)
  end
  local is_recovery = _note_success(row)
  local newest_born = tables.newest_born(ids)
  if newest_born == nil then
    changing.learn(tables.groups_of(groups, shapes))
    newest_born = tables.newest_born(ids)
  end
  row.seen = seen
  local is_unready = retry_in_s ~= nil or unattached
  row.state = states.next_state(row.state, _commit_step(row, is_unready, groups, newest_born, marks))
  local reason = _why_unstored(row, is_private, terms)
  if reason ~= nil then
    local outcome = _unstored(row, reason, is_recovery)
    changing.drop(row)
    return outcome
  end
  local is_same = row.version > 0 and row.digest == digest and row.fingerprint == fingerprint
  local is_changed = not (is_same and tables.has_value(row))
  local now, expires_s = tables.now, terms.expires_s
  row.fingerprint, row.digest, row.terms = fingerprint, digest, terms
  row.is_error, row.builder = is_error or false, builder
  row.good_from, row.built_at, row.build_s = math.min(row.begun, good_from), now, build_s
  row.attempts, row.retry_at = 0, nil
  row.expires_at = expires_s and _earlier(expires_at, now + expires_s) or expires_at
  _end_lease(row)
  _after_commit(row, begun_at, attempts, retry_in_s, scheduling.shows_event(is_changed, is_awaited))
  tables.relink_packed(row, groups, shapes, places)
  changing.store_value(row, value, is_changed, cause)
  if tables.row(row.key) == row then
    _tell_outward(row, cause, is_changed)
  end
  if row.expires_at ~= nil then
    changing.sweep(row)
  end
  local room = tables.room
  if room.max_entries or room.max_bytes then
    evicting.make_room(row)
  end
  if tables.row(row.key) ~= row then
    -- It looked at something that was built from it, so its own change has dropped it; or it found no room.
    return _unstored(row, _NOT_KEPT, is_recovery)
  end
  tables.short = _short
  return { "committed", row, is_changed, true, is_recovery }
end

function building.commit(request, value, flat)
  return _commit(request, value, unpack_(flat))
end

function building.fail(request)
  local row = _held(request.lease)
  if row == nil then
    return showing.loaded(tables.row(request.lease.key), request.fingerprint)
  end
  local broken, paused_s
  if not request.is_shared then
    paused_s = _note_failure(row, request.roll)
  end
  if paused_s ~= nil then
    broken = { tables.func_of(row), paused_s }
  end
  local answer
  if row.version == 0 and not tables.is_wanted(row) then
    changing.drop(row)
    answer = showing.loaded(nil, nil)
  else
    if _is_unharmed(row) then
      _keep(row, request.lease, request.retry_in_s)
    else
      _fail(row, request)
    end
    answer = showing.loaded(row, request.fingerprint)
  end
  answer[10] = broken or NULL
  return answer
end

function building.give_up(request)
  local row = _held(request.lease)
  if row == nil then
    return true
  end
  if row.version == 0 and not tables.is_wanted(row) then
    changing.drop(row)
    return true
  end
  local now = tables.now
  if _is_unharmed(row) then
    _keep(row, request.lease, 0)
    return true
  end
  row.state = states.next_state(row.state, "give_up")
  _end_lease(row)
  row.stale_since = row.stale_since or now
  row.queued_at = row.queued_at or now
  changing.queue(row, now)
  tables.record(row, "stale")
  tables.save(row)
  changing.shake_outward({ row.key })
  return true
end

function building.extend(request)
  local now, n_held = tables.now, 0
  for _, lease in ipairs(request.leases) do
    local row = _held(lease)
    if row ~= nil then
      row["until"] = now + request.lease_s
      changing.queue(row, row["until"])
      tables.save(row)
      n_held = n_held + 1
    end
  end
  return n_held == #request.leases
end
