-- What every step begins with: the server's commands, the keys' common beginning, and the reply's parts.
--
-- All of it is carried out once, and stays for all calls: what belongs to one call is set by `run`.
local call, pcall_ = redis.call, redis.pcall
local pack, unpack_ = cmsgpack.pack, cmsgpack.unpack
-- Packed, it is nil, and it keeps an array an array.
local NULL = cjson.null
-- All keys of a store, or of a shard, begin so; its hash tag keeps them in one slot.
local P
-- The first is the packed answer; the others are bytes that are not text, which the answer names by their numbers.
local reply

-- Have the bytes travel with the answer; the number under which it finds them.
local function blob(bytes)
  local number = #reply
  reply[number + 1] = bytes
  return number
end
