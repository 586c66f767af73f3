-- What this shard knows of entries that stand on others, and what others are to know of its own.
-- needs: tables_rows
--
-- P..h:<key> is a mirror: of an entry elsewhere that one here was built from, its state as it was told last. P..z is a
-- hash of the shards that have mirrors of entries here, by key: an array of each shard's number and the place that it
-- gave. P..u, the outbox, is a hash of what they were not told yet, by shard and key. P..l is a hash of the epochs of
-- the other shards: the one heard of last, by the shard's number, and behind an "s" the one because of which all entries
-- here were gone through.
--
-- Rules
-- - With one shard there is nothing of all this: `tables.n_shards` is nil, and each question is answered by that.
-- - A mirror that is not there, that nobody has told of yet, or that is of a life of its shard that is over, is
--   unknown: it counts as unsettled, and its digest is nobody's.
-- - A mirror that is known has its shard's entry attached to it, so that it is told of whatever happens to that. So a
--   value is stored above known mirrors only; its step makes places for the others, and names them: `unattached`.
-- - Each place has a number, which grows. A shard forgets a mirror by the number that it was given, so that what comes
--   late does not undo what came after it.
-- - A place that nobody used is gone after a while.
-- - The counters say how many fields P..z and P..u have. Where that is not so, somebody meddled with them, and nobody
--   knows who was not told of what: a new life begins here, which the other shards hear of.
local PLACE_S = 600

-- Into how many shards the store is divided, as far as the epochs of the others tell, if somebody deleted the number.
local function _n_heard()
  local n_others = 0
  for _, field in ipairs(call("HKEYS", P .. "l")) do
    n_others = n_others + (tonumber(field) and 1 or 0)
  end
  if n_others == 0 then
    return nil
  end
  call("SET", P .. "N", n_others + 1)
  return n_others + 1
end

-- Into how many shards the store is divided, when that is another number than the asker's. The first one knows.
function tables.other_number()
  if (tables.shard or 0) ~= 0 then
    return nil
  end
  local n_shards, known = tables.n_shards or 1, tonumber(call("GET", P .. "N") or nil)
  if known == nil then
    known = _n_heard()
  end
  if known == nil and n_shards > 1 then
    if tables.counters.sequence == 0 and tables.counters.id == 0 then
      call("SET", P .. "N", n_shards)
      return nil
    end
    known = 1
  end
  return known ~= nil and known ~= n_shards and known or nil
end

-- Which shard has the key.
function tables.shard_of(key)
  return tonumber(string.sub(redis.sha1hex(key), 1, 8), 16) % tables.n_shards
end

function tables.is_elsewhere(key)
  return tables.n_shards ~= nil and tables.shard_of(key) ~= tables.shard
end

-- The token of a lease: no other lease of the store has it.
function tables.new_token()
  local counters = tables.counters
  counters.token = counters.token + 1
  if tables.n_shards == nil then
    return counters.token
  end
  return counters.token * tables.n_shards + tables.shard
end

