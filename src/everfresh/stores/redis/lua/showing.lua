-- What a step answers about an entry, from its row; follows stores/showing.py.
-- needs: tables_rows, tables_shards
--
-- Rules
-- - Answers are arrays; NULL stands for None in them, so that they stay arrays. Values and arguments travel as blobs.
-- - A value that somebody deleted by hand is not there, and its entry is answered as one without a value.
local showing = { ABSENT = "" }

local function _or_null(value)
  if value == nil then
    return NULL
  end
  return value
end

-- The answer to `Load`, without what is broken in it: `building.fail` sets that as the tenth.
function showing.loaded(row, fingerprint)
  local counters = tables.counters
  local answer = { NULL, counters.epoch, counters.sequence, counters.applied, tables.now, NULL, NULL, {}, false, NULL }
  if row == nil then
    return answer
  end
  -- One that was put in another life of the store is stale, and will be dropped.
  local has_ended = row.func == nil and (tables.has_expired(row) or row.life ~= tables.life())
  if row.version > 0 and not has_ended and (fingerprint == nil or fingerprint == row.fingerprint) then
    answer[1] = showing.entry_of(row)
  end
  if row.func ~= nil then
    answer[6], answer[7] = row.func, blob(row.args)
  end
  if row.state == "suspect" then
    answer[8] = showing.unsettled_below(row)
  end
  answer[9] = tables.is_leased(row)
  return answer
end

-- The entry of a row that has a value; NULL when the value is not there any more. With `is_known`, the asker has that,
-- and knows whose it is.
function showing.entry_of(row, is_known)
  local value = is_known or tables.value(row)
  if not value then
    return NULL
  end
  return {
    is_known and NULL or row.key,
    tables.func_of(row),
    tables.state_at(row),
    row.version,
    is_known and NULL or row.digest,
    row.good_from,
    row.changed_at,
    row.built_at,
    row.build_s,
    _or_null(row.stale_since),
    row.reason,
    row.attempts,
    _or_null(row.retry_at),
    _or_null(row.expires_at),
    _or_null(tables.look_at(row)),
    row.is_error == true,
    is_known and NULL or blob(value),
  }
end

-- The answer to a commit whose value was not stored: its builder alone may use it, and has it already.
function showing.unstored(row, _, reason)
  local counters = tables.counters
  return { "unstored", reason, tables.func_of(row), counters.epoch, counters.sequence, tables.now, false }
end

-- The entries that it was built from and that are not known to be up to date.
function showing.unsettled_below(row)
  local unsettled = {}
  for _, seen in ipairs(row.seen) do
    local inner = tables.inner(seen[1])
    if inner ~= nil and inner.version > 0 and inner.stale_since ~= nil then
      unsettled[#unsettled + 1] = inner.key
    end
  end
  return unsettled
end

-- The digest of an entry's value, or ABSENT.
function showing.digest_of(key)
  local row = tables.inner(key)
  if row == nil or tables.is_gone(row) then
    return showing.ABSENT
  end
  return row.digest
end
