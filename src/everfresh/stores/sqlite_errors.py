"""Driver errors as ours: what happened to which file, and what to do."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from everfresh.model.errors import StoreClosed, StoreError, StoreForeign, StoreUnavailable

CLOSED = "The cache was closed. Use it within its `with` block."
# How long a step waits for another process's step. Steps take well under a millisecond; a stopped process may hold one.
BUSY_S = 5.0
# SQLite adds details above the lowest byte.
_PRIMARY = 0xFF
_DELETE_IT = "While no process uses it, delete it with its -wal and -shm beside it: the cache is built anew."
_SAYS = {
    sqlite3.SQLITE_FULL: "the disk is full. Make room; until then what is stored can be read.",
    sqlite3.SQLITE_BUSY: f"another process keeps the file locked for over {BUSY_S:g} s. Look which one stands still.",
    sqlite3.SQLITE_LOCKED: "the file is locked. Ask again.",
    sqlite3.SQLITE_READONLY: "the file may only be read. Change its owner, its mode or how its disk is mounted.",
    sqlite3.SQLITE_IOERR: "the disk did not take or give what it was asked for. Is the disk full, or broken?",
    sqlite3.SQLITE_CANTOPEN: "a file beside it cannot be made or opened. May this user write into the folder?",
}


def damaged(path: Path, what: str) -> StoreUnavailable:
    """The error for a file that cannot be trusted."""
    return StoreUnavailable(f"{path}: the file is damaged: {what}. {_DELETE_IT}")


def described(path: Path, error: sqlite3.Error) -> StoreError:
    """The error in our words."""
    if isinstance(error, sqlite3.ProgrammingError):
        # Another thread closed the store while this one was about to use it.
        return StoreClosed(CLOSED)
    code = getattr(error, "sqlite_errorcode", 0) & _PRIMARY
    if code == sqlite3.SQLITE_NOTADB:
        return StoreForeign(f"{path}: this is not a SQLite file. It was left as it is; name another path.")
    if code == sqlite3.SQLITE_CORRUPT:
        return damaged(path, str(error))
    text = _SAYS.get(code, "SQLite could not do it.")
    return StoreUnavailable(f"{path}: {text} Nothing was changed. SQLite says: {error}.")


@contextmanager
def translated(path: Path) -> Generator[None]:
    """Driver errors as ours."""
    try:
        yield
    except sqlite3.Error as error:
        raise described(path, error) from error


@contextmanager
def transaction(connection: sqlite3.Connection, begin: str) -> Generator[None]:
    """One transaction, whole or not at all."""
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