-- How refreshes of a function fail is known to all shards.
function tables.post_pace(func, pace)
  if tables.n_shards ~= nil then
    tables.paces[#tables.paces + 1] = { func, pace.failed, pace.n_failures, pace.n_pauses, pace.paused_until }
  end
end

-- The epoch in which another shard is, as far as is heard; nil when nothing was.
function tables.heard(shard)
  local epoch = tables.epochs[shard]
  if epoch == nil then
    epoch = call("HGET", P .. "l", shard)
    tables.epochs[shard] = epoch
  end
  return epoch or nil
end

-- Another shard is in this epoch: what was told of any other is unknown.
function tables.hear(shard, epoch)
  call("HSET", P .. "l", shard, epoch)
  tables.epochs[shard], tables.mirrors = epoch, {}
end

-- stylua: ignore
local function _unpacked_mirror(key, packed)
  local m = { key = key, is_mirror = true }
  local is_put
  m.place_epoch, m.place, m.is_used, m.epoch, m.sequence, m.version, m.digest, m.stale_since, is_put, m.expires_at,
    m.changed_at, m.call = unpack_(packed)
  -- Only of values that were put it is asked whether they are over.
  m.func = not is_put and "" or nil
  return m
end

-- Whether nothing is known of the entry.
local function _is_unknown(mirror)
  return mirror.epoch == nil or mirror.epoch ~= tables.heard(tables.shard_of(mirror.key))
end

-- The mirror with what was told of it, or an unknown one; it looks like a row.
function tables.mirror(key)
  local mirror = tables.mirrors[key]
  if mirror then
    return mirror
  end
  local packed = call("GET", P .. "h:" .. key)
  mirror = packed and _unpacked_mirror(key, packed) or { key = key, is_mirror = true, is_missing = true }
  if _is_unknown(mirror) then
    mirror.is_unknown = true
    mirror.version, mirror.digest, mirror.func, mirror.stale_since = 1, "?", "", tables.now
    mirror.changed_at = math.huge
  end
  tables.mirrors[key] = mirror
  return mirror
end

-- The entry as those that were built from it look at it, wherever it stands; nil when it is known not to be there.
function tables.inner(key)
  if tables.n_shards ~= nil and tables.shard_of(key) ~= tables.shard then
    return tables.mirror(key)
  end
  return tables.row(key)
end

-- stylua: ignore
function tables.save_mirror(m)
  local packed
  if m.is_unknown then
    packed = pack(m.place_epoch, m.place, m.is_used or false)
  else
    packed = pack(
      m.place_epoch, m.place, m.is_used or false, m.epoch, m.sequence, m.version, m.digest, m.stale_since,
      m.func == nil, m.expires_at, m.changed_at, m.call
    )
  end
  m.is_missing = nil
  tables.mirrors[m.key] = m
  if m.is_used then
    call("SET", P .. "h:" .. m.key, packed)
  else
    call("SET", P .. "h:" .. m.key, packed, "EX", PLACE_S)
  end
end

function tables.forget_mirror(key)
  tables.mirrors[key] = nil
  call("UNLINK", P .. "h:" .. key)
end

-- The number of the place for the mirror, which is made if there is none of this life.
function tables.place_for(key)
  local mirror, counters = tables.mirror(key), tables.counters
  if mirror.is_missing or mirror.place_epoch ~= counters.epoch then
    counters.token = counters.token + 1
    mirror.place_epoch, mirror.place = counters.epoch, counters.token
    tables.save_mirror(mirror)
  end
  return mirror.place
end

local function _inner_keys(groups, seen)
  local keys, digests = {}, {}
  for _, one in ipairs(seen) do
    if digests[one[1]] == nil and tables.is_elsewhere(one[1]) then
      keys[#keys + 1] = one[1]
      digests[one[1]] = one[2]
    end
  end
  for _, group in ipairs(groups) do
    for _, key in ipairs(group.k or {}) do
      if digests[key] == nil and tables.is_elsewhere(key) then
        keys[#keys + 1] = key
        digests[key] = false
      end
    end
  end
  return keys, digests
end

-- Of those elsewhere that a value hangs on, those that have to be asked for first: nothing is known of them. Unless
-- they were asked for, also those of which something else is known than what was seen, or that are unsettled. nil when
-- there are none; then their mirrors are in use from now on.
function tables.unattached(groups, seen, is_asked)
  if tables.n_shards == nil then
    return nil
  end
  local keys, digests = _inner_keys(groups, seen)
  local found = {}
  for _, key in ipairs(keys) do
    local mirror, digest = tables.mirror(key), digests[key]
    local is_unclear = mirror.is_unknown
    if not is_unclear and not is_asked then
      local known = tables.is_gone(mirror) and "" or mirror.digest
      is_unclear = (digest and digest ~= known) or (mirror.version > 0 and mirror.stale_since ~= nil)
    end
    if is_unclear then
      found[#found + 1] = key
    end
  end
  if #found > 0 then
    return found
  end
  for _, key in ipairs(keys) do
    local mirror = tables.mirror(key)
    if not mirror.is_used then
      mirror.is_used = true
      tables.save_mirror(mirror)
    end
  end
  return nil
end

-- The answer of a step that has to wait for what it hangs on: what is to be asked for, and the places for it.
function tables.refusal(unattached)
  local places = {}
  for number, key in ipairs(unattached) do
    places[number] = tables.place_for(key)
  end
  return { "unattached", unattached, tables.counters.epoch, places }
end

-- Mirrors from which nothing is built here any more are of no use.
function tables.forget_unused(groups)
  for _, group in ipairs(groups) do
    for number, key in ipairs(group.k or {}) do
      if tables.is_elsewhere(key) and #tables.members(group.b[number]) == 0 then
        tables.forget_mirror(key)
      end
    end
  end
end

-- Notice when some of what is to be told, or to whom, was lost; before anything is read there or written.
local function _check(name, count, what)
  local n_fields = call("HLEN", P .. name)
  if n_fields ~= tables.counters[count] then
    tables.counters[count] = n_fields
    tables.lose(what)
  end
end

local function _check_attached()
  _check("z", "n_attached", "whom it has to tell")
end

function tables.check_outbox()
  _check("u", "n_posted", "what it has to tell")
end

-- The shards that have a mirror of the entry, each followed by the place that it gave.
local function _attached(key)
  _check_attached()
  local packed = call("HGET", P .. "z", key)
  return packed and unpack_(packed) or {}
end

local function _set_attached(key, attached)
  local counters = tables.counters
  if #attached > 0 then
    counters.n_attached = counters.n_attached + call("HSET", P .. "z", key, pack(attached))
  else
    counters.n_attached = counters.n_attached - call("HDEL", P .. "z", key)
  end
end

-- Where in the array the shard stands; behind its end if it does not.
local function _index_of(attached, shard)
  for number = 1, #attached, 2 do
    if attached[number] == shard then
      return number
    end
  end
  return #attached + 1
end

-- The place that the shard gave; nil when it has no mirror of the entry.
function tables.attached_place(key, shard)
  local attached = _attached(key)
  return attached[_index_of(attached, shard) + 1]
end

-- Those that were built from the entry, here, are told what happened to it; have those elsewhere be told too.
-- `what` says more than its state does: "changed", "settled" or "evicted".
function tables.tell_elsewhere(row, what, cause)
  if tables.n_shards == nil or row.is_mirror then
    return
  end
  local told = tables.told[row.key]
  if told == nil then
    told = { attached = _attached(row.key), cause = cause or {} }
    tables.told[row.key] = told
  end
  if cause and #cause > 0 then
    told.cause = cause
  end
  if what then
    told[what] = true
  end
end

local function _place_of(text)
  local epoch, number = string.match(text, "^(.*)%.(%d+)$")
  return epoch, tonumber(number)
end

-- What is to be told of the entry as it stands now, to the shard that gave this place.
function tables.news_of(key, shard, place)
  local counters, row = tables.counters, tables.row(key)
  local news = { key = key, source = tables.shard, target = shard, epoch = counters.epoch, sequence = counters.sequence }
  news.place_epoch, news.place = _place_of(place)
  if row then
    news.version, news.digest, news.stale_since = row.version, row.digest, row.stale_since
    news.is_put, news.expires_at, news.changed_at = row.func == nil, row.expires_at, row.changed_at
  else
    news.version, news.digest, news.is_put, news.changed_at = 0, "", false, 0
  end
  return news
end

-- Attach the mirror that has this place on that shard.
function tables.attach(key, shard, epoch, number)
  local place, attached = epoch .. "." .. string.format("%.0f", number), _attached(key)
  local index = _index_of(attached, shard)
  local before = attached[index + 1]
  if before then
    local its_epoch, its_number = _place_of(before)
    if its_epoch == epoch and its_number >= number then
      return before
    end
  end
  attached[index], attached[index + 1] = shard, place
  _set_attached(key, attached)
  return place
end

-- The shard has forgotten the mirror with this place, or an earlier one.
function tables.detach(key, shard, epoch, number)
  local attached = _attached(key)
  local index = _index_of(attached, shard)
  local before = attached[index + 1]
  if before then
    local its_epoch, its_number = _place_of(before)
    if its_epoch == epoch and its_number <= number then
      table.remove(attached, index)
      table.remove(attached, index)
      _set_attached(key, attached)
    end
  end
end

-- Put what the step has to tell into the outbox, with its answer; before the counters are written.
function tables.post()
  local counters, is_any = tables.counters, false
  for _, told in pairs(tables.told) do
    is_any = is_any or #told.attached > 0
  end
  if not is_any then
    return
  end
  tables.check_outbox()
  -- What is told later has to be known as later, though the step wrote nothing into the feed.
  if #tables.records == 0 then
    counters.sequence = counters.sequence + 1
  end
  for key, told in pairs(tables.told) do
    for number = 1, #told.attached, 2 do
      local shard = told.attached[number]
      local news = tables.news_of(key, shard, told.attached[number + 1])
      news.is_changed, news.is_settled, news.is_evicted = told.changed, told.settled, told.evicted
      news.cause = told.cause
      tables.posted[#tables.posted + 1] = news
      local packed = pack(news.sequence, told.cause, told.changed, told.settled, told.evicted)
      counters.n_posted = counters.n_posted + call("HSET", P .. "u", shard .. ":" .. key, packed)
    end
  end
end
