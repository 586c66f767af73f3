"""The tables as SQL, within one transaction of one connection."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence

import msgspec

from everfresh.matching.shapes import SHAPE_ID_BYTES, Bucket, Group, Shape, ShapeId, buckets_of
from everfresh.model.entry import FeedRecord, Key, Kind, OnChange, Recipe, State
from everfresh.model.marks import override
from everfresh.protocol.requests import Seen
from everfresh.stores.tables import Counters, Journal, Row, Tables

# A follower further behind starts over.
MAX_FEED = 10_000
# Older marks serve only a build or a put that began longer ago than this many positions; it then counts as outrun.
MAX_FIRED = 100_000
# Pruning looks at all marks; done once in so many positions it costs little for each.
_PRUNE_EVERY = 4_096

_COLUMNS = (
    "key, function, arguments, state, fingerprint, digest, version, good_from, changed_at, built_at, build_s, groups, "
    "seen, on_change, stale_since, reason, attempts, retry_at, due, token, until, begun, expires_at"
)
_N_COLUMNS = _COLUMNS.count(",") + 1
_SELECT = f"SELECT id, {_COLUMNS} FROM entry"  # noqa: S608 - constants
_INSERT = f"INSERT INTO entry ({_COLUMNS}) VALUES ({', '.join('?' * _N_COLUMNS)})"  # noqa: S608 - constants
_UPDATE = (
    "UPDATE entry SET "  # noqa: S608 - constants
    + ", ".join(f"{name.strip()} = ?" for name in _COLUMNS.split(","))
    + " WHERE id = ?"
)
_COUNTERS = "epoch, sequence, applied, fired_floor, feed_floor, version_floor, token"
_groups = msgspec.msgpack.Decoder(tuple[Group, ...])
_seen = msgspec.msgpack.Decoder(tuple[Seen, ...])
_shape = msgspec.msgpack.Decoder(Shape)
_encode = msgspec.msgpack.Encoder().encode
_EMPTY = _encode(())


class SqliteTables(Tables):
    """One step's view of the file; made anew for each transaction."""

    def __init__(self, connection: sqlite3.Connection, now: float) -> None:
        self._db = connection
        self._rows: dict[Key, Row | None] = {}
        self._ids: dict[Key, int] = {}
        found = connection.execute(f"SELECT {_COUNTERS} FROM counters").fetchone()  # noqa: S608 - constants
        epoch, sequence, applied, fired_floor, feed_floor, version_floor, token = found
        self.counters = Counters(
            epoch=epoch,
            sequence=sequence,
            applied=applied,
            fired_floor=fired_floor,
            feed_floor=feed_floor,
            version_floor=version_floor,
            token=token,
        )
        self._first_sequence: int = sequence
        self.journal = Journal(now)

    def finish(self) -> None:
        """Prune, and write the counters; the last thing in a writing transaction."""
        counters = self.counters
        if counters.sequence // _PRUNE_EVERY != self._first_sequence // _PRUNE_EVERY:
            self._prune()
        self._db.execute(
            "UPDATE counters SET sequence = ?, applied = ?, fired_floor = ?, feed_floor = ?, version_floor = ?, "
            "token = ?",
            (
                counters.sequence,
                counters.applied,
                counters.fired_floor,
                counters.feed_floor,
                counters.version_floor,
                counters.token,
            ),
        )

    @override
    def row(self, key: Key) -> Row | None:
        if key in self._rows:
            return self._rows[key]
        found = self._db.execute(_SELECT + " WHERE key = ?", (key,)).fetchone()
        if found is None:
            self._rows[key] = None
            return None
        return self._taken(found)

    @override
    def save(self, row: Row) -> None:
        known = self._ids.get(row.key)
        if known is None:
            self._ids[row.key] = self._db.execute(_INSERT, _fields(row)).lastrowid or 0
        else:
            self._db.execute(_UPDATE, (*_fields(row), known))
        self._rows[row.key] = row

    @override
    def remove(self, row: Row) -> None:
        known = self._ids.pop(row.key, None)
        self._rows[row.key] = None
        if known is not None:
            self._db.execute("DELETE FROM entry WHERE id = ?", (known,))
            self._db.execute("DELETE FROM value WHERE id = ?", (known,))

    @override
    def value(self, row: Row) -> bytes:
        return bytes(self._db.execute("SELECT data FROM value WHERE id = ?", (self._ids[row.key],)).fetchone()[0])

    @override
    def set_value(self, row: Row, value: bytes) -> None:
        self._db.execute("INSERT OR REPLACE INTO value (id, data) VALUES (?, ?)", (self._ids[row.key], value))

    @override
    def due(self, now: float, functions: frozenset[str], n_max: int) -> tuple[list[Row], float | None]:
        names = json.dumps(sorted(functions))
        ours = " WHERE due IS NOT NULL AND function IN (SELECT value FROM json_each(?))"
        found = self._db.execute(f"{_SELECT}{ours} AND due <= ? ORDER BY due LIMIT ?", (names, now, n_max)).fetchall()
        later = f"SELECT due FROM entry{ours} ORDER BY due LIMIT 1 OFFSET ?"  # noqa: S608 - constants
        rest = self._db.execute(later, (names, len(found))).fetchone()
        rows = [self._rows.get(Key(columns[1])) or self._taken(columns) for columns in found]
        return rows, None if rest is None else rest[0]

    @override
    def any_stale(self, keys: Sequence[Key]) -> bool:
        query = (
            "SELECT 1 FROM entry WHERE key IN (SELECT value FROM json_each(?)) "
            "AND version > 0 AND stale_since IS NOT NULL LIMIT 1"
        )
        return self._db.execute(query, (json.dumps(keys),)).fetchone() is not None

    @override
    def oldest_lease(self, now: float) -> int | None:
        query = "SELECT min(begun) FROM entry WHERE token IS NOT NULL AND until > ?"
        oldest: int | None = self._db.execute(query, (now,)).fetchone()[0]
        return oldest

    @override
    def members(self, bucket: Bucket) -> Sequence[Key]:
        query = f"{_SELECT} WHERE id IN (SELECT entry FROM link WHERE bucket = ?) ORDER BY id"  # noqa: S608 - constants
        return self._keys(self._db.execute(query, (bucket,)).fetchall())

    @override
    def members_of_shape(self, shape: ShapeId) -> Sequence[Key]:
        query = f"{_SELECT} WHERE id IN (SELECT entry FROM link WHERE bucket BETWEEN ? AND ?) ORDER BY id"  # noqa: S608 - constants
        # Longer than any bucket of the shape, and above all of them.
        above = shape + b"\xff" * (SHAPE_ID_BYTES + 1)
        return self._keys(self._db.execute(query, (shape, above)).fetchall())

    @override
    def relink(self, row: Row, groups: tuple[Group, ...]) -> None:
        old, new = buckets_of(row.groups), buckets_of(groups)
        row.groups = groups
        if old == new:
            return
        if row.key not in self._ids:
            self.save(row)
        entry = self._ids[row.key]
        gone, come = ([(bucket, entry) for bucket in buckets] for buckets in (old - new, new - old))
        self._db.executemany("DELETE FROM link WHERE bucket = ? AND entry = ?", gone)
        self._db.executemany("INSERT OR IGNORE INTO link (bucket, entry) VALUES (?, ?)", come)

    @override
    def fire(self, marks: Iterable[Bucket | ShapeId], sequence: int) -> None:
        self._db.executemany(
            "INSERT INTO fired (mark, sequence) VALUES (?, ?) ON CONFLICT DO UPDATE SET sequence = excluded.sequence",
            [(mark, sequence) for mark in marks],
        )

    @override
    def last_fired(self, marks: Iterable[Bucket | ShapeId]) -> int:
        query = "SELECT sequence FROM fired WHERE mark = ?"
        found = (self._db.execute(query, (mark,)).fetchone() for mark in marks)
        return max((columns[0] for columns in found if columns is not None), default=0)

    @override
    def known(self, start: int) -> tuple[Shape, ...]:
        query = "SELECT data FROM shape WHERE number > ? ORDER BY number"
        return tuple(_shape.decode(columns[0]) for columns in self._db.execute(query, (start,)))

    @override
    def n_known(self) -> int:
        n_known: int = self._db.execute("SELECT coalesce(max(number), 0) FROM shape").fetchone()[0]
        return n_known

    @override
    def born(self, shape: ShapeId) -> int | None:
        found = self._db.execute("SELECT born FROM shape WHERE id = ?", (shape,)).fetchone()
        return None if found is None else found[0]

    @override
    def learn(self, shape: Shape, born: int) -> None:
        # Numbers start at 1 without gaps: nothing is ever deleted here.
        self._db.execute("INSERT INTO shape (id, born, data) VALUES (?, ?, ?)", (shape.id, born, _encode(shape)))

    @override
    def append(self, record: FeedRecord) -> None:
        self._db.execute(
            "INSERT INTO feed (sequence, key, kind, version, digest) VALUES (?, ?, ?, ?, ?)",
            (record.sequence, record.key, record.kind.value, record.version, record.digest),
        )

    @override
    def since(self, sequence: int, n_max: int) -> list[FeedRecord]:
        query = "SELECT sequence, key, kind, version, digest FROM feed WHERE sequence > ? ORDER BY sequence LIMIT ?"
        return [
            FeedRecord(number, Key(key), Kind(kind), version, digest)
            for number, key, kind, version, digest in self._db.execute(query, (sequence, n_max))
        ]

    def _prune(self) -> None:
        counters = self.counters
        oldest = self.oldest_lease(self.journal.now)
        below = counters.sequence - MAX_FIRED
        below = below if oldest is None else min(below, oldest)
        if below > counters.fired_floor:
            self._db.execute("DELETE FROM fired WHERE sequence <= ?", (below,))
            counters.fired_floor = below
        end = counters.sequence - MAX_FEED
        if end > counters.feed_floor:
            self._db.execute("DELETE FROM feed WHERE sequence <= ?", (end,))
            counters.feed_floor = end

    def _keys(self, found: Iterable[tuple[object, ...]]) -> list[Key]:
        """The keys of rows that the step will ask for next, taken up on the way."""
        keys: list[Key] = []
        for columns in found:
            key = Key(str(columns[1]))
            if key not in self._rows:
                self._taken(columns)
            keys.append(key)
        return keys

    def _taken(self, columns: tuple[object, ...]) -> Row:
        row = _row(*columns[1:])  # type: ignore[arg-type]
        self._ids[row.key] = columns[0]  # type: ignore[assignment]
        self._rows[row.key] = row
        return row


