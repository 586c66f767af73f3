-- What every step begins with: the server's commands, the keys' common beginning, and the reply's parts.
--
-- All of it is carried out once, and stays for all calls: what belongs to one call is set by `run`.
-- The server's globals are found through a second table; under a name of ours they take a third of the time.
local ipairs, pairs, next, select, unpack = ipairs, pairs, next, select, unpack
local type, tonumber, tostring, pcall, error = type, tonumber, tostring, pcall, error
local string, table, math, struct, cmsgpack, redis = string, table, math, struct, cmsgpack, redis
-- Those that nearly every step calls often.
local floor, format, packed_as, unpacked_as = math.floor, string.format, struct.pack, struct.unpack
local call, pcall_ = redis.call, redis.pcall
local pack, unpack_ = cmsgpack.pack, cmsgpack.unpack
-- Packed, it is nil, and it keeps an array an array.
local NULL = cjson.null
-- All keys of a store, or of a shard, begin so; its hash tag keeps them in one slot.
local P
-- Names that are used again and again, by what follows P; those of a function's queues by its name.
local K
-- The first is the packed answer; the others are bytes that are not text, which the answer names by their numbers.
local reply

local _Names = {
  __index = function(names, rest)
    local name = names[1] .. rest
    names[rest] = name
    return name
  end,
}
local _names_of = {}

-- Have P and K be those of the keys that begin as the counters' does.
local function begin_names(counters_key)
  K = _names_of[counters_key]
  if K == nil then
    local beginning = string.sub(counters_key, 1, -2)
    K = setmetatable({ beginning }, _Names)
    K.waiting = setmetatable({ beginning .. "w:" }, _Names)
    K.ready = setmetatable({ beginning .. "y:" }, _Names)
    K.leases = setmetatable({ beginning .. "g:" }, _Names)
    K.parts = setmetatable({ beginning .. "p:" }, _Names)
    -- By shape: whether the entry that was linked there last stands alone in its bucket.
    K.alone = {}
    _names_of[counters_key] = K
  end
  P = K[1]
end

-- Have the bytes travel with the answer; the number under which it finds them.
local function blob(bytes)
  local number = #reply
  reply[number + 1] = bytes
  return number
end

-- A reply in few bytes begins with this byte, with which nothing begins that msgpack writes, and its step's serial.
local SHORT_TAG, SHORT_FORMAT = 0xC1, "<BddBdddddddc0"
