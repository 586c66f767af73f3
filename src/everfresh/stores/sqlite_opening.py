"""Opening a SQLite file: whether it is ours, whole, of which schema, and whether it may be written."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from everfresh.model.errors import StoreForeign, StoreUnavailable
from everfresh.stores.sqlite_boots import may_be_taken_back
from everfresh.stores.sqlite_errors import BUSY_S, damaged, transaction
from everfresh.stores.sqlite_migrations import SCHEMA_VERSION, create, migrate
from everfresh.stores.tables import new_epoch

# "EvFr" in ASCII, so that a file can be told to be ours.
APPLICATION_ID = 0x45764672
# Switching a new file to WAL ignores the busy timeout while another process does the same.
_OPEN_DEADLINE_S = 10.0
_OPEN_PAUSE_S = 0.01
# What the -wal may keep after its pages went into the file. It may be larger while readers hold on to it.
WAL_BYTES = 4 * 1024 * 1024
# The pages of a million entries' indexes above the leaves.
_CACHE_KIB = 16 * 1024
# The steps have about a hundred statements; those that write a choice of columns come on top.
_N_STATEMENTS = 512
# Checked each time, at 1 ms for 2 MB. A larger file is checked when the machine stopped while it was open: the death of
# a process cannot damage it, and to read gigabytes whenever a process starts would cost more than it is worth.
_SMALL_BYTES = 4 * 1024 * 1024
_INCREMENTAL = 2
_INCREMENTAL_SINCE = 2
"""The first schema whose files give back what they no longer need."""


@dataclass(frozen=True, slots=True)
class Opened:
    """The connections to a file. Without a writer it may only be read.

    A frozen file lies where nothing can be written beside it: it is read as it is, and whoever reads has to look
    whether somebody else changed it.
    """

    writer: sqlite3.Connection | None
    reader: sqlite3.Connection
    is_frozen: bool = False

    def close(self) -> None:
        """Let go of the file."""
        self.reader.close()
        if self.writer is not None:
            self.writer.close()


def open_file(path: Path, boot: str) -> Opened:
    """The connections to the file, made or brought to the newest schema if need be; `boot` names the machine's run.

    Raises:
        StoreForeign: it holds somebody else's data, or a newer schema.
        StoreUnavailable: it cannot be opened, or is damaged.
    """
    if not path.parent.is_dir():
        raise StoreUnavailable(f"{path}: there is no folder {path.parent}. Make it, or name another path.")
    if path.is_dir():
        raise StoreUnavailable(f"{path}: this is a folder. Name a file in it.")
    may_write_beside = os.access(path.parent, os.W_OK)
    if not path.exists() and not may_write_beside:
        msg = f"{path}: no file can be made in this folder by this user. Change its mode, or name another path."
        raise StoreUnavailable(msg)
    if path.exists() and not (may_write_beside and os.access(path, os.W_OK)):
        return _open_to_read(path, boot)
    writer = _until_unlocked(lambda: _open_to_write(path, boot))
    try:
        return Opened(writer, _connect(path, boot))
    except BaseException:
        writer.close()
        raise


def _open_to_write(path: Path, boot: str) -> sqlite3.Connection:
    connection = _connect(path, boot)
    try:
        # One transaction, so that what another process makes meanwhile is seen whole or not at all.
        with transaction(connection, "BEGIN"):
            version = _version_of(connection, path)
            if version:
                _check_whole(connection, path, boot, version)
        # Has an effect on a file without any page only: a file gives back what it no longer needs, or never does.
        connection.execute(f"PRAGMA auto_vacuum = {_INCREMENTAL}")
        connection.execute("PRAGMA journal_mode = WAL")
        with transaction(connection, "BEGIN IMMEDIATE"):
            version = _version_of(connection, path)
            if not version:
                create(connection, new_epoch(), boot)
                connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            elif version < SCHEMA_VERSION:
                migrate(connection, version)
        if 0 < version < _INCREMENTAL_SINCE:
            # Rewrites the file. Where there is no room for that, the store works as well, and never shrinks.
            with suppress(sqlite3.OperationalError):
                connection.execute(f"PRAGMA auto_vacuum = {_INCREMENTAL}")
                connection.execute("VACUUM")
    except BaseException:
        connection.close()
        raise
    return connection


def _open_to_read(path: Path, boot: str) -> Opened:
    """A file that this user may only read, as far as SQLite can."""
    name = f"file:{quote(str(path))}?mode=ro"
    try:
        return Opened(None, _read_by(name, path, boot))
    except sqlite3.OperationalError:
        # In write-ahead mode even readers keep a file beside it. Where none can be made, nobody may be writing.
        if wal_of(path).exists():
            raise
    return Opened(None, _read_by(f"{name}&immutable=1", path, boot), is_frozen=True)


def _read_by(name: str, path: Path, boot: str) -> sqlite3.Connection:
    connection = _connect(name, boot)
    try:
        _check_readable(connection, path, boot)
    except BaseException:
        connection.close()
        raise
    return connection


def _check_readable(connection: sqlite3.Connection, path: Path, boot: str) -> None:
    """See that it can be used as it is.

    Raises:
        StoreUnavailable: something has to be written first.
    """
    version = _version_of(connection, path)
    needed = ""
    if version != SCHEMA_VERSION:
        needed = f"its schema {version} has to be brought to {SCHEMA_VERSION}"
    elif _check_whole(connection, path, boot, version):
        needed = "the machine stopped while it was in use"
    if needed:
        msg = f"{path}: {needed}, and this user may only read it. Open it once as one who may write."
        raise StoreUnavailable(msg)


def _connect(name: Path | str, boot: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        name,
        timeout=BUSY_S,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=_N_STATEMENTS,
        uri=isinstance(name, str),
    )
    try:
        connection.execute(f"PRAGMA synchronous = {'NORMAL' if boot else 'FULL'}")
        connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        connection.execute(f"PRAGMA journal_size_limit = {WAL_BYTES}").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection


def _version_of(connection: sqlite3.Connection, path: Path) -> int:
    """The file's schema; 0 when it is new and empty.

    Raises:
        StoreForeign: it holds somebody else's data, or a newer schema.
    """
    application_id = connection.execute("PRAGMA application_id").fetchone()[0]
    if application_id == APPLICATION_ID:
        version: int = connection.execute("PRAGMA user_version").fetchone()[0]
        if not 0 < version <= SCHEMA_VERSION:
            raise newer_schema(path, version)
        return version
    n_tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if application_id or n_tables:
        msg = f"{path}: this SQLite file is not an Everfresh store. It was left as it is; name another path."
        raise StoreForeign(msg)
    return 0


def newer_schema(path: Path, version: int) -> StoreForeign:
    """The error for a file that a newer Everfresh has written."""
    msg = f"{path}: schema {version} is not {SCHEMA_VERSION}. Use the Everfresh that wrote it, or another path."
    return StoreForeign(msg)


def _check_whole(connection: sqlite3.Connection, path: Path, boot: str, version: int) -> bool:
    """Whether its last steps may be lost; a damaged file is an error."""
    is_doubtful = version < SCHEMA_VERSION
    if not is_doubtful:
        stored, is_clean = connection.execute("SELECT boot, is_clean FROM counters").fetchone()
        is_doubtful = may_be_taken_back(stored=stored, boot=boot, is_clean=bool(is_clean))
    if is_doubtful or path.stat().st_size <= _SMALL_BYTES:
        found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            raise damaged(path, found)
    return is_doubtful


def wal_of(path: Path) -> Path:
    """The file beside it that takes what is written first, whatever links lead there."""
    real = path.resolve()
    return real.with_name(f"{real.name}-wal")


def _until_unlocked(attempt: Callable[[], sqlite3.Connection]) -> sqlite3.Connection:
    deadline = time.monotonic() + _OPEN_DEADLINE_S
    while True:
        try:
            return attempt()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
        time.sleep(_OPEN_PAUSE_S)
