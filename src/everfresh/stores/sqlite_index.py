"""Buckets, marks, probes and shapes as SQL."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from everfresh.matching.shapes import (
    SHAPE_ID_BYTES,
    STEM_BYTES,
    Bucket,
    Group,
    Shape,
    ShapeId,
    buckets_of,
)
from everfresh.matching.triage import Probe
from everfresh.model.entry import Key
from everfresh.model.marks import override
from everfresh.stores.sqlite_columns import packed_groups, packed_groups_of
from everfresh.stores.sqlite_rows import SELECT, RowTable
from everfresh.stores.tables import Index, Row, Shapes

# A join in the order of link's own key: `id IN (SELECT ...)` would fill a table of its own each time.
_MEMBERS = f"{SELECT}, link WHERE bucket = ? AND entry.id = link.entry ORDER BY link.entry"
_MEMBERS_OF_SHAPE = f"{SELECT} WHERE id IN (SELECT entry FROM link WHERE bucket BETWEEN ? AND ?) ORDER BY id"  # noqa: S608 - constants
# More than this in one statement saves nothing, and each number of them is another statement.
_MARKS_AT_ONCE = 64
MARKS_OF_A_PROBE = 10
_decode_shape = msgspec.msgpack.Decoder(Shape).decode
_decode_probe = msgspec.msgpack.Decoder(Probe).decode
_decode_operands = msgspec.msgpack.Decoder(tuple[str, ...]).decode
_encode = msgspec.msgpack.Encoder().encode


class IndexTable(RowTable, Index, Shapes):
    """Which entries stand where, when that last fired, and which shapes are known."""

    n_marked: int
    """How many marks were written since the last pruning; a probe takes the room of several."""

    @override
    def members(self, bucket: Bucket) -> Sequence[Key]:
        return [row.key for row in self._take_all(self._db.execute(_MEMBERS, (bucket,)).fetchall())]

    @override
    def members_of_shape(self, shape: ShapeId) -> Sequence[Key]:
        found = self._db.execute(_MEMBERS_OF_SHAPE, (shape, _above(shape))).fetchall()
        return [row.key for row in self._take_all(found)]

    @override
    def conditions(self, stem: Bucket) -> Sequence[tuple[Bucket, tuple[str, ...]]]:
        query = "SELECT bucket, operands FROM condition WHERE bucket BETWEEN ? AND ?"
        found = self._db.execute(query, (stem, _above(stem))).fetchall()
        return [(Bucket(bucket), _decode_operands(operands)) for bucket, operands in found]

    @override
    def relink(self, row: Row, groups: tuple[Group, ...]) -> None:
        stored = self._stored.get(row.key)
        if stored is None:
            self.save(row)
        elif packed_groups(groups) == packed_groups_of(row):
            row.groups = groups
            return
        old, new = buckets_of(row.groups), buckets_of(groups)
        row.groups = groups
        self._unsaved[row.key] = row
        self._keep_shapes(groups)
        if old == new:
            return
        entry = self._id(row)
        gone, come = ([(bucket, entry) for bucket in buckets] for buckets in (old - new, new - old))
        self._db.executemany("DELETE FROM link WHERE bucket = ? AND entry = ?", gone)
        self._db.executemany("INSERT OR IGNORE INTO link (bucket, entry) VALUES (?, ?)", come)
        self._db.executemany(
            "DELETE FROM condition WHERE bucket = ?1 AND NOT EXISTS (SELECT 1 FROM link WHERE bucket = ?1)",
            [(bucket,) for bucket in old - new if len(bucket) > STEM_BYTES],
        )
        self._db.executemany(
            "INSERT OR IGNORE INTO condition (bucket, operands) VALUES (?, ?)",
            [(bucket, _encode(operands)) for group in groups for bucket, _, operands in group.filtered()],
        )

    @override
    def fire(self, marks: Iterable[Bucket | ShapeId], sequence: int) -> None:
        written = [(mark, sequence) for mark in marks]
        self.n_marked += len(written)
        self._db.executemany(
            "INSERT INTO fired (mark, sequence) VALUES (?, ?) ON CONFLICT DO UPDATE SET sequence = excluded.sequence",
            written,
        )

    @override
    def last_fired(self, marks: Iterable[Bucket | ShapeId]) -> int:
        last = 0
        waiting = list(marks)
        for start in range(0, len(waiting), _MARKS_AT_ONCE):
            some = waiting[start : start + _MARKS_AT_ONCE]
            places = ", ".join("?" * len(some))
            query = f"SELECT max(sequence) FROM fired WHERE mark IN ({places})"  # noqa: S608 - question marks
            found = self._db.execute(query, some).fetchone()[0]
            last = max(last, found or 0)
        return last

    @override
    def keep_probe(self, probe: Probe, sequence: int) -> None:
        self.n_marked += MARKS_OF_A_PROBE
        query = "INSERT OR IGNORE INTO probe (stem, sequence, data) VALUES (?, ?, ?)"
        self._db.execute(query, (probe.stem, sequence, _encode(probe)))

    @override
    def probes(self, stem: Bucket, after: int) -> Iterable[Probe]:
        query = "SELECT data FROM probe WHERE stem = ? AND sequence > ? ORDER BY sequence"
        return [_decode_probe(columns[0]) for columns in self._db.execute(query, (stem, after)).fetchall()]

    @override
    def known(self, start: int) -> tuple[Shape, ...]:
        query = "SELECT data FROM shape WHERE number > ? ORDER BY number"
        return tuple(_decode_shape(columns[0]) for columns in self._db.execute(query, (start,)).fetchall())

    @override
    def n_known(self) -> int:
        n_known: int = self._db.execute("SELECT coalesce(max(number), 0) FROM shape").fetchone()[0]
        return n_known

    @override
    def born(self, shape: ShapeId) -> int | None:
        known = self._memory.born.get(shape, self._new_born.get(shape))
        if known is not None:
            return known
        found = self._db.execute("SELECT born FROM shape WHERE id = ? AND number IS NOT NULL", (shape,)).fetchone()
        if found is None:
            return None
        born: int = found[0]
        self._memory.born[shape] = born
        return born

    @override
    def learn(self, shape: Shape, born: int) -> None:
        # A group may have brought it here before, without a number.
        self._db.execute(
            "INSERT INTO shape (id, data, number, born) VALUES (?, ?, ?, ?) "
            "ON CONFLICT (id) DO UPDATE SET number = excluded.number, born = excluded.born",
            (shape.id, _encode(shape), self.n_known() + 1, born),
        )
        self._new_shapes[shape.id] = shape
        self._new_born[shape.id] = born

    def _keep_shapes(self, groups: Sequence[Group]) -> None:
        """See to it that whoever reads the groups finds their shapes."""
        for group in groups:
            shape = group.shape
            if shape.id not in self._memory.shapes and shape.id not in self._new_shapes:
                self._db.execute("INSERT OR IGNORE INTO shape (id, data) VALUES (?, ?)", (shape.id, _encode(shape)))
                self._new_shapes[shape.id] = shape


def _above(prefix: bytes) -> bytes:
    """Above every bucket that begins so: longer than any of them, and larger where it is not the same."""
    return prefix + b"\xff" * (SHAPE_ID_BYTES + STEM_BYTES)
