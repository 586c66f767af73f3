"""The store in this process's memory: the reference that other stores are held to.

One lock; a step runs under it from its first read to its last listener. A step that is interrupted in the middle loses
the whole store, which begins a new life, empty. Nothing survives the process.
"""

from __future__ import annotations

import secrets
import threading
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from heapq import heapify, heappop, heappush
from itertools import islice
from typing import Any, TypeVar, cast

from everfresh.matching.shapes import SHAPE_ID_BYTES, Bucket, Group, Shape, ShapeId, buckets_of
from everfresh.model.clock import Clock, wall_clock
from everfresh.model.entry import FeedRecord, Key
from everfresh.model.errors import StoreClosed
from everfresh.model.marks import override
from everfresh.protocol.requests import Request
from everfresh.stores.store import STEPS, StepListener, Store, is_reading
from everfresh.stores.tables import Counters, Journal, Row, Tables

A = TypeVar("A")

# A follower further behind starts over. At 100 bytes a record this is a megabyte.
MAX_FEED = 10_000
# Marks that no live lease needs; enough that a value computed for minutes can still be put.
MAX_FIRED = 100_000
_MAX_LEFT_OVER = 64


def new_epoch() -> str:
    """A name for one life of a store."""
    return secrets.token_hex(8)


class MemoryTables(Tables):
    """The tables as dicts."""

    def __init__(self) -> None:
        self.counters = Counters(epoch=new_epoch())
        self.journal = Journal(0.0)
        self._rows: dict[Key, Row] = {}
        self._values: dict[Key, bytes] = {}
        self._leased: dict[Key, None] = {}
        # Due entries by function; which item of its heap speaks for a key, all others being left over.
        self._heaps: dict[str, list[tuple[float, int, Key]]] = {}
        self._queued: dict[Key, tuple[float, int]] = {}
        self._n_queued = 0
        self._members: dict[Bucket, dict[Key, None]] = {}
        self._buckets: dict[ShapeId, dict[Bucket, None]] = {}
        self._fired: dict[Bucket | ShapeId, int] = {}
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
        queued = self._queued.get(key)
        if row.due is None:
            self._queued.pop(key, None)
        elif queued is None or queued[0] != row.due:
            self._n_queued += 1
            self._queued[key] = (row.due, self._n_queued)
            heap = self._heaps.setdefault(row.function(), [])
            heappush(heap, (row.due, self._n_queued, key))
            # Without a worker nobody takes from the heap what is left over in it.
            if len(heap) > 2 * len(self._queued) + _MAX_LEFT_OVER:
                heap[:] = [item for item in heap if self._speaks(item)]
                heapify(heap)

    @override
    def remove(self, row: Row) -> None:
        key = row.key
        del self._rows[key]
        self._values.pop(key, None)
        self._leased.pop(key, None)
        self._queued.pop(key, None)

    @override
    def value(self, row: Row) -> bytes:
        return self._values[row.key]

    @override
    def set_value(self, row: Row, value: bytes) -> None:
        self._values[row.key] = value

    @override
    def due(self, now: float, functions: frozenset[str], n_max: int) -> tuple[list[Row], float | None]:
        heaps = [heap for name in functions if (heap := self._heaps.get(name)) is not None]
        taken: list[tuple[list[tuple[float, int, Key]], tuple[float, int, Key]]] = []
        next_due: float | None = None
        while heap := self._earliest(heaps):
            if heap[0][0] > now or len(taken) == n_max:
                next_due = heap[0][0]
                break
            taken.append((heap, heappop(heap)))
        for heap, item in taken:
            heappush(heap, item)
        return [self._rows[key] for _, (_, _, key) in taken], next_due

    def _earliest(self, heaps: list[list[tuple[float, int, Key]]]) -> list[tuple[float, int, Key]] | None:
        """The heap with the earliest item at its head, once what is left over is gone."""
        for heap in heaps:
            while heap and not self._speaks(heap[0]):
                heappop(heap)
        return min((heap for heap in heaps if heap), key=lambda heap: heap[0], default=None)

    def _speaks(self, item: tuple[float, int, Key]) -> bool:
        due, number, key = item
        return self._queued.get(key) == (due, number)

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
    def members_of_shape(self, shape: ShapeId) -> Sequence[Key]:
        found: dict[Key, None] = {}
        for bucket in self._buckets.get(shape, ()):
            found.update(self._members[bucket])
        return tuple(found)

    @override
    def relink(self, row: Row, groups: tuple[Group, ...]) -> None:
        old, new = buckets_of(row.groups), buckets_of(groups)
        for bucket in old - new:
            self._unlink(bucket, row.key)
        for bucket in new - old:
            self._members.setdefault(bucket, {})[row.key] = None
            self._buckets.setdefault(ShapeId(bucket[:SHAPE_ID_BYTES]), {})[bucket] = None
        row.groups = groups

    def _unlink(self, bucket: Bucket, key: Key) -> None:
        members = self._members[bucket]
        del members[key]
        if members:
            return
        del self._members[bucket]
        shape = ShapeId(bucket[:SHAPE_ID_BYTES])
        buckets = self._buckets[shape]
        del buckets[bucket]
        if not buckets:
            del self._buckets[shape]

    @override
    def fire(self, marks: Iterable[Bucket | ShapeId], sequence: int) -> None:
        fired = self._fired
        for mark in marks:
            # Taken out first, so that the dict stays in the order of firing.
            fired.pop(mark, None)
            fired[mark] = sequence
        if len(fired) > MAX_FIRED:
            self._prune_fired()

    def _prune_fired(self) -> None:
        oldest = self.oldest_lease(self.journal.now)
        below = self.counters.sequence if oldest is None else oldest
        # Collected in one go: to begin anew at the front after each deletion would pass over all the holes again.
        old = list(islice(self._fired.items(), len(self._fired) - MAX_FIRED // 2))
        for mark, sequence in old:
            if sequence > below:
                return
            del self._fired[mark]
            self.counters.fired_floor = sequence

    @override
    def last_fired(self, marks: Iterable[Bucket | ShapeId]) -> int:
        fired = self._fired
        return max((fired.get(mark, 0) for mark in marks), default=0)

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


class MemoryStore(Store):
    """Entries in this process's memory."""

    def __init__(self, *, clock: Clock = wall_clock) -> None:
        self._tables = MemoryTables()
        self._lock = threading.Lock()
        self._clock = clock
        self._listeners: list[StepListener] = []
        self._is_closed = False

    @property
    @override
    def is_shared(self) -> bool:
        return False

    @override
    def carry_out(self, request: Request[A]) -> A:
        with self._lock:
            if self._is_closed:
                msg = "The cache was closed. Use it within its `with` block."
                raise StoreClosed(msg)
            try:
                return self._step(request)
            except BaseException:
                # An interrupt came in the middle, and there is no way back to the state before: begin a new life.
                if not is_reading(request):
                    self._tables = MemoryTables()
                    for listener in self._listeners:
                        listener(())
                raise

    def _step(self, request: Request[A]) -> A:
        tables = self._tables
        journal = tables.journal = Journal(self._clock())
        # One table for all steps cannot carry each request's type; Request[A] promises the A.
        answer = cast("A", STEPS[type(cast("Request[Any]", request))](tables, request))
        if journal.records:
            for listener in self._listeners:
                listener(journal.records)
        return answer

    @override
    async def carry_out_async(self, request: Request[A]) -> A:
        return self.carry_out(request)

    @override
    def version(self) -> int:
        return 0

    @override
    def listen(self, listener: StepListener) -> None:
        self._listeners.append(listener)

    @override
    def close(self) -> None:
        self._is_closed = True
