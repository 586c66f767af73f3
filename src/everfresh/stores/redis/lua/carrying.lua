-- The steps that carry what crosses shards: where an entry is built from one that stands on another shard.
-- needs: tables, states, scheduling, changing_spread, evicting, building
--
--     the inner entry's shard                      the outer entry's shard
--                                      expect      a place for the mirror, with a number
--     attach   its state, and from now on news ──▶ carry (is_answer): the mirror is known
--     any step: news in the outbox ─────────────▶ carry: the mirror is renewed, outer entries touched, shaken, settled
--     delivered: the outbox forgets them    ◀────  and what was forgotten here is attached there no longer
--
-- Rules
-- - News are the whole state of an entry, with its shard's sequence: what is not newer than the mirror is passed over,
--   so that news may come twice, late, or not at all when later ones have come.
-- - News of a life of the shard that is not the one heard of are of no use: the outer entries are touched, which costs
--   a build, and the mirror is left unknown.
-- - What a carry does may be news for others again; they are in its answer like those of any step.
local carrying = {}

local N_PENDING = 100

-- Make places for mirrors: the epoch, and their numbers.
function carrying.expect(request)
  local numbers = {}
  for number, key in ipairs(request.keys) do
    numbers[number] = tables.place_for(key)
  end
  return { tables.counters.epoch, numbers }
end

-- Attach mirrors on another shard to entries here: what these are now.
function carrying.attach(request)
  local found = {}
  for number, key in ipairs(request.keys) do
    local place = tables.attach(key, request.shard, request.epoch, request.places[number])
    found[number] = tables.news_of(key, request.shard, place)
  end
  return found
end

