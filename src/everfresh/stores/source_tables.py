"""What the steps of sources need of a store's data."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Protocol

from everfresh.protocol.sourcing import Reported, Unreadable


class SourceTable(Protocol):
    """How far each source has come, and how it fares."""

    def known_sources(self) -> Collection[str]:
        """The names of those that left an offset, a report or a message."""
        ...

    def offset(self, source: str) -> str | None:
        """How far it has come; None when it never said."""
        ...

    def set_offset(self, source: str, text: str) -> None:
        """Note how far it has come."""
        ...

    def reports(self, source: str) -> tuple[Reported, ...]:
        """Its consumers' reports, newest first."""
        ...

    def set_reports(self, source: str, reports: tuple[Reported, ...]) -> None:
        """Keep these of it, and no others."""
        ...

    def forget_source(self, source: str) -> bool:
        """Forget both of these; whether there was any."""
        ...


class QuarantineTable(Protocol):
    """Messages that nobody could read, in the order in which they came."""

    def n_kept(self, source: str) -> int:
        """How many there are of a source."""
        ...

    def keep(self, message: Unreadable) -> None:
        """Keep it as the newest, one place behind the last, unless one with its id is there."""
        ...

    def kept_bytes(self) -> Sequence[int]:
        """How many bytes each of them has, packed; the oldest first."""
        ...

    def kept(self, ids: Sequence[str]) -> list[Unreadable]:
        """Those with these ids, oldest first."""
        ...

    def kept_after(self, place: int, source: str | None) -> Iterator[tuple[Unreadable, int]]:
        """Those behind the place, of a source or of all, oldest first, each with its bytes; read one by one."""
        ...

    def release(self, ids: Collection[str]) -> int:
        """Forget those with these ids; how many there were."""
        ...

    def release_oldest(self, n: int) -> None:
        """Forget so many."""
        ...
