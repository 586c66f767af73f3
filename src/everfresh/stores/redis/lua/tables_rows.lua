-- The numbers of the store, its entries' rows and their values, as they are read.
-- needs: tables_packing
--
-- P..m is one string, the counters. P..r:<key> is a row, both as tables_packing.lua says. P..v:<key> is its value:
-- whoever only reads it, names all three by the key alone (glimpse.py).
--
-- Rules
-- - A row that a step has seen is the same table until the step ends, whether it was saved or not.
-- - A row's groups stay packed until somebody asks for them: most steps do not.
-- - `life` says in which life of the store a row was written: a number made of the epoch, which is random, so that what
--   survived the loss of the counters is never taken for current. A row of another life is dirty as soon as it is read.
--   Saved as it is, its life becomes the current one, negative: it is not to be distrusted again, but the sweep, which
--   queues it, has not been there.
-- - `was_...` are what the queue and the leases know of the row: as it was when it was read, or written last. `was_place`
--   and `was_lease` are how it is named there, as long as that is known without packing it again.
local tables = {}

-- All of these are one step's, in whatever file they are used: `open` sets them. A table that the step before has left
-- empty, or whose items are counted, is used again.
local _rows, _values, _keys, _met, _packed_counters = {}, {}, {}, {}, nil
local _unsaved, _n_unsaved = {}, 0
-- Those that it has written, some of them more than once; and those whose values it has set.
local _written, _n_written, _valued, _n_valued = {}, 0, {}, 0
local _shapes, _paces, _n_appended
-- What is to be set when the step ends, all by one command: names and data by turns.
local _to_set, _n_to_set = {}, 0
-- The row that was read together with the counters, packed, by its key; and the name under which it stands. It is in no
-- table of rows, as most steps look at no other: `_first` is the row, false when there is none, nil until it is unpacked.
local _first_key, _first_row, _first_name, _first
-- The rows that steps wrote lately, by their names, in two halves: most are read again soon, and are what they were when
-- they are the same bytes. To make a table with as many fields costs more than most commands. But no more of them than a
-- moment's builds: garbage is looked for in all of Lua's memory.
local _young, _old, _n_young = {}, {}, 0
local N_KEPT = 32
-- So many items may stand in a table that is used again.
local N_ROOM = 64
-- By the keys' beginning: the counters as the last step here left them, packed and not, and what it knew of shapes
-- and paces. Whoever finds the same packed need not unpack them, nor ask again.
local _kept, _kept_before = {}, nil
-- Of so many lives it is known that the counters have counted their rows.
local N_LIVES = 16
local BLOCK = 64

-- The key of the entry with this number; nil when there is none.
function tables.key_of(id)
  local key = _keys[id]
  if key == nil then
    key = call("HGET", P .. "n:" .. math.floor(id / BLOCK), id % BLOCK)
    _keys[id] = key
  end
  return key or nil
end

-- The life that an epoch names; never 0.
local function _life_of(epoch)
  return (tonumber(string.sub(epoch, 1, 8), 16) or 0) + 1
end

-- The server's own time, also where a test gives another one.
function tables.server_time()
  local time = call("TIME")
  -- They are texts, of which Lua makes numbers by itself.
  return time[1] + time[2] / 1000000
end

local function _new_counters(epoch)
  local life = _life_of(epoch)
  return _with_rare({
    of_rare = false,
    of_life = false,
    epoch = epoch,
    sequence = 0,
    token = 0,
    n_entries = 0,
    n_bytes = 0,
    id = 0,
    n_feed = 0,
    born_at = tables.server_time(),
    distrusted_at = tables.now,
    distrust_reason = "the store lost its memory",
    life = life,
    lives = { life },
  }, {
    applied = 0,
    fired_floor = 0,
    feed_floor = 0,
    version_floor = 0,
    n_shapes = 0,
    last_mark = 0,
    n_attached = 0,
    n_posted = 0,
    n_call_parts = 0,
    marks_max = CONST.MAX_FIRED,
    cold_id = 0,
  })
