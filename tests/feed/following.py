"""A reader of the feed with a deadline, which collects what it was given."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from everfresh import Cache, FeedRecord, Position
from everfresh.feed.reader import FeedReader
from everfresh.protocol.requests import FeedBatch

DEADLINE_S = 20.0


class Following:
    """One reader's place in the feed."""

    def __init__(self, cache: Cache, reader: FeedReader) -> None:
        self._cache = cache
        self._reader = reader
        self._records: list[FeedRecord] = []

    @property
    def position(self) -> Position:
        """How far the reader is."""
        return self._reader.position

    async def batch(self) -> FeedBatch:
        """The next batch; waits for it."""
        async with asyncio.timeout(DEADLINE_S):
            batch = await anext(self._reader)
        self._records += batch.records
        return batch

    async def records(self, n: int) -> list[FeedRecord]:
        """Everything so far, once it is at least so many records."""
        while len(self._records) < n:
            await self.batch()
        return self._records

    async def so_far(self) -> list[FeedRecord]:
        """Every record up to the store's position of now."""
        end = await self._cache.position()
        while self.position.sequence < end.sequence:
            await self.batch()
        return self._records


@asynccontextmanager
async def following(cache: Cache, after: Position | None = None) -> AsyncIterator[Following]:
    """Follow while the block runs."""
    async with cache.feed(after) as reader:
        yield Following(cache, reader)