local function _append(keys, more)
  for _, key in ipairs(more) do
    keys[#keys + 1] = key
  end
end

local function _touch(members, news, found)
  local text = news.key .. (news.version > 0 and " changed" or " was dropped")
  local why = { text = text, cause = news.cause or {}, is_by_call = true }
  local keys, whys = {}, {}
  for number, key in ipairs(members) do
    keys[number], whys[number] = key, why
  end
  local pace = found.per_s and { per_s = found.per_s, n_before = #found.places }
  local touched, suspect, places = changing.spread(keys, whys, pace)
  _append(found.places, places or {})
  _append(found.touched, touched)
  _append(found.suspect, suspect)
end

-- What the mirror is to be from now on.
local function _renewed(mirror, news)
  local renewed = {
    key = news.key, is_mirror = true, is_used = mirror.is_used, epoch = news.epoch, sequence = news.sequence,
    version = news.version, digest = news.digest, stale_since = news.stale_since, expires_at = news.expires_at,
    changed_at = news.changed_at, call = news.call,
  }
  renewed.func = not news.is_put and "" or nil
  renewed.place_epoch, renewed.place = mirror.place_epoch, mirror.place
  return renewed
end

-- Nothing here hangs on the entry. A place that was made for a commit under way waits for it.
local function _pass_over(mirror, news, found)
  local is_waited_for = not mirror.is_missing and not mirror.is_used and mirror.place_epoch == tables.counters.epoch
  if is_waited_for then
    return false
  end
  if not mirror.is_missing then
    tables.forget_mirror(news.key)
  end
  found.detached[#found.detached + 1] = { news.key, news.source, news.place_epoch, news.place }
  return true
end

local function _spread(old, mirror, members, news, found)
  if news.is_evicted and tables.is_gone(mirror) then
    evicting.evict_with_outer(members)
    return
  end
  local is_changed = not old.is_unknown and old.changed_at ~= mirror.changed_at
  if is_changed or news.is_changed then
    _touch(members, news, found)
    if #tables.members(news.call) == 0 then
      -- All of them were dropped, and the mirror was forgotten with the last one.
      return
    end
  end
  if mirror.version > 0 and mirror.stale_since ~= nil then
    _append(found.suspect, changing.shake_outward({ mirror.key }))
  else
    building.settle_outward(mirror, news.cause or {}, not news.is_settled)
  end
end

local function _carry(news, found)
  local old, members = tables.mirror(news.key), tables.members(news.call)
  if #members == 0 and not news.is_answer and _pass_over(old, news, found) then
    return
  end
  if tables.heard(news.source) == nil then
    tables.hear(news.source, news.epoch)
  end
  local is_of_place = old.place_epoch == news.place_epoch and old.place == news.place
  if tables.heard(news.source) ~= news.epoch or (old.is_unknown and not is_of_place) then
    -- Of another life, or somebody deleted the mirror: nobody knows what was told to whom.
    _touch(members, news, found)
    return
  end
  if not old.is_unknown and old.epoch == news.epoch and old.sequence >= news.sequence then
    return
  end
  local mirror = _renewed(old, news)
  tables.save_mirror(mirror)
  _spread(old, mirror, members, news, found)
end

-- Take news of entries elsewhere: what they touch and shake here, and what is of no interest here any more.
function carrying.carry(request)
  local found = { touched = {}, suspect = {}, detached = {}, places = {}, per_s = request.per_s }
  for _, news in ipairs(request.news) do
    _carry(news, found)
  end
  local place = { tables.counters.epoch, tables.counters.sequence }
  return { found.touched, found.suspect, found.detached, place, found.per_s and { tables.now, found.places } or NULL }
end

-- News were carried: the outbox forgets them, unless there are newer ones; and nobody is told of what was detached.
function carrying.delivered(request)
  tables.check_outbox()
  local counters = tables.counters
  for _, item in ipairs(request.carried) do
    local field = item[1] .. ":" .. item[2]
    local packed = call("HGET", P .. "u", field)
    if packed and (unpack_(packed)) <= item[3] then
      counters.n_posted = counters.n_posted - call("HDEL", P .. "u", field)
    end
  end
  for _, item in ipairs(request.detached) do
    tables.detach(item[1], item[2], item[3], item[4])
  end
  return true
end

-- Some of what is in the outbox, as it stands now: whoever posted it may have died.
function carrying.pending()
  tables.check_outbox()
  local counters, found = tables.counters, {}
  local items = call("HRANDFIELD", P .. "u", N_PENDING, "WITHVALUES")
  for number = 1, #items, 2 do
    local field, packed = items[number], items[number + 1]
    local shard, key = string.match(field, "^(%d+):(.*)$")
    local place = tables.attached_place(key, tonumber(shard))
    if place then
      local news = tables.news_of(key, tonumber(shard), place)
      local _
      _, news.cause, news.is_changed, news.is_settled, news.is_evicted = unpack_(packed)
      found[#found + 1] = news
    else
      counters.n_posted = counters.n_posted - call("HDEL", P .. "u", field)
    end
  end
  return found
end

local function _hangs_on(row, shard)
  for _, seen in ipairs(row.seen) do
    if tables.shard_of(seen[1]) == shard then
      return true
    end
  end
  for _, group in ipairs(tables.groups(row)) do
    for _, key in ipairs(group.k or {}) do
      if tables.shard_of(key) == shard then
        return true
      end
    end
  end
  return false
end

-- Go through some entries, and touch those built from what stood on a shard that has lost its memory.
local function _sweep(lost, after_id, n)
  local rows, last = tables.scan(after_id, n)
  local keys, whys = {}, {}
  for _, row in ipairs(rows) do
    if row.state ~= "dirty" then
      for shard in pairs(lost) do
        if _hangs_on(row, shard) then
          keys[#keys + 1] = row.key
          whys[#keys] = { text = "a shard lost its memory", cause = {}, is_by_call = true }
          break
        end
      end
    end
  end
  changing.spread(keys, whys)
  return last
end

-- Take note of the epochs of other shards: whether that was all, and how far it came.
function carrying.hear(request)
  local lost, is_any = {}, false
  for _, pair in ipairs(request.epochs) do
    local shard, epoch = pair[1], pair[2]
    if shard ~= tables.shard and call("HGET", P .. "l", "s" .. shard) ~= epoch then
      if tables.heard(shard) ~= epoch then
        tables.hear(shard, epoch)
      end
      lost[shard], is_any = epoch, true
    end
  end
  local last = tables.counters.id
  if is_any and request.after_id < last then
    last = _sweep(lost, request.after_id, request.n)
  end
  local is_end = not is_any or last >= tables.counters.id
  if is_end then
    for shard, epoch in pairs(lost) do
      call("HSET", P .. "l", "s" .. shard, epoch)
    end
  end
  return { is_end, last }
end

-- Of each function: how many are being built, the ranks of what is due, and when to ask again.
function carrying.peek(request)
  local found = {}
  for number, name in ipairs(request.functions) do
    local n_leased = tables.n_leased(name)
    -- Of a broken function one may try, wherever it stands.
    local n, next_at = scheduling.quota_of({}, tables.pace(name), 0, request.n_max, tables.now)
    local ranks = {}
    if n > 0 then
      local next_due
      ranks, next_due = tables.due_ranks(name, math.min(n, request.n_max))
      if next_due ~= nil and (next_at == nil or next_due < next_at) then
        next_at = next_due
      end
    end
    found[number] = { n_leased, ranks, next_at or NULL, scheduling.is_broken(tables.pace(name)) }
  end
  return { found, tables.now }
end

-- The entries here that were built from the one with this bucket.
function carrying.outer(request)
  return tables.members(request.call)
end

-- How many refreshes of functions with a pace may begin now, and when the next one may. Of each function one shard
-- keeps count for all.
function carrying.allow(request)
  local found = {}
  for number, limit in ipairs(request.functions) do
    local pace = tables.pace(limit[1])
    local paced = { spent = pace.spent, spent_at = pace.spent_at, failed = {}, n_failures = 0, n_pauses = 0, paused_until = 0 }
    local n, next_at = scheduling.quota_of({ per_s = limit[2] }, paced, 0, request.n_max, tables.now)
    found[number] = { n, next_at or NULL }
  end
  return found
end

-- How refreshes of functions failed elsewhere.
function carrying.set_paces(request)
  for _, item in ipairs(request.paces) do
    local before = tables.pace(item[1])
    tables.set_pace(item[1], {
      failed = item[2],
      n_failures = item[3],
      n_pauses = item[4],
      paused_until = item[5],
      spent = before.spent,
      spent_at = before.spent_at,
      packed = before.packed,
    })
  end
  return true
end

-- So many of them have begun.
function carrying.started(request)
  for _, item in ipairs(request.functions) do
    local pace = scheduling.pace_after_start({ per_s = item[2] }, tables.pace(item[1]), item[3], tables.now)
    tables.set_pace(item[1], pace)
  end
  return true
end

