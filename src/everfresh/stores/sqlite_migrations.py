"""Migrations: from each version of the schema to the next, within the transaction that opens the file.

A migration keeps the values, or drops what it cannot carry over; never does it claim more than it knows. One that loses
dependencies, as the first does, names a boot of its own: whoever opens the file then distrusts all of it, under a new
epoch, so every value that has a recipe is served within the bounds of its function and built again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from importlib.resources import files

import msgspec

from everfresh.model.entry import OnChange, Terms

SCHEMA_VERSION = 3
# No machine has it.
_OLD_SCHEMA = "an older schema"


def create(connection: sqlite3.Connection, epoch: str, boot: str) -> None:
    """Make the tables of the newest schema, empty."""
    # executescript would commit the transaction that keeps two processes from creating at once.
    lines = files("everfresh.stores").joinpath("schema.sql").read_text().splitlines()
    for statement in "\n".join(line for line in lines if not line.startswith("--")).split(";"):
        if statement.strip():
            connection.execute(statement)
    counters = (1, epoch, 0, 0, 0, 0, 0, 0, 0, 0, 0, boot, 0)
    connection.execute(f"INSERT INTO counters VALUES ({', '.join('?' * len(counters))})", counters)  # noqa: S608


def _from_1(connection: sqlite3.Connection) -> int:
    """Schema 1 stored whole shapes with each entry, under other buckets: its dependencies cannot be carried over."""
    for name in ("entry_due", "entry_leased"):
        connection.execute(f"DROP INDEX {name}")
    for name in ("link", "fired", "shape", "feed"):
        connection.execute(f"DROP TABLE {name}")
    for name in ("entry", "value", "counters"):
        connection.execute(f"ALTER TABLE {name} RENAME TO old_{name}")
    create(connection, "", _OLD_SCHEMA)
    connection.execute(
        "UPDATE counters SET (epoch, sequence, applied, fired_floor, feed_floor, version_floor, token) = "
        "(SELECT epoch, sequence, sequence, sequence, sequence, version_floor, token FROM old_counters)"
    )
    dropping = msgspec.msgpack.encode(Terms(on_change=OnChange.DROP))
    connection.execute(
        "INSERT INTO entry (id, key, function, arguments, state, fingerprint, digest, version, good_from, changed_at, "
        "built_at, build_s, terms, stale_since, reason, attempts, until, begun, expires_at, rank, builder, is_error, "
        "n_bytes, read_at, watched_until) "
        "SELECT id, key, function, arguments, 'dirty', fingerprint, digest, version, 0, changed_at, built_at, build_s, "
        "iif(on_change = 'drop', ?, NULL), coalesce(stale_since, built_at), reason, 0, 0, 0, expires_at, 0, '', 0, "
        "length(data), built_at, 0 FROM old_entry JOIN old_value USING (id) WHERE version > 0",
        (dropping,),
    )
    connection.execute("INSERT INTO value SELECT id, data FROM old_value WHERE id IN (SELECT id FROM entry)")
    connection.execute(
        "UPDATE counters SET (n_entries, n_bytes) = (SELECT count(*), coalesce(sum(n_bytes), 0) FROM entry)"
    )
    for name in ("entry", "value", "counters"):
        connection.execute(f"DROP TABLE old_{name}")
    return SCHEMA_VERSION


def _from_2(connection: sqlite3.Connection) -> int:
    """Schema 2 knew no sources; all else of it stays."""
    connection.execute("CREATE TABLE source_offset (source TEXT PRIMARY KEY, text TEXT NOT NULL) STRICT, WITHOUT ROWID")
    connection.execute("CREATE TABLE report (source TEXT PRIMARY KEY, data BLOB NOT NULL) STRICT, WITHOUT ROWID")
    connection.execute(
        "CREATE TABLE unreadable (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, source TEXT NOT NULL, "
        "data BLOB NOT NULL) STRICT"
    )
    return 3


MIGRATIONS: dict[int, Callable[[sqlite3.Connection], int]] = {1: _from_1, 2: _from_2}
"""From each older schema; answered with the one that it leads to."""


def migrate(connection: sqlite3.Connection, version: int) -> None:
    """Bring the tables from the version to the newest, step by step."""
    while version < SCHEMA_VERSION:
        version = MIGRATIONS[version](connection)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
