"""The store in this process's memory: the reference that other stores are held to.

One lock; a step runs under it from its first read to its last listener. A step that is interrupted in the middle loses
the whole store, which begins a new life, empty. Nothing survives the process.
"""

from __future__ import annotations

import os
import threading
import weakref
from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from heapq import heapify, heappop, heappush, nsmallest
from itertools import islice
from typing import TypeVar

from everfresh.matching.shapes import SHAPE_ID_BYTES, Bucket, Group, Shape, ShapeId, buckets_of, stem_of
from everfresh.matching.triage import Probe
from everfresh.model.clock import Clock, wall_clock
from everfresh.model.entry import FeedRecord, Key, State
from everfresh.model.errors import StoreClosed, StoreForked
from everfresh.model.marks import override
from everfresh.protocol.inspecting import Counted, Listed
from everfresh.protocol.requests import Request
from everfresh.protocol.scheduling import NO_PACE, Pace
from everfresh.stores.asking import listed
from everfresh.stores.memory_queue import MemoryQueue
from everfresh.stores.memory_sources import MemorySources
from everfresh.stores.store import STEPS, StepListener, Store, is_reading
from everfresh.stores.tables import (
    MARKS_KEPT_FOR_LEASES,
    NO_ROOM_LIMIT,
    Counters,
    Journal,
    LastRead,
    Room,
    Row,
    Tables,
    new_epoch,
    nobody_knows,
)

A = TypeVar("A")
K = TypeVar("K", bound=bytes)
V = TypeVar("V")

# A follower further behind starts over. At 100 bytes a record this is a megabyte.
MAX_FEED = 10_000
# Marks that no live lease needs; enough that a value computed for minutes can still be put.
MAX_FIRED = 100_000
# What events said about filtered shapes, for builds under way; a few hundred bytes each.
MAX_PROBES = 10_000
_MAX_LEFT_OVER = 64


