"""LeaseKeeper: renews the leases of the builds that run in this process.

One thread, started with the first build that might need it, so that neither a slow function nor a blocked event loop
loses its lease while it works; a process that died renews nothing. Nor is the lease of a build renewed whose event
loop does not run any more: it would never end.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf

from everfresh.cache.notices import NoticeBoard
from everfresh.model.entry import Lease
from everfresh.model.errors import StoreClosed, StoreUnavailable
from everfresh.protocol.requests import Extend
from everfresh.stores.store import Store

# Renewed three times within its life, so that two renewals may fail.
RENEWALS_PER_LEASE = 3


@dataclass(frozen=True, slots=True)
class _Held:
    """A lease, with the event loop in which its build runs, if it is in one."""

    lease: Lease
    lease_s: float
    loop: asyncio.AbstractEventLoop | None

    def is_alive(self) -> bool:
        """Whether the build can go on. A loop that is blocked runs; one that was stopped may run again, or never."""
        return self.loop is None or self.loop.is_running()


# Tokens count within one life of a store, or of a shard.
_Name = tuple[str, int]


def _name_of(lease: Lease) -> _Name:
    return lease.begun.epoch, lease.token


class LeaseKeeper:
    """Holds the leases of running builds."""

    def __init__(self, store: Store, board: NoticeBoard) -> None:
        self._store = store
        self._board = board
        self._held: dict[_Name, _Held] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._wake = threading.Condition(self._lock)
        self._is_closed = False
        self._shortest_s = inf

    @contextmanager
    def holding(self, lease: Lease, lease_s: float) -> Generator[None]:
        """Renew the lease for `lease_s` seconds again and again while the block runs."""
        is_first = self.hold(lease, lease_s)
        try:
            yield
        finally:
            if is_first:
                self.release(lease)

    def hold(self, lease: Lease, lease_s: float) -> bool:
        """The same until it is released; False when the lease is held already."""
        with self._lock:
            name = _name_of(lease)
            if name in self._held:
                return False
            self._held[name] = _Held(lease, lease_s, running_loop())
            if self._thread is None and not self._is_closed:
                self._thread = threading.Thread(target=self._run, name="everfresh-leases", daemon=True)
                self._thread.start()
            elif lease_s < self._shortest_s:
                self._wake.notify()
        return True

    def release(self, lease: Lease) -> None:
        """Renew the lease no more."""
        with self._lock:
            self._held.pop(_name_of(lease), None)

    def close(self) -> None:
        """End the thread."""
        with self._lock:
            self._is_closed = True
            self._wake.notify()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while True:
            with self._lock:
                if self._is_closed:
                    return
                self._shortest_s = min((held.lease_s for held in self._held.values()), default=inf)
                is_idle = self._shortest_s == inf
                if self._wake.wait(None if is_idle else self._shortest_s / RENEWALS_PER_LEASE):
                    # Told of a new lease, or of the end: how long to wait is another question now.
                    continue
                held = [held for held in self._held.values() if held.is_alive()]
            self._renew(held)

    def _renew(self, held: list[_Held]) -> None:
        by_length: dict[float, list[Lease]] = {}
        for one in held:
            by_length.setdefault(one.lease_s, []).append(one.lease)
        for lease_s, leases in by_length.items():
            try:
                self._extend(leases, lease_s)
            except StoreClosed:
                return

    def _extend(self, leases: list[Lease], lease_s: float) -> None:
        try:
            self._store.carry_out(Extend(tuple(leases), lease_s))
        except StoreClosed:
            raise
        except Exception as error:  # noqa: BLE001 - without this thread every long build would lose its lease
            if not isinstance(error, StoreUnavailable) and len(leases) > 1:
                # It is about one of them, as a damaged entry is.
                for lease in leases:
                    self._extend([lease], lease_s)
            else:
                self._board.tell("worker.failed", error=str(error))


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The event loop that runs in this thread."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
