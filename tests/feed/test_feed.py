"""The feed: the ordered log of what became of entries, followed from now on or from a position."""

import asyncio

import pytest

from everfresh import Cache, FeedRecord, Kind, Position, StoreClosed, dep
from everfresh.refresh import Worker
from everfresh.testing.waiting import soon
from tests.cache.fixtures import OpenCache
from tests.cache.making import Colour, done, entry_of, is_fresh
from tests.cache.processes import running
from tests.cache.upstreams import Upstream
from tests.feed.following import Following, following


async def test_a_feed_begins_now(cache: Cache) -> None:
    """What was before is not told."""
    await cache.put("before", 1)

    async with following(cache) as feed:
        await cache.put("after", 1)

        assert [record.key for record in await feed.records(1)] == ["after"]


async def test_a_feed_is_iterated(cache: Cache) -> None:
    """The usual way: `async for batch in feed`."""
    keys: list[str] = []

    async with cache.feed() as feed:
        for number in range(3):
            await cache.put(f"{number}", 1)
        async for batch in feed:
            keys += [record.key for record in batch.records]
            if len(keys) == 3:
                break

    assert keys == ["0", "1", "2"]


async def test_a_feed_tells_what_became_of_entries_in_order(colour: Colour, upstream: Upstream) -> None:
    """Stale by an event, changed by a build, gone when it is deleted."""

    @colour.cached(depends_on=[upstream.tag])
    async def value() -> int:
        return upstream.read()

    async with following(colour.cache) as feed:
        await done(value())
        await upstream.change(2)
        await done(value())
        await upstream.announce()
        await done(value())
        await colour.cache.delete(value.key())
        records = await feed.records(6)

    kinds = [Kind.CHANGED, Kind.STALE, Kind.CHANGED, Kind.STALE, Kind.FRESH, Kind.DROPPED]
    assert [record.kind for record in records] == kinds


async def test_a_record_names_the_entry_its_version_and_its_digest(colour: Colour) -> None:
    """Enough to know whether one has it already."""

    @colour.cached()
    async def value() -> int:
        return 1

    async with following(colour.cache) as feed:
        await done(value())
        (record,) = await feed.records(1)
    entry = await entry_of(value)

    assert record == FeedRecord(entry.changed_at.sequence, value.key(), Kind.CHANGED, entry.version, entry.digest)


async def test_a_failed_build_is_told(colour: Colour, upstream: Upstream) -> None:
    """Who shows the value can say that it may be old."""

    @colour.cached(depends_on=[upstream.tag])
    async def value() -> int:
        return upstream.read()

    await done(value())
    async with following(colour.cache) as feed, Worker(colour.cache):
        await upstream.break_down()
        records = await feed.records(2)

    assert [record.kind for record in records] == [Kind.STALE, Kind.FAILED]


async def test_a_feed_is_resumed_after_a_position(cache: Cache) -> None:
    """Nothing in between is lost, and nothing is told twice."""
    await cache.put("a", 1)
    position = await cache.position()
    await cache.put("b", 1)
    await cache.put("c", 1)

    async with following(cache, position) as feed:
        await cache.put("d", 1)

        assert [record.key for record in await feed.records(3)] == ["b", "c", "d"]


async def test_each_batch_says_where_to_resume(cache: Cache) -> None:
    """A reader that stops after any batch goes on with the next."""
    position, seen = await cache.position(), []
    for number in range(5):
        await cache.put(f"{number}", number)
        async with following(cache, position) as feed:
            batch = await feed.batch()
            seen += [record.key for record in batch.records]
            position = batch.position

    assert seen == ["0", "1", "2", "3", "4"]


async def test_a_reader_says_how_far_it_is(cache: Cache) -> None:
    """From the door on, and after each batch."""
    before = await cache.position()

    async with following(cache) as feed:
        at_the_door = feed.position
        await cache.put("a", 1)
        batch = await feed.batch()

        assert (at_the_door, feed.position) == (before, batch.position)


def test_a_reader_outside_its_block_is_an_error_that_shows_the_block(cache: Cache) -> None:
    """It has no position yet."""
    with pytest.raises(RuntimeError, match=r"async with cache\.feed\(\)"):
        _ = cache.feed().position


async def test_a_position_of_another_life_of_the_store_is_a_reset(cache: Cache) -> None:
    """Whoever comes back to a store that was lost has to start over."""
    async with following(cache, Position("anotherepoch", 3)) as feed:
        batch = await feed.batch()

    assert (batch.is_reset, batch.records, batch.position) == (True, (), await cache.position())


async def test_a_position_that_is_not_reached_yet_is_a_reset(cache: Cache) -> None:
    """The store was rolled back: what the reader has seen did not happen."""
    here = await cache.position()

    async with following(cache, Position(here.epoch, here.sequence + 100)) as feed:
        assert (await feed.batch()).is_reset


