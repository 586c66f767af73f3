"""Requests about sources, as steps of a bounded length. With several shards the first has all that is known of them.

Each asks for one step at least, also where there is nothing to do: who carries them out counts on that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from everfresh.protocol.requests import Request, Steps, ask
from everfresh.protocol.sourcing import (
    Forget,
    Offset,
    Quarantine,
    ReadQuarantine,
    ReadSources,
    Release,
    Sources,
    SourceState,
    Unreadable,
)

N_READ = 50
"""At so many sources one step looks, or messages."""
N_SENT = 100
# One message may have more; it goes alone.
_SENT_BYTES = 1_000_000
_N_RELEASED = 500
# What is put back was within bounds before.
_ANY_BYTES = 2**50


@dataclass(frozen=True, slots=True)
class KeepOffsets(Request[None]):
    """Have these stand: all of what they are for has been applied."""

    offsets: tuple[Offset, ...]


@dataclass(frozen=True, slots=True)
class SomeSources:
    """What was found, by name; the last name that was looked at, and whether that was the last of all."""

    states: tuple[SourceState, ...]
    now: float
    last: bytes
    is_end: bool


@dataclass(frozen=True, slots=True)
class ReadSome(Request[SomeSources]):
    """What is known of these, or of the next after a name."""

    names: tuple[str, ...] | None
    after: bytes = b""


@dataclass(frozen=True, slots=True)
class ForgetSome(Request[int]):
    """Forget what these have said; how many had said anything."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class QuarantineSome(Request[tuple[int, bool]]):
    """Keep these; how many went, and whether no more are to go. With `keeps_at` they came when they say so."""

    messages: tuple[Unreadable, ...]
    n_max: int
    max_bytes: int
    keeps_at: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """Messages, each with its bytes; how far the step came, and whether that was all."""

    messages: tuple[tuple[Unreadable, int], ...]
    last: int
    is_end: bool = False


@dataclass(frozen=True, slots=True)
class ReadIds(Request[Found]):
    """The messages with these ids; `last` says at how many of them it has looked."""

    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ReadAfter(Request[Found]):
    """The next messages behind a place, if they are of the source."""

    after: int
    source: str | None


@dataclass(frozen=True, slots=True)
class ReleaseSome(Request[tuple[int, int]]):
    """Forget these; how many were there, and at how many of the ids it has looked."""

    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PutBack(Request[None]):
    """Have these stand as they were in another store, which is no more."""

    offsets: tuple[Offset, ...]
    messages: tuple[Unreadable, ...]


def read_sources(request: ReadSources) -> Steps[Sources]:
    """Carry out `ReadSources`."""
    if request.names is not None:
        return (yield from _read_named(sorted(set(request.names))))
    states: list[SourceState] = []
    found = yield from ask(ReadSome(None))
    states += found.states
    while not found.is_end:
        found = yield from ask(ReadSome(None, found.last))
        states += found.states
    return Sources(tuple(states), found.now)


def _read_named(names: Sequence[str]) -> Steps[Sources]:
    states: list[SourceState] = []
    now = 0.0
    # Nobody may be named; the time is asked for all the same.
    for start in range(0, max(1, len(names)), N_READ):
        found = yield from ask(ReadSome(tuple(names[start : start + N_READ])))
        states += found.states
        now = found.now
    return Sources(tuple(states), now)


def forget(request: Forget) -> Steps[int]:
    """Carry out `Forget`."""
    names = sorted(set(request.sources))
    n_forgotten = 0
    for start in range(0, max(1, len(names)), N_READ):
        n_forgotten += yield from ask(ForgetSome(tuple(names[start : start + N_READ])))
    return n_forgotten


def quarantine(request: Quarantine) -> Steps[int]:
    """Carry out `Quarantine`."""
    return (yield from _kept(request))


def _kept(request: Quarantine, *, keeps_at: bool = False) -> Steps[int]:
    n_gone = 0
    for some in _some(request.messages):
        n_more, is_end = yield from ask(QuarantineSome(some, request.n_max, request.max_bytes, keeps_at=keeps_at))
        n_gone += n_more
        while not is_end:
            n_more, is_end = yield from ask(QuarantineSome((), request.n_max, request.max_bytes))
            n_gone += n_more
    return n_gone


def _some(messages: Sequence[Unreadable]) -> Iterator[tuple[Unreadable, ...]]:
    """As many as one step takes; once also where there are none, as others may be too many."""
    some: list[Unreadable] = []
    n_bytes = 0
    for message in messages:
        some.append(message)
        n_bytes += len(message.message.body)
        if len(some) == N_SENT or n_bytes > _SENT_BYTES:
            yield tuple(some)
            some, n_bytes = [], 0
    if some or not messages:
        yield tuple(some)


def read_quarantine(request: ReadQuarantine) -> Steps[tuple[Unreadable, ...]]:
    """Carry out `ReadQuarantine`."""
    return (yield from (_with_ids(request.ids) if request.ids is not None else _of_source(request)))


def _with_ids(ids: Sequence[str]) -> Steps[tuple[Unreadable, ...]]:
    found: list[Unreadable] = []
    left = tuple(dict.fromkeys(ids))
    while True:
        some = yield from ask(ReadIds(left[:N_READ]))
        found += [message for message, _ in some.messages]
        left = left[some.last :]
        if not left:
            return tuple(sorted(found, key=lambda message: message.place))


def _of_source(request: ReadQuarantine) -> Steps[tuple[Unreadable, ...]]:
    found: list[Unreadable] = []
    n_bytes = 0
    after = request.after
    while True:
        some = yield from ask(ReadAfter(after, request.source))
        for message, size in some.messages:
            if n_bytes > request.max_bytes or len(found) >= request.n_max:
                return tuple(found)
            found.append(message)
            n_bytes += size
        after = some.last
        if some.is_end:
            return tuple(found)


def release(request: Release) -> Steps[int]:
    """Carry out `Release`."""
    n_released = 0
    left = request.ids
    while True:
        n_more, n_looked_at = yield from ask(ReleaseSome(left[:_N_RELEASED]))
        n_released += n_more
        left = left[n_looked_at:]
        if not left:
            return n_released


def put_back(request: PutBack) -> Steps[None]:
    """Carry out `PutBack`."""
    yield from ask(KeepOffsets(request.offsets))
    yield from _kept(Quarantine(request.messages, len(request.messages), _ANY_BYTES), keeps_at=True)


# The values cannot be typed more narrowly in one table: each takes its own request.
CHUNKED: dict[type[Request[Any]], Callable[[Any], Steps[Any]]] = {
    ReadSources: read_sources,
    Forget: forget,
    Quarantine: quarantine,
    ReadQuarantine: read_quarantine,
    Release: release,
    PutBack: put_back,
}
"""Who carries out which, by steps that are carried out one by one."""
