-- Rows as they are written, with their places in the queue and among the leases, and the numbers of the store.
-- needs: tables_rows
--
-- P..n:<id/64> is a hash of the keys of 64 entries, by the rest of the id; one that was not lost since its first entry
-- has the field "whole". P..t is the number of the newest such hash.
-- P..w:<function> orders what waits by when it falls due, P..y:<function> what is due by its rank; P..g:<function>
-- holds the leases by when they end, P..f the functions that ever had entries. P..c orders entries with a value by when
-- they were read, where room may run short.
-- Who waits is named by its id, its rank, and when it is due, exactly, so that whoever moves it where the rank decides
-- need not read its row; a lease is named by its id and the position at which it began.
--
-- Rules
-- - A row is written once in a step, at its end or before somebody looks where it stands.
-- - What is due when it is written goes where the rank decides at once.
-- - The queues of a function that has entries are never empty: the end of each stands in it for ever, under a number that
--   no entry has. So one that is missing was lost, and the entries that waited in it.
local ID_FORMAT, PLACE_FORMAT, LEASE_FORMAT = ">I5", ">I5dd", ">I5I6"
local NOBODY = 0
-- Names and data.
local N_SET = 1000

function tables.id_bytes(id)
  return packed_as(ID_FORMAT, id)
end

function tables.id_of(bytes)
  return (unpacked_as(ID_FORMAT, bytes))
end

-- Have the function's queues, each with its end.
function tables.begin_queues(func)
  call("ZADD", K.waiting[func], "+inf", packed_as(PLACE_FORMAT, NOBODY, 0, math.huge))
  call("ZADD", K.ready[func], "+inf", tables.id_bytes(NOBODY))
end

-- The function has entries from now on.
local function _know(func)
  if call("SADD", K.f, func) == 1 then
    tables.begin_queues(func)
  end
end

-- The entry's number; a new one if it has none.
function tables.id(row)
  local id = row.id
  if id == nil then
    local counters = tables.counters
    id = counters.id + 1
    while call("HSETNX", P .. "n:" .. floor(id / BLOCK), id % BLOCK, row.key) == 0 do
      -- It is another's: the newest number was lost twice over. The next block, then.
      id = (floor(id / BLOCK) + 1) * BLOCK
    end
    counters.id = id
    row.id = id
    if id % BLOCK == 0 or id == 1 then
      call("HSET", P .. "n:" .. floor(id / BLOCK), "whole", "")
      call("SET", K.t, floor(id / BLOCK) + 1)
    end
    _know(row.func or "")
    _keys[id] = row.key
  end
  return id
end

-- A new row; what is not said of it is as in any new one.
-- stylua: ignore
function tables.new_row(said)
  -- In one piece: a table that grows field by field is made anew several times.
  return {
    key = said.key, id = nil, life = tables.counters.life, state = said.state or "building", func = said.func,
    args = said.args, call = said.call, fingerprint = said.fingerprint or "", digest = said.digest or "",
    version = said.version or 0, good_from = said.good_from or 0, changed_at = said.changed_at or 0,
    built_at = said.built_at or 0, build_s = said.build_s or 0, packed_groups = nil, groups = said.groups or {},
    seen = said.seen or {}, terms = said.terms or {}, stale_since = said.stale_since, reason = said.reason or "",
    attempts = said.attempts or 0, retry_at = said.retry_at, due = said.due, rank = said.rank or 0,
    token = said.token, ["until"] = said["until"] or 0, begun = said.begun or 0, n_died = said.n_died or 0,
    expires_at = said.expires_at, queued_at = said.queued_at, event_at = said.event_at, event = said.event,
    cause = said.cause or {}, history = said.history or {}, builder = said.builder or "",
    is_error = said.is_error or false, n_bytes = said.n_bytes or 0, read_at = said.read_at or 0,
    watched_until = said.watched_until or 0, was_saved = nil, was_func = nil, was_due = nil, was_rank = nil,
    was_token = nil, was_until = nil, was_begun = nil, is_unsaved = nil,
  }
end

