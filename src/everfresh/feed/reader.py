"""FeedReader: the feed as an asynchronous iterator, resumable from a position."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from everfresh.feed.bells import ringer
from everfresh.feed.following import AnyFollower
from everfresh.feed.listeners import Listener
from everfresh.model.entry import FeedRecord
from everfresh.model.marks import override
from everfresh.model.position import Position
from everfresh.protocol.requests import FeedBatch, ReadFeed
from everfresh.stores.store import Store


class FeedReader(Listener):
    """Batches of feed records in order, from a position on; it holds no records, only a place in the feed.

    Use it as an asynchronous context manager, and iterate inside. A batch with `is_reset` says that records were lost:
    take the present state anew.
    """

    def __init__(self, store: Store, follower: AnyFollower, after: Position | None) -> None:
        self._store = store
        self._follower = follower
        self._after = after
        self._wake = asyncio.Event()
        self._ring: Callable[[], None] | None = None
        self._remove: Callable[[], None] | None = None

    @property
    def position(self) -> Position:
        """How far the reader is. It is set when the block is entered.

        Raises:
            RuntimeError: the block was not entered.
        """
        if self._after is None:
            msg = "feed: not open yet. Use `async with cache.feed() as feed`."
            raise RuntimeError(msg)
        return self._after

    async def __aenter__(self) -> Self:
        self._ring = ringer(self._wake)
        self._remove = self._follower.add(self)
        self._follower.poll()
        if self._after is None:
            self._after = (await self._store.carry_out_async(ReadFeed(None))).position
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._remove is not None:
            self._remove()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> FeedBatch:
        while True:
            # Cleared before the feed is read: what is written afterwards sets it again.
            self._wake.clear()
            batch = await self._store.carry_out_async(ReadFeed(self.position))
            self._after = batch.position
            if batch.records or batch.is_reset:
                return batch
            await self._wake.wait()

    @override
    def on_records(self, records: Sequence[FeedRecord]) -> None:
        self.on_reset()

    @override
    def on_reset(self) -> None:
        if self._ring is not None:
            self._ring()
