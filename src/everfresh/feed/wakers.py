"""Wakers: who waits for an entry in this process, and the error of a build that they may share."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from everfresh.feed.follower import Listener
from everfresh.model.entry import FeedRecord, Key
from everfresh.model.marks import override


class Waiter:
    """One who waits: woken by any record of the entry, or by the error of a build that began late enough for it."""

    __slots__ = ("arrived", "error", "wake")

    def __init__(self, wake: Callable[[], None], arrived: int) -> None:
        self.wake = wake
        self.arrived = arrived
        self.error: Exception | None = None


class Wakers(Listener):
    """Waiters by key."""

    def __init__(self) -> None:
        self._waiters: dict[Key, list[Waiter]] = {}
        self._lock = threading.Lock()

    def add(self, key: Key, waiter: Waiter) -> None:
        """Wake the waiter at the entry's next record."""
        with self._lock:
            self._waiters.setdefault(key, []).append(waiter)

    def remove(self, key: Key, waiter: Waiter) -> None:
        """Forget the waiter, woken or not."""
        with self._lock:
            waiters = self._waiters.get(key)
            if waiters is not None and waiter in waiters:
                waiters.remove(waiter)
                if not waiters:
                    del self._waiters[key]

    def share(self, key: Key, begun: int, error: Exception) -> None:
        """Give a build's error to those who wait for it and came before it began."""
        with self._lock:
            waiters = [waiter for waiter in self._waiters.get(key, ()) if begun >= waiter.arrived]
            for waiter in waiters:
                waiter.error = error
                waiter.wake()

    @override
    def on_records(self, records: Sequence[FeedRecord]) -> None:
        with self._lock:
            for record in records:
                for waiter in self._waiters.get(record.key, ()):
                    waiter.wake()

    @override
    def on_reset(self) -> None:
        with self._lock:
            for waiters in self._waiters.values():
                for waiter in waiters:
                    waiter.wake()
