"""What sources left, in memory."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import islice

from everfresh.model.marks import override
from everfresh.protocol.sourcing import Reported, Unreadable
from everfresh.stores.source_tables import QuarantineTable, SourceTable


class MemorySources(SourceTable, QuarantineTable):
    """The tables of sources as dicts."""

    def __init__(self) -> None:
        self._offsets: dict[str, str] = {}
        self._reports: dict[str, tuple[Reported, ...]] = {}
        # By id, the oldest first.
        self._kept: dict[str, Unreadable] = {}

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
    def n_kept(self, source: str | None = None) -> int:
        return sum(source in {None, message.source} for message in self._kept.values())

    @override
    def keep(self, message: Unreadable) -> None:
        self._kept.setdefault(message.id, message)

    @override
    def kept(self, ids: Sequence[str] | None, source: str | None, n_max: int) -> list[Unreadable]:
        if ids is not None:
            wanted = set(ids)
            return [message for message in self._kept.values() if message.id in wanted]
        of_source = (message for message in self._kept.values() if source in {None, message.source})
        return list(islice(of_source, n_max))

    @override
    def release(self, ids: Collection[str]) -> int:
        return sum(self._kept.pop(id_, None) is not None for id_ in ids)

    @override
    def release_oldest(self, n: int) -> None:
        for id_ in tuple(islice(self._kept, n)):
            del self._kept[id_]
