-- Carry out the request with the step, and answer.
local function run(step, keys, arguments)
  P, reply = string.sub(keys[1], 1, -2), { "" }
  local request = unpack_(arguments[1])
  request.value = arguments[2]
  local h = request.h
  local slot, serial, is_reading = h[2], h[3], h[7]
  local is_kept = not is_reading and slot ~= nil and slot ~= ""
  -- What nearly every step reads, at once.
  local key = request.lease and request.lease.key or request.key
  local names = { P .. "m", is_kept and P .. "o:" .. slot or P .. "m", key and P .. "r:" .. key }
  local found = call("MGET", unpack(names))
  _first_key, _first_row = key, found[3]
  if is_kept then
    local kept = found[2]
    if kept then
      local its_serial, its_reply = unpack_(kept)
      -- It was carried out, and only the answer was lost; or it was given up, and arrives when nobody waits any more.
      if its_serial >= serial then
        return its_reply
      end
    end
  end
  tables.open(h, found[1])
  local answer = step(request)
  if answer == nil then
    answer = NULL
  end
  if is_reading then
    tables.keep_counters(_packed_counters)
    reply[1] = pack({ answer })
    return reply
  end
  tables.finish()
  local is_same_life = tables.counters.epoch == tables.first_epoch
  reply[1] = pack({ answer, is_same_life and tables.records or true, tables.counters.epoch, tables.n_shards and tables.posted, tables.n_shards and tables.paces })
  if is_kept then
    call("SET", P .. "o:" .. slot, pack(serial, reply), "EX", 60)
  end
  return reply
end
