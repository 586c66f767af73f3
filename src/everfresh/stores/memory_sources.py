"""What sources left, in memory."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import islice

import msgspec
from msgspec.structs import replace

from everfresh.model.marks import override
from everfresh.protocol.sourcing import Reported, Unreadable
from everfresh.stores.source_tables import QuarantineTable, SourceTable

_encode = msgspec.msgpack.Encoder().encode


class MemorySources(SourceTable, QuarantineTable):
    """The tables of sources as dicts."""

    def __init__(self) -> None:
        self._offsets: dict[str, str] = {}
        self._reports: dict[str, tuple[Reported, ...]] = {}
        # By id, the oldest first.
        self._kept: dict[str, Unreadable] = {}
        self._bytes: dict[str, int] = {}

    @override
    def known_sources(self) -> Collection[str]:
        return {*self._offsets, *self._reports, *(message.source for message in self._kept.values())}

    @override
    def offset(self, source: str) -> str | None:
        return self._offsets.get(source)

    @override
    def set_offset(self, source: str, text: str) -> None:
        self._offsets[source] = text

    @override
    def reports(self, source: str) -> tuple[Reported, ...]:
        return self._reports.get(source, ())

    @override
    def set_reports(self, source: str, reports: tuple[Reported, ...]) -> None:
        self._reports[source] = reports

    @override
    def forget_source(self, source: str) -> bool:
        gone = (self._offsets.pop(source, None), self._reports.pop(source, None))
        return gone != (None, None)

    @override
    def n_kept(self, source: str) -> int:
        return sum(message.source == source for message in self._kept.values())

    @override
    def keep(self, message: Unreadable) -> None:
        if message.id in self._kept:
            return
        newest = next(reversed(self._kept.values()), message)
        self._kept[message.id] = replace(message, place=newest.place + 1)
        self._bytes[message.id] = len(_encode(message))

    @override
    def kept_bytes(self) -> Sequence[int]:
        return list(self._bytes.values())

    @override
    def kept(self, ids: Sequence[str]) -> list[Unreadable]:
        wanted = set(ids)
        return [message for message in self._kept.values() if message.id in wanted]

    @override
    def kept_after(self, place: int, source: str | None) -> Iterator[tuple[Unreadable, int]]:
        for message in self._kept.values():
            if message.place > place and source in {None, message.source}:
                yield message, self._bytes[message.id]

    @override
    def release(self, ids: Collection[str]) -> int:
        there = [id_ for id_ in ids if id_ in self._kept]
        for id_ in there:
            del self._kept[id_], self._bytes[id_]
        return len(there)

    @override
    def release_oldest(self, n: int) -> None:
        self.release(tuple(islice(self._kept, n)))
