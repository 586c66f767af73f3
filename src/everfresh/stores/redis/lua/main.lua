-- The beginning and the end of each step.
--
-- Rules
-- - A step that was done is answered again as it was, one that comes too late is refused (slots.py, deadlines.py).
-- - A step that meets a key of another type, or bytes that none of us packed, breaks off. It is sent again, to repair
--   the store: such keys are removed until it comes to its end, and then a new life begins, as neither what hung on them
--   nor what the first try had written can be trusted (repairing.py).
-- A step that came too late says so by this word, with the server's time (deadlines.py).
local LATE = "LATE %.6f"
-- Kept for a step that was not done and never will be, should it arrive yet.
local NEVER = 0
local KEPT_S = "60"

-- How much the store may hold, by each step anew.
local room = {}

-- Refuse the step.
local function late(deadline, at, name, serial)
  if deadline == NEVER then
    call("SETEX", name, KEPT_S, pack(serial, { "" }))
  end
  return redis.error_reply(string.format(LATE, at))
end

-- What the server says of such a key, and what reading it does; as in repairing.py.
local DAMAGE = { "^WRONGTYPE", "Bad data format in input", "Missing bytes in input", "data string too short" }
local MAX_REPAIRS = 16
-- The key that was asked for last.
local named

local function is_damage(problem)
  local text = type(problem) == "table" and problem.err or tostring(problem)
  for _, said in ipairs(DAMAGE) do
    if string.find(text, said) then
      return true
    end
  end
  return false
end

-- As `call`, and remember the key.
local function naming(...)
  local _, key = ...
  if type(key) == "string" and string.sub(key, 1, #P) == P then
    named = key
  end
  return redis.call(...)
end

-- Carry out the step without what it cannot read; its answer.
local function repaired(carry)
  -- What the step wrote before it broke off stands there, and in no counter: a new life counts anew.
  local damage, problem = "what a step wrote that broke off", nil
  for _ = 1, MAX_REPAIRS do
    call, named = naming, nil
    local is_done, answer = pcall(carry, damage)
    call = redis.call
    if is_done then
      return answer
    end
    problem = answer
    if not (named and is_damage(problem)) then
      break
    end
    call("UNLINK", named)
    -- Names may be long, and hold what is nobody's business.
    damage = "a key that began with '" .. string.match(string.sub(named, #P + 1), "^[^:]*") .. "' and was no longer its own"
  end
  error(problem, 0)
end

-- Carry out the step, on the counters as they were read; its answer.
local function carried_out(step, request, arguments, counters, now, epoch, is_reading, n_shards, shard, room, last_reads, damage)
  tables.open(counters, now, epoch, is_reading, n_shards, shard)
  tables.room, tables.last_reads = room, last_reads
  -- What a commit stores is not looked for by events that have not come yet: they ask, and all is distrusted then.
  if not is_reading and not arguments[3] then
    tables.check_shapes()
  end
  if damage then
    tables.lose(damage)
  end
  -- What travels as it is, a value above all, stands in no map: one that grows is made anew.
  local answer = step(request, arguments[2], arguments[3])
  if answer == nil then
    answer = NULL
  end
  if is_reading and not damage then
    tables.keep_counters(_packed_counters)
  else
    tables.finish()
  end
  return answer
end

-- The reply as it is sent: most are one text, which takes less alone than as a list of one.
local function _sent(parts)
  return parts[2] and parts or parts[1]
end

-- Carry out the request with the step, and answer.
local function run(step, keys, arguments)
  begin_names(keys[1])
  reply = { "" }
  local request, now, slot, serial, epoch, max_entries, max_bytes, is_reading, last_reads, deadline, is_repair, n_shards, shard =
    unpack_(arguments[1])
  local is_kept = not is_reading and slot ~= nil and slot ~= ""
  -- What nearly every step reads, at once.
  local key = request.lease and request.lease.key or request.key
  local slot_name = is_kept and P .. "o:" .. slot or keys[1]
  _first_key, _first_name = key, key and P .. "r:" .. key
  local found = key and call("MGET", keys[1], slot_name, _first_name) or call("MGET", keys[1], slot_name)
  _first_row = found[3]
  if is_kept then
    local kept = found[2]
    if kept then
      local is_short = string.byte(kept) == SHORT_TAG
      local _, its_serial
      if is_short then
        its_serial = unpacked_as("<d", kept, 2)
      else
        _, its_serial = cmsgpack.unpack_limit(kept, 1, 0)
      end
      -- It was carried out, and only the answer was lost; or it was given up, and arrives when nobody waits any more.
      if its_serial >= serial then
        if is_short then
          return kept
        end
        _, kept = unpack_(kept)
        return kept
      end
    end
  end
  local at = tables.server_time()
  if deadline and at > deadline then
    return late(deadline, at, slot_name, serial)
  end
  -- A test may give another.
  now = now or at
  room.max_entries, room.max_bytes = max_entries, max_bytes
  local answer
  if is_repair then
    answer = repaired(function(lost)
      -- The try before may have written into it.
      reply, request = { "" }, (unpack_(arguments[1]))
      return carried_out(step, request, arguments, found[1], now, epoch, is_reading, n_shards, shard, room, last_reads, lost)
    end)
  else
    answer = carried_out(step, request, arguments, found[1], now, epoch, is_reading, n_shards, shard, room, last_reads)
  end
  if is_reading then
    reply[1] = pack({ answer })
    return _sent(reply)
  end
  local is_same_life = tables.counters.epoch == tables.first_epoch
  if tables.short then
    local tells_none = tables.n_shards == nil or (next(tables.posted) == nil and next(tables.paces) == nil)
    local short = tables.short(answer, serial, at, is_kept and is_same_life and tells_none)
    if short then
      call("SETEX", slot_name, KEPT_S, short)
      return short
    end
  end
  local records = is_same_life and tables.records or tables.loss or true
  reply[1] = pack({ answer, records, tables.counters.epoch, at, tables.n_shards and tables.posted, tables.n_shards and tables.paces })
  if is_kept then
    call("SETEX", slot_name, KEPT_S, pack(serial, reply))
  end
  return _sent(reply)
end
