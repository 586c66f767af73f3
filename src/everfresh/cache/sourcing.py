"""SourceOperations: what sources do with a cache."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

from msgspec.structs import replace

from everfresh.cache.drivers import AsyncDriver
from everfresh.cache.engine import Engine
from everfresh.cache.operations import Operations
from everfresh.matching.covering import pattern_of, without_covered
from everfresh.model.event import Event
from everfresh.model.position import Position
from everfresh.protocol.publishing import learn, writable
from everfresh.protocol.requests import Steps, ask
from everfresh.protocol.sourcing import (
    Forget,
    Offset,
    Quarantine,
    ReadQuarantine,
    ReadSources,
    Release,
    Report,
    Sources,
    Tell,
    Unreadable,
)

PER_S = 100.0
"""How many suspect entries fall due in a second, if nobody says otherwise."""


class SourceOperations:
    """What sources do with a cache: for the floors above; not for applications.

    It stands outside of transactions and of builds, whoever calls: what a source brought has happened elsewhere.
    """

    def __init__(self, engine: Engine, operations: Operations, driver: AsyncDriver) -> None:
        self._engine = engine
        self._operations = operations
        self._driver = driver

    async def apply(self, events: Sequence[Event], *, offset: Offset | None = None) -> Position:
        """Apply what a source brought, and how far it has come with it, as one step; without events that alone.

        Raises:
            InvalidEvent: one of them is no event; nothing was applied.
            StoreUnavailable: nothing was applied; asking again is safe.
        """
        return await self._driver.run(self._operations.take_in(events, offset))

    async def suspect(self, topics: Sequence[str], reason: str, *, per_s: float = PER_S) -> int:
        """Have all built anew, so many a second, that events with topics of these patterns could have touched.

        Nobody is served any of it as fresh from now on. `reason` says why, for people; answered with how many entries
        depend on such events themselves.
        """
        return await self._driver.run(self._operations.suspect(topics, reason, per_s))

    async def tell(self, report: Report) -> float:
        """Keep how a source fares, and learn what others have come to depend on; the store's time."""
        return await self._driver.run(self._told(report))

    async def read(self, names: Sequence[str] | None = None) -> Sources:
        """What is known of these sources, or of all."""
        return await self._driver.run(ask(ReadSources(None if names is None else tuple(names))))

    async def forget(self, names: Sequence[str]) -> int:
        """Forget how far these sources have come, and what their consumers told; how many had said either.

        It is for those that nobody consumes any more: who does so again begins as at its first start. What of theirs is
        in quarantine stays.
        """
        return await self._driver.run(ask(Forget(tuple(names))))

    async def quarantine(self, messages: Sequence[Unreadable], *, n_max: int = 1_000) -> int:
        """Keep what is no event, of all the newest `n_max`, of 64 MiB at most; how many went for it."""
        kept = tuple(_storable(message) for message in messages)
        return await self._driver.run(ask(Quarantine(kept, n_max)))

    async def quarantined(
        self, ids: Sequence[str] | None = None, source: str | None = None, n_max: int = 1_000, after: int = 0
    ) -> tuple[Unreadable, ...]:
        """What is kept, oldest first: with these ids, or a page of at most `n_max` of a source or of all.

        A page has some megabytes; the next one begins behind the place of its last message.
        """
        return await self._driver.run(ask(ReadQuarantine(None if ids is None else tuple(ids), source, n_max, after)))

    async def each_quarantined(self, source: str | None = None) -> AsyncGenerator[Unreadable]:
        """All that is kept, of a source or of all, oldest first; never more of it at once than a page."""
        after = 0
        while page := await self.quarantined(source=source, after=after):
            after = page[-1].place
            for one in page:
                yield one

    async def release(self, ids: Sequence[str]) -> int:
        """Forget what is kept under these ids; how many there were."""
        return await self._driver.run(ask(Release(tuple(ids))))

    async def learn(self) -> None:
        """Learn what entries depend on that other processes built; `tell` does so too."""
        await self._driver.run(learn(self._engine.shapes))

    @property
    def learnt(self) -> object:
        """Equal to what it was before, unless `topics()` may have changed since."""
        return (self._engine.shapes.index.generation, tuple(self._engine.functions))

    def topics(self) -> tuple[str, ...]:
        """Patterns of the events that reach this process's functions and what is known to be depended on, in order.

        None of them is covered by another. For objects of a type and lists of them that is `type.*`.
        """
        return without_covered(self.functions_of())

    def functions_of(self) -> dict[str, list[str]]:
        """The same patterns, also those that others cover, each with the functions of this process that declare it.

        One that entries came to track while they were built may have none.
        """
        patterns = (pattern_of(known.shape) for known in self._engine.shapes.index.all())
        found: dict[str, list[str]] = {pattern: [] for pattern in patterns if pattern is not None}
        for name, spec in self._engine.functions.items():
            shapes = (*spec.shapes, *(group.shape for group in spec.watched))
            for pattern in dict.fromkeys(map(pattern_of, shapes)):
                if pattern is not None:
                    found.setdefault(pattern, []).append(name)
        return found

    def _told(self, report: Report) -> Steps[float]:
        at = yield from ask(Tell(report))
        yield from learn(self._engine.shapes)
        return at


def _storable(kept: Unreadable) -> Unreadable:
    """The same, whatever texts a broker's client made of bytes that were none."""
    message = kept.message
    headers = {writable(name): writable(text) for name, text in message.headers.items()}
    written = replace(message, topic=writable(message.topic), headers=headers, id=writable(message.id))
    return replace(kept, reason=writable(kept.reason), message=written)
