"""Gathering: word that values are out of date waits a moment, as mostly the new values are on their way.

Where a build takes a millisecond, that word would go to everybody first and the value after it: twice the deliveries,
and half of the delay. Put off, it comes together with the value, which takes its place. What else is told is not kept
waiting, nothing overtakes anything, and nobody sees ten milliseconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Container
from typing import Protocol, Self, runtime_checkable

from everfresh.model.entry import Key, Kind
from everfresh.protocol.requests import FeedBatch

_PUT_OFF_S = 0.010


@runtime_checkable
class Patient(Protocol):
    """A feed that leaves such word unread by itself, and brings entries along; both spare ways over a network."""

    patience_s: float
    wanted: Container[Key]


async def gathered(feed: AsyncIterable[FeedBatch], wanted: Container[Key] = ()) -> AsyncGenerator[FeedBatch]:
    """The batches, those that only tell that entries are out of date put off, and joined with what comes meanwhile.

    Of those `wanted` that have new values, entries may come along.
    """
    if isinstance(feed, Patient):
        feed.patience_s, feed.wanted = _PUT_OFF_S, wanted
        async for found in feed:
            yield found
        return
    loop = asyncio.get_running_loop()
    kept: FeedBatch | None = None
    until_s = 0.0
    async with _Ahead(feed) as ahead:
        while True:
            try:
                batch = await ahead.next(None if kept is None else max(until_s - loop.time(), 0.0))
            except StopAsyncIteration:
                break
            if kept is None:
                until_s = loop.time() + _PUT_OFF_S
            told = kept if batch is None else joined(kept, batch)
            kept = told if batch is not None and told is not None and can_wait(told) else None
            if kept is None and told is not None:
                yield told
        if kept is not None:
            yield kept


class _Ahead:
    """Reads one batch ahead, so that to wait for it can be given up without losing it."""

    def __init__(self, feed: AsyncIterable[FeedBatch]) -> None:
        self._batches = aiter(feed)
        self._coming: asyncio.Future[FeedBatch] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._coming is not None:
            self._coming.cancel()
            await asyncio.gather(self._coming, return_exceptions=True)

    async def next(self, wait_s: float | None) -> FeedBatch | None:
        """The next batch; None when it does not come within that time.

        Raises:
            StopAsyncIteration: there is none.
        """
        coming = self._coming = self._coming or asyncio.ensure_future(anext(self._batches))
        await asyncio.wait({coming}, timeout=wait_s)
        if not coming.done():
            return None
        self._coming = None
        return coming.result()


def can_wait(batch: FeedBatch) -> bool:
    """Whether it tells nothing but that entries are out of date."""
    return not batch.is_reset and all(record.kind is Kind.STALE for record in batch.records)


def joined(kept: FeedBatch | None, batch: FeedBatch) -> FeedBatch:
    """Both as one; of what was before a reset nothing is left."""
    if kept is None or batch.is_reset:
        return batch
    return FeedBatch((*kept.records, *batch.records), batch.position)
