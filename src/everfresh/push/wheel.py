"""Wheel: who is due when, for thousands at once. Pure: no clock, no task.

Time is cut into ticks, and each tick has a bucket. To put somebody in, to take somebody out and to find who is due
costs the same for ten as for ten thousand, and one timer serves all.
"""

from __future__ import annotations

from math import ceil, floor, inf
from typing import Generic, TypeVar

T = TypeVar("T")


class Wheel(Generic[T]):
    """Items by the tick at which they are due; each stands in it at most once."""

    def __init__(self, tick_s: float) -> None:
        self.tick_s = tick_s
        self._buckets: dict[int, set[T]] = {}
        self._tick_of: dict[T, int] = {}
        self._next = -inf

    def __len__(self) -> int:
        return len(self._tick_of)

    def put(self, item: T, at: float) -> None:
        """It is due at that time, or up to one tick later; `inf`: never."""
        self.discard(item)
        if at == inf:
            return
        tick = max(ceil(at / self.tick_s), self._next)
        self._tick_of[item] = int(tick)
        self._buckets.setdefault(int(tick), set()).add(item)

    def discard(self, item: T) -> None:
        """It is not due any more."""
        tick = self._tick_of.pop(item, None)
        if tick is None:
            return
        bucket = self._buckets[tick]
        bucket.discard(item)
        if not bucket:
            del self._buckets[tick]

    def due(self, now: float) -> list[T]:
        """Take out whoever is due by now, the earliest first."""
        last = floor(now / self.tick_s)
        self._next = last + 1
        due: list[T] = []
        for tick in sorted(tick for tick in self._buckets if tick <= last):
            bucket = self._buckets.pop(tick)
            due += bucket
            for item in bucket:
                del self._tick_of[item]
        return due
