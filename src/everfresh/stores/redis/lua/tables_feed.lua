-- The feed: what became of entries, for whoever follows.
-- needs: tables_saving
--
-- P..x is a stream; a record's id is its sequence, and its one field, "r", packs it: sequence, key, kind, version, digest.
-- What is cut off it raises `feed_floor`: a follower further behind starts over.
-- After so many records it is counted.
local N_UNCHECKED = 64

-- Add a record. What is to be there already is not made anew: so it is seen when it was lost.
function tables.append(record)
  _n_appended = _n_appended + 1
  -- As a text: the server writes a number as if it had a fraction, which takes four times as long.
  local counters, id, packed = tables.counters, format("%d", record[1]), pack(record)
  local added
  if counters.n_feed + _n_appended > 1 then
    added = pcall_("XADD", K.x, "NOMKSTREAM", id, "r", packed)
  else
    added = pcall_("XADD", K.x, id, "r", packed)
  end
  if added and not added.err then
    return
  end
  -- Or somebody wrote into it by hand what is newer: it is no feed of this store.
  call("UNLINK", K.x)
  counters.feed_floor, counters.n_feed, _n_appended = record[1] - 1, 0, 1
  call("XADD", K.x, id, "r", packed)
end

-- Write the feed record of what became of the row; its sequence.
function tables.record(row, kind)
  local counters = tables.counters
  local sequence = counters.sequence + 1
  counters.sequence = sequence
  -- An entry without a value had one before, maybe: its record must not go back behind that.
  local version = row.version > 0 and row.version or counters.version_floor
  local made = { sequence, row.key, kind, version, row.digest }
  tables.append(made)
  local records = tables.records
  if records == EMPTY then
    tables.records = { made }
  else
    records[#records + 1] = made
  end
  return sequence
end

-- The records after the sequence, in order.
function tables.since(sequence, n_max)
  local found = {}
  for number, item in ipairs(call("XRANGE", K.x, string.format("(%.0f-0", sequence), "+", "COUNT", n_max)) do
    found[number] = unpack_(item[2][2])
  end
  return found
end

-- Whether all records that were appended are there; else followers start over.
local function _check(n_feed, feed_floor)
  local counters = tables.counters
  if n_feed ~= counters.n_feed then
    counters.feed_floor, counters.n_feed = math.max(counters.feed_floor, feed_floor), n_feed
  end
end

-- Before records are read.
function tables.check_feed()
  _check(call("XLEN", K.x), tables.counters.sequence)
end

-- Cut off what nobody needs, if it is much by now; and look now and then whether all is there, as for a reader who only
-- reads it would be missing for ever.
function tables.trim_feed()
  if _n_appended == 0 then
    return
  end
  local counters = tables.counters
  counters.n_feed = counters.n_feed + _n_appended
  if counters.n_feed <= 2 * CONST.MAX_FEED and counters.sequence % N_UNCHECKED >= _n_appended then
    return
  end
  _check(call("XLEN", K.x), tables.records[1][1] - 1)
  if counters.n_feed <= 2 * CONST.MAX_FEED then
    return
  end
  counters.n_feed = counters.n_feed - call("XTRIM", K.x, "MAXLEN", CONST.MAX_FEED)
  local first = call("XRANGE", K.x, "-", "+", "COUNT", 1)[1]
  if first then
    counters.feed_floor = tonumber(string.match(first[1], "^%d+")) - 1
  end
end
