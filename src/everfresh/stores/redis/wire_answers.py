"""Replies of the scripts as answers.

Whole numbers come as such even where fractions are meant: Lua knows no difference.
"""

from __future__ import annotations

import struct
from typing import assert_never

import msgspec

from everfresh.model.entry import Entry, FeedRecord, Key, Kind, Lease, Recipe, State
from everfresh.model.position import Position
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
from everfresh.stores.redis.chunks import DistrustBegin, DistrustScan, Greet, Sifted
from everfresh.stores.redis.packing import number_or_none
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


# As building.lua packs it: the serial, the server's time, whether it is another value and a recovery; of the entry its
# version, three positions and when it was built, when it ends and is looked at again. Then the function's name.
_SHORT = struct.Struct("<BddB7d")
_SHORT_TAG, _RECOVERY = 0xC1, 2


def _short_commit(request: Commit, packed: bytes) -> Decoded[Committed | Overtaken]:
    """Of a commit of which there is nothing to say but what most have in common."""
    lease, built = request.lease, request.built
    _, _, at, how, version, good_from, changed_at, built_at, sequence, expires_at, look_at = _SHORT.unpack_from(packed)
    epoch, is_changed = lease.begun.epoch, how % 2 == 1
    entry = Entry(
        key=lease.key,
        function=packed[_SHORT.size :].decode(),
        state=State.FRESH,
        version=int(version),
        value=built.value,
        digest=built.digest,
        position=Position(epoch, int(good_from)),
        changed_at=Position(epoch, int(changed_at)),
        built_at=built_at,
        build_s=built.build_s,
        stale_since=None,
        reason="",
        attempts=0,
        retry_at=None,
        expires_at=number_or_none(expires_at),
        look_at=number_or_none(look_at),
        is_error=built.is_error,
    )
    kind = Kind.CHANGED if is_changed else Kind.FRESH
    record = FeedRecord(int(sequence), lease.key, kind, entry.version, built.digest)
    return Decoded(Committed(entry, is_changed, is_recovery=how >= _RECOVERY), (record,), epoch=epoch, at=at)


def commit(request: Commit, reply: Reply) -> Decoded[Committed | Overtaken]:
    """Of `Commit`; the value need not come back, as it was sent."""
    if reply[0][0] == _SHORT_TAG:
        return _short_commit(request, reply[0])
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
