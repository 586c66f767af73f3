"""What is done in a Redis stream's server in one step, so that nobody comes between a look and what follows from it.

Reading hides what was trimmed before it: once the group stands behind the loss, no look finds it. So where the look
does not show that all is there, the reading leaves a mark in the same step: a consumer of the group by a name that
`MARK` begins. It stays until the loss was seen to, and whoever opens the stream meanwhile tells of it.

What others have left is taken over only where it is still there; what is gone stays pending until that was told. Who
leaves lets what it holds look as old as what others take over.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from everfresh.sources.redis_stream_entries import Entry
from everfresh.sources.redis_stream_places import Extent, Id, Progress, extent_of, id_of, progress_of

MARK = "everfresh:lost:"
"""Begins the name of a mark."""

# Nobody is forgotten who was given something: between a look and the forgetting somebody could be, so this is one step.
LEAVE = """
for _, one in ipairs(redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', ARGV[6], ARGV[2])) do
  if #redis.call('XRANGE', KEYS[1], one[1], one[1]) > 0 then
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, one[1], 'IDLE', ARGV[5], 'JUSTID')
  end
end
local gone = 0
for _, told in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local of = {}
  for i = 1, #told, 2 do of[told[i]] = told[i + 1] end
  local is_over = of.name == ARGV[2] or of.idle >= tonumber(ARGV[3])
  if of.pending == 0 and is_over and string.sub(of.name, 1, #ARGV[4]) ~= ARGV[4] then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], of.name)
    gone = gone + 1
  end
end
return gone
"""

_LOOK = """
local function fields_of(told)
  local of = {}
  for i = 1, #told, 2 do of[told[i]] = told[i + 1] end
  return of
end
local function is_above(one, other)
  local ms, number = string.match(one, '(%d+)-(%d+)')
  local other_ms, other_number = string.match(other, '(%d+)-(%d+)')
  if ms == other_ms then ms, other_ms = number, other_number end
  return #ms > #other_ms or (#ms == #other_ms and ms > other_ms)
end
local stream = fields_of(redis.call('XINFO', 'STREAM', KEYS[1]))
local group
for _, told in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  local of = fields_of(told)
  if of.name == ARGV[1] then group = of end
end
if not group then return redis.error_reply('NOGROUP it is gone') end
local first, last = stream['recorded-first-entry-id'], stream['last-generated-id']
local deleted, delivered = stream['max-deleted-entry-id'], group['last-delivered-id']
local function told_with(taken, is_whole)
  local pending = redis.call('XPENDING', KEYS[1], ARGV[1])
  return {
    {stream.length, stream['entries-added'], first, last, deleted},
    {delivered, group['entries-read'] or false, group.lag or false},
    taken or false,
    pending[1] > 0 and pending[2],
    is_whole and 1 or 0,
  }
end
"""

READ = f"""{_LOOK}
local is_whole = true
if ARGV[4] == '>' then
  local is_same = stream['entries-added'] - stream.length == tonumber(ARGV[5]) and deleted == ARGV[6]
  local is_joined = not is_above(last, delivered) or (stream.length > 0 and not is_above(first, delivered))
  is_whole = not is_above(ARGV[7], delivered) and (is_same or (is_joined and not is_above(deleted, delivered)))
  if not is_whole then redis.call('XGROUP', 'CREATECONSUMER', KEYS[1], ARGV[1], ARGV[8]) end
end
local read = redis.call(
  'XREADGROUP', 'GROUP', ARGV[1], ARGV[2], 'COUNT', ARGV[3], 'STREAMS', KEYS[1], ARGV[4]
)
return told_with(read and read[1][2], is_whole)
"""

TAKE_OVER = f"""{_LOOK}
local left = redis.call('XPENDING', KEYS[1], ARGV[1], 'IDLE', ARGV[4], ARGV[5], '+', ARGV[3])
local there, gone = {{}}, {{}}
for _, one in ipairs(left) do
  if one[2] ~= ARGV[2] then
    local is_there = #redis.call('XRANGE', KEYS[1], one[1], one[1]) > 0
    table.insert(is_there and there or gone, one[1])
  end
end
local taken = {{}}
if #there > 0 then taken = redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], ARGV[4], unpack(there)) end
local last_left = #left == tonumber(ARGV[3]) and left[#left][1]
return told_with({{taken, gone, last_left}}, true)
"""


class Step(NamedTuple):
    """What a step saw before it took anything, what it took, and the least id that is pending after it.

    `is_whole`: nothing went unread, but for what was known.
    """

    stream: Extent
    group: Progress
    lag: int | None
    taken: Any
    least_pending: Id | None
    is_whole: bool


def step_of(told: Sequence[Any]) -> Step:
    """What READ or TAKE_OVER answered."""
    stream, (delivered, n_read, lag), taken, least, is_whole = told
    return Step(
        stream=extent_of(dict(zip(_EXTENT, stream, strict=True))),
        group=progress_of({b"last-delivered-id": delivered, b"entries-read": n_read}),
        lag=lag,
        taken=taken,
        least_pending=None if least is None else id_of(least),
        is_whole=bool(is_whole),
    )


def entries_of(told: Sequence[Any] | None) -> list[tuple[bytes, Entry]]:
    """Entries as a step tells them; one that is gone has no fields."""
    return [(entry_id, dict(_pairs(fields or ()))) for entry_id, fields in told or ()]


def marks_in(told: Sequence[Mapping[bytes, Any]], idle_ms: int) -> set[str]:
    """The marks among the consumers that XINFO told that have stood for so long."""
    prefix = MARK.encode()
    return {one[b"name"].decode() for one in told if one[b"name"].startswith(prefix) and one[b"idle"] >= idle_ms}


_EXTENT = (b"length", b"entries-added", b"recorded-first-entry-id", b"last-generated-id", b"max-deleted-entry-id")


def _pairs(flat: Sequence[bytes]) -> Iterator[tuple[bytes, bytes]]:
    parts = iter(flat)
    return zip(parts, parts, strict=True)
