"""Wakers: who waits for an entry in this process, and the error of a build that they may share."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from everfresh.feed.listeners import Listener
from everfresh.model.entry import FeedRecord, Key, Kind
from everfresh.model.marks import override
from everfresh.model.position import Position


class Waiter:
    """One who waits for an entry's next record.

    `arrived` is where the events stand that it must not miss: the error of a build that began later is its own too, if
    the store has not begun another life since. Who `ignores_failures` is not woken by a build that failed.
    """

    __slots__ = ("arrived", "error", "ignores_failures", "wake")

    def __init__(
        self, wake: Callable[[], object], arrived: Position | None = None, *, ignores_failures: bool = False
    ) -> None:
        self.wake = wake
        self.arrived = arrived
        self.ignores_failures = ignores_failures
        self.error: Exception | None = None


class Wakers(Listener):
    """Waiters by key."""

    def __init__(self) -> None:
        self._waiters: dict[Key, dict[Waiter, None]] = {}
        # Reentrant: a watcher that is collected as garbage takes itself out, whatever this thread is doing.
        self._lock = threading.RLock()

    def add(self, key: Key, waiter: Waiter) -> None:
        """Wake the waiter at each of the entry's records."""
        with self._lock:
            self._waiters.setdefault(key, {})[waiter] = None

    def remove(self, key: Key, waiter: Waiter) -> None:
        """Forget the waiter, woken or not."""
        with self._lock:
            waiters = self._waiters.get(key)
            if waiters is not None:
                waiters.pop(waiter, None)
                if not waiters:
                    del self._waiters[key]

    def share(self, key: Key, begun: Position, error: Exception) -> None:
        """Give a build's error to those who wait for it and came before it began."""
        with self._lock:
            for waiter in tuple(self._waiters.get(key, ())):
                if waiter.arrived is not None and begun.covers(waiter.arrived) and not waiter.ignores_failures:
                    waiter.error = error
                    waiter.wake()

    @override
    def on_records(self, records: Sequence[FeedRecord]) -> None:
        # Not under the lock: who comes later looks at the store after it came, so these records are no news to it.
        if not self._waiters:
            return
        with self._lock:
            for record in records:
                for waiter in tuple(self._waiters.get(record.key, ())):
                    if not (waiter.ignores_failures and record.kind is Kind.FAILED):
                        waiter.wake()

    @override
    def on_reset(self) -> None:
        with self._lock:
            for waiters in tuple(self._waiters.values()):
                for waiter in tuple(waiters):
                    waiter.wake()