-- Have the row written, new or changed, when the step ends.
function tables.save(row)
  if not row.is_unsaved then
    row.is_unsaved = true
    _n_unsaved = _n_unsaved + 1
    _unsaved[_n_unsaved] = row
    _set_row(row.key, row)
  end
end

-- Have the data stand under the name when the step ends.
local function _set_last(name, data)
  local n = _n_to_set + 2
  _to_set[n - 1], _to_set[n], _n_to_set = name, data, n
end

-- Store the value.
function tables.set_value(row, value)
  row.value = value
  _n_valued = _n_valued + 1
  _valued[_n_valued] = row
end

-- Take the row out of the queue and out of the leases, as far as it stood there when it was written last.
local function _unqueue(row, func)
  if row.was_due ~= nil then
    if not row.was_ready then
      call("ZREM", K.waiting[func], row.was_place or packed_as(PLACE_FORMAT, row.id, row.was_rank, row.was_due))
    end
    -- Most fall due much later, which no rounding changes.
    local now = tables.now
    if row.was_due <= now + 1 and _micros(row.was_due) <= _micros(now) then
      call("ZREM", K.ready[func], tables.id_bytes(row.id))
    end
    row.was_due, row.was_ready = nil, nil
  end
end

local function _unlease(row, func)
  if row.was_token ~= nil then
    call("ZREM", K.leases[func], row.was_lease or packed_as(LEASE_FORMAT, row.id, row.was_begun))
    row.was_token = nil
  end
end

local function _queue(row, func)
  local due, rank = row.due, row.rank
  if due == row.was_due and (due == nil or rank == row.was_rank) then
    return
  end
  _unqueue(row, func)
  row.was_due, row.was_rank, row.was_place = due, rank, nil
  if due == nil then
    return
  end
  if due <= tables.now then
    call("ZADD", K.ready[func], _micros(rank), tables.id_bytes(row.id))
  else
    row.was_place = packed_as(PLACE_FORMAT, row.id, rank, due)
    call("ZADD", K.waiting[func], _micros(due), row.was_place)
  end
end

local function _lease(row, func)
  local token, ends_at, begun = row.token, row["until"], row.begun
  if token == row.was_token and (token == nil or (ends_at == row.was_until and begun == row.was_begun)) then
    return
  end
  _unlease(row, func)
  row.was_token, row.was_until, row.was_begun = token, ends_at, begun
  if token ~= nil then
    row.was_lease = packed_as(LEASE_FORMAT, row.id, begun)
    call("ZADD", K.leases[func], _micros(ends_at), row.was_lease)
  end
end

-- The groups as a row has them; nil when there are none.
local function _packed_groups(groups)
  if #groups == 0 then
    return nil
  end
  local packed = {}
  for number, group in ipairs(groups) do
    local tails = {}
    for place, bucket in ipairs(group.b) do
      tails[place] = string.sub(bucket, SHAPE_BYTES + 1)
    end
    local operands = group.t and group.o or NULL
    packed[number] = { group.s, table.concat(tails), operands, group.v or NULL, group.p or NULL, group.k or NULL }
  end
  return pack(packed)
end

-- Whether the counters counted the row, in this life or in one before.
local function _is_counted(life)
  for _, known in ipairs(tables.counters.lives) do
    if known == life then
      return true
    end
  end
  return false
end

local function _count_in(row)
  local counters = tables.counters
  if not _is_counted(row.was_life) then
    counters.n_entries, counters.n_bytes = counters.n_entries + 1, counters.n_bytes + row.n_bytes
  end
end

local function _write(row)
  local func = row.func or ""
  if row.is_unlinked then
    row.is_unlinked = nil
    _count_in(row)
    tables.link_anew(row)
  end
  tables.id(row)
  if row.life < 0 and (row.token ~= nil or row.state ~= "dirty") then
    row.life = tables.counters.life
  end
  if row.was_saved and row.was_func ~= row.func then
    local before = row.was_func or ""
    _unqueue(row, before)
    _unlease(row, before)
    _know(func)
  end
  row.was_func, row.was_saved = row.func, true
  row.name = row.name or P .. "r:" .. row.key
  row.packed = _packed_row(row)
  _n_written = _n_written + 1
  _written[_n_written] = row
  _queue(row, func)
  _lease(row, func)
  local room = tables.room
  if row.version > 0 and (room.max_entries or room.max_bytes) then
    call("ZADD", K.c, _micros(row.read_at), tables.id_bytes(row.id))
  end