class MemoryTables(MemorySources, Tables):
    """The tables as dicts."""

    def __init__(self, room: Room, last_read: LastRead = nobody_knows) -> None:
        super().__init__()
        self.counters = Counters(epoch=new_epoch())
        self.journal = Journal(0.0)
        self.room = room
        self.last_read = last_read
        self._n_marks_max = MAX_FIRED
        self._rows: dict[Key, Row] = {}
        self._values: dict[Key, bytes] = {}
        self._leased: dict[Key, None] = {}
        self._queue = MemoryQueue()
        self._pace: dict[str, Pace] = {}
        # Entries with a value by when they were last read, one item each; kept only where room may run short.
        self._by_age: list[tuple[float, Key]] = []
        self._aged: set[Key] = set()
        self._members: dict[Bucket, dict[Key, None]] = {}
        self._buckets: dict[ShapeId, dict[Bucket, None]] = {}
        self._operands: dict[Bucket, dict[Bucket, tuple[str, ...]]] = {}
        self._fired: dict[Bucket | ShapeId, int] = {}
        self._probes: dict[Bucket, deque[tuple[int, Probe]]] = {}
        self._n_probes = 0
        self._shapes: list[Shape] = []
        self._born: dict[ShapeId, int] = {}
        self._feed: list[FeedRecord] = []

    @override
    def row(self, key: Key) -> Row | None:
        return self._rows.get(key)

    @override
    def save(self, row: Row) -> None:
        key = row.key
        self._rows[key] = row
        if row.token is None:
            self._leased.pop(key, None)
        else:
            self._leased[key] = None
        self._queue.put(row)

    @override
    def remove(self, row: Row) -> None:
        key = row.key
        del self._rows[key]
        self._values.pop(key, None)
        self._leased.pop(key, None)
        self._queue.remove(key)

    @override
    def value(self, row: Row) -> bytes:
        return self._values[row.key]

    @override
    def set_value(self, row: Row, value: bytes) -> None:
        self._values[row.key] = value
        if self.room != NO_ROOM_LIMIT and row.key not in self._aged:
            self._aged.add(row.key)
            heappush(self._by_age, (row.read_at, row.key))
            if len(self._by_age) > 2 * len(self._values) + _MAX_LEFT_OVER:
                self._by_age = [(self._rows[key].read_at, key) for key in self._values]
                self._aged = set(self._values)
                heapify(self._by_age)

    @override
    def keys(self, after: Key, n_max: int) -> Sequence[Key]:
        return nsmallest(n_max, (key for key in self._rows if key > after))

    @override
    def due(self, now: float, quotas: Mapping[str, int], n_max: int) -> tuple[list[Row], float | None]:
        keys, next_due = self._queue.due(now, quotas, n_max)
        return [self._rows[key] for key in keys], next_due

    @override
    def n_leased(self, function: str, now: float) -> int:
        rows = (self._rows[key] for key in self._leased)
        return sum(row.is_leased(now) and row.function() == function for row in rows)

    @override
    def pace(self, function: str) -> Pace:
        return self._pace.get(function, NO_PACE)

    @override
    def set_pace(self, function: str, pace: Pace) -> None:
        if pace == NO_PACE:
            self._pace.pop(function, None)
        else:
            self._pace[function] = pace

    @override
    def coldest(self, n_max: int) -> list[Row]:
        found: list[Row] = []
        while self._by_age and len(found) < n_max:
            read_at, key = heappop(self._by_age)
            row = self._rows.get(key)
            if row is None or key not in self._values:
                self._aged.discard(key)
            elif row.read_at > read_at:
                # It was read since it was put here.
                heappush(self._by_age, (row.read_at, key))
            else:
                found.append(row)
        for row in found:
            heappush(self._by_age, (row.read_at, row.key))
        return found

    @override
    def listed(self, function: str | None, state: State | None, after: Key, n_max: int, now: float) -> list[Listed]:
        rows = (row for row in self._rows.values() if row.key > after)
        fitting = (row for row in rows if function in (None, row.function()) and state in (None, row.state_at(now)))
        return [listed(row, now) for row in nsmallest(n_max, fitting, key=lambda row: row.key)]

    @override
    def counted(self, function: str | None, now: float) -> Counted:
        rows = [row for row in self._rows.values() if function in (None, row.function())]
        n_by_state = Counter(row.state_at(now) for row in rows)
        return Counted(len(rows), sum(row.version > 0 for row in rows), n_by_state, sum(row.n_bytes for row in rows))

    @override
    def any_stale(self, keys: Sequence[Key]) -> bool:
        rows = (self._rows.get(key) for key in keys)
        return any(row is not None and row.version > 0 and row.stale_since is not None for row in rows)

    @override
    def oldest_lease(self, now: float) -> int | None:
        rows = (self._rows[key] for key in self._leased)
        return min((row.begun for row in rows if row.is_leased(now)), default=None)

    @override
    def members(self, bucket: Bucket) -> Sequence[Key]:
        return tuple(self._members.get(bucket, ()))

    @override
    def conditions(self, stem: Bucket) -> Sequence[tuple[Bucket, tuple[str, ...]]]:
        return tuple(self._operands.get(stem, {}).items())

    @override
    def members_of_shape(self, shape: ShapeId) -> Sequence[Key]:
        found: dict[Key, None] = {}
        for bucket in self._buckets.get(shape, ()):
            found.update(self._members[bucket])
        return tuple(found)

    @override
    def relink(self, row: Row, groups: tuple[Group, ...]) -> None:
        if groups == row.groups:
            return
        old, new = buckets_of(row.groups), buckets_of(groups)
        for bucket in old - new:
            self._unlink(bucket, row.key)
        for bucket in new - old:
            self._members.setdefault(bucket, {})[row.key] = None
            self._buckets.setdefault(ShapeId(bucket[:SHAPE_ID_BYTES]), {})[bucket] = None
        for group in groups:
            for bucket, stem, operands in group.filtered():
                self._operands.setdefault(stem, {})[bucket] = operands
        row.groups = groups

    def _unlink(self, bucket: Bucket, key: Key) -> None:
        members = self._members[bucket]
        del members[key]
        if members:
            return
        del self._members[bucket]
        shape = ShapeId(bucket[:SHAPE_ID_BYTES])
        _discard(self._buckets, shape, bucket)
        _discard(self._operands, stem_of(bucket), bucket)

    @override
    def fire(self, marks: Iterable[Bucket | ShapeId], sequence: int) -> None:
        fired = self._fired
        for mark in marks:
            # Taken out first, so that the dict stays in the order of firing.
            fired.pop(mark, None)
            fired[mark] = sequence
        if len(fired) > self._n_marks_max:
            self._prune_fired()
            # What a lease needs is not asked about at each event.
            self._n_marks_max = max(MAX_FIRED, len(fired) + MAX_FIRED // 4)

    def _prune_fired(self) -> None:
        oldest = self.oldest_lease(self.journal.now)
        # A build that never ends may not have all marks kept for it: it counts as outrun.
        is_kept = oldest is not None and len(self._fired) <= MARKS_KEPT_FOR_LEASES * MAX_FIRED
        below = oldest if is_kept and oldest is not None else self.counters.sequence
        # Collected in one go: to begin anew at the front after each deletion would pass over all the holes again.
        old = list(islice(self._fired.items(), len(self._fired) - MAX_FIRED // 2))
        for mark, sequence in old:
            if sequence > below:
                return
            del self._fired[mark]
            self.counters.fired_floor = max(self.counters.fired_floor, sequence)

    @override
    def keep_probe(self, probe: Probe, sequence: int) -> None:
        self._probes.setdefault(probe.stem, deque()).append((sequence, probe))
        self._n_probes += 1
        if self._n_probes > MAX_PROBES:
            self._prune_probes()

    def _prune_probes(self) -> None:
        """Forget the older half; builds that began before what is left count as outrun."""
        sequences = sorted(sequence for probes in self._probes.values() for sequence, _ in probes)
        floor = sequences[len(sequences) // 2]
        for stem, probes in tuple(self._probes.items()):
            kept = deque(item for item in probes if item[0] > floor)
            if kept:
                self._probes[stem] = kept
            else:
                del self._probes[stem]
        self._n_probes = sum(map(len, self._probes.values()))
        self.counters.fired_floor = max(self.counters.fired_floor, floor)

    @override
    def probes(self, stem: Bucket, after: int) -> Iterable[Probe]:
        return [probe for sequence, probe in self._probes.get(stem, ()) if sequence > after]

    @override
    def last_fired(self, marks: Iterable[Bucket | ShapeId]) -> int:
        return max((self._fired.get(mark, 0) for mark in marks), default=0)

    @override
    def known(self, start: int) -> tuple[Shape, ...]:
        return tuple(self._shapes[start:])

    @override
    def n_known(self) -> int:
        return len(self._shapes)

    @override
    def born(self, shape: ShapeId) -> int | None:
        return self._born.get(shape)

    @override
    def learn(self, shape: Shape, born: int) -> None:
        self._shapes.append(shape)
        self._born[shape.id] = born

    @override
    def append(self, record: FeedRecord) -> None:
        self._feed.append(record)
        if len(self._feed) > 2 * MAX_FEED:
            self.counters.feed_floor = self._feed[MAX_FEED - 1].sequence
            del self._feed[:MAX_FEED]

    @override
    def since(self, sequence: int, n_max: int) -> list[FeedRecord]:
        start = bisect_right(self._feed, sequence, key=lambda record: record.sequence)
        return self._feed[start : start + n_max]


def _discard(inner_of: dict[K, dict[Bucket, V]], outer: K, bucket: Bucket) -> None:
    """Take the bucket out, and the outer key with its last."""
    inner = inner_of.get(outer)
    if inner is not None:
        inner.pop(bucket, None)
        if not inner:
            del inner_of[outer]


class MemoryStore(Store):
    """Entries in this process's memory."""

    def __init__(self, *, clock: Clock = wall_clock, room: Room = NO_ROOM_LIMIT) -> None:
        self._room = room
        self._tables = MemoryTables(room)
        self._lock = threading.Lock()
        self._clock = clock
        self._listeners: list[StepListener] = []
        self._is_closed = False
        self._is_forked = False
        _STORES.add(self)

    @property
    @override
    def is_shared(self) -> bool:
        return False

    @override
    def carry_out(self, request: Request[A]) -> A:
        # Before the lock, which a thread of the parent may hold for ever.
        if self._is_forked:
            msg = "memory: it was made before this process was forked. Make the Cache after the fork."
            raise StoreForked(msg)
        with self._lock:
            if self._is_closed:
                msg = "The cache was closed. Use it within its `with` block."
                raise StoreClosed(msg)
            try:
                return self._step(request)
            except BaseException:
                # An interrupt came in the middle, and there is no way back to the state before: begin a new life.
                if not is_reading(request):
                    self._tables = MemoryTables(self._room, self._tables.last_read)
                    for listener in self._listeners:
                        listener(())
                raise

    def _step(self, request: Request[A]) -> A:
        tables = self._tables
        journal = tables.journal = Journal(self._clock())
        epoch = tables.counters.epoch
        # One table for all steps cannot carry each request's type; Request[A] promises the A.
        answer: A = STEPS[type(request)](tables, request)
        is_same_life = tables.counters.epoch == epoch
        if journal.records or not is_same_life:
            for listener in self._listeners:
                listener(journal.records if is_same_life else ())
        return answer

    @override
    async def carry_out_async(self, request: Request[A]) -> A:
        return self.carry_out(request)

    @override
    def version(self) -> int:
        return 0

    @override
    def ask_last_read(self, last_read: LastRead) -> None:
        self._tables.last_read = last_read

    @override
    def listen(self, listener: StepListener) -> None:
        self._listeners.append(listener)

    @override
    def close(self) -> None:
        self._is_closed = True


# The child of a fork has none of the threads that renew leases and tell who reads what.
_STORES: weakref.WeakSet[MemoryStore] = weakref.WeakSet()


def _bar_forked() -> None:
    for store in tuple(_STORES):
        store._is_forked = True  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - of this module


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_bar_forked)
