"""What travels between the store and its scripts: a request as a payload, a reply as an answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import msgspec

from everfresh.protocol.acknowledging import Behind
from everfresh.protocol.applying import Apply
from everfresh.protocol.inspecting import Explain
from everfresh.protocol.queueing import Enqueue, Note, Retry, TakeDue
from everfresh.protocol.requests import (
    Begin,
    Commit,
    Delete,
    Extend,
    Fail,
    GiveUp,
    Load,
    LoadMany,
    Put,
    ReadFeed,
    Register,
    Request,
)
from everfresh.stores.redis import coldest
from everfresh.stores.redis import wire_answers as answers
from everfresh.stores.redis import wire_requests as requests
from everfresh.stores.redis import wire_shown as shown
from everfresh.stores.redis.chunks import DistrustBegin, DistrustEnd, DistrustRows, DistrustScan, Greet, Scan
from everfresh.stores.redis.following import Follow
from everfresh.stores.redis.sharding_steps import Asked
from everfresh.stores.redis.wire_events import WIRES as EVENT_WIRES
from everfresh.stores.redis.wire_replies import Decoded
from everfresh.stores.redis.wire_sharding import WIRES as SHARDING_WIRES
from everfresh.stores.redis.wire_sharding import refused
from everfresh.stores.redis.wire_sourcing import WIRES as SOURCING_WIRES

__all__ = ["Decoded", "Payload", "decode", "encode", "mutates"]

A = TypeVar("A")

_encode = msgspec.msgpack.Encoder().encode
# Of an array of up to 15 values.
_SHORT_HEADER_BYTES = 1


class Payload(NamedTuple):
    """What a script is called with: its step's name, the packed request, and the bytes that travel as they are."""

    script: str
    packed: bytes
    blobs: tuple[bytes, ...]
    is_mutating: bool


class _Wire(NamedTuple):
    """How one type of request travels."""

    script: str
    fields_of: Callable[[Any], requests.Fields]
    decode: Callable[[Any, Sequence[bytes]], Decoded[Any]]
    is_mutating: bool = True


# The values cannot be typed more narrowly in one table: each takes its own request.
_WIRES: dict[type[Request[Any]], _Wire] = {
    Load: _Wire("load", requests.load, answers.load, is_mutating=False),
    LoadMany: _Wire("load_many", requests.load_many, answers.load_many, is_mutating=False),
    Begin: _Wire("begin", requests.begin, answers.begin),
    Commit: _Wire("commit", requests.commit, answers.commit),
    Fail: _Wire("fail", requests.fail, answers.load),
    GiveUp: _Wire("give_up", requests.give_up, answers.nothing),
    Extend: _Wire("extend", requests.extend, answers.flag),
    TakeDue: _Wire("take_due", requests.take_due, answers.take_due),
    Enqueue: _Wire("enqueue", requests.enqueue, answers.number),
    Retry: _Wire("retry", requests.retry, answers.number),
    Note: _Wire("note", requests.note, answers.nothing),
    DistrustBegin: _Wire("distrust_begin", requests.distrust_begin, answers.distrust_begin),
    Greet: _Wire("greet", requests.greet, answers.greet),
    DistrustEnd: _Wire("distrust_end", requests.distrust_end, answers.nothing),
    DistrustScan: _Wire("distrust_scan", requests.distrust_scan, answers.distrust_scan),
    DistrustRows: _Wire("distrust_rows", requests.distrust_rows, answers.number),
    Register: _Wire("register", requests.register, answers.nothing),
    Put: _Wire("put", requests.put, answers.flag),
    Delete: _Wire("delete", requests.delete, answers.number),
    ReadFeed: _Wire("read_feed", requests.read_feed, shown.feed_batch, is_mutating=False),
    Follow: _Wire("follow", requests.follow, shown.feed_batch),
    Behind: _Wire("behind", requests.behind, shown.behind, is_mutating=False),
    coldest.Coldest: _Wire("coldest", coldest.fields, coldest.answer),
    Scan: _Wire("scan", requests.scan, shown.scan, is_mutating=False),
    Explain: _Wire("explain", requests.explain, shown.explain, is_mutating=False),
}
_WIRES.update({request: _Wire(*wire) for request, wire in (EVENT_WIRES | SHARDING_WIRES | SOURCING_WIRES).items()})


def mutates(request: Request[Any]) -> bool:
    """Whether the step may change the store."""
    if isinstance(request, Asked):
        return True
    return _WIRES[type(request)].is_mutating and not (isinstance(request, Apply) and request.is_dry)


def encode(request: Request[Any], head: Sequence[object]) -> Payload:
    """The request, as its script reads it; `head` is what every script is told."""
    if isinstance(request, Asked):
        whole, inner = request, request.request
        wire = _WIRES[type(inner)]
        fields = wire.fields_of(inner)
        fields["is_asked"], fields["is_last"] = whole.n_asked > 0, whole.is_last
        return Payload(wire.script, _packed(fields, head), requests.blobs_of(inner), is_mutating=True)
    wire = _WIRES[type(request)]
    fields = wire.fields_of(request)
    return Payload(wire.script, _packed(fields, head), requests.blobs_of(request), mutates(request))


def _packed(fields: requests.Fields, head: Sequence[object]) -> bytes:
    """The map, and behind it the head, one value after the other: Lua's tables grow field by field."""
    return _encode(fields) + _encode(head)[_SHORT_HEADER_BYTES:]


def decode(request: Request[A], reply: Sequence[bytes] | bytes) -> Decoded[A]:
    """The answer to the request, from what its script replied: texts, or one alone."""
    if isinstance(reply, bytes):
        reply = (reply,)
    if isinstance(request, Asked):
        inner = request.request
        return refused(reply) or _WIRES[type(inner)].decode(inner, reply)
    return _WIRES[type(request)].decode(request, reply)
