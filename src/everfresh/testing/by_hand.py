"""ByHand: a store's requests with the words that a test needs, and defaults for all others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from hashlib import blake2b
from types import MappingProxyType
from typing import TypeVar

import msgspec

from everfresh.matching.index import Shapes
from everfresh.matching.shapes import Bucket, Group, Shape, grouped, shape_and_values
from everfresh.model.dependency import Call, Dependency
from everfresh.model.entry import PLAIN_TERMS, Entry, FeedRecord, Key, Lease, OnChange, Recipe, State, Terms
from everfresh.model.event import Event
from everfresh.model.position import Position
from everfresh.protocol.applying import Applied, Judge
from everfresh.protocol.inspecting import Explain, Explained
from everfresh.protocol.publishing import invalidate, publish
from everfresh.protocol.queueing import Due, Enqueue, Note, TakeDue, TookDue
from everfresh.protocol.requests import (
    ABSENT,
    UNLIMITED,
    Begin,
    Built,
    Commit,
    Committed,
    Delete,
    Fail,
    Limit,
    Load,
    Loaded,
    Put,
    ReadFeed,
    Request,
    Seen,
    Steps,
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
_NO_TIMES: Mapping[str, float] = MappingProxyType({})


def digest_of(value: object) -> str:
    """A text that is equal for equal values; what a build notes of what it did not find."""
    return ABSENT if value is NOT_THERE else blake2b(msgspec.msgpack.encode(value), digest_size=8).hexdigest()


def groups_of(*dependencies: Dependency) -> tuple[Group, ...]:
    """The dependencies as a store keeps them."""
    return grouped(map(shape_and_values, dependencies))


def shapes_of(*dependencies: Dependency) -> tuple[Shape, ...]:
    """The shapes of the dependencies, each once."""
    return tuple({shape_and_values(dependency)[0]: None for dependency in dependencies})


def recipe_of(key: str, function: str = FUNCTION) -> Recipe:
    """What a worker needs to build the entry."""
    return Recipe(function, key.encode("utf-8", "surrogatepass"))


def begin_of(  # noqa: PLR0913 - as in `commit_of`
    key: str,
    *declared: Dependency,
    good_from: int | None = None,
    fingerprint: str = FINGERPRINT,
    function: str = FUNCTION,
    lease_s: float = LEASE_S,
    terms: Terms = PLAIN_TERMS,
    watched: tuple[Group, ...] = (),
) -> Begin:
    """The request for the lease of an entry; without `good_from`, whatever its state.

    The shapes of `watched`, the groups of predicates, are declared too.
    """
    return Begin(
        key=Key(key),
        recipe=recipe_of(key, function),
        fingerprint=fingerprint,
        shapes=(*shapes_of(*declared), *(group.shape for group in watched)),
        lease_s=lease_s,
        good_from=good_from,
        terms=terms,
        watched=watched,
    )


def commit_of(  # noqa: PLR0913 - a test names what it is about, and nothing else
    lease: Lease,
    value: object,
    *dependencies: Dependency,
    seen: Mapping[str, object] = _NOTHING,
    on_change: OnChange = OnChange.REFRESH,
    fingerprint: str = FINGERPRINT,
    expires_at: float | None = None,
    terms: Terms = PLAIN_TERMS,
    is_awaited: bool | None = None,
    builder: str = "",
) -> Commit:
    """The commit of a value; `seen` are the entries that its build read, with the values that they had.

    `on_change` is part of the terms, which may be given whole.
    """
    built = Built(
        value=msgspec.msgpack.encode(value),
        digest=digest_of(value),
        groups=groups_of(*dependencies, *map(Call, seen)),
        seen=tuple(Seen(Key(key), digest_of(inner)) for key, inner in seen.items()),
        good_from=lease.begun.sequence,
        build_s=0.25,
        expires_at=expires_at,
        is_awaited=is_awaited,
    )
    if on_change is not OnChange.REFRESH:
        terms = msgspec.structs.replace(terms, on_change=on_change)
    return Commit(lease=lease, built=built, fingerprint=fingerprint, terms=terms, builder=builder)


def put_of(
    key: str, value: object, *dependencies: Dependency, fence: Position | None = None, expires_s: float | None = None
) -> Put:
    """The request to store a value without a recipe."""
    data, digest = msgspec.msgpack.encode(value), digest_of(value)
    groups = groups_of(*dependencies)
    return Put(key=Key(key), value=data, digest=digest, groups=groups, fence=fence, expires_s=expires_s)


class ByHand:
    """Carries out what builders, workers and publishers would ask for, one request at a time."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.shapes = Shapes()
        """The shapes that the publisher knows."""
        self.spares: frozenset[str] = frozenset()
        """The keys of the entries that predicates spare."""

    def run(self, steps: Steps[T]) -> T:
        """Carry out rules that need nothing but the store, and predicates."""
        answer: object = None
        while True:
            try:
                request: Request[object] = steps.send(answer)
            except StopIteration as stop:
                result: T = stop.value
                return result
            answer = self._judge(request) if isinstance(request, Judge) else self.store.carry_out(request)

    def _judge(self, request: Judge) -> Mapping[Bucket, frozenset[Key]]:
        spared: dict[Bucket, set[Key]] = {}
        for candidate in request.candidates:
            if candidate.key in self.spares:
                spared.setdefault(candidate.bucket, set()).add(candidate.key)
        return {bucket: frozenset(keys) for bucket, keys in spared.items()}

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
        terms: Terms = PLAIN_TERMS,
        is_awaited: bool | None = None,
    ) -> Committed:
        """Commit a value under a lease that holds.

        Raises:
            AssertionError: the lease was lost.
        """
        request = commit_of(
            lease, value, *dependencies, seen=seen, on_change=on_change, terms=terms, is_awaited=is_awaited
        )
        return _only(Committed, self.store.carry_out(request))

    def commit_groups(self, lease: Lease, groups: tuple[Group, ...], value: object = 1) -> Entry:
        """Commit a value that stands in these groups, under a lease that holds.

        Raises:
            AssertionError: the lease was lost.
        """
        request = commit_of(lease, value)
        answer = self.store.carry_out(replace(request, built=replace(request.built, groups=groups)))
        return _only(Committed, answer).entry

    def build(
        self,
        key: str,
        value: object,
        *dependencies: Dependency,
        seen: Mapping[str, object] = _NOTHING,
        on_change: OnChange = OnChange.REFRESH,
        terms: Terms = PLAIN_TERMS,
        function: str = FUNCTION,
    ) -> Entry:
        """Build an entry, undisturbed."""
        lease = self.lease(key, *dependencies, function=function)
        return self.commit(lease, value, *dependencies, seen=seen, on_change=on_change, terms=terms).entry

    def fail(
        self,
        lease: Lease,
        *,
        retry_in_s: float | None = 1.0,
        reason: str = "it broke",
        fingerprint: str = FINGERPRINT,
        roll: float = 1.0,
    ) -> Loaded:
        """End the lease without a value."""
        request = Fail(lease=lease, fingerprint=fingerprint, reason=reason, retry_in_s=retry_in_s, roll=roll)
        return self.store.carry_out(request)

    def publish(self, *events: Event, is_dry: bool = False, cause: tuple[str, ...] = ()) -> Applied:
        """Apply events as one step."""
        return self.run(publish(events, self.shapes, encode=encoded, is_dry=is_dry, cause=cause)).applied

    def touch(self, *dependencies: Dependency, cause: tuple[str, ...] = ()) -> Applied:
        """Touch by name."""
        return self.run(invalidate(dependencies, self.shapes, cause=cause)).applied

    def take(self, n_max: int = 100, *, function: str = FUNCTION, lease_s: float = LEASE_S) -> list[Due]:
        """Lease what is due."""
        return list(self.took(n_max, function=function, lease_s=lease_s).due)

    def took(
        self, n_max: int = 100, *, function: str = FUNCTION, lease_s: float = LEASE_S, limit: Limit = UNLIMITED
    ) -> TookDue:
        """Lease what is due, and hear what else the queue has to say."""
        return self.store.carry_out(TakeDue({function: limit}, n_max, lease_s))

    def enqueue(self, *keys: str, function: str = FUNCTION, terms: Terms = PLAIN_TERMS) -> int:
        """Queue first builds; how many were not there."""
        return self.store.carry_out(Enqueue({Key(key): recipe_of(key, function) for key in keys}, terms))

    def note(self, *, reads: Mapping[str, float] = _NO_TIMES, watched: Mapping[str, float] = _NO_TIMES) -> None:
        """Note when entries were read, and until when they are watched."""
        self.store.carry_out(Note(_by_key(reads), _by_key(watched)))

    def explain(self, key: str) -> Explained:
        """What is known of an entry.

        Raises:
            AssertionError: it is not there.
        """
        return _only(Explained, self.store.carry_out(Explain(Key(key))))

    def delete(self, *keys: str) -> int:
        """Remove entries; how many there were."""
        return self.store.carry_out(Delete(tuple(map(Key, keys))))

    def put(
        self,
        key: str,
        value: object,
        *dependencies: Dependency,
        fence: Position | None = None,
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


def encoded(event: Event) -> bytes:
    """The event as the store keeps it for functions that ask for it."""
    return msgspec.msgpack.encode([event.topic, event.body])


def _by_key(times: Mapping[str, float]) -> dict[Key, float]:
    return {Key(key): time for key, time in times.items()}


def _only(kind: type[A], answer: object) -> A:
    if not isinstance(answer, kind):
        msg = f"not a {kind.__name__}, but {answer}"
        raise AssertionError(msg)  # noqa: TRY004 - it is the test that fails
    return answer