end

-- Nil when somebody wrote into them by hand: then they are lost.
local function _sound_counters(packed)
  local is_read, counters = pcall(_unpacked_counters, packed)
  return is_read and counters or nil
end

-- In how many parts of the index somebody stands who was built from another; one more where nobody knows.
function tables.count_call_parts()
  local parts = K.parts[CONST.CALL_SHAPE]
  local is_whole = call("SISMEMBER", parts, "-1")
  return math.max(call("SCARD", parts) - is_whole, 1 - is_whole)
end

-- The counters were new to the step, or its life began in it: what there was before is lost, or not to be trusted.
local function _begin_counters(epoch)
  local counters = _new_counters(epoch)
  -- What this run of the server loses is seen by the next: `greet` compares.
  local run_id = string.match(call("INFO", "server"), "run_id:(%x+)")
  local copied = string.match(call("INFO", "replication"), "master_replid:(%x+)")
  if run_id then
    -- As identity.py names it.
    call("SET", P .. "run", run_id .. "." .. (copied or ""))
  end
  local has_rows = call("EXISTS", K.t) == 1
  if has_rows then
    call("SET", P .. "unswept", epoch)
  end
  -- The rows of a life that nobody counted keep their numbers; those of new ones begin above.
  counters.id = (tonumber(call("GET", K.t) or 0) or 0) * 64
  call("HSET", P .. "n:" .. counters.id / 64, "whole", "")
  call("SET", K.t, counters.id / 64 + 1)
  if not has_rows then
    -- Nobody stands there that its parts do not tell of.
    call("SADD", K.parts[CONST.CALL_SHAPE], -1)
  end
  counters.n_call_parts = tables.count_call_parts()
  -- Their positions would be ahead of all new ones.
  call("UNLINK", K.x, K.e, K.k, K.s, P .. "z", P .. "u")
  -- As following.lua reads it: nobody followed before.
  call("ZADD", P .. "w", "NX", "+inf", string.format("%.6f", counters.born_at))
  return counters
end

-- Begin a new life: nothing written before is trusted.
function tables.begin_life(epoch, reason)
  local c = tables.counters
  local sequence = c.sequence + 1
  c.epoch, c.life, c.sequence = epoch, _life_of(epoch), sequence
  _forget_packed_life(c)
  c.applied, c.fired_floor, c.feed_floor = sequence, sequence, sequence
  c.born_at, c.distrusted_at, c.distrust_reason = tables.server_time(), tables.now, reason
end

function tables.life()
  return tables.counters.life
end

-- Something is not there that has to be: a new life begins when the step ends, unless it only reads.
function tables.lose(what)
  tables.loss = tables.loss or "the store lost " .. what
end

-- Have the next step here find the counters as they are now.
function tables.keep_counters(packed)
  local kept = _kept_before
  kept[1], kept[2], kept[3], kept[4] = packed, tables.counters, _shapes, _paces
  _kept[P] = kept
end

-- The time as the scores of sorted sets have it: in whole microseconds. The server keeps small sets as texts, and goes
-- through them at each change: texts of whole numbers it reads ten times as fast.
local function _micros(at)
  return floor(at * 1000000 + 0.5)
end

-- Have the tables be as they are before a step.
local function _empty_tables()
  if next(_rows) ~= nil then
    _rows = {}
  end
  if next(_values) ~= nil then
    _values = {}
  end
  if next(_keys) ~= nil then
    _keys = {}
  end
  if next(_met) ~= nil then
    _met = {}
  end
  if _n_written > N_ROOM or _n_valued > N_ROOM or _n_unsaved > N_ROOM then
    _unsaved, _written, _valued = {}, {}, {}
  end
  _n_unsaved, _n_written, _n_valued, _n_appended, _n_to_set = 0, 0, 0, 0, 0
  _first, tables.records = nil, EMPTY
