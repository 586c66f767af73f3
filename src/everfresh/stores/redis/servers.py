"""Servers: what is looked at before a server is used, and who sweeps when what it holds is not to be trusted."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any

from redis import exceptions

from everfresh.model.errors import StoreClosed, StoreError, StoreUnavailable
from everfresh.protocol.requests import Steps
from everfresh.stores.redis.addresses import Address
from everfresh.stores.redis.failures import DRIVER_ERRORS
from everfresh.stores.redis.identity import name_of

_log = logging.getLogger("everfresh")
_OLDEST = (7, 0)

OTHER_RUN = "the server was started anew, or another took its place: its last writes may be lost"
# How fast the distrusted entries fall due, so that their sources are not overrun.
SWEPT_PER_S = 100.0
# A server that has just come back may go again. Beyond that, whoever looks at it next goes on.
_MAX_TRIES = 60
_PAUSE_S = 0.5


def run_id_of(told: Mapping[str, Any], address: Address) -> str:
    """The run of a server that can be used, from what it says of itself; what will go wrong later is warned of.

    Raises:
        StoreUnavailable: it is too old.
    """
    version = str(told.get("redis_version", ""))
    if _numbers_of(version) < _OLDEST:
        msg = f"{address}: this is Redis {version}, and 7.0 is the oldest that will do. Update it."
        raise StoreUnavailable(msg)
    policy = str(told.get("maxmemory_policy", "noeviction"))
    if policy != "noeviction":
        _log.warning(
            "store.evicts %s",
            {
                "store": str(address),
                "maxmemory_policy": policy,
                "what": "Redis may drop parts of the cache by itself. Set its maxmemory-policy to noeviction.",
            },
        )
    return name_of(str(told.get("run_id", "")), str(told.get("master_replid", "")))


def _numbers_of(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2] if part.isdigit())


class Look:
    """One looks at the server for all who wait, so that they need not sit through one silence after the other."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._n_failed = 0
        self._problem = ""
        self.n_waiting = 0
        """How many wait for their turn, about; for tests."""

    @contextmanager
    def turn(self) -> Generator[None]:
        """Hold the only turn to look while the block runs.

        Raises:
            ConnectionError: of the driver; somebody's look has failed since this one began to wait.
        """
        n_failed = self._n_failed
        self.n_waiting += 1
        with self._lock:
            self.n_waiting -= 1
            if self._n_failed != n_failed:
                raise exceptions.ConnectionError(self._problem)
            try:
                yield
            except DRIVER_ERRORS as error:
                self._n_failed, self._problem = self._n_failed + 1, str(error)
                raise


class Sweeper:
    """Sweeps in a thread, one sweep at a time; another that is asked for meanwhile is the same one."""

    def __init__(self, run: Callable[[Steps[int]], int]) -> None:
        self._run = run
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()

    def stop(self) -> None:
        """Leave what is left to others."""
        self._stop.set()

    def sweep(self, make: Callable[[], Steps[int]], reason: str) -> None:
        """Begin, and come back at once; the reason is for people."""
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(
                    target=self._sweep, args=(make, reason), name="everfresh-sweeper", daemon=True
                )
                self._thread.start()

    def _sweep(self, make: Callable[[], Steps[int]], reason: str) -> None:
        for _ in range(_MAX_TRIES):
            try:
                n_dirty = self._run(make())
            except StoreClosed:
                return
            except StoreError as error:
                _log.warning("store.sweep_failed %s", {"error": str(error)})
                if self._stop.wait(_PAUSE_S):
                    return
            else:
                _log.warning("store.distrusted %s", {"n_entries": n_dirty, "reason": reason})
                return
