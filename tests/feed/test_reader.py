"""A reader of the feed reads when there is something to be read, and not more often."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import closing
from typing import TypeVar

import pytest

from everfresh import Cache, Key, Kind, dep
from everfresh.feed.follower import Follower
from everfresh.feed.reader import FeedReader
from everfresh.feed.streaming import StreamFollower
from everfresh.model.entry import FeedRecord
from everfresh.model.marks import override
from everfresh.protocol.bringing import Brought
from everfresh.protocol.requests import ReadFeed, Request
from everfresh.stores.memory import MemoryStore
from everfresh.stores.store import FeedStream, StepListener
from everfresh.testing.by_hand import put_of
from everfresh.testing.passing import PassingStore
from everfresh.testing.waiting import DEADLINE_S, soon

A = TypeVar("A")


class Counting(MemoryStore):
    """Counts how often its feed is read, and waits with it for who holds it up."""

    def __init__(self) -> None:
        super().__init__()
        self.n_reads = 0
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    @override
    async def carry_out_async(self, request: Request[A]) -> A:
        is_reading = isinstance(request, ReadFeed)
        if is_reading:
            self.n_reads += 1
            await self.may_answer.wait()
        return await super().carry_out_async(request)

    def put(self, key: str) -> None:
        """Put an entry."""
        self.carry_out(put_of(key, 1))


@pytest.fixture
def store() -> Iterator[Counting]:
    """A store."""
    with closing(Counting()) as store:
        yield store


@pytest.fixture
async def reader(store: Counting) -> AsyncIterator[FeedReader]:
    """Who reads its feed from now on."""
    follower = Follower(store)
    async with FeedReader(store, follower, None) as reader, asyncio.timeout(DEADLINE_S):
        yield reader
    follower.stop()


async def test_who_was_given_all_reads_again_when_there_is_more(store: Counting, reader: FeedReader) -> None:
    """Over a network a reading for nothing keeps those waiting who have something to do."""
    coming = asyncio.ensure_future(anext(reader))
    await _let_run()
    store.put("a")
    await coming
    n_before = store.n_reads

    coming = asyncio.ensure_future(anext(reader))
    await _let_run()
    store.put("b")
    batch = await coming

    assert [record.key for record in batch.records] == ["b"]
    assert store.n_reads == n_before + 1


async def test_what_a_cancelled_reading_was_rung_for_is_read_by_the_next(store: Counting, reader: FeedReader) -> None:
    """Nobody rings for it again."""
    coming = asyncio.ensure_future(anext(reader))
    await _let_run()
    store.put("a")
    await coming
    store.may_answer.clear()
    n_before = store.n_reads
    reading = asyncio.ensure_future(anext(reader))
    store.put("b")
    await soon(lambda: store.n_reads > n_before, what="the reading")

    reading.cancel()
    await asyncio.wait([reading])
    store.may_answer.set()
    batch = await anext(reader)

    assert [record.key for record in batch.records] == ["b"]


async def test_who_is_patient_reads_word_together_with_the_value() -> None:
    """That values are out of date is mostly followed by new ones."""
    async with Cache() as cache, cache.feed() as reader, asyncio.timeout(DEADLINE_S):
        reader.patience_s = 3_600.0
        numbers = iter(range(9))

        @cache.cached(depends_on=[dep.Tag("numbers")])
        async def number() -> int:
            return next(numbers)

        coming = asyncio.ensure_future(anext(reader))
        await _let_run()
        await number()
        await coming
        coming = asyncio.ensure_future(anext(reader))
        await cache.invalidate(dep.Tag("numbers"))
        await _let_run()
        assert not coming.done()
        await number()

        assert [record.kind for record in (await coming).records] == [Kind.STALE, Kind.CHANGED]


async def test_word_that_nothing_follows_is_read_when_patience_is_over() -> None:
    """A build may take long, or nobody builds."""
    async with Cache() as cache, cache.feed() as reader, asyncio.timeout(DEADLINE_S):
        reader.patience_s = 0.001

        @cache.cached(depends_on=[dep.Tag("numbers")])
        async def number() -> int:
            return 1

        await number()
        await anext(reader)
        await cache.invalidate(dep.Tag("numbers"))

        assert [record.kind for record in (await anext(reader)).records] == [Kind.STALE]


@pytest.fixture
def follower(store: Counting) -> StreamFollower:
    """One that the test speaks for; it never begins to follow."""
    follower = StreamFollower(Streaming(store), lambda _: None)
    follower.bar()
    return follower


async def test_word_of_a_store_that_brings_its_feed_rings_when_all_is_quiet(
    store: Counting, follower: StreamFollower
) -> None:
    """Till then whoever builds has more need of the processors than somebody who would only begin to wait."""
    async with FeedReader(store, follower, None) as reader, asyncio.timeout(DEADLINE_S):
        reader.patience_s = 0.001
        await _read_to_the_end(reader, store)
        n_before = store.n_reads
        coming = asyncio.ensure_future(anext(reader))
        store.put("a")
        assert not reader.on_records([_record("a", Kind.STALE)])
        await _let_run()
        assert store.n_reads == n_before

        reader.on_quiet()
        assert [record.key for record in (await coming).records] == ["a"]


async def test_word_that_comes_after_its_patience_rings_by_itself(store: Counting, follower: StreamFollower) -> None:
    """Where so much comes that it is never quiet."""
    async with FeedReader(store, follower, None) as reader, asyncio.timeout(DEADLINE_S):
        reader.patience_s = 0.001
        await _read_to_the_end(reader, store)
        coming = asyncio.ensure_future(anext(reader))
        store.put("a")
        for _ in range(2):
            reader.on_records([_record("a", Kind.STALE)])

        assert [record.key for record in (await coming).records] == ["a"]


async def test_who_is_not_patient_is_rung_for_at_once(store: Counting, follower: StreamFollower) -> None:
    """And is at work, for whom others give way."""
    async with FeedReader(store, follower, None) as reader, asyncio.timeout(DEADLINE_S):
        await _read_to_the_end(reader, store)
        coming = asyncio.ensure_future(anext(reader))
        store.put("a")

        assert reader.on_records([_record("a", Kind.STALE)])
        assert [record.key for record in (await coming).records] == ["a"]


async def test_wanted_entries_come_along_with_word_of_their_values(follower: StreamFollower) -> None:
    """Not what nobody wants, nor where no value is told of, nor without end."""
    with closing(Bringing()) as store:
        async with FeedReader(store, follower, None) as reader, asyncio.timeout(DEADLINE_S):
            reader.wanted = [Key("a"), Key("b"), *map(Key, "0123456789")]
            await _read_to_the_end(reader, store)
            for kind, names in ((Kind.STALE, "b"), (Kind.CHANGED, "ac"), (Kind.CHANGED, "0123456789")):
                coming = asyncio.ensure_future(anext(reader))
                store.put(names[0])
                reader.on_records([_record(name, kind) for name in names])
                await coming

    assert store.brought == [("a",), tuple("01234567")]


class Streaming(PassingStore):
    """Its feed is never asked for, and it tells nobody of its steps."""

    @override
    def listen(self, listener: StepListener) -> None:
        return

    def stream(self) -> FeedStream:
        """None."""
        raise NotImplementedError


class Bringing(Counting):
    """Says what it was asked to bring along."""

    def __init__(self) -> None:
        super().__init__()
        self.brought: list[tuple[Key, ...]] = []

    async def read_along(self, request: ReadFeed, keys: Sequence[Key]) -> Brought:
        """The batch, and nothing else."""
        self.brought.append(tuple(keys))
        batch = await self.carry_out_async(request)
        return Brought(batch.records, batch.position)


def _record(key: str, kind: Kind) -> FeedRecord:
    return FeedRecord(1, Key(key), kind, 1, "d")


async def _read_to_the_end(reader: FeedReader, store: Counting) -> None:
    """From then on it reads when it is rung for."""
    store.put("before")
    await anext(reader)


async def _let_run() -> None:
    """Have all that can go on do so."""
    for _ in range(20):
        await asyncio.sleep(0)
