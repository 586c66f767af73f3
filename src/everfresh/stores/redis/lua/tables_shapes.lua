-- The shapes that the store knows, in the order in which it learnt them.
-- needs: tables_rows
--
-- P..s has, by shape, its number, the position at which it was born, and the shape; P..d those that need no number.
--
-- Rules
-- - How many there are is a counter too: when the two differ, shapes were lost, and the store begins a new life.

-- The position of the events applied last when the shape was learnt; nil when it is not known.
function tables.born(shape_id)
  local born = _shapes[shape_id]
  if born == nil then
    local packed = call("HGET", K.s, shape_id)
    born = false
    if packed then
      local _
      -- The shape itself stays packed.
      _, _, born = cmsgpack.unpack_limit(packed, 2, 0)
    end
    _shapes[shape_id] = born
  end
  return born or nil
end

-- The newest of those positions of shapes whose ids stand one behind the other; 0 of none, nil when one is not known.
function tables.newest_born(ids)
  local newest = _shapes[ids]
  if newest then
    return newest
  end
  newest = 0
  for start = 1, #ids, SHAPE_BYTES do
    local born = tables.born(string.sub(ids, start, start + SHAPE_BYTES - 1))
    if born == nil then
      return nil
    end
    newest = math.max(newest, born)
  end
  -- Where it is one shape, that is what is known of it.
  _shapes[ids] = newest
  return newest
end

-- The shape itself, packed; nil when it is not known.
function tables.shape_blob(shape_id)
  local packed = call("HGET", K.s, shape_id)
  if packed then
    local _, _, shape = unpack_(packed)
    return shape
  end
  return call("HGET", K.d, shape_id) or nil
end

-- How many shapes are known.
function tables.n_known()
  return tables.counters.n_shapes
end

-- The shapes from that number on, packed, in the order in which they were learnt.
function tables.known(start)
  local found = {}
  for _, packed in ipairs(call("HVALS", K.s)) do
    local number, _, shape = unpack_(packed)
    if number > start then
      found[#found + 1] = { number, shape }
    end
  end
  table.sort(found, function(one, other)
    return one[1] < other[1]
  end)
  for number, item in ipairs(found) do
    found[number] = item[2]
  end
  return found
end

-- Add a shape.
function tables.learn(shape_id, shape, born)
  local counters = tables.counters
  counters.n_shapes = counters.n_shapes + 1
  call("HSET", K.s, shape_id, pack(counters.n_shapes, born, shape))
  -- Nothing stands in it that its parts do not tell of, or it is of another life: they need not be looked for.
  call("SADD", K.parts[shape_id], -1)
  _shapes[shape_id] = born
end
