"""FeedReader: the feed as an asynchronous iterator, resumable from a position."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Container, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

from everfresh.feed.bells import ringer
from everfresh.feed.following import AnyFollower
from everfresh.feed.listeners import Listener
from everfresh.feed.streaming import StreamFollower
from everfresh.model.entry import FeedRecord, Key, Kind
from everfresh.model.marks import override
from everfresh.model.position import Position
from everfresh.protocol.requests import FeedBatch, ReadFeed
from everfresh.stores.store import BringingStore, Store

_N_MAX = 1_000
# So many entries are loaded along with the feed; whoever needs more asks for them.
_N_ALONG = 8


class _Both:
    """Two events as one."""

    def __init__(self, *events: asyncio.Event) -> None:
        self._events = events

    def set(self) -> None:
        """Set both."""
        for event in self._events:
            event.set()


class FeedReader(Listener):
    """Batches of feed records in order, from a position on; it holds no records, only a place in the feed.

    Use it as an asynchronous context manager, and iterate inside. A batch with `is_reset` says that records were lost:
    take the present state anew.
    """

    def __init__(self, store: Store, follower: AnyFollower, after: Position | None) -> None:
        self._store = store
        self._follower = follower
        self._after = after
        self.patience_s = 0.0
        """For how long word that entries are out of date may lie unread: mostly more follows, and is read with it."""
        # Until when what is unread may wait, by `time.monotonic`; not known while there is nothing.
        self._patient_until: float | None = None
        self.wanted: Container[Key] = ()
        """Of these the entries may come along with the batches that tell of new values."""
        self._is_told_of_quiet = isinstance(follower, StreamFollower)
        # Of the wanted, what has a new value by what was rung for.
        self._changed: dict[Key, None] = {}
        # Whether there is more to read than was rung for.
        self._is_behind = True
        self._wake = asyncio.Event()
        self._hurry = asyncio.Event()
        self._ring: Callable[[], None] | None = None
        self._press: Callable[[], None] | None = None
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
        self._ring, self._press = ringer(self._wake), ringer(_Both(self._wake, self._hurry))
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
            if not self._is_behind:
                await self._rung()
            # Cleared before the feed is read: what is written afterwards sets it again.
            self._patient_until = None
            self._wake.clear()
            self._hurry.clear()
            # Until it was: what it was rung for is not read by one that is cancelled, or raises.
            self._is_behind = True
            changed, self._changed = self._changed, {}
            batch = await self._read(ReadFeed(self.position, _N_MAX), changed)
            self._after = batch.position
            # Of several shards, one may have been left off at its share.
            n_shards = 1 + len(batch.position.others)
            self._is_behind = len(batch.records) > _N_MAX // (2 * n_shards)
            if batch.records or batch.is_reset:
                return batch

    async def _read(self, request: ReadFeed, changed: Collection[Key]) -> FeedBatch:
        if changed and isinstance(self._store, BringingStore):
            return await self._store.read_along(request, (*changed,))
        return await self._store.carry_out_async(request)

    async def _rung(self) -> None:
        """Wait until there is something to read."""
        await self._wake.wait()
        until = self._patient_until
        left_s = 0.0 if until is None else until - time.monotonic()
        if left_s > 0 and not self._hurry.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(left_s):
                    await self._hurry.wait()

    @override
    def on_records(self, records: Sequence[FeedRecord]) -> bool:
        for record in records:
            if record.kind is Kind.CHANGED and len(self._changed) < _N_ALONG and record.key in self.wanted:
                self._changed[record.key] = None
        if self._ring is None or self._press is None:
            return False
        if not all(record.kind is Kind.STALE for record in records):
            self._press()
        elif self.patience_s and self._is_told_of_quiet and self._patient_until is None:
            # Whoever builds has more need of the processors just now than somebody who would only begin to wait.
            self._patient_until = time.monotonic() + self.patience_s
            return False
        else:
            self._patient_until = self._patient_until or time.monotonic() + self.patience_s
            self._ring()
        return True

    @override
    def on_quiet(self) -> None:
        if self._patient_until is not None and self._ring is not None:
            self._ring()

    @override
    def on_reset(self) -> None:
        if self._press is not None:
            self._press()