async def test_a_position_before_what_is_kept_is_a_reset(open_cache: OpenCache) -> None:
    """The log is trimmed; a reader that is too far behind is told, and never skips silently."""
    cache = open_cache("memory:")
    start = await cache.position()
    for number in range(20_001):
        await cache.put("a", number)

    async with following(cache, start) as feed:
        assert (await feed.batch()).is_reset


async def test_a_reader_goes_on_after_a_reset(cache: Cache) -> None:
    """From the position that came with it."""
    async with following(cache, Position("anotherepoch", 3)) as feed:
        await feed.batch()
        await cache.put("a", 1)

        assert [record.key for record in await feed.records(1)] == ["a"]


async def test_more_than_a_batch_is_given_in_order(open_cache: OpenCache) -> None:
    """However far a reader is behind."""
    cache = open_cache("memory:")
    start = await cache.position()
    for number in range(2_500):
        await cache.put(f"{number}", 1)

    async with following(cache, start) as feed:
        records = await feed.records(2_500)

    assert [record.key for record in records] == [str(number) for number in range(2_500)]


async def test_two_readers_see_the_same(cache: Cache) -> None:
    """Each from its own place on; a record is not taken away by who reads it."""
    async with following(cache) as one:
        await cache.put("a", 1)
        async with following(cache) as other:
            await cache.put("b", 1)

            keys = [[record.key for record in await feed.records(n)] for feed, n in ((one, 2), (other, 1))]

    assert keys == [["a", "b"], ["b"]]


async def test_a_reader_that_left_harms_nobody(cache: Cache) -> None:
    """Neither those who stay nor whoever publishes."""
    async with following(cache) as stays:
        async with following(cache):
            pass
        await cache.put("a", 1)

        assert [record.key for record in await stays.records(1)] == ["a"]


async def test_a_reader_that_is_cancelled_while_it_waits_can_go_on(cache: Cache) -> None:
    """A timeout around the next batch loses nothing."""
    async with following(cache) as feed:
        waiting = asyncio.create_task(feed.batch())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await cache.put("a", 1)

        assert [record.key for record in await feed.records(1)] == ["a"]


async def test_who_waits_for_the_feed_of_a_closed_cache_is_told(cache: Cache) -> None:
    """Else it would wait for ever."""
    async with following(cache) as feed:
        waiting = asyncio.create_task(feed.batch())
        await asyncio.sleep(0)
        await cache.aclose()

        with pytest.raises(StoreClosed):
            await waiting


async def test_a_feed_follows_another_cache_on_the_same_file(open_cache: OpenCache, sqlite_url: str) -> None:
    """Two processes are two `Cache` objects."""
    writer, reader = open_cache(sqlite_url), open_cache(sqlite_url)

    async with following(reader) as feed:
        await writer.put("a", 1)

        assert [record.key for record in await feed.records(1)] == ["a"]


async def test_positions_mean_the_same_in_every_cache_on_a_file(open_cache: OpenCache, sqlite_url: str) -> None:
    """A browser that reconnects to another process resumes there."""
    one, other = open_cache(sqlite_url), open_cache(sqlite_url)
    await one.put("a", 1)
    position = Position.parse((await one.position()).text)
    await one.put("b", 1)

    async with following(other, position) as feed:
        assert [record.key for record in await feed.records(1)] == ["b"]


async def test_a_feed_follows_another_process(open_cache: OpenCache, sqlite_url: str) -> None:
    """What it commits is told here."""
    cache = open_cache(sqlite_url)
    await cache.put("a", 1, dep.Tag("t"))

    async with following(cache) as feed:
        with running("tests.cache.publisher_process", sqlite_url) as publisher:
            assert publisher.stdin is not None
            publisher.stdin.write("t\n")
            publisher.stdin.flush()
            (record,) = await feed.records(1)

    assert (record.key, record.kind) == ("a", Kind.DROPPED)


async def test_no_follower_sees_an_older_version_after_a_newer_one(colour: Colour, upstream: Upstream) -> None:
    """Promise 5: versions of an entry only grow, dropped and built again included."""

    @colour.cached(depends_on=[upstream.tag], on_change="drop")
    async def dropped() -> int:
        return upstream.read()

    @colour.cached(depends_on=[upstream.tag])
    async def refreshed() -> int:
        return upstream.read()

    async with following(colour.cache) as feed, Worker(colour.cache):
        for number in range(20):
            await upstream.change(number)
            await done(dropped())
            await done(refreshed())
        await soon(lambda: is_fresh(refreshed), what="the last refresh")
        versions = await _versions(feed, str(dropped.key())), await _versions(feed, str(refreshed.key()))

    assert versions == (sorted(versions[0]), sorted(versions[1]))


async def _versions(feed: Following, key: str) -> list[int]:
    """The versions of all records of the key so far."""
    return [record.version for record in await feed.so_far() if record.key == key]
