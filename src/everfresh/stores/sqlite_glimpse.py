"""The reading that everybody waits for: one entry with its value, by one statement, which is a transaction by itself.

Each column costs a tenth of a microsecond, and what `Load` answers needs about half of them. A step that looks at
anything else is carried out in the ordinary way.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, NoReturn

from everfresh.model.entry import Key, Recipe
from everfresh.stores.sqlite_columns import STATE_OF
from everfresh.stores.tables import Counters, Journal, Row

_READ = (
    "SELECT epoch, sequence, applied, data, function, arguments, state, fingerprint, digest, version, good_from, "
    "changed_at, built_at, build_s, stale_since, reason, attempts, retry_at, due, entry.token, until, expires_at, "
    "event_at, is_error "
    "FROM counters LEFT JOIN entry ON key = ? LEFT JOIN value ON value.id = entry.id"
)


class NotForeseen(Exception):
    """The step asks for more than was read."""


class _GlimpsedRow(Row):
    """A row without the fields that were not read."""

    __slots__ = ()

    def __getattr__(self, name: str) -> NoReturn:
        raise NotForeseen(name)


class Glimpse:
    """The tables as far as one statement sees them; any other question to them raises NotForeseen."""

    __slots__ = ("_key", "_row", "_value", "counters", "journal")

    def __init__(self, connection: sqlite3.Connection, now: float, key: Key) -> None:
        epoch, sequence, applied, value, *columns = connection.execute(_READ, (key,)).fetchone()
        self.counters = Counters(epoch=epoch, sequence=sequence, applied=applied)
        self.journal = Journal(now)
        self._key = key
        self._value: bytes | None = value
        self._row = None if columns[0] is None else _row_of(key, columns)

    def row(self, key: Key) -> Row | None:
        """See `Rows.row`."""
        if key != self._key:
            raise NotForeseen(key)
        return self._row

    def value(self, row: Row) -> bytes:
        """See `Rows.value`."""
        if row is not self._row or self._value is None:
            raise NotForeseen(row.key)
        return self._value

    def __getattr__(self, name: str) -> NoReturn:
        raise NotForeseen(name)


def _row_of(key: Key, columns: Sequence[Any]) -> Row:
    row = _GlimpsedRow.__new__(_GlimpsedRow)
    row.key = key
    (
        function,
        arguments,
        state,
        row.fingerprint,
        row.digest,
        row.version,
        row.good_from,
        row.changed_at,
        row.built_at,
        row.build_s,
        row.stale_since,
        row.reason,
        row.attempts,
        row.retry_at,
        row.due,
        row.token,
        row.until,
        row.expires_at,
        row.event_at,
        is_error,
    ) = columns
    row.recipe = Recipe(function, arguments) if function else None
    row.state = STATE_OF[state]
    row.is_error = bool(is_error)
    return row
