"""Replies of the scripts as answers.

Whole numbers come as such even where fractions are meant: Lua knows no difference.
"""

from __future__ import annotations

from functools import lru_cache
from typing import assert_never

import msgspec

from everfresh.matching.index import Generation
from everfresh.matching.shapes import Bucket, Shape
from everfresh.model.entry import Entry, Key, Lease, Recipe, State
from everfresh.model.position import Position
from everfresh.protocol.applying import Applied, Apply, Candidate, Candidates, ShapesMoved
from everfresh.protocol.queueing import Due, TakeDue, TookDue
from everfresh.protocol.requests import (
    Begin,
    Busy,
    Commit,
    Committed,
    Fail,
    Load,
    Loaded,
    LoadMany,
    NotNeeded,
    Overtaken,
    Request,
)
from everfresh.protocol.unstored import unstored_entry
from everfresh.stores.redis.applying import ApplyFirst, Begun, Left, Touch
from everfresh.stores.redis.chunks import DistrustBegin, DistrustScan, Greet, Sifted
from everfresh.stores.redis.wire_replies import Decoded, Reply, Told, decoded

# ------------------------------------------------------------------------------------------------------ entries


_NO_KEY = Key("")


class _Entry(msgspec.Struct, array_like=True):
    key: Key | None
    function: str
    state: State
    version: int
    digest: str | None
    good_from: int
    changed_at: int
    built_at: float
    build_s: float
    stale_since: float | None
    reason: str
    attempts: int
    retry_at: float | None
    expires_at: float | None
    look_at: float | None
    is_error: bool
    value: int | None = None


class _Loaded(msgspec.Struct, array_like=True):
    entry: _Entry | None
    epoch: str
    sequence: int
    applied: int
    now: float
    function: str | None
    arguments: int | None
    unsettled: tuple[Key, ...]
    is_leased: bool
    broken: tuple[str, float] | None = None


def _entry(packed: _Entry, epoch: str, value: bytes, key: Key = _NO_KEY, digest: str = "") -> Entry:
    """The entry; a commit is not told what it has said, its key and its digest."""
    return Entry(
        key=packed.key or key,
        function=packed.function,
        state=packed.state,
        version=packed.version,
        value=value,
        digest=packed.digest or digest,
        position=Position(epoch, packed.good_from),
        changed_at=Position(epoch, packed.changed_at),
        built_at=packed.built_at,
        build_s=packed.build_s,
        stale_since=packed.stale_since,
        reason=packed.reason,
        attempts=packed.attempts,
        retry_at=packed.retry_at,
        expires_at=packed.expires_at,
        look_at=packed.look_at,
        is_error=packed.is_error,
    )


def _loaded(packed: _Loaded, reply: Reply) -> Loaded:
    epoch, found, function, arguments = packed.epoch, packed.entry, packed.function, packed.arguments
    # An entry always names its value here; the 0 is for the type checker, and would give the packed array.
    return Loaded(
        entry=None if found is None else _entry(found, epoch, reply[found.value or 0]),
        position=Position(epoch, packed.sequence),
        applied=packed.applied,
        now=packed.now,
        recipe=None if function is None or arguments is None else Recipe(function, reply[arguments]),
        unsettled=packed.unsettled,
        is_leased=packed.is_leased,
        broken=packed.broken,
    )


_decode_load = msgspec.msgpack.Decoder(Told[_Loaded]).decode
_decode_load_many = msgspec.msgpack.Decoder(Told[list[_Loaded]]).decode


def load(_: Load | Fail, reply: Reply) -> Decoded[Loaded]:
    """Of `Load`, and of what is answered like it."""
    told = _decode_load(reply[0])
    return decoded(told, _loaded(told.answer, reply))


def load_many(_: LoadMany, reply: Reply) -> Decoded[tuple[Loaded, ...]]:
    """Of `LoadMany`."""
    told = _decode_load_many(reply[0])
    return decoded(told, tuple(_loaded(one, reply) for one in told.answer))


# ------------------------------------------------------------------------------------------------------- builds


