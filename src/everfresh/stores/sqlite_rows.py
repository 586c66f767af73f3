"""Entries and their values as SQL.

Within a step a row is read once, and changes of it wait: each row is written once, at the end of the step, or before a
question whose answer hangs on it. Only the columns that changed are written, and the indexes over them.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from everfresh.matching.shapes import Group, Shape, ShapeId
from everfresh.model.entry import FeedRecord, Key
from everfresh.model.marks import override
from everfresh.stores.sqlite_columns import (
    COLUMNS,
    NOTHING,
    Columns,
    PackedGroups,
    changed_places,
    columns_of,
    row_of,
    update_of,
)
from everfresh.stores.tables import Row, Rows

_NAMES = ", ".join(f"entry.{name}" for name in COLUMNS)
SELECT = f"SELECT entry.id, {_NAMES} FROM entry"  # noqa: S608 - constants
_ROW = f"{SELECT} WHERE key = ?"
_INSERT = f"INSERT INTO entry ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"  # noqa: S608 - constants
_decode_shape = msgspec.msgpack.Decoder(Shape).decode


class FileMemory:
    """What a process knows of one file for good: committed, and never changed. Safe to use from several threads."""

    def __init__(self) -> None:
        self.shapes: dict[ShapeId, Shape] = {}
        self.born: dict[ShapeId, int] = {}
        """When the shapes were learnt that publishers know."""


class RowTable(Rows):
    """Entries and their values."""

    def __init__(self, connection: sqlite3.Connection, memory: FileMemory) -> None:
        self._db = connection
        self._memory = memory
        self.n_removed = 0
        """How many rows went."""
        self._rows: dict[Key, Row | None] = {}
        self._stored: dict[Key, Columns] = {}
        self._values: dict[Key, bytes] = {}
        self._unsaved: dict[Key, Row] = {}
        self._records: list[FeedRecord] = []
        # What this step wrote into the table of shapes: nobody may rely on it before the step is committed.
        self._new_shapes: dict[ShapeId, Shape] = {}
        self._new_born: dict[ShapeId, int] = {}

    def confirm(self) -> None:
        """Remember what was learnt; the step is committed."""
        self._memory.shapes.update(self._new_shapes)
        self._memory.born.update(self._new_born)

    @override
    def row(self, key: Key) -> Row | None:
        if key in self._rows:
            return self._rows[key]
        found = self._db.execute(_ROW, (key,)).fetchone()
        if found is None:
            self._rows[key] = None
            return None
        return self._taken(found)

    @override
    def save(self, row: Row) -> None:
        key = row.key
        self._rows[key] = row
        if key in self._stored:
            self._unsaved[key] = row
            return
        columns = columns_of(row, NOTHING)
        number = self._db.execute(_INSERT, columns[1:]).lastrowid
        self._stored[key] = (number, *columns[1:])

    @override
    def remove(self, row: Row) -> None:
        key = row.key
        self._rows[key] = None
        self._unsaved.pop(key, None)
        self._values.pop(key, None)
        stored = self._stored.pop(key, None)
        if stored is not None:
            self.n_removed += 1
            self._db.execute("DELETE FROM entry WHERE id = ?", (stored[0],))
            self._db.execute("DELETE FROM value WHERE id = ?", (stored[0],))

    @override
    def value(self, row: Row) -> bytes:
        found = self._values.get(row.key)
        if found is None:
            found = self._db.execute("SELECT data FROM value WHERE id = ?", (self._id(row),)).fetchone()[0]
            self._values[row.key] = found
        return found

    @override
    def set_value(self, row: Row, value: bytes) -> None:
        self._db.execute("INSERT OR REPLACE INTO value (id, data) VALUES (?, ?)", (self._id(row), value))
        self._values[row.key] = value

    @override
    def keys(self, after: Key, n_max: int) -> Sequence[Key]:
        query = "SELECT key FROM entry WHERE key > ? ORDER BY key LIMIT ?"
        return [Key(columns[0]) for columns in self._db.execute(query, (after, n_max))]

    @override
    def any_stale(self, keys: Sequence[Key]) -> bool:
        self.write()
        query = (
            "SELECT 1 FROM entry WHERE key IN (SELECT value FROM json_each(?)) "
            "AND version > 0 AND stale_since IS NOT NULL LIMIT 1"
        )
        return self._db.execute(query, (json.dumps(keys),)).fetchone() is not None

    @override
    def oldest_lease(self, now: float) -> int | None:
        self.write()
        query = "SELECT begun FROM entry WHERE token IS NOT NULL AND until > ? ORDER BY begun LIMIT 1"
        found = self._db.execute(query, (now,)).fetchone()
        return None if found is None else found[0]

    def write(self) -> None:
        """Write what waits, each kind of change in one go."""
        if self._unsaved:
            waiting: dict[tuple[int, ...], list[list[Any]]] = {}
            for key, row in self._unsaved.items():
                old = self._stored[key]
                new = self._stored[key] = columns_of(row, old)
                places = changed_places(old, new)
                if places:
                    waiting.setdefault(places, []).append([*[new[place] for place in places], old[0]])
            for places, changes in waiting.items():
                self._db.executemany(update_of(places), changes)
            self._unsaved.clear()
        if self._records:
            self._db.executemany(
                "INSERT INTO feed (sequence, key, kind, version, digest) VALUES (?, ?, ?, ?, ?)",
                [(one.sequence, one.key, one.kind.value, one.version, one.digest) for one in self._records],
            )
            self._records.clear()

    def _id(self, row: Row) -> int:
        number: int = self._stored[row.key][0]
        return number

    def _taken(self, columns: Columns) -> Row:
        """The row that was found; what the step did to it before goes first."""
        key = columns[1]
        known = self._rows.get(key)
        if known is not None:
            return known
        self._stored[key] = columns
        row = self._rows[key] = row_of(columns, self._unpacked)
        return row

    def _take_all(self, found: Iterable[Columns]) -> list[Row]:
        return [self._taken(columns) for columns in found]

    def _unpacked(self, packed: PackedGroups) -> tuple[Group, ...]:
        return tuple(Group(self._shape(ShapeId(shape)), values) for shape, values in packed)

    def _shape(self, shape_id: ShapeId) -> Shape:
        shape = self._memory.shapes.get(shape_id) or self._new_shapes.get(shape_id)
        if shape is None:
            data = self._db.execute("SELECT data FROM shape WHERE id = ?", (shape_id,)).fetchone()[0]
            shape = self._memory.shapes[shape_id] = _decode_shape(data)
        return shape
