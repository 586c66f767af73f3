"""Upkeep: what keeps a file small, done in small portions after steps; a store works as well when it fails."""

from __future__ import annotations

import sqlite3
import time
from contextlib import suppress
from pathlib import Path

from everfresh.stores.sqlite_errors import BUSY_S
from everfresh.stores.sqlite_opening import WAL_BYTES, wal_of

# A look at the sizes costs about 5 µs.
_LOOK_EVERY = 64
# Free pages are used again. More than a megabyte of them, and an eighth of the file, are given back instead.
_MIN_FREE_PAGES = 256
_FREE_SHARE = 8
# At most 4 ms of a step.
_PAGES_AT_ONCE = 256
# SQLite moves what was written into the file by itself, but can begin the -wal anew only while nobody reads. If there
# was no such moment for long, it is waited for; readers that come meanwhile are not held up.
_MAX_WAL_BYTES = 4 * WAL_BYTES
_WAIT_FOR_READERS_MS = 100
# For the last one who closes the file.
_CLOSING_S = 0.25


class Upkeep:
    """Looks after one file; called under the write lock, outside of transactions."""

    def __init__(self, path: Path) -> None:
        self._wal = wal_of(path)
        self._n_steps = 0

    def after_step(self, connection: sqlite3.Connection, *, is_less: bool) -> None:
        """Look whether there is something to do; sooner when the step removed entries."""
        self._n_steps += 1
        if not is_less and self._n_steps % _LOOK_EVERY:
            return
        with suppress(sqlite3.OperationalError):
            self._give_back(connection)
            self._bound_wal(connection)

    def at_close(self, connection: sqlite3.Connection) -> None:
        """Give back what is free, within reason."""
        ends_at = time.monotonic() + _CLOSING_S
        with suppress(sqlite3.OperationalError):
            while self._give_back(connection) and time.monotonic() < ends_at:
                pass

    def _give_back(self, connection: sqlite3.Connection) -> bool:
        n_free = connection.execute("PRAGMA freelist_count").fetchone()[0]
        if n_free < _MIN_FREE_PAGES or n_free * _FREE_SHARE < connection.execute("PRAGMA page_count").fetchone()[0]:
            return False
        # It gives back a page each time that it is asked to go on, which `execute` does once and a script to its end.
        connection.executescript(f"PRAGMA incremental_vacuum({_PAGES_AT_ONCE})")
        return True

    def _bound_wal(self, connection: sqlite3.Connection) -> None:
        try:
            size = self._wal.stat().st_size
        except FileNotFoundError:
            return
        if size <= _MAX_WAL_BYTES:
            return
        connection.execute(f"PRAGMA busy_timeout = {_WAIT_FOR_READERS_MS}")
        try:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        finally:
            connection.execute(f"PRAGMA busy_timeout = {BUSY_S * 1000:.0f}")
