-- When the queue looks at an entry, in which order, and what it may begin; follows protocol/scheduling.py.
-- needs:
--
-- Rules
-- - All of it is decided from numbers: nothing here reads the clock or a key.
-- - Terms are maps as Python writes them, with the defaults left out: they are read through `term` alone.
-- - A pace is a map that is never written in place: a function answers with a new one, or with the same one when
--   nothing is to be noted.
-- - What is None in Python is nil here.
local scheduling = {}

local _DEFAULTS = {
  on_change = "refresh", priority = 0, debounce_s = 0, settle_s = {}, keeps_event = false, linger_s = 0,
}

-- One of the terms, or its default; nil for what has no limit.
function scheduling.term(terms, name)
  local value = terms[name]
  if value == nil then
    return _DEFAULTS[name]
  end
  return value
end

-- When an entry that an event touched now falls due, the first unanswered event having come at `queued_at`.
function scheduling.due_after_touch(terms, now, queued_at)
  local debounce_s = scheduling.term(terms, "debounce_s")
  if debounce_s == 0 then
    return math.min(now, queued_at)
  end
  local quiet_at, max_wait_s = now + debounce_s, scheduling.term(terms, "max_wait_s")
  if max_wait_s == nil then
    return quiet_at
  end
  return math.min(quiet_at, queued_at + max_wait_s)
end

-- The place in the queue: the lowest goes first.
function scheduling.rank_of(terms, due, now, read_at, watched_until)
  local level = scheduling.term(terms, "priority")
  if watched_until > now then
    level = level + CONST.WATCHED_LEVELS
  elseif now - read_at < CONST.RECENT_S then
    level = level + CONST.RECENT_LEVELS
  end
  return due - level * CONST.HEAD_START_S
end

-- The place among those that fall due one after the other: the lowest of both numbers, in that order, goes first.
function scheduling.urgency_of(terms, read_at, watched_until)
  return -scheduling.term(terms, "priority"), -math.max(watched_until, read_at)
end

-- When the one at that place, from 0, falls due.
function scheduling.due_in_turn(place, per_s, now)
  return now + place / per_s
end

-- When to look again at an entry that does not show its event yet; nil when it was looked at often enough.
function scheduling.next_look(terms, event_at, now)
  local first = nil
  for _, delay_s in ipairs(scheduling.term(terms, "settle_s")) do
    local look_at = event_at + delay_s
    if look_at > now and (first == nil or look_at < first) then
      first = look_at
    end
  end
  return first
end

-- Whether a build that began then was to look for a late change: since `looked_at`, a time for that had come.
function scheduling.was_look(terms, event_at, looked_at, begun_at)
  if event_at == nil then
    return false
  end
  for _, delay_s in ipairs(scheduling.term(terms, "settle_s")) do
    local look_at = event_at + delay_s
    if looked_at < look_at and look_at <= begun_at then
      return true
    end
  end
  return false
end

-- Whether the value that was built shows the event: as the function says, else when it is another one.
function scheduling.shows_event(is_changed, is_awaited)
  if is_awaited == nil then
    return is_changed
  end
  return is_awaited
end

-- Whether a refresh has waited, since it was due, for so long that nobody wants it any more.
function scheduling.has_lapsed(terms, queued_at, now, due)
  local job_expires_s = scheduling.term(terms, "job_expires_s")
  if job_expires_s == nil or queued_at == nil then
    return false
  end
  return now - math.max(queued_at, due or queued_at) > job_expires_s
end

-- Whether nobody has read the entry for so long that it is not worth a refresh.
function scheduling.is_cold(terms, read_at, watched_until, now)
  local keep_warm_s = scheduling.term(terms, "keep_warm_s")
  return keep_warm_s ~= nil and watched_until <= now and now - read_at > keep_warm_s
end

