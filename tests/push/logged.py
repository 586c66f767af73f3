"""A cache in one order with a log, which each reader follows at its own place, as stores do."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

from everfresh import StoreUnavailable
from everfresh.model.entry import Entry, FeedRecord, Key, Kind
from everfresh.model.position import Position
from everfresh.protocol.requests import FeedBatch
from tests.push.fake import FakeCache
from tests.push.making import at, entry


class LoggedCache(FakeCache):
    """Values say in which life of the store, and where in its order, they were committed.

    What is asked for may be made to wait: `may_ask` before an entry is read, `may_answer` after it was, `may_read`
    after the log was. A batch has at most `n_most` records.
    """

    def __init__(self) -> None:
        super().__init__()
        self.n_lives = 1
        self.n_most = 1_000
        self.may_read = asyncio.Event()
        self.may_read.set()
        self.may_ask: defaultdict[str, asyncio.Event] = defaultdict(_passable)
        self.may_answer: defaultdict[str, asyncio.Event] = defaultdict(_passable)
        self._log: list[FeedRecord] = []
        self._floor = 0
        self._n_failures = 0
        self._wakes: set[asyncio.Event] = set()

    async def stored(self, key: str) -> Entry | None:
        await self.may_ask[key].wait()
        found = await super().stored(key)
        await self.may_answer[key].wait()
        return found

    def put(self, name: str) -> None:
        """Commit a value."""
        version = self.entries[name].version + 1 if name in self.entries else 1
        place = self.sequence + 1
        value = [self.n_lives, place]
        self.entries[name] = entry(name, version=version, changed_at=place, value=value, epoch=self.epoch)
        self._record(name, Kind.CHANGED, version)

    def drop(self, name: str) -> None:
        """Forget the entry, if there is one."""
        if self.entries.pop(name, None) is not None:
            self._record(name, Kind.DROPPED, 0)

    def trim(self) -> None:
        """Throw the log away; who has not read it learns that some is lost."""
        self._floor = self.sequence

    def lose(self, names: list[str]) -> None:
        """Lose everything; a new life begins with these entries."""
        self.n_lives += 1
        self.epoch, self.sequence, self.entries, self._log, self._floor = f"e{self.n_lives}", 0, {}, [], 0
        for name in names:
            self.put(name)
        self._ring()

    def fail(self) -> None:
        """Have all who read the log at this moment fail."""
        self._n_failures += 1
        self._ring()

    @asynccontextmanager
    async def feed(self, after: Position | None = None) -> AsyncGenerator[AsyncIterator[FeedBatch]]:
        wake = asyncio.Event()
        self._wakes.add(wake)
        yield self._read(after or await self.position(), wake)
        self._wakes.discard(wake)

    async def _read(self, after: Position, wake: asyncio.Event) -> AsyncIterator[FeedBatch]:
        n_failures = self._n_failures
        while True:
            wake.clear()
            batch = self._batch(after)
            after = batch.position
            if not (batch.records or batch.is_reset):
                await wake.wait()
            else:
                # The answer is on its way.
                await asyncio.sleep(0)
                await self.may_read.wait()
            if n_failures != self._n_failures:
                raise StoreUnavailable("the store does not answer")
            if batch.records or batch.is_reset:
                yield batch

    def _batch(self, after: Position) -> FeedBatch:
        end = at(self.sequence, self.epoch)
        if after.epoch != self.epoch or after.sequence < self._floor:
            return FeedBatch((), end, is_reset=True)
        records = self._log[after.sequence :][: self.n_most]
        return FeedBatch(tuple(records), at(records[-1].sequence, self.epoch) if records else end)

    def _record(self, name: str, kind: Kind, version: int) -> None:
        self.sequence += 1
        self._log.append(FeedRecord(self.sequence, Key(name), kind, version, "d"))
        self._ring()

    def _ring(self) -> None:
        for wake in self._wakes:
            wake.set()


def _passable() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event
