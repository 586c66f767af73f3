-- The steps that only look: the feed, lists and counts, and what is known of one entry; follows stores/asking.py.
-- needs: tables_rows, tables_index, tables_queue, tables_feed, showing
--
-- Rules
-- - Nothing is written here.
-- - Lists and counts come in chunks, in the order of the entries' numbers: Python asks for one after the other, filters
--   and sorts. What is written meanwhile may be in them or not.
local asking = {}

local function _or_null(value)
  if value == nil then
    return NULL
  end
  return value
end

-- Carry out `ReadFeed`.
function asking.read_feed(request)
  tables.check_feed()
  local counters = tables.counters
  local epoch, after = request.after_epoch, request.after_sequence
  if after == nil then
    return { {}, counters.epoch, counters.sequence, false }
  end
  local is_known = epoch == counters.epoch and counters.feed_floor <= after and after <= counters.sequence
  if not is_known then
    return { {}, counters.epoch, counters.sequence, true }
  end
  local records, last = tables.since(after, request.n_max), counters.sequence
  if #records > 0 and #records == request.n_max then
    last = records[#records][1]
  end
  return { records, counters.epoch, last, false }
end

-- The groups as Python reads them. A shape that somebody deleted by hand is unknown, and its group cannot be read.
local function _groups_of(row)
  local groups = {}
  for _, group in ipairs(tables.groups(row)) do
    local shape = tables.shape_blob(group.s)
    if shape then
      groups[#groups + 1] = { blob(group.s), blob(group.v), blob(shape) }
    end
  end
  return groups
end

local function _seen_keys(row)
  local keys = {}
  for number, seen in ipairs(row.seen) do
    keys[number] = seen[1]
  end
  return keys
end

-- Carry out `Explain`.
function asking.explain(request)
  local row = tables.row(request.key)
  if row == nil then
    return NULL
  end
  return {
    asking.listed(row),
    _groups_of(row),
    _seen_keys(row),
    showing.unsettled_below(row),
    tables.members(row.call),
    row.history,
    row.builder,
    row.terms,
    tables.is_leased(row),
    _or_null(row.expires_at),
    row.watched_until,
  }
end

-- One chunk for `ListEntries` and `Count`: the entries after a number, and how far it went.
function asking.scan(request)
  local rows, last = tables.scan(request.after_id, request.n)
  local found = {}
  for number, row in ipairs(rows) do
    found[number] = asking.listed(row)
  end
  return { found, last, last >= tables.counters.id }
end

-- The row as it is listed.
function asking.listed(row)
  return {
    row.key,
    tables.func_of(row),
    tables.state_at(row),
    row.version,
    row.built_at,
    row.read_at,
    _or_null(row.stale_since),
    row.reason,
    row.attempts,
    _or_null(row.due),
    row.n_bytes,
  }
end
