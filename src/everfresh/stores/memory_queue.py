"""The refresh queue in memory: per function, what waits for its time and what is due, each as a heap.

Nothing is ever taken out of the middle of a heap. A key's newest item speaks for it; older ones are passed over when
they come up, and swept away when they are the most.
"""

from __future__ import annotations

from collections.abc import Mapping
from heapq import heapify, heappop, heappush

from everfresh.model.entry import Key
from everfresh.stores.tables import Row

# (due or rank, number of the item, key)
_Item = tuple[float, int, Key]
_MAX_LEFT_OVER = 64


class _Lane:
    """The heaps of one function: by due time, and by rank once they are due."""

    __slots__ = ("ready", "waiting")

    def __init__(self) -> None:
        self.waiting: list[_Item] = []
        self.ready: list[_Item] = []


class MemoryQueue:
    """When entries fall due, and in which order they go."""

    def __init__(self) -> None:
        self._lanes: dict[str, _Lane] = {}
        # The item that speaks for a key, by its number; with its due time and rank.
        self._queued: dict[Key, tuple[int, float, float]] = {}
        self._n_items = 0

    def put(self, row: Row) -> None:
        """Queue the row as it says, or take it out."""
        key, due, rank = row.key, row.due, row.rank
        queued = self._queued.get(key)
        if due is None:
            if queued is not None:
                del self._queued[key]
            return
        if queued is not None and queued[1] == due and queued[2] == rank:
            return
        self._n_items += 1
        self._queued[key] = (self._n_items, due, rank)
        lane = self._lanes.get(row.function())
        if lane is None:
            lane = self._lanes[row.function()] = _Lane()
        heappush(lane.waiting, (due, self._n_items, key))
        # Without a worker nobody takes from the heap what is left over in it.
        if len(lane.waiting) + len(lane.ready) > 2 * len(self._queued) + _MAX_LEFT_OVER:
            self._sweep(lane)

    def remove(self, key: Key) -> None:
        """Take the key out."""
        self._queued.pop(key, None)

    def due(self, now: float, quotas: Mapping[str, int], n_max: int) -> tuple[list[Key], float | None]:
        """See `Queue.due`. What is given stays in the queue until its row is saved."""
        lanes = {name: lane for name in quotas if (lane := self._lanes.get(name)) is not None}
        for lane in lanes.values():
            self._ripen(lane, now)
        left = dict(quotas)
        taken: list[tuple[_Lane, _Item]] = []
        while len(taken) < n_max:
            open_lanes = [(lane.ready[0], name) for name, lane in lanes.items() if left[name] > 0 and lane.ready]
            if not open_lanes:
                break
            _, name = min(open_lanes)
            left[name] -= 1
            taken.append((lanes[name], heappop(lanes[name].ready)))
            self._clean(lanes[name].ready)
        # A quota of all that may be taken holds nothing back.
        is_more = any(lane.ready for name, lane in lanes.items() if left[name] > 0 or quotas[name] >= n_max)
        for lane, item in taken:
            heappush(lane.ready, item)
        waiting = min((lane.waiting[0][0] for lane in lanes.values() if lane.waiting), default=None)
        return [key for _, (_, _, key) in taken], now if is_more else waiting

    def _ripen(self, lane: _Lane, now: float) -> None:
        """Move what is due by now to where the rank decides."""
        self._clean(lane.waiting)
        while lane.waiting and lane.waiting[0][0] <= now:
            _, number, key = heappop(lane.waiting)
            heappush(lane.ready, (self._queued[key][2], number, key))
            self._clean(lane.waiting)
        self._clean(lane.ready)

    def _clean(self, heap: list[_Item]) -> None:
        while heap and not self._speaks(heap[0]):
            heappop(heap)

    def _sweep(self, lane: _Lane) -> None:
        for heap in (lane.waiting, lane.ready):
            heap[:] = [item for item in heap if self._speaks(item)]
            heapify(heap)

    def _speaks(self, item: _Item) -> bool:
        queued = self._queued.get(item[2])
        return queued is not None and queued[0] == item[1]