class _Lease(msgspec.Struct, array_like=True):
    key: Key
    token: int
    epoch: str
    begun: int
    until: float
    begun_at: float
    attempts: int
    n_died: int
    event: int | None
    cause: tuple[str, ...]


def _lease(packed: _Lease, reply: Reply) -> Lease:
    return Lease(
        key=packed.key,
        token=packed.token,
        begun=Position(packed.epoch, packed.begun),
        until=packed.until,
        begun_at=packed.begun_at,
        attempts=packed.attempts,
        n_died=packed.n_died,
        event=None if packed.event is None else reply[packed.event],
        cause=packed.cause,
    )


class _Leased(msgspec.Struct, array_like=True, tag="lease"):
    lease: _Lease


class _NotNeeded(msgspec.Struct, array_like=True, tag="not_needed"):
    pass


class _Busy(msgspec.Struct, array_like=True, tag="busy"):
    now: float
    until: float


_decode_begin = msgspec.msgpack.Decoder(Told[_Leased | _NotNeeded | _Busy]).decode


def begin(_: Begin, reply: Reply) -> Decoded[Lease | NotNeeded | Busy]:
    """Of `Begin`."""
    told = _decode_begin(reply[0])
    match told.answer:
        case _Leased(lease=lease):
            return decoded(told, _lease(lease, reply))
        case _Busy(now=now, until=until):
            return decoded(told, Busy(now, until))
        case _NotNeeded():
            return decoded(told, NotNeeded())
        case _:
            assert_never(told.answer)


class _Committed(msgspec.Struct, array_like=True, tag="committed"):
    entry: _Entry
    is_changed: bool
    is_stored: bool
    is_recovery: bool


class _Overtaken(msgspec.Struct, array_like=True, tag="overtaken"):
    epoch: str
    sequence: int
    now: float


class _Unstored(msgspec.Struct, array_like=True, tag="unstored"):
    reason: str
    function: str
    epoch: str
    sequence: int
    now: float
    is_recovery: bool


_decode_commit = msgspec.msgpack.Decoder(Told[_Committed | _Overtaken | _Unstored]).decode


def commit(request: Commit, reply: Reply) -> Decoded[Committed | Overtaken]:
    """Of `Commit`; the value need not come back, as it was sent."""
    told = _decode_commit(reply[0])
    match told.answer:
        case _Committed(entry=packed) as done:
            value = request.built.value if packed.value is None else reply[packed.value]
            # A lease holds in one epoch alone, and this one did.
            entry = _entry(packed, request.lease.begun.epoch, value, request.lease.key, request.built.digest)
            return decoded(told, Committed(entry, done.is_changed, done.is_stored, done.is_recovery))
        case _Overtaken(epoch, sequence, now):
            return decoded(told, Overtaken(Position(epoch, sequence), now))
        case _Unstored() as done:
            entry = unstored_entry(
                request.lease,
                request.built,
                function=done.function,
                position=Position(done.epoch, done.sequence),
                now=done.now,
                reason=done.reason,
            )
            answer = Committed(entry, is_changed=False, is_stored=False, is_recovery=done.is_recovery)
            return decoded(told, answer)
        case _:
            assert_never(told.answer)


# ------------------------------------------------------------------------------------------------------ numbers

_decode_flag = msgspec.msgpack.Decoder(Told[bool]).decode
_decode_greet = msgspec.msgpack.Decoder(Told[bool | int]).decode
_decode_number = msgspec.msgpack.Decoder(Told[int]).decode


def nothing(_: Request[None], reply: Reply) -> Decoded[None]:
    """Of a request whose answer says only that it was done."""
    return decoded(_decode_flag(reply[0]), None)


def flag(_: Request[bool], reply: Reply) -> Decoded[bool]:
    """Of a request that is answered with whether."""
    told = _decode_flag(reply[0])
    return decoded(told, told.answer)


def greet(_: Greet, reply: Reply) -> Decoded[bool | int]:
    """Of `Greet`."""
    told = _decode_greet(reply[0])
    return decoded(told, told.answer)