-- What the rate has used up by now.
local function _spent(per_s, pace, now)
  if pace.spent_at - now > pace.spent / per_s then
    -- The clock was set back so far that waiting for it would take longer than to pay all of it back.
    return 0
  end
  -- Set back by less, it gives nothing back, and takes nothing.
  return math.max(0, pace.spent - math.max(0, now - pace.spent_at) * per_s)
end

-- How many refreshes of a function may begin now; if that is none, also when to ask again (nil: anytime).
function scheduling.quota_of(limit, pace, n_leased, n_max, now)
  local is_broken = scheduling.is_broken(pace)
  if is_broken and scheduling.is_paused(pace, now) then
    return 0, pace.paused_until
  end
  -- Of a broken function one tries, and the others wait for what comes of it.
  local n_at_once = limit.n_at_once
  if is_broken then
    n_at_once = 1
  end
  local n = n_max
  if n_at_once ~= nil then
    n = math.min(n_max, math.max(0, n_at_once - n_leased))
  end
  if limit.per_s == nil or n == 0 then
    return n
  end
  local n_left = scheduling.burst_of(limit.per_s) - _spent(limit.per_s, pace, now)
  local n_allowed = math.floor(n_left + limit.per_s * CONST.ROUNDING_S)
  if n_allowed >= 1 then
    return math.min(n, n_allowed)
  end
  return 0, now + (1 - n_left) / limit.per_s
end

-- Whether the function's upstream counts as down.
function scheduling.is_broken(pace)
  return pace.n_failures >= CONST.BREAK_AFTER_FAILURES and #pace.failed >= CONST.BREAK_AFTER_KEYS
end

-- Whether the function waits before its next try. No pause is longer than the longest: the clock was set back.
function scheduling.is_paused(pace, now)
  return now < pace.paused_until and pace.paused_until <= now + CONST.LONGEST_PAUSE_S
end

-- How many may begin at once after a rest: a second's worth, at least one.
function scheduling.burst_of(per_s)
  return math.max(1, per_s)
end

local function _replaced(pace, changes)
  local after = {}
  for name, value in pairs(pace) do
    after[name] = value
  end
  for name, value in pairs(changes) do
    after[name] = value
  end
  return after
end

-- The pace once so many refreshes began.
function scheduling.pace_after_start(limit, pace, n_started, now)
  if limit.per_s == nil or n_started == 0 then
    return pace
  end
  return _replaced(pace, { spent = _spent(limit.per_s, pace, now) + n_started, spent_at = now })
end

-- The last different keys that failed, this one among them.
local function _failed_with(failed, key)
  local after = {}
  for number, other in ipairs(failed) do
    if other == key then
      return failed
    end
    after[number] = other
  end
  after[#after + 1] = key
  while #after > CONST.BREAK_AFTER_KEYS do
    table.remove(after, 1)
  end
  return after
end

-- The pace once a build of the key failed; a function that is broken is paused, twice as long each time.
function scheduling.pace_after_failure(pace, key, now, roll)
  local after = _replaced(pace, { failed = _failed_with(pace.failed, key), n_failures = pace.n_failures + 1 })
  if not scheduling.is_broken(after) or scheduling.is_paused(pace, now) then
    -- Those that were under way when the pause began say nothing new.
    return after
  end
  -- Beyond 2^16 the longest pause decides anyway.
  local doubled_s = CONST.FIRST_PAUSE_S * 2 ^ math.min(pace.n_pauses, 16)
  local pause_s = math.min(CONST.LONGEST_PAUSE_S, doubled_s) * (0.5 + roll / 2)
  after.n_pauses, after.paused_until = pace.n_pauses + 1, now + pause_s
  return after
end

-- The pace once a build succeeded: whatever was wrong is over.
function scheduling.pace_after_success(pace)
  if pace.n_failures == 0 then
    return pace
  end
  return _replaced(pace, { failed = {}, n_failures = 0, n_pauses = 0, paused_until = 0 })
end
