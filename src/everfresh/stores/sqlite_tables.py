"""All tables of one step over a SQLite file: the counters, the feed, and how much is kept of what only grows."""

from __future__ import annotations

import sqlite3
from typing import Any

from everfresh.model.entry import FeedRecord, Key, Kind
from everfresh.model.marks import override
from everfresh.stores.sqlite_index import IndexTable
from everfresh.stores.sqlite_queue import QueueTable
from everfresh.stores.sqlite_rows import FileMemory
from everfresh.stores.sqlite_sources import SqliteSources
from everfresh.stores.tables import (
    MARKS_KEPT_FOR_LEASES,
    NO_ROOM_LIMIT,
    Counters,
    Journal,
    LastRead,
    Room,
    Tables,
    nobody_knows,
)

# A follower further behind starts over.
MAX_FEED = 10_000
# Marks that no live lease needs; enough that a value computed for minutes can still be put.
MAX_FIRED = 100_000
# What events said about filtered shapes, for builds under way; a few hundred bytes each.
MAX_PROBES = 10_000
# Pruning looks at all marks, at 0.3 µs each. Done once in so many new ones it costs little for each.
_PRUNE_MARKS_EVERY = MAX_FIRED // 4
_PRUNE_FEED_EVERY = 4_096

_COUNTED = "epoch, sequence, applied, fired_floor, feed_floor, version_floor, token, n_entries, n_bytes"
_KEPT = f"{_COUNTED}, n_marked, boot"
_COUNTERS = f"SELECT {_KEPT}, is_clean FROM counters"  # noqa: S608 - constants
_UPDATE = f"UPDATE counters SET {_KEPT.replace(',', ' = ?,')} = ?"  # noqa: S608 - constants
_KIND_OF = {kind.value: kind for kind in Kind}


class SqliteTables(IndexTable, QueueTable, SqliteSources, Tables):
    """One step's view of the file; made anew for each transaction."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        now: float,
        memory: FileMemory,
        *,
        room: Room = NO_ROOM_LIMIT,
        last_read: LastRead = nobody_knows,
    ) -> None:
        super().__init__(connection, memory)
        self.room = room
        self.last_read = last_read
        self.journal = Journal(now)
        found: tuple[Any, ...] = connection.execute(_COUNTERS).fetchone()
        self._counted = found[:-1]
        epoch, sequence, applied, fired_floor, feed_floor, version_floor, token, n_entries, n_bytes = found[:-3]
        self.n_marked, self.boot, self.is_clean = found[-3:]
        self.counters = Counters(
            epoch=epoch,
            sequence=sequence,
            applied=applied,
            fired_floor=fired_floor,
            feed_floor=feed_floor,
            version_floor=version_floor,
            token=token,
            n_entries=n_entries,
            n_bytes=n_bytes,
        )

    def finish(self) -> None:
        """Write what waits, prune, and write the counters; the last thing in a writing transaction."""
        self.write()
        if self.n_marked >= _PRUNE_MARKS_EVERY:
            self._prune_marks()
        if self.counters.sequence - self.counters.feed_floor >= MAX_FEED + _PRUNE_FEED_EVERY:
            self._prune_feed()
        counters = self.counters
        counted = (
            counters.epoch,
            counters.sequence,
            counters.applied,
            counters.fired_floor,
            counters.feed_floor,
            counters.version_floor,
            counters.token,
            counters.n_entries,
            counters.n_bytes,
            self.n_marked,
            self.boot,
        )
        # A step that changed nothing writes nothing: other processes need not look what it did.
        if counted != self._counted:
            self._db.execute(_UPDATE, counted)

    @override
    def append(self, record: FeedRecord) -> None:
        self._records.append(record)

    @override
    def since(self, sequence: int, n_max: int) -> list[FeedRecord]:
        self.write()
        query = "SELECT sequence, key, kind, version, digest FROM feed WHERE sequence > ? ORDER BY sequence LIMIT ?"
        return [
            FeedRecord(number, Key(key), _KIND_OF[kind], version, digest)
            for number, key, kind, version, digest in self._db.execute(query, (sequence, n_max))
        ]

    def _prune_marks(self) -> None:
        """Forget the oldest; a build that began before what is left counts as outrun, so those of live leases stay."""
        self.n_marked = 0
        counters = self.counters
        oldest = self.oldest_lease(self.journal.now)
        marks_end = min(self._end_of("fired", MAX_FIRED), counters.sequence if oldest is None else oldest)
        # A flood of probes may outrun builds: each is looked at by every build that stands in its stem. So may a build
        # that never ends, or all marks would have to be kept for it.
        most = self._end_of("fired", MARKS_KEPT_FOR_LEASES * MAX_FIRED)
        end = max(marks_end, most, self._end_of("probe", MAX_PROBES))
        if end > counters.fired_floor:
            self._db.execute("DELETE FROM fired WHERE sequence <= ?", (end,))
            self._db.execute("DELETE FROM probe WHERE sequence <= ?", (end,))
            counters.fired_floor = end

    def _end_of(self, table: str, n_max: int) -> int:
        """The newest position of those that are too many; 0 when there is room."""
        query = f"SELECT sequence FROM {table} ORDER BY sequence DESC LIMIT 1 OFFSET ?"  # noqa: S608 - two names
        found = self._db.execute(query, (n_max,)).fetchone()
        return 0 if found is None else found[0]

    def _prune_feed(self) -> None:
        floor = self.counters.feed_floor = self.counters.sequence - MAX_FEED
        self._db.execute("DELETE FROM feed WHERE sequence <= ?", (floor,))
