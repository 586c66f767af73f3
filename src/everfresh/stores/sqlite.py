"""The store in one SQLite file, for all processes of one machine; it survives them.

Rules
- WAL: readers never wait for a writer. One connection writes, one reads, each under a lock.
- A writing step is one transaction that begins with BEGIN IMMEDIATE, so what it read cannot change before it writes.
- `synchronous=NORMAL`: a killed process loses nothing; a power cut may lose the last commits, never half of one. The
  file names the run of the machine in which it was written, so a loss is noticed, and all of it is distrusted.
- To take a closed file into use waits for the disk, before anything else is written: else a power cut could bring the
  closed file back, which looks as if nothing was lost.
- `PRAGMA data_version` on the reading connection differs after any other connection wrote, this process's own too. It
  is asked when the bell has rung, and every few milliseconds.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar, cast

from everfresh.model.clock import Clock, wall_clock
from everfresh.model.errors import StoreClosed, StoreForked, StoreUnavailable
from everfresh.model.marks import override
from everfresh.protocol.queueing import Distrust
from everfresh.protocol.requests import Load, Loaded, Request
from everfresh.stores.building import load
from everfresh.stores.queueing import distrust
from everfresh.stores.sqlite_bell import ASK_EVERY_S, Bell, bell_of, is_older, stamp_of
from everfresh.stores.sqlite_boots import boot_of_machine, may_be_taken_back
from everfresh.stores.sqlite_errors import CLOSED, described, transaction, translated
from everfresh.stores.sqlite_glimpse import Glimpse, NotForeseen
from everfresh.stores.sqlite_migrations import SCHEMA_VERSION
from everfresh.stores.sqlite_opening import Opened, newer_schema, open_file, wal_of
from everfresh.stores.sqlite_rows import FileMemory
from everfresh.stores.sqlite_tables import SqliteTables
from everfresh.stores.sqlite_upkeep import Upkeep
from everfresh.stores.store import STEPS, StepListener, Store, is_reading
from everfresh.stores.tables import NO_ROOM_LIMIT, LastRead, Room, Tables, nobody_knows

A = TypeVar("A")

# How often it is looked whether the file is still the one that was opened; a look costs about 2 µs.
_LOOK_EVERY_S = 1.0
# More than data_version counts to while a process runs.
_VERSIONS_OF_ONE_LIFE = 2**40
# The bell's number when SQLite was asked, what it said, and until when that holds.
_NOT_ASKED = (b"", 0, 0.0)
_DISTRUST = Distrust("the file was put back, or the machine stopped while it was in use, or an older version wrote it")


class SqliteStore(Store):
    """Entries in one SQLite file. `boot` names the run of the machine; empty lets every commit wait for the disk."""

    _asked: tuple[bytes, int, float]
    _inode: int
    _look_at: float
    _opened: Opened
    _versions: sqlite3.Cursor

    def __init__(
        self, path: Path, *, clock: Clock = wall_clock, room: Room = NO_ROOM_LIMIT, boot: str | None = None
    ) -> None:
        self._path = path.absolute()
        self._clock = clock
        self._room = room
        self._last_read: LastRead = nobody_knows
        self._boot = boot_of_machine() if boot is None else boot
        self._write_lock = threading.Lock()
        self._read_lock = threading.Lock()
        self._listeners: list[StepListener] = []
        self._is_closed = False
        self._is_forked = False
        self._lives = 0
        with translated(self._path):
            self._open()
        self._write_thread = ThreadPoolExecutor(1, thread_name_prefix="everfresh-sqlite")
        _STORES.add(self)

    @property
    @override
    def is_shared(self) -> bool:
        return True

    @override
    def carry_out(self, request: Request[A]) -> A:
        self._check()
        try:
            if isinstance(request, Load):
                return cast("A", self._load(request))
            if is_reading(request):
                return self._read(request)
            return self._write(request)
        except sqlite3.Error as error:
            raise described(self._path, error) from error

    @override
    async def carry_out_async(self, request: Request[A]) -> A:
        if is_reading(request):
            return self.carry_out(request)
        # A write may wait for another process; the loop must not.
        self._check()
        try:
            step = self._write_thread.submit(self.carry_out, request)
        except RuntimeError as error:
            raise StoreClosed(CLOSED) from error
        return await asyncio.wrap_future(step)

    @override
    def version(self) -> int:
        # Asked at each near hit, so it does without what other steps share.
        now = time.monotonic()
        if self._is_barred or now >= self._look_at:
            self._check()
        # Read before SQLite is asked: what is committed in between rings again.
        number = b"" if self._bell is None else self._bell.number()
        rung, known, until = self._asked
        if number and number == rung and now < until:
            return known
        try:
            with self._read_lock:
                # A loop takes the row and ends the statement faster than fetchone.
                for (version,) in self._versions.execute("PRAGMA data_version"):
                    known = cast("int", version) + self._lives
        except sqlite3.Error as error:
            raise described(self._path, error) from error
        self._asked = (number, known, now + ASK_EVERY_S)
        return known

    @override
    def ask_last_read(self, last_read: LastRead) -> None:
        self._last_read = last_read

    @override
    def listen(self, listener: StepListener) -> None:
        self._listeners.append(listener)

    @override
    def close(self) -> None:
        is_first, self._is_closed, self._is_barred = not self._is_closed, True, True
        if self._is_forked:
            # Connections and locks are the parent's, whose threads may have held these.
            return
        self._write_thread.shutdown(wait=True)
        with self._write_lock, self._read_lock:
            if is_first and self._opened.writer is not None:
                self._end_well(self._opened.writer)
            self._opened.close()

    def _load(self, request: Load) -> Loaded:
        """The reading step that everybody waits for."""
        try:
            with self._read_lock:
                seen = Glimpse(self._opened.reader, self._clock(), request.key)
            return load(cast("Tables", seen), request)
        except NotForeseen:
            # It looks at the entries below, too.
            return self._read(request)

    def _read(self, request: Request[A]) -> A:
        with self._read_lock:
            reader = self._opened.reader
            with transaction(reader, "BEGIN"):
                return _step(SqliteTables(reader, self._clock(), self._memory), request)

    def _write(self, request: Request[A]) -> A:
        with self._write_lock:
            writer = self._opened.writer
            if writer is None:
                msg = f"{self._path}: this user may only read it. Change its owner or mode, or name another path."
                raise StoreUnavailable(msg)
            while (done := self._written(writer, request)) is None:
                self._take_into_use(writer)
            answer, tables, is_same_life = done
            if self._bell is not None:
                self._bell.ring()
                self._bell.advance(self._inode, *_progress_of(tables))
            tables.confirm()
            self._upkeep.after_step(writer, is_less=tables.n_removed > 0)
        if tables.journal.records or not is_same_life:
            for listener in self._listeners:
                listener(tables.journal.records if is_same_life else ())
        return answer

    def _written(self, writer: sqlite3.Connection, request: Request[A]) -> tuple[A, SqliteTables, bool] | None:
        """The step's answer, its tables, and whether it is the same epoch; None when the file is not in use yet."""
        with transaction(writer, "BEGIN IMMEDIATE"):
            tables = SqliteTables(writer, self._clock(), self._memory, room=self._room, last_read=self._last_read)
            if tables.is_clean or tables.boot != self._boot:
                return None
            epoch = tables.counters.epoch
            answer = _step(tables, request)
            tables.finish()
            if self._bell is not None and tables.counters.epoch != epoch:
                self._bell.write_stamp(stamp_of(self._inode, *_progress_of(tables)))
        return answer, tables, tables.counters.epoch == epoch

    def _take_into_use(self, writer: sqlite3.Connection) -> None:
        """Note that the file is about to be written, and wait until the disk has that."""
        writer.execute("PRAGMA synchronous = FULL")
        try:
            writer.execute("UPDATE counters SET is_clean = 0, boot = ?", (self._boot,))
        finally:
            writer.execute(f"PRAGMA synchronous = {'NORMAL' if self._boot else 'FULL'}")

    def _end_well(self, writer: sqlite3.Connection) -> None:
        """Note that all is written. Another process may go on: it takes the file into use again, then."""
        if writer.in_transaction:
            writer.execute("ROLLBACK")
        self._upkeep.at_close(writer)
        with suppress(sqlite3.Error):
            writer.execute("UPDATE counters SET is_clean = 1 WHERE boot = ? AND is_clean = 0", (self._boot,))

    def _open(self) -> None:
        """Open the file, and distrust what is in it when some of that may be lost."""
        opened = open_file(self._path, self._boot)
        memory, bell, inode = FileMemory(), None, self._path.stat().st_ino
        # Who may only read has no bell, and asks SQLite each time.
        if opened.writer is not None:
            try:
                bell = _bell_beside(self._path)
                with transaction(opened.writer, "BEGIN IMMEDIATE"):
                    tables = SqliteTables(opened.writer, self._clock(), memory)
                    if may_be_taken_back(stored=tables.boot, boot=self._boot, is_clean=tables.is_clean) or (
                        tables.counters.sequence and is_older(bell.stamp(), inode, *_progress_of(tables))
                    ):
                        distrust(tables, _DISTRUST)
                        tables.boot = self._boot
                        tables.finish()
                    bell.write_stamp(stamp_of(inode, *_progress_of(tables)))
                bell.ring()
            except BaseException:
                opened.close()
                raise
        self._bell, self._asked, self._inode = bell, _NOT_ASKED, inode
        self._opened, self._memory = opened, memory
        self._upkeep = Upkeep(self._path)
        self._identity = self._seen_now()
        # Asked at each near hit; a cursor of its own saves making one.
        self._versions = opened.reader.cursor()
        self._is_barred = opened.is_frozen
        self._look_at = time.monotonic() + _LOOK_EVERY_S

    def _check(self) -> None:
        if self._is_closed:
            raise StoreClosed(CLOSED)
        if self._is_forked:
            msg = f"{self._path}: it was opened before this process was forked. Make the Cache after the fork."
            raise StoreForked(msg)
        if time.monotonic() >= self._look_at or self._opened.is_frozen:
            self._follow_file()

    def _follow_file(self) -> None:
        """Open the file anew when it was deleted or replaced: to go on with the old one would be stale for ever.

        The other file has another epoch, or is given one, so that followers start over.
        """
        # Without the lock of writers, who may be waiting for another process.
        with translated(self._path), self._read_lock:
            if self._is_closed:
                return
            if self._seen_now() == self._identity:
                if self._bell is not None and not self._bell.is_there():
                    bell = _bell_beside(self._path)
                    if not bell.stamp():
                        progress = self._opened.reader.execute("SELECT epoch, sequence FROM counters").fetchone()
                        bell.write_stamp(stamp_of(self._inode, *progress))
                    self._bell, self._asked = bell, _NOT_ASKED
                version = self._opened.reader.execute("PRAGMA user_version").fetchone()[0]
                if version != SCHEMA_VERSION:
                    raise newer_schema(self._path, version)
                self._look_at = time.monotonic() + _LOOK_EVERY_S
                return
        with translated(self._path), self._write_lock, self._read_lock:
            if self._is_closed or self._seen_now() == self._identity:
                return
            old = self._opened
            self._open()
            self._lives += _VERSIONS_OF_ONE_LIFE
            old.close()

    def _seen_now(self) -> object:
        """What stands under the path: which file, and of a frozen one how it is."""
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return None
        if not self._opened.is_frozen:
            return found.st_dev, found.st_ino
        # Who writes makes a file beside it first, and changes its time when that goes.
        return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size, wal_of(self._path).exists()


def _progress_of(tables: SqliteTables) -> tuple[str, int]:
    return tables.counters.epoch, tables.counters.sequence


def _bell_beside(path: Path) -> Bell:
    try:
        return Bell(path)
    except OSError as error:
        msg = f"{bell_of(path)}: {error.strerror}. Who may write the store must be able to write this too."
        raise StoreUnavailable(msg) from error


def _step(tables: SqliteTables, request: Request[A]) -> A:
    # One table for all steps cannot carry each request's type; Request[A] promises the A.
    return cast("A", STEPS[type(cast("Request[Any]", request))](tables, request))


# The child of a fork must not touch the connections. To be told of it is cheaper than to ask at each step.
_STORES: weakref.WeakSet[SqliteStore] = weakref.WeakSet()


def _bar_forked() -> None:
    for store in tuple(_STORES):
        store._is_forked = store._is_barred = True  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - of this module


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_bar_forked)
