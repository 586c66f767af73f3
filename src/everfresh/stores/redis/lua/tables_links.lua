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

-- Put an entry that stands in no bucket into those among the marks, which name the shape before its buckets.
local function _link_first(row, packed, marks)
  local id = tables.id(row)
  local digits = _digits(id)
  for number = 1, #marks do
    local mark = marks[number]
    if #mark > SHAPE_BYTES then
      _link(mark, id, digits)
    end
  end
  row.groups, row.packed_groups = nil, packed
end

-- How many of the marks are shapes.
local function _n_shapes_of(marks)
  local n = 0
  for number = 1, #marks do
    if #marks[number] == SHAPE_BYTES then
      n = n + 1
    end
  end
  return n
end

-- The same with groups that come packed, with their shapes, the ids of those that are registered, and, of plain groups,
-- their marks. Most are what they were: to see that, nothing need be unpacked. Nor need they be when all are new and
-- registered, as most of the others are.
function tables.relink_packed(row, packed, shapes, ids, is_plain, ...)
  if packed == row.packed_groups then
    return
  end
  if is_plain and row.packed_groups == nil and #tables.groups(row) == 0 then
    local marks = { ... }
    if #ids == _n_shapes_of(marks) * SHAPE_BYTES then
      return _link_first(row, packed, marks)
    end
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
