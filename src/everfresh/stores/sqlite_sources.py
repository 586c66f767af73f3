"""What sources left, as SQL."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterator, Sequence

import msgspec

from everfresh.model.marks import override
from everfresh.protocol.sourcing import Reported, Unreadable
from everfresh.stores.source_tables import QuarantineTable, SourceTable

_KNOWN = "SELECT source FROM source_offset UNION SELECT source FROM report UNION SELECT source FROM unreadable"
_encode = msgspec.msgpack.Encoder().encode
_decode_reports = msgspec.msgpack.Decoder(tuple[Reported, ...]).decode
_decode_unreadable = msgspec.msgpack.Decoder(Unreadable).decode


def _message(number: int, data: bytes) -> Unreadable:
    return msgspec.structs.replace(_decode_unreadable(data), place=number)


class SqliteSources(SourceTable, QuarantineTable):
    """The tables of sources; written at once, as they are few."""

    _db: sqlite3.Connection

    @override
    def known_sources(self) -> Collection[str]:
        return [columns[0] for columns in self._db.execute(_KNOWN)]

    @override
    def offset(self, source: str) -> str | None:
        found = self._db.execute("SELECT text FROM source_offset WHERE source = ?", (source,)).fetchone()
        return None if found is None else found[0]

    @override
    def set_offset(self, source: str, text: str) -> None:
        self._db.execute("INSERT OR REPLACE INTO source_offset (source, text) VALUES (?, ?)", (source, text))

    @override
    def reports(self, source: str) -> tuple[Reported, ...]:
        found = self._db.execute("SELECT data FROM report WHERE source = ?", (source,)).fetchone()
        return () if found is None else _decode_reports(found[0])

    @override
    def set_reports(self, source: str, reports: tuple[Reported, ...]) -> None:
        self._db.execute("INSERT OR REPLACE INTO report (source, data) VALUES (?, ?)", (source, _encode(reports)))

    @override
    def forget_source(self, source: str) -> bool:
        n_offsets = self._db.execute("DELETE FROM source_offset WHERE source = ?", (source,)).rowcount
        n_reports = self._db.execute("DELETE FROM report WHERE source = ?", (source,)).rowcount
        return n_offsets + n_reports > 0

    @override
    def n_kept(self, source: str) -> int:
        query = "SELECT count(*) FROM unreadable WHERE source = ?"
        n_kept: int = self._db.execute(query, (source,)).fetchone()[0]
        return n_kept

    @override
    def keep(self, message: Unreadable) -> None:
        query = "INSERT OR IGNORE INTO unreadable (id, source, data) VALUES (?, ?, ?)"
        self._db.execute(query, (message.id, message.source, _encode(message)))

    @override
    def kept_bytes(self) -> Sequence[int]:
        return [columns[0] for columns in self._db.execute("SELECT length(data) FROM unreadable ORDER BY number")]

    @override
    def kept(self, ids: Sequence[str]) -> list[Unreadable]:
        query = "SELECT number, data FROM unreadable WHERE id IN (SELECT value FROM json_each(?)) ORDER BY number"
        return [_message(*columns) for columns in self._db.execute(query, (json.dumps(list(ids)),))]

    @override
    def kept_after(self, place: int, source: str | None) -> Iterator[tuple[Unreadable, int]]:
        query = "SELECT number, data FROM unreadable WHERE number > ? AND source = coalesce(?, source) ORDER BY number"
        for number, data in self._db.execute(query, (place, source)):
            yield _message(number, data), len(data)

    @override
    def release(self, ids: Collection[str]) -> int:
        query = "DELETE FROM unreadable WHERE id IN (SELECT value FROM json_each(?))"
        return self._db.execute(query, (json.dumps(list(ids)),)).rowcount

    @override
    def release_oldest(self, n: int) -> None:
        query = "DELETE FROM unreadable WHERE number IN (SELECT number FROM unreadable ORDER BY number LIMIT ?)"
        self._db.execute(query, (n,))
