"""Follower: this process's one reader of the feed.

Rules
- In a store of one process each step tells its records under the store's lock, so followers are always exact.
- In a shared store `catch_up` reads what was written since. Whoever needs exactness calls `confirm` first, at the cost
  of one look at the store's version; a poller does the same for those who wait.
- After records were lost, or the store's life began anew, listeners are told to start over.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from everfresh.feed.listeners import Listener, Listeners
from everfresh.model.entry import FeedRecord
from everfresh.model.errors import StoreError, StoreUnavailable
from everfresh.model.position import Position
from everfresh.protocol.requests import FeedBatch, ReadFeed
from everfresh.stores.store import Store

# While things happen, who waits for another process is at most this much late. A look costs 3 µs, and to wake up for
# it twenty times as much, so that all of it takes 2 % of a CPU.
POLL_S = 0.004
# After a second in which nothing has happened it is this much: nobody sees two frames of a screen, and it is 0.4 %.
LONGEST_POLL_S = 0.032
# How late, of the time in which nothing has happened: a build that took a second is not slower for half a frame.
_LATE = 1 / 32
MAX_BATCH = 1_000


def pause_s(quiet_s: float) -> float:
    """How long a poller leaves the store alone when nothing has happened for so long."""
    return min(max(POLL_S, quiet_s * _LATE), LONGEST_POLL_S)


class Follower:
    """Reads the feed once for all listeners of a process."""

    def __init__(self, store: Store) -> None:
        self._store = store
        # With a lock of its own.
        self._listeners = Listeners()
        self._lock = threading.Lock()
        self._version = store.version()
        self._position = store.carry_out(ReadFeed(None)).position
        # Whether it is unknown who was told of what: an interrupt came in the middle.
        self._is_torn = False
        self._poller: threading.Thread | None = None
        self._busy_at = time.monotonic()
        self._stop = threading.Event()
        self._rung = threading.Event()
        store.listen(self._on_step)

    @property
    def position(self) -> Position:
        """How far the listeners have followed."""
        return self._position

    def add(self, listener: Listener) -> Callable[[], None]:
        """Tell the listener of everything from now on; gives back how to stop."""
        return self._listeners.add(listener)

    def catch_up(self) -> None:
        """Have every listener told of what is written by now."""
        self._stir()
        with self._lock:
            # Read before the feed: what is written in between makes the version differ again.
            version = self._store.version()
            if self._is_torn:
                self._take_up_anew()
            is_at_end = False
            while not is_at_end:
                batch = self._store.carry_out(ReadFeed(self._position, MAX_BATCH))
                is_at_end = self._take(batch)
            self._version = version

    def confirm(self) -> None:
        """Make sure that nothing is written that the listeners were not told of."""
        if self._store.version() != self._version or self._is_torn:
            self.catch_up()

    def poll(self) -> None:
        """Follow by itself from now on, for those who wait; a store of one process needs no polling."""
        if not self._store.is_shared:
            return
        self._stir()
        if self._poller is not None:
            return
        with self._lock:
            if self._poller is None and not self._stop.is_set():
                poller = threading.Thread(target=self._poll, name="everfresh-follower", daemon=True)
                poller.start()
                # Last, so that whoever stops it finds it started.
                self._poller = poller

    def stop(self) -> None:
        """Stop polling."""
        self._stop.set()
        self._rung.set()
        with self._lock:
            poller = self._poller
        if poller is not None:
            poller.join()

    def start_over(self) -> None:
        """Have every listener forget what it knows, and look again."""
        self._listeners.tell(())

    def _take(self, batch: FeedBatch) -> bool:
        self._is_torn = True
        if batch.is_reset:
            self.start_over()
        elif batch.records:
            self._listeners.tell(batch.records)
        self._position, self._is_torn = batch.position, False
        return batch.is_reset or len(batch.records) < MAX_BATCH

    def _take_up_anew(self) -> None:
        """Go on from the end; listeners that were not told to the last are told to start over."""
        position = self._store.carry_out(ReadFeed(None)).position
        self.start_over()
        self._position, self._is_torn = position, False

    def _on_step(self, records: Sequence[FeedRecord]) -> None:
        if self._store.is_shared:
            # The step is done and stays done. If its records cannot be read now, the next `confirm` reads them.
            with suppress(StoreUnavailable):
                self.catch_up()
            return
        self._listeners.tell(records)

    def _stir(self) -> None:
        """Something happens, or somebody waits for it: look often for a while."""
        now = time.monotonic()
        is_asleep = pause_s(now - self._busy_at) > POLL_S
        self._busy_at = now
        if is_asleep:
            self._rung.set()

    def _poll(self) -> None:
        while not self._stop.is_set():
            self._rung.wait(pause_s(time.monotonic() - self._busy_at))
            self._rung.clear()
            # A store that does not answer now may answer at the next look.
            with suppress(StoreError):
                self.confirm()
