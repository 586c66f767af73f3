-- What goes when a store may hold no more: those read longest ago, with what was built from them. Follows evicting.py.
-- needs: tables
--
-- Rules
-- - A tree of entries is an array of keys in the order in which they were found, and each stands in it once.
-- - `tables.members` may give the live table: it is copied before anything that stands in it is taken out.
-- - The asker may know of reads that the store was not told of, and nothing can be asked of it in the middle of a step.
--   So it asks by `coldest` whose turn it is, and says with its step what it knows of them: `tables.last_read`.

local evicting = {}

-- Whether there is more than the store may hold, or would be with so many entries and bytes more.
local function _is_full(room, n_more, n_more_bytes)
  local counters = tables.counters
  if room.max_entries and counters.n_entries + (n_more or 0) > room.max_entries then
    return true
  end
  return room.max_bytes ~= nil and counters.n_bytes + (n_more_bytes or 0) > room.max_bytes
end

-- The keys of the entry and of those that were built from it, directly or not; and the same as a set.
local function _built_from(row)
  local keys, found, waiting = { row.key }, { [row.key] = true }, { row.key }
  while #waiting > 0 do
    local inner = tables.row(table.remove(waiting))
    for _, outer in ipairs(inner and tables.members(inner.call) or {}) do
      if not found[outer] then
        found[outer] = true
        keys[#keys + 1] = outer
        waiting[#waiting + 1] = outer
      end
    end
  end
  return keys, found
end

-- The entry to drop with what was built from it: the coldest without such, else the coldest that spares `kept`.
local function _next_to_go(coldest, kept)
  for _, row in ipairs(coldest) do
    if #tables.members(row.call) == 0 then
      return row, { row.key }
    end
  end
  for _, row in ipairs(coldest) do
    local tree, found = _built_from(row)
    if not found[kept.key] then
      return row, tree
    end
  end
  return kept, (_built_from(kept))
end

-- Whether the entry, or one that was built from it, was read since the store was told: it is as warm as that.
local function _is_warmed(row, tree)
  local read_at = row.read_at
  for number = 1, math.min(#tree, CONST.N_OUTER) do
    local found = tables.row(tree[number])
    if found then
      read_at = math.max(read_at, found.read_at, tables.last_read(found.key) or 0)
    end
  end
  if read_at <= row.read_at then
    return false
  end
  row.read_at = read_at
  tables.save(row)
  return true
end

local function _evict(keys)
  for _, key in ipairs(keys) do
    local found = tables.row(key)
    if found then
      evicting.take_out(found)
      tables.tell_elsewhere(found, "evicted")
    end
  end
end

-- Drop the entries, with what was built from them.
function evicting.evict_with_outer(keys)
  for _, key in ipairs(keys) do
    local found = tables.row(key)
    if found then
      _evict((_built_from(found)))
    end
  end
end

-- Drop entries while there are more than the store may hold: the longest unread, if nothing was built from them.
-- What was built from one that has to go goes with it: nobody watches over its dependencies any more, and to build it
-- anew would bring back what there is no room for. What was just written is kept, unless it needs all that is there.
function evicting.make_room(kept)
  local room = tables.room
  if tables.row(kept.key) ~= kept then
    return
  end
  if room.max_bytes and kept.n_bytes > room.max_bytes then
    _evict((_built_from(kept)))
    return
  end
  local n_spared = 0
  for _ = 1, CONST.MAX_EVICTED + CONST.MAX_SPARED do
    if not _is_full(room) then
      return
    end
    local coldest = {}
    for _, row in ipairs(tables.coldest(CONST.N_COLDEST)) do
      if row.key ~= kept.key and not tables.is_leased(row) then
        coldest[#coldest + 1] = row
      end
    end
    if #coldest == 0 then
      return
    end
    local row, tree = _next_to_go(coldest, kept)
    if n_spared < CONST.MAX_SPARED and row ~= kept and _is_warmed(row, tree) then
      n_spared = n_spared + 1
    else
      _evict(tree)
      if row == kept then
        return
      end
    end
  end
end

-- Remove an entry, and nothing else.
function evicting.take_out(row)
  local counters = tables.counters
  counters.version_floor = math.max(counters.version_floor, row.version)
  counters.n_entries = counters.n_entries - 1
  counters.n_bytes = counters.n_bytes - row.n_bytes
  tables.relink(row, {})
  tables.record(row, "dropped")
  tables.remove(row)
end

-- Those that would go first if the value of that size needed room: when each was read last, and all that would go with
-- it, as far as anybody asks about them. None while there is room.
function evicting.coldest(request)
  local answer, old = {}, tables.row(request.key)
  if not _is_full(tables.room, old and 0 or 1, request.n_bytes - (old and old.n_bytes or 0)) then
    return answer
  end
  for _, row in ipairs(tables.coldest(request.n)) do
    if row.key ~= request.key and not tables.is_leased(row) then
      local keys = _built_from(row)
      answer[#answer + 1] = { row.read_at, { unpack(keys, 1, math.min(#keys, CONST.N_OUTER)) } }
    end
  end
  return answer
end