end

-- Begin a step, with the counters as they were read. `epoch` names the store's life, should this step begin it.
function tables.open(packed_counters, now, epoch, is_reading, n_shards, shard)
  _empty_tables()
  tables.now, tables.is_reading, tables.new_epoch, tables.loss = now, is_reading, epoch, nil
  tables.n_shards, tables.shard, tables.short = n_shards, shard, nil
  if tables.n_shards then
    tables.mirrors, tables.epochs, tables.told, tables.posted, tables.paces = {}, {}, {}, {}, {}
  end
  _packed_counters = packed_counters
  local kept = _kept[P]
  -- It is put back when the step has come to its end.
  _kept[P], _kept_before = nil, kept or {}
  if kept and kept[1] == _packed_counters then
    tables.counters, _shapes, _paces = kept[2], kept[3], kept[4]
  else
    _shapes, _paces = {}, {}
    tables.counters = _packed_counters and _sound_counters(_packed_counters)
  end
  if not tables.counters then
    tables.counters = _begin_counters(epoch)
    _packed_counters = _pack_counters(tables.counters)
    call("SET", K.m, _packed_counters)
  end
  tables.first_epoch = tables.counters.epoch
end

-- Whether all shapes are there; before an event is applied, or anything else that events have to find.
function tables.check_shapes()
  if call("HLEN", K.s) ~= tables.counters.n_shapes then
    -- Events would pass by what nobody knows to look for.
    call("UNLINK", K.s)
    tables.counters.n_shapes, _shapes = 0, {}
    tables.lose("its shapes")
    tables.begin_life(tables.new_epoch, tables.loss)
  end
end

-- When the asker knows that the entry was read, though the store was not told yet.
function tables.last_read(key)
  return tables.last_reads and tables.last_reads[key]
end

-- Nothing that was known of the row holds any more but that it is wanted, and its value as the last one known.
local function _distrust(row)
  local counters = tables.counters
  row.life = -counters.life
  row.state, row.token, row["until"], row.n_died = "dirty", nil, 0, 0
  row.reason, row.attempts, row.retry_at = counters.distrust_reason, 0, nil
  row.stale_since = row.stale_since or counters.distrusted_at
  row.good_from, row.changed_at = 0, math.min(row.changed_at, counters.sequence)
  if row.id ~= nil and tables.key_of(row.id) ~= row.key then
    -- Its number was lost, and may be another's now.
    row.id, row.was_due, row.was_token = nil, nil, nil
  end
  -- Its links may have gone with what was lost: they are made anew with its next writing.
  row.is_unlinked = true
end

-- The row that a step before has written so; it belongs to this step now, and comes back when that has written it.
local function _taken(name, packed)
  local row = _young[name] or _old[name]
  if row and row.kept == packed then
    row.kept = nil
    return row
  end
  return nil
end

-- Have later steps find the row, which is as it was written.
local function _keep(row)
  row.was_ready, row.was_life, row.kept = nil, nil, row.packed
  if _young[row.name] == row then
    return
  end
  if _n_young == N_KEPT then
    _young, _old, _n_young = {}, _young, 0
  end
  _young[row.name], _n_young = row, _n_young + 1
end

-- Have this be the row of the key; false says that there is none.
local function _set_row(key, row)
  if key == _first_key then
    _first = row
  else
    _rows[key] = row
  end
end

-- The entry's row; nil when there is none.
function tables.row(key)
  local row, name, packed
  if key == _first_key then
    row, name, packed = _first, _first_name, _first_row
  else
    row = _rows[key]
  end
  if row ~= nil then
    return row or nil
  end
  if not name then
    name = P .. "r:" .. key
    packed = call("GET", name)
  end
  if not packed then
    _set_row(key, false)
    return nil
  end
  local is_read, found = true, _taken(name, packed)
  if not found then
    is_read, found = pcall(_unpacked_row, key, packed)
  end
  if not is_read or not found then
    -- Somebody wrote into it by hand. Nobody can tell any more who was built from it.
    tables.lose("an entry")
    if not tables.is_reading then
      call("UNLINK", name, P .. "v:" .. key)
    end
    _set_row(key, false)
    return nil
  end
  row = found
  row.name = name
  _set_row(key, row)
  local life = tables.counters.life
  if row.life ~= life and row.life ~= -life then
    row.was_life = row.life and math.abs(row.life)
    _distrust(row)
  end
  return row
