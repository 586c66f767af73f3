"""ByHand: a store's requests with the words that a test needs, and defaults for all others."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from types import MappingProxyType
from typing import TypeVar

import msgspec

from everfresh.matching.shapes import Group, Shape, grouped, shape_and_values
from everfresh.matching.triage import ShapeIndex
from everfresh.model.dependency import Call, Dependency
from everfresh.model.entry import Entry, FeedRecord, Key, Lease, OnChange, Recipe, State
from everfresh.model.event import Event
from everfresh.model.position import Position
from everfresh.protocol.publishing import invalidate, publish
from everfresh.protocol.requests import (
    ABSENT,
    Applied,
    Begin,
    Built,
    Commit,
    Committed,
    Delete,
    Due,
    Fail,
    Load,
    Loaded,
    Put,
    ReadFeed,
    Request,
    Seen,
    Steps,
    TakeDue,
)
from everfresh.stores.store import Store

A = TypeVar("A")
T = TypeVar("T")

FINGERPRINT = "f1"
FUNCTION = "function"
LEASE_S = 10.0
NOT_THERE = object()
"""Stands for the value of an entry that a build looked for and did not find."""
_NOTHING: Mapping[str, object] = MappingProxyType({})


def digest_of(value: object) -> str:
    """A text that is equal for equal values; what a build notes of what it did not find."""
    return ABSENT if value is NOT_THERE else blake2b(msgspec.msgpack.encode(value), digest_size=8).hexdigest()


def groups_of(*dependencies: Dependency) -> tuple[Group, ...]:
    """The dependencies as a store keeps them."""
    return grouped(map(shape_and_values, dependencies))


def shapes_of(*dependencies: Dependency) -> tuple[Shape, ...]:
    """The shapes of the dependencies, each once."""
    return tuple({shape_and_values(dependency)[0]: None for dependency in dependencies})


def begin_of(
    key: str,
    *declared: Dependency,
    good_from: int | None = None,
    fingerprint: str = FINGERPRINT,
    function: str = FUNCTION,
    lease_s: float = LEASE_S,
) -> Begin:
    """The request for the lease of an entry; without `good_from`, whatever its state."""
    return Begin(
        key=Key(key),
        recipe=Recipe(function, key.encode("utf-8", "surrogatepass")),
        fingerprint=fingerprint,
        shapes=shapes_of(*declared),
        lease_s=lease_s,
        good_from=good_from,
    )


def commit_of(
    lease: Lease,
    value: object,
    *dependencies: Dependency,
    seen: Mapping[str, object] = _NOTHING,
    on_change: OnChange = OnChange.REFRESH,
    fingerprint: str = FINGERPRINT,
    expires_at: float | None = None,
) -> Commit:
    """The commit of a value; `seen` are the entries that its build read, with the values that they had."""
    built = Built(
        value=msgspec.msgpack.encode(value),
        digest=digest_of(value),
        groups=groups_of(*dependencies, *map(Call, seen)),
        seen=tuple(Seen(Key(key), digest_of(inner)) for key, inner in seen.items()),
        good_from=lease.begun.sequence,
        build_s=0.25,
        expires_at=expires_at,
    )
    return Commit(lease=lease, built=built, fingerprint=fingerprint, on_change=on_change)


def put_of(
    key: str, value: object, *dependencies: Dependency, fence: int | None = None, expires_s: float | None = None
) -> Put:
    """The request to store a value without a recipe."""
    data, digest = msgspec.msgpack.encode(value), digest_of(value)
    groups = groups_of(*dependencies)
    return Put(key=Key(key), value=data, digest=digest, groups=groups, fence=fence, expires_s=expires_s)


class ByHand:
    """Carries out what builders, workers and publishers would ask for, one request at a time."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.index = ShapeIndex()
        """The shapes that the publisher knows."""

    def run(self, steps: Steps[T]) -> T:
        """Carry out rules that need nothing but the store."""
        answer: object = None
        while True:
            try:
                request: Request[object] = steps.send(answer)
            except StopIteration as stop:
                result: T = stop.value
                return result
            answer = self.store.carry_out(request)

    def lease(
        self,
        key: str,
        *declared: Dependency,
        function: str = FUNCTION,
        fingerprint: str = FINGERPRINT,
        lease_s: float = LEASE_S,
    ) -> Lease:
        """Take the lease of an entry, whatever its state.

        Raises:
            AssertionError: the lease was not to be had.
        """
        request = begin_of(key, *declared, function=function, fingerprint=fingerprint, lease_s=lease_s)
        return _only(Lease, self.store.carry_out(request))

    def commit(
        self,
        lease: Lease,
        value: object,
        *dependencies: Dependency,
        seen: Mapping[str, object] = _NOTHING,
        on_change: OnChange = OnChange.REFRESH,
    ) -> Committed:
        """Commit a value under a lease that holds.

        Raises:
            AssertionError: the lease was lost.
        """
        request = commit_of(lease, value, *dependencies, seen=seen, on_change=on_change)
        return _only(Committed, self.store.carry_out(request))

    def build(
        self,
        key: str,
        value: object,
        *dependencies: Dependency,
        seen: Mapping[str, object] = _NOTHING,
        on_change: OnChange = OnChange.REFRESH,
    ) -> Entry:
        """Build an entry, undisturbed."""
        lease = self.lease(key, *dependencies)
        return self.commit(lease, value, *dependencies, seen=seen, on_change=on_change).entry

    def fail(
        self, lease: Lease, *, retry_in_s: float | None = 1.0, reason: str = "it broke", fingerprint: str = FINGERPRINT
    ) -> Loaded:
        """End the lease without a value."""
        request = Fail(lease=lease, fingerprint=fingerprint, reason=reason, retry_in_s=retry_in_s)
        return self.store.carry_out(request)

    def publish(self, *events: Event, is_dry: bool = False) -> Applied:
        """Apply events as one step."""
        return self.run(publish(events, self.index, is_dry=is_dry))

    def touch(self, *dependencies: Dependency) -> Applied:
        """Touch by name."""
        return self.run(invalidate(dependencies, self.index))

    def take(self, n_max: int = 100, *, function: str = FUNCTION, lease_s: float = LEASE_S) -> list[Due]:
        """Lease what is due."""
        return list(self.store.carry_out(TakeDue(frozenset({function}), n_max, lease_s)).due)

    def delete(self, *keys: str) -> int:
        """Remove entries; how many there were."""
        return self.store.carry_out(Delete(tuple(map(Key, keys))))

    def put(
        self,
        key: str,
        value: object,
        *dependencies: Dependency,
        fence: int | None = None,
        expires_s: float | None = None,
    ) -> bool:
        """Store a value without a recipe; whether it was taken."""
        return self.store.carry_out(put_of(key, value, *dependencies, fence=fence, expires_s=expires_s))

    def load(self, key: str, fingerprint: str | None = None) -> Loaded:
        """Read one entry, or that there is none."""
        return self.store.carry_out(Load(Key(key), fingerprint))

    def entry(self, key: str) -> Entry:
        """Read one entry.

        Raises:
            AssertionError: it is not there.
        """
        return _only(Entry, self.load(key).entry)

    def state(self, key: str) -> State | None:
        """How an entry stands; None when it is not there."""
        entry = self.load(key).entry
        return None if entry is None else entry.state

    def value(self, key: str) -> object:
        """The value of an entry."""
        decoded: object = msgspec.msgpack.decode(self.entry(key).value)
        return decoded

    def position(self) -> Position:
        """The store's newest position."""
        return self.store.carry_out(ReadFeed(None)).position

    def feed(self, after: Position) -> list[FeedRecord]:
        """The records after a position."""
        return list(self.store.carry_out(ReadFeed(after)).records)


def _only(kind: type[A], answer: object) -> A:
    if not isinstance(answer, kind):
        msg = f"not a {kind.__name__}, but {answer}"
        raise AssertionError(msg)  # noqa: TRY004 - it is the test that fails
    return answer