end

-- Write what is not written yet.
function tables.flush()
  local number = 1
  -- To write one may make another known.
  while number <= _n_unsaved do
    local row = _unsaved[number]
    if row.is_unsaved then
      row.is_unsaved = nil
      _write(row)
    end
    number = number + 1
  end
  _n_unsaved = 0
end

-- Delete the row and its value; its links are gone already.
function tables.remove(row)
  local key, id = row.key, row.id
  row.is_unsaved = nil
  _set_row(key, false)
  row.value = false
  if row.is_unlinked then
    _count_in(row)
  end
  -- Nothing of it is set when the step ends.
  row.packed = nil
  call("UNLINK", P .. "r:" .. key, P .. "v:" .. key)
  if id == nil then
    return
  end
  local func = row.was_func or ""
  _unqueue(row, func)
  _unlease(row, func)
  if tables.key_of(id) == key then
    local block = floor(id / BLOCK)
    call("HDEL", P .. "n:" .. block, id % BLOCK)
    if block < floor(tables.counters.id / BLOCK) and call("HLEN", P .. "n:" .. block) == 1 then
      call("UNLINK", P .. "n:" .. block)
    end
    _keys[id] = false
    if tables.room.max_entries or tables.room.max_bytes then
      call("ZREM", K.c, tables.id_bytes(id))
    end
  end
end

-- Set what is to be set; a command takes so many arguments at most.
local function _set_all()
  for number = 1, _n_written do
    local row = _written[number]
    -- Unless it was removed since.
    if row.packed then
      _set_last(row.name, row.packed)
    end
  end
  for number = 1, _n_valued do
    local row = _valued[number]
    if row.value then
      _set_last(P .. "v:" .. row.key, row.value)
      -- Kept rows hold no values.
      row.value = nil
    end
  end
  -- What stands first goes last: the counters and the offsets, which tell of all others.
  if _n_to_set <= N_ROOM then
    if _n_to_set > 0 then
      call("MSET", unpack(_to_set, 1, _n_to_set))
    end
    -- Values are not kept until something else stands there.
    for number = 1, _n_to_set do
      _to_set[number] = nil
    end
    return
  end
  for start = floor((_n_to_set - 1) / N_SET) * N_SET + 1, 1, -N_SET do
    call("MSET", unpack(_to_set, start, math.min(start + N_SET - 1, _n_to_set)))
  end
  _to_set = {}
end

-- Write all that this step has changed.
function tables.finish()
  tables.flush()
  if tables.n_shards and next(tables.told) then
    tables.post()
  end
  local counters = tables.counters
  if tables.loss and counters.epoch == tables.first_epoch then
    tables.begin_life(tables.new_epoch, tables.loss)
  end
  if counters.epoch ~= tables.first_epoch then
    counters.life, counters.born_at = _life_of(counters.epoch), tables.server_time()
    _forget_packed_life(counters)
    counters.n_call_parts = tables.count_call_parts()
    table.insert(counters.lives, 1, counters.life)
    counters.lives[N_LIVES + 1] = nil
    for _, func in ipairs(call("SMEMBERS", K.f)) do
      call("UNLINK", K.leases[func])
    end
    -- Somebody has to drop or queue what is distrusted now; that is remembered until it is done.
    call("SET", P .. "unswept", counters.epoch)
  end
  if tables.trim_feed then
    tables.trim_feed()
  end
  local packed = _pack_counters(counters)
  if packed ~= _packed_counters then
    _set_last(K.m, packed)
  end
  _set_all()
  tables.keep_counters(packed)
  for number = 1, _n_written do
    -- Unless it was removed since.
    if _written[number].packed then
      _keep(_written[number])
    end
  end
end