end

local SHAPE_BYTES = 8

-- The groups as they were packed; with `shapes`, packed too, also what becomes of their shapes.
function tables.groups_of(packed_groups, shapes)
  local groups = packed_groups and unpack_(packed_groups) or {}
  for number, packed in ipairs(groups) do
    local shape, tails, operands = packed[1], packed[2], packed[3]
    local group = { s = shape, b = {}, v = packed[4], p = packed[5], k = packed[6], o = operands }
    local width = operands and 16 or 8
    for start = 1, #tails, width do
      group.b[#group.b + 1] = shape .. string.sub(tails, start, start + width - 1)
    end
    if operands then
      group.t = {}
      for place, bucket in ipairs(group.b) do
        group.t[place] = string.sub(bucket, 1, 16)
      end
    end
    groups[number] = group
  end
  for number, shape in ipairs(shapes and unpack_(shapes) or {}) do
    groups[number].blob, groups[number].r = shape[1], shape[2]
  end
  return groups
end

-- The groups of the row.
function tables.groups(row)
  local groups = row.groups
  if groups == nil then
    groups = tables.groups_of(row.packed_groups)
    row.groups = groups
  end
  return groups
end

-- The value; nil when there is none.
function tables.value(row)
  local value = row.value
  if value == nil then
    value = _values[row]
  end
  if value == nil then
    value = row.version > 0 and call("GET", P .. "v:" .. row.key) or false
    _values[row] = value
  end
  return value or nil
end

function tables.has_value(row)
  return row.value or _values[row] or (row.version > 0 and call("EXISTS", P .. "v:" .. row.key) == 1)
end

-- The function's name; empty for a value that was put.
function tables.func_of(row)
  return row.func or ""
end

-- Whether it has no value yet, and is to get one though no reader waits for it.
function tables.is_wanted(row)
  return row.version == 0 and row.builder ~= ""
end

-- Whether somebody holds the right to build it.
function tables.is_leased(row)
  return row.token ~= nil and row["until"] > tables.now
end

-- When somebody is to look again for what its last event told of; nil when nobody is, or somebody looks.
function tables.look_at(row)
  if row.event_at == nil or row.stale_since ~= nil or tables.is_leased(row) then
    return nil
  end
  return row.due
end

-- Whether it is over by time.
function tables.has_expired(row)
  if row.expires_at ~= nil and row.expires_at <= tables.now then
    return true
  end
  local look_at = tables.look_at(row)
  return look_at ~= nil and look_at <= tables.now
end

-- Whether there is nothing to serve, now or later.
function tables.is_gone(row)
  return row.version == 0 or (row.func == nil and (row.stale_since ~= nil or tables.has_expired(row)))
end

-- Its state, for people.
function tables.state_at(row)
  return row.state == "fresh" and tables.has_expired(row) and "dirty" or row.state
end

-- When it is dropped by time.
function tables.time_to_go(row)
  if row.expires_at == nil or (row.func ~= nil and (row.terms.on_change or "refresh") == "refresh") then
    return nil
  end
  local gone_at = row.expires_at + (row.terms.linger_s or 0)
  return gone_at < math.huge and gone_at or nil
end

-- Whether one of the entries that are there is not known to be up to date.
function tables.any_stale(keys)
  for _, key in ipairs(keys) do
    local row = tables.inner(key)
    if row ~= nil and row.version > 0 and row.stale_since ~= nil then
      return true
    end
  end
  return false
end
