-- Whom events touch: all at once if they are few, else some at each step.
-- needs: tables, members, comparing
--
-- Rules
-- - Items are { kind, what, number of the event, cursor or nil }: a "bucket", a "shape", a "probe", a "key", or "names",
--   the bucket of a predicate. They come in the order of their events, so that the last one to touch an entry is the
--   last that happened.
-- - Of "names" nobody is touched, but the keys are answered: the asker knows whom the predicate spared.
-- - What is answered of a step: how many items are done, the cursor in the next one, and buckets and keys that are to be
--   items before that one.
local finding = {}

-- As many as may be gone through by one step if nothing is left to another.
local UNBOUNDED = math.huge

local function _add_bucket(found, bucket, event)
  local ids = tables.ids_in(bucket, tables.room_of(found))
  if ids then
    tables.add_found(found, ids, event, bucket)
  end
  return ids ~= nil
end

-- What one of a probe's buckets has is left for later where it does not fit.
local function _add_probe(found, probe, event, cursor)
  local n_max = math.max(found.n_max, CONST.MAX_TOUCHED)
  local conditions, after = tables.some_conditions(probe.stem, n_max, cursor)
  for _, condition in ipairs(conditions) do
    local bucket, operands = condition[1], condition[2]
    if comparing.touches(probe, operands) and not _add_bucket(found, bucket, event) then
      found.later[#found.later + 1] = bucket
    end
  end
  return after
end

local function _add_predicate(found, bucket, event, spared)
  local is_spared, own = {}, {}
  for _, key in ipairs(spared) do
    is_spared[key] = true
  end
  local ids = tables.ids_in(bucket, tables.room_of(found) + #spared)
  for _, id in ipairs(ids or {}) do
    if #spared == 0 or not is_spared[tables.key_of(id)] then
      own[#own + 1] = id
    end
  end
  tables.add_found(found, own, event, bucket)
  return ids ~= nil
end

-- Those that the request touches, if one step may touch as many as that; else nil. A dry one always may.
function finding.all(request)
  local found = tables.new_found(request.is_dry and UNBOUNDED or CONST.MAX_TOUCHED)
  for _, pair in ipairs(request.buckets) do
    if not _add_bucket(found, pair[1], pair[2]) then
      return nil
    end
  end
  for _, pair in ipairs(request.shapes) do
    if tables.find_in_shape(found, pair[1], pair[2]) or #found.later > 0 then
      return nil
    end
  end
  for _, probe in ipairs(request.probes) do
    if _add_probe(found, probe, probe.event) or #found.later > 0 then
      return nil
    end
  end
  local spared = {}
  for _, pair in ipairs(request.spared) do
    spared[pair[1]] = pair[2]
  end
  for _, pair in ipairs(request.predicates) do
    local events = pair[2]
    if not _add_predicate(found, pair[1], events[#events], spared[pair[1]] or {}) then
      return nil
    end
  end
  return #found.ids <= found.n_max and found or nil
end

-- By kind: find those of an item, from the cursor on; where to go on, nil when that is all.
local _KINDS = {}

function _KINDS.bucket(found, bucket, event, cursor)
  local ids, after = tables.some_ids_in(bucket, tables.room_of(found), cursor)
  tables.add_found(found, ids, event, bucket)
  return after
end

_KINDS.shape = tables.find_in_shape
_KINDS.probe = _add_probe

function _KINDS.key(found, key, event)
  local row = tables.row(key)
  if row and row.id then
    tables.add_found(found, { row.id }, event)
  end
end

function _KINDS.names(found, bucket, _, cursor)
  local ids, after = tables.some_ids_in(bucket, tables.room_of(found), cursor)
  for _, id in ipairs(ids) do
    found.named[#found.named + 1] = tables.key_of(id)
  end
  return after
end

-- What is left of the items, of which so many are done; nil for nothing. What is found in one is put before the next.
local function _left(found, items, n_done, cursor)
  if n_done == #items and #found.later == 0 and #found.named == 0 then
    return nil
  end
  local width = found.later[1] and #found.later[1] or 1
  local buckets = width > 1 and { blob(table.concat(found.later)), width } or NULL
  return { n_done, cursor or NULL, buckets, found.named }
end

-- Find as many of the items as one step may touch; and what is left.
function finding.some(items)
  local found = tables.new_found(CONST.MAX_TOUCHED)
  for number, item in ipairs(items) do
    if tables.room_of(found) <= 0 then
      return found, _left(found, items, number - 1)
    end
    local after = _KINDS[item[1]](found, item[2], item[3], item[4])
    if after then
      return found, _left(found, items, number - 1, after)
    end
    if #found.later > 0 or #found.named > 0 then
      return found, _left(found, items, number)
    end
  end
  return found, nil
end

