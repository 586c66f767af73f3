"""The store in one SQLite file, for all processes of one machine; it survives them.

Rules
- WAL: readers never wait for a writer. One connection writes, one reads, each under a lock.
- A writing step is one transaction that begins with BEGIN IMMEDIATE, so what it read cannot change before it writes.
- `synchronous=NORMAL`: a killed process loses nothing; a power cut may lose the last commits, never half of one.
- `PRAGMA data_version` on the reading connection differs after any other connection wrote, this process's own too.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar, cast

from everfresh.model.clock import Clock, wall_clock
from everfresh.model.errors import StoreClosed, StoreForeign, StoreUnavailable
from everfresh.model.marks import override
from everfresh.protocol.requests import Request
from everfresh.stores.memory import new_epoch
from everfresh.stores.sqlite_tables import SqliteTables
from everfresh.stores.store import STEPS, StepListener, Store, is_reading

A = TypeVar("A")

# "EvFr" in ASCII, so that a file can be told to be ours.
APPLICATION_ID = 0x45764672
SCHEMA_VERSION = 1
# How long a step waits for another process's step. Steps take well under a millisecond; a stopped process may hold one.
_BUSY_S = 5.0
# Switching a new file to WAL ignores the busy timeout while another process does the same.
_OPEN_DEADLINE_S = 10.0
_OPEN_PAUSE_S = 0.01
# How often it is looked whether the file is still the one that was opened; a look costs about 2 µs.
_LOOK_EVERY_S = 1.0
# More than data_version counts to while a process runs.
_VERSIONS_OF_ONE_LIFE = 2**40
_CLOSED = "The cache was closed. Use it within its `with` block."


class SqliteStore(Store):
    """Entries in one SQLite file."""

    def __init__(self, path: Path, *, clock: Clock = wall_clock) -> None:
        self._path = path.absolute()
        self._clock = clock
        self._pid = os.getpid()
        self._write_lock = threading.Lock()
        self._read_lock = threading.Lock()
        self._listeners: list[StepListener] = []
        self._is_closed = False
        self._lives = 0
        self._look_at = time.monotonic() + _LOOK_EVERY_S
        with _translated(path):
            self._writer, self._reader = _open_both(self._path)
            self._identity = _identity_of(self._path)
        self._write_thread = ThreadPoolExecutor(1, thread_name_prefix="everfresh-sqlite")

    @property
    @override
    def is_shared(self) -> bool:
        return True

    @override
    def carry_out(self, request: Request[A]) -> A:
        self._check()
        step = STEPS[type(cast("Request[Any]", request))]
        with _translated(self._path):
            if is_reading(request):
                with self._read_lock, _transaction(self._reader, "BEGIN"):
                    return cast("A", step(SqliteTables(self._reader, self._clock()), request))
            with self._write_lock, _transaction(self._writer, "BEGIN IMMEDIATE"):
                tables = SqliteTables(self._writer, self._clock())
                answer = cast("A", step(tables, request))
                tables.finish()
        if tables.journal.records:
            for listener in self._listeners:
                listener(tables.journal.records)
        return answer

    @override
    async def carry_out_async(self, request: Request[A]) -> A:
        if is_reading(request):
            return self.carry_out(request)
        # A write may wait for another process; the loop must not.
        self._check()
        try:
            step = self._write_thread.submit(self.carry_out, request)
        except RuntimeError as error:
            raise StoreClosed(_CLOSED) from error
        return await asyncio.wrap_future(step)

    @override
    def version(self) -> int:
        # Asked at each near hit, so it does without the helpers that other steps share.
        self._check()
        try:
            with self._read_lock:
                version: int = self._reader.execute("PRAGMA data_version").fetchone()[0]
                return version + self._lives * _VERSIONS_OF_ONE_LIFE
        except sqlite3.Error as error:
            with _translated(self._path):
                raise error from None

    @override
    def listen(self, listener: StepListener) -> None:
        self._listeners.append(listener)

    @override
    def close(self) -> None:
        self._is_closed = True
        self._write_thread.shutdown(wait=True)
        with self._write_lock, self._read_lock:
            self._reader.close()
            self._writer.close()

    def _check(self) -> None:
        if self._is_closed:
            raise StoreClosed(_CLOSED)
        if self._pid != os.getpid():
            msg = f"{self._path}: it was opened before this process was forked. Make the Cache after the fork."
            raise StoreUnavailable(msg)
        if time.monotonic() >= self._look_at:
            self._follow_file()

    def _follow_file(self) -> None:
        """Open the file anew when it was deleted or replaced: to go on with the old one would be stale for ever.

        The other file has another epoch, so that followers start over.
        """
        with _translated(self._path), self._write_lock, self._read_lock:
            self._look_at = time.monotonic() + _LOOK_EVERY_S
            if self._is_closed or _identity_of(self._path) == self._identity:
                return
            old = self._writer, self._reader
            self._writer, self._reader = _open_both(self._path)
            self._identity = _identity_of(self._path)
            self._lives += 1
            for connection in old:
                connection.close()


def _identity_of(path: Path) -> tuple[int, int] | None:
    """Which file stands under the path; None when there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _open_both(path: Path) -> tuple[sqlite3.Connection, sqlite3.Connection]:
    """A writing and a reading connection."""
    writer = _until_unlocked(lambda: _open(path))
    try:
        return writer, _connect(path)
    except BaseException:
        writer.close()
        raise


