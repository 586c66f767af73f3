-- Which buckets an entry stands in.
-- needs: tables_index
--
-- Rules
-- - An entry's links are written when it is linked; those that are as they were are left alone.
local function _buckets_of(groups)
  local found = {}
  for _, group in ipairs(groups) do
    for _, bucket in ipairs(group.b) do
      found[bucket] = true
    end
  end
  return found
end

local function _link_all(row, groups, linked)
  local id = tables.id(row)
  local digits, come = _digits(id), {}
  for _, group in ipairs(groups) do
    for number, bucket in ipairs(group.b) do
      if not linked[bucket] and not come[bucket] then
        come[bucket] = true
        _link(bucket, id, digits)
        if group.t then
          local _, _, operands, rest = _place(bucket, "o:")
          call("HSET", operands, rest, pack(group.o[number]))
        end
      end
    end
    if group.blob and not group.r then
      call("HSETNX", K.d, group.s, group.blob)
    end
  end
end

local function _relink(row, groups, packed)
  local before = tables.groups(row)
  local old, new = _buckets_of(before), _buckets_of(groups)
  if row.id ~= nil then
    for bucket in pairs(old) do
      if not new[bucket] then
        _unlink(bucket, row.id)
      end
    end
  end
  if #groups > 0 then
    _link_all(row, groups, old)
  end
  row.groups, row.packed_groups = groups, packed
  if tables.n_shards then
    tables.forget_unused(before)
  end
end

-- Take the entry out of its buckets and put it into those of the groups.
function tables.relink(row, groups)
  local packed = _packed_groups(groups)
  if packed ~= row.packed_groups then
    _relink(row, groups, packed)
  end
end

-- Put an entry that stands in no bucket into those whose places these are, four texts of each.
local function _link_first(row, packed, places)
  local id = tables.id(row)
  local digits = _digits(id)
  _forget_met()
  for number = 1, #places, 4 do
    local shape, rest = places[number], places[number + 2]
    _link_at(shape, P .. "i:" .. shape .. places[number + 1], rest, places[number + 3], id, digits)
  end
  row.groups, row.packed_groups = nil, packed
end

-- The same with groups that come packed, with their shapes, and, of those that are plain and registered, with the places
-- of their buckets. Most are what they were: to see that, nothing need be unpacked. Nor need they be when all are new.
function tables.relink_packed(row, packed, shapes, places)
  if packed == row.packed_groups then
    return
  end
  if places and row.packed_groups == nil and #tables.groups(row) == 0 then
    return _link_first(row, packed, { unpack_(places) })
  end
  _relink(row, tables.groups_of(packed, shapes), packed)
end

-- Put the entry into all its buckets, whatever became of its links.
function tables.link_anew(row)
  local groups = tables.groups(row)
  if #groups > 0 then
    _link_all(row, groups, {})
  end
end
