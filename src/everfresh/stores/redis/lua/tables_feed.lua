-- The feed: what became of entries, for whoever follows.
-- needs: tables_saving
--
-- P..x is a stream; a record's id is its sequence, and its one field, "r", packs the rest: key, kind, version, digest.
-- What is cut off it raises `feed_floor`: a follower further behind starts over.

-- Add a record.
function tables.append(record)
  _n_appended = _n_appended + 1
  local packed = pack({ record[2], record[3], record[4], record[5] })
  local id = string.format("%d-0", record[1])
  local added = pcall_("XADD", P .. "x", id, "r", packed)
  if type(added) == "table" and added.err then
    -- Somebody wrote into it by hand what is newer: it is no feed of this store.
    call("UNLINK", P .. "x")
    tables.counters.feed_floor = record[1] - 1
    call("XADD", P .. "x", id, "r", packed)
  end
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
  tables.records[#tables.records + 1] = made
  return sequence
end

-- The records after the sequence, in order.
function tables.since(sequence, n_max)
  local found = {}
  for number, item in ipairs(call("XRANGE", P .. "x", string.format("(%.0f-0", sequence), "+", "COUNT", n_max)) do
    local record = unpack_(item[2][2])
    table.insert(record, 1, tonumber(string.match(item[1], "^%d+")))
    found[number] = record
  end
  return found
end

-- Before records are read: whether all that were appended are there. Else followers start over.
function tables.check_feed()
  local counters = tables.counters
  if call("XLEN", P .. "x") ~= counters.n_feed then
    counters.feed_floor = counters.sequence
  end
end

-- Cut off what nobody needs, if it is much by now.
function tables.trim_feed()
  if _n_appended == 0 then
    return
  end
  local counters, n_feed = tables.counters, call("XLEN", P .. "x")
  if n_feed ~= counters.n_feed + _n_appended then
    counters.feed_floor = math.max(counters.feed_floor, tables.records[1][1] - 1)
  end
  counters.n_feed = n_feed
  if n_feed <= 2 * CONST.MAX_FEED then
    return
  end
  counters.n_feed = n_feed - call("XTRIM", P .. "x", "MAXLEN", CONST.MAX_FEED)
  local first = call("XRANGE", P .. "x", "-", "+", "COUNT", 1)[1]
  if first then
    tables.counters.feed_floor = tonumber(string.match(first[1], "^%d+")) - 1
  end
end