def _row(  # noqa: PLR0913, PLR0917 - one for each column
    key: str,
    function: str,
    arguments: bytes,
    state: str,
    fingerprint: str,
    digest: str,
    version: int,
    good_from: int,
    changed_at: int,
    built_at: float,
    build_s: float,
    groups: bytes,
    seen: bytes,
    on_change: str,
    stale_since: float | None,
    reason: str,
    attempts: int,
    retry_at: float | None,
    due: float | None,
    token: int | None,
    until: float,
    begun: int,
    expires_at: float | None,
) -> Row:
    return Row(
        key=Key(key),
        recipe=Recipe(function, arguments) if function else None,
        state=State(state),
        fingerprint=fingerprint,
        digest=digest,
        version=version,
        good_from=good_from,
        changed_at=changed_at,
        built_at=built_at,
        build_s=build_s,
        groups=() if groups == _EMPTY else _groups.decode(groups),
        seen=() if seen == _EMPTY else _seen.decode(seen),
        on_change=OnChange(on_change),
        stale_since=stale_since,
        reason=reason,
        attempts=attempts,
        retry_at=retry_at,
        due=due,
        token=token,
        until=until,
        begun=begun,
        expires_at=expires_at,
    )


def _fields(row: Row) -> tuple[object, ...]:
    recipe = row.recipe
    return (
        row.key,
        row.function(),
        b"" if recipe is None else recipe.arguments,
        row.state.value,
        row.fingerprint,
        row.digest,
        row.version,
        row.good_from,
        row.changed_at,
        row.built_at,
        row.build_s,
        _encode(row.groups),
        _encode(row.seen),
        row.on_change.value,
        row.stale_since,
        row.reason,
        row.attempts,
        row.retry_at,
        row.due,
        row.token,
        row.until,
        row.begun,
        row.expires_at,
    )