def _open(path: Path) -> sqlite3.Connection:
    """A writing connection to a file that is ours, made if there is none."""
    if not path.parent.is_dir():
        msg = f"{path}: there is no folder {path.parent}. Make it, or name another path."
        raise StoreUnavailable(msg)
    if path.is_dir():
        msg = f"{path}: this is a folder. Name a file in it."
        raise StoreUnavailable(msg)
    if not path.exists() and not os.access(path.parent, os.W_OK):
        msg = f"{path}: no file can be made in this folder by this user. Change its mode, or name another path."
        raise StoreUnavailable(msg)
    if path.exists() and not os.access(path, os.W_OK):
        msg = f"{path}: the file cannot be written by this user. Change its owner or mode, or name another path."
        raise StoreUnavailable(msg)
    connection = _connect(path)
    try:
        # One transaction, so that what another process makes meanwhile is seen whole or not at all.
        with _transaction(connection, "BEGIN"):
            _check_ours(connection, path)
        connection.execute("PRAGMA journal_mode = WAL")
        with _transaction(connection, "BEGIN IMMEDIATE"):
            if _check_ours(connection, path):
                _create(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA synchronous = NORMAL")
    except BaseException:
        connection.close()
        raise
    return connection


def _check_ours(connection: sqlite3.Connection, path: Path) -> bool:
    """Whether the file is new and empty.

    Raises:
        StoreForeign: it holds somebody else's data, or a newer schema.
    """
    application_id = connection.execute("PRAGMA application_id").fetchone()[0]
    if application_id == APPLICATION_ID:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version != SCHEMA_VERSION:
            msg = f"{path}: schema {version} is not {SCHEMA_VERSION}. Use the Everfresh that wrote it, or another path."
            raise StoreForeign(msg)
        return False
    n_tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if application_id or n_tables:
        msg = f"{path}: this SQLite file is not an Everfresh store. It was left as it is; name another path."
        raise StoreForeign(msg)
    return True


def _create(connection: sqlite3.Connection) -> None:
    # executescript would commit the transaction that keeps two processes from creating at once.
    for statement in files("everfresh.stores").joinpath("schema.sql").read_text().split(";"):
        if statement.strip():
            connection.execute(statement)
    connection.execute("INSERT INTO counters VALUES (1, ?, 0, 0, 0, 0, 0, 0)", (new_epoch(),))
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


@contextmanager
def _transaction(connection: sqlite3.Connection, begin: str) -> Generator[None]:
    # A signal handler may have raised just after an earlier transaction began, or was left.
    if connection.in_transaction:
        connection.execute("ROLLBACK")
    try:
        connection.execute(begin)
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


@contextmanager
def _translated(path: Path) -> Generator[None]:
    """Driver errors as ours."""
    try:
        yield
    except sqlite3.OperationalError as error:
        msg = f"{path}: SQLite could not do it: {error}. Nothing was changed; is the disk full, or the file locked?"
        raise StoreUnavailable(msg) from error
    except sqlite3.ProgrammingError as error:
        # Another thread closed the store while this one was about to use it.
        raise StoreClosed(_CLOSED) from error
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_NOTADB:
            msg = f"{path}: this is not a SQLite file. It was left as it is; name another path."
            raise StoreForeign(msg) from error
        msg = f"{path}: SQLite says: {error}. If the file is damaged, delete it; the cache is built anew."
        raise StoreUnavailable(msg) from error


def _until_unlocked(attempt: Callable[[], sqlite3.Connection]) -> sqlite3.Connection:
    deadline = time.monotonic() + _OPEN_DEADLINE_S
    while True:
        try:
            return attempt()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
        time.sleep(_OPEN_PAUSE_S)
