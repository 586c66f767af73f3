"""The feed of several shards: followed as one, resumed by a vector, and near caches that are vouched for over all."""

import asyncio
from contextlib import suppress

import pytest
from redis import exceptions

from everfresh import Cache, Event, dep, track
from everfresh.model.dependency import Tag
from everfresh.model.errors import StoreUnavailable
from everfresh.protocol.requests import FeedBatch, ReadFeed
from everfresh.stores.redis import sharding_streams
from everfresh.stores.redis.exchange import Ask
from everfresh.stores.redis.shard import Shard
from everfresh.stores.redis.sharded import ShardedStore
from everfresh.stores.redis.sharding import shard_of
from everfresh.testing.by_hand import ByHand
from everfresh.testing.waiting import until
from tests.redis_servers import RedisServer, new_prefix

N_SHARDS = 16


@pytest.fixture
def url(shared_redis: RedisServer) -> str:
    return f"{shared_redis.url}?shards={N_SHARDS}&prefix={new_prefix()}"


def test_the_feed_is_resumed_by_a_vector(url: str) -> None:
    """In batches of any size each record comes once, and those of one entry in their order."""
    store = ShardedStore(url)
    hand = ByHand(store)
    position = hand.position()
    for number in range(40):
        hand.build(f"k{number % 20}", number)
    found: list[tuple[str, int]] = []

    while (batch := store.carry_out(ReadFeed(position, 7))).records:
        assert len(batch.records) <= 7
        found += [(record.key, record.version) for record in batch.records]
        position = batch.position

    assert sorted(found) == sorted((f"k{number % 20}", 1 + number // 20) for number in range(40))
    assert [found.index((f"k{number}", 1)) < found.index((f"k{number}", 2)) for number in range(20)] == [True] * 20
    assert position == hand.position()
    store.close()


def test_a_position_that_is_no_vector_starts_over(url: str) -> None:
    """That of one entry says nothing of other shards."""
    store = ShardedStore(url)
    entry = ByHand(store).build("k", 1)

    batch = store.carry_out(ReadFeed(entry.changed_at))

    assert batch == FeedBatch((), batch.position, is_reset=True)
    assert len(batch.position.parts()) == N_SHARDS
    store.close()


def test_what_one_shard_told_is_not_lost_where_another_failed(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its records come with the next look; the server is told of none that was not passed on."""
    store = ShardedStore(url)
    hand, stream = ByHand(store), store.stream()
    while not stream.take().is_at_end:
        pass
    for number in range(20):
        hand.build(f"k{number}", 1, Tag("a"))
    found: set[str] = set()
    replies: list[Ask] = []

    def failing(shard: Shard, ask: Ask) -> object:
        replies.append(ask)
        if len(replies) == 2:
            msg = "cut"
            raise exceptions.ConnectionError(msg)
        return whole(shard, ask)

    whole = sharding_streams.reply_of
    monkeypatch.setattr(sharding_streams, "reply_of", failing)

    def has_all() -> bool:
        with suppress(exceptions.ConnectionError, StoreUnavailable):
            found.update(record.key for record in stream.take().records)
        return len(found) == 20

    until(has_all, what="a record of each entry")
    assert len(replies) > 2
    stream.close()
    store.close()


def test_a_stream_brings_what_any_shard_tells(url: str) -> None:
    """It begins with a reset; then comes each record."""
    store = ShardedStore(url)
    hand, stream = ByHand(store), store.stream()
    while not stream.take().is_at_end:
        pass
    for number in range(20):
        hand.build(f"k{number}", 1, Tag("a"))
    found: set[str] = set()

    def has_all() -> bool:
        found.update(record.key for record in stream.take().records)
        return len(found) == 20

    until(has_all, what="a record of each entry")
    stream.close()
    store.close()


def test_an_acknowledged_event_is_seen_by_all(url: str) -> None:
    """Also in values near another process that were built from entries of other shards."""
    prices = dict.fromkeys(range(8), 0)

    def price(item: int) -> int:
        track(dep.Id("item", item))
        return prices[item]

    with Cache(url) as writer, Cache(url) as reader:
        priced = reader.cached(price)

        def total() -> int:
            return sum(priced(item) for item in prices)

        totalled = reader.cached(total)
        for turn in range(1, 20):
            assert totalled() == sum(prices.values())
            prices[turn % 8] += turn
            writer.blocking.publish(Event.change("item", after={"id": turn % 8}), acknowledged=True)
        assert totalled() == sum(prices.values())


async def test_an_entry_of_another_shard_that_changed_during_a_build_is_noticed(url: str) -> None:
    """Though it is looked at only when the function has ended, and no order of both shards says which came first."""
    async with Cache(url) as cache:
        truth = {"value": 1}
        begun, go_on = asyncio.Event(), asyncio.Event()

        @cache.cached
        async def page(name: str) -> int:
            track(dep.Call(name))
            value = truth["value"]
            begun.set()
            await go_on.wait()
            return value

        name = next(f"k{n}" for n in range(100) if shard_of(f"k{n}", N_SHARDS) != shard_of(page.key(f"k{n}"), N_SHARDS))
        await cache.put(name, 1, dep.Tag("t"))
        building = asyncio.create_task(page(name))
        await begun.wait()
        truth["value"] = 2
        await cache.put(name, 2, dep.Tag("t"))
        go_on.set()

        assert (await building, await page(name)) == (1, 2)