def number(_: Request[int], reply: Reply) -> Decoded[int]:
    """Of a request that is answered with how many."""
    told = _decode_number(reply[0])
    return decoded(told, told.answer)


# -------------------------------------------------------------------------------------------------------- queue


class _TookDue(msgspec.Struct, array_like=True):
    due: list[tuple[_Lease, str, int]]
    now: float
    next_due: float | None
    expired: tuple[Key, ...]
    cold: tuple[Key, ...]


_decode_take_due = msgspec.msgpack.Decoder(Told[_TookDue]).decode
_decode_distrust_begin = msgspec.msgpack.Decoder(Told[tuple[str, int] | bool]).decode
_decode_distrust_scan = msgspec.msgpack.Decoder(Told[tuple[tuple[tuple[Key, float, float], ...], int, bool]]).decode


def take_due(_: TakeDue, reply: Reply) -> Decoded[TookDue]:
    """Of `TakeDue`."""
    told = _decode_take_due(reply[0])
    took = told.answer
    due = tuple(
        Due(_lease(lease, reply), Recipe(function, reply[arguments])) for lease, function, arguments in took.due
    )
    return decoded(told, TookDue(due, took.now, took.next_due, took.expired, took.cold))


def distrust_begin(_: DistrustBegin, reply: Reply) -> Decoded[Position | None]:
    """Of `DistrustBegin`."""
    told = _decode_distrust_begin(reply[0])
    begun = told.answer
    return decoded(told, None if isinstance(begun, bool) else Position(*begun))


def distrust_scan(_: DistrustScan, reply: Reply) -> Decoded[Sifted]:
    """Of `DistrustScan`."""
    told = _decode_distrust_scan(reply[0])
    return decoded(told, Sifted(*told.answer))


# ------------------------------------------------------------------------------------------------------ changes


class _Applied(msgspec.Struct, array_like=True, tag="applied"):
    epoch: str
    sequence: int
    touched: tuple[Key, ...]
    suspect: tuple[Key, ...]
    outrun: frozenset[int]
    left: Left


class _Moved(msgspec.Struct, array_like=True, tag="moved"):
    epoch: str
    n_shapes: int
    shapes: tuple[int, ...]


_decode_apply = msgspec.msgpack.Decoder(Told[_Applied | _Moved]).decode
_decode_candidates = msgspec.msgpack.Decoder(Told[list[tuple[int, Key, str, int]]]).decode
_decode_shape = msgspec.msgpack.Decoder(Shape).decode


@lru_cache(maxsize=4096)
def shape_of(blob: bytes) -> Shape:
    """The shape; a store has few, and tells of them often."""
    return _decode_shape(blob)


def apply(_: Apply, reply: Reply) -> Decoded[Applied | ShapesMoved]:
    """Of `Apply`, which leaves nothing."""
    told, begun = _begun(reply)
    return decoded(told, begun.applied)


def apply_first(_: ApplyFirst | Touch, reply: Reply) -> Decoded[Begun]:
    """Of `ApplyFirst` and `Touch`."""
    return decoded(*_begun(reply))


def _begun(reply: Reply) -> tuple[Told[_Applied | _Moved], Begun]:
    told = _decode_apply(reply[0])
    match told.answer:
        case _Applied(epoch, sequence, touched, suspect, outrun, left):
            return told, Begun(Applied(Position(epoch, sequence), touched, suspect, outrun), left)
        case _Moved(epoch, n_shapes, shapes):
            known = tuple(shape_of(reply[blob]) for blob in shapes)
            return told, Begun(ShapesMoved(Generation(epoch, n_shapes), known))
        case _:
            assert_never(told.answer)


def candidates(_: Candidates, reply: Reply) -> Decoded[tuple[Candidate, ...]]:
    """Of `Candidates`."""
    told = _decode_candidates(reply[0])
    found = tuple(
        Candidate(Bucket(reply[bucket]), key, Recipe(function, reply[arguments]))
        for bucket, key, function, arguments in told.answer
    )
    return decoded(told, found)
