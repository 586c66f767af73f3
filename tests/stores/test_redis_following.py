"""Following the feed of a store on Redis: who is waited for, and for how long."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from everfresh.model.dependency import Tag
from everfresh.model.position import Position
from everfresh.protocol.acknowledging import Behind
from everfresh.protocol.requests import ReadFeed
from everfresh.stores.redis import RedisStore
from everfresh.stores.redis.following import SUBSCRIPTION_LEASE_S
from everfresh.stores.store import FeedStream
from everfresh.testing.by_hand import put_of
from everfresh.testing.clock import FakeClock
from everfresh.testing.waiting import until
from tests.redis_servers import RedisServer, new_prefix


@pytest.fixture
def prefix() -> str:
    """What the names of this test's keys begin with."""
    return new_prefix()


@pytest.fixture
def store(shared_redis: RedisServer, prefix: str) -> Iterator[RedisStore]:
    """A store whose life began long ago, for whoever follows."""
    with closing(RedisStore(f"{shared_redis.url}?prefix={prefix}")) as store:
        begin_life(store)
        yield store


@pytest.fixture
def stream(store: RedisStore) -> Iterator[FeedStream]:
    """A follower who is at the end of the feed."""
    with closing(store.stream()) as stream:
        assert stream.take().is_reset
        yield stream


def test_who_has_told_of_everything_is_not_waited_for(store: RedisStore, stream: FeedStream) -> None:
    """What was given is told when the next is asked for."""
    position = put(store, 1)
    assert behind(store, position) > 0

    assert [record.key for record in stream.take().records] == ["a"]

    assert behind(store, position) > 0
    assert not stream.take().records
    assert behind(store, position) == 0


def test_what_comes_while_nothing_else_is_to_be_done_is_told_early(store: RedisStore, stream: FeedStream) -> None:
    """Who refreshes can begin before anybody has been asked what it is worth; nothing is renewed by that."""
    before = stream.take()
    position = put(store, 1)

    early = stream.take()

    assert [record.key for record in early.records] == ["a"]
    assert (early.current_until, early.is_at_end) == (before.current_until, False)
    assert behind(store, position) > 0


def test_what_was_told_early_is_not_told_again(store: RedisStore, stream: FeedStream) -> None:
    """It is followed and passed on like anything else."""
    stream.take()
    put(store, 1)
    assert stream.take().records
    position = put(store, 1, key="b")

    followed = stream.take()

    assert [record.key for record in followed.records] == ["b"]
    assert behind(store, position) > 0
    assert not stream.take().records
    assert not stream.take().records
    assert behind(store, position) == 0


def test_what_a_question_finds_that_is_told_already_is_not_told_again(store: RedisStore, stream: FeedStream) -> None:
    """The question stays open while the follower is told by other ways, and has an older answer then."""
    stream.take()
    put(store, 1)
    assert stream.take().records
    # Listens for what follows at once, gives that up, and follows.
    assert not stream.take().records
    put(store, 1, key="b")
    assert [record.key for record in stream.take().records] == ["b"]
    assert not stream.take().records
    put(store, 1, key="c")

    assert [record.key for record in stream.take().records] == ["c"]


def test_what_comes_in_another_life_is_told_early_too(
    store: RedisStore, stream: FeedStream, shared_redis: RedisServer, prefix: str
) -> None:
    """A question about the life before is answered no more."""
    for number in range(3):
        put(store, number)
    stream.take()
    listened = stream.take()
    assert not listened.records
    with shared_redis.client() as client:
        client.delete(f"{prefix}:{{s0}}:m", f"{prefix}:{{s0}}:x")
    assert stream.take().is_reset
    before = stream.take()
    assert not before.records
    put(store, 1)

    early = stream.take()

    assert [record.key for record in early.records] == ["a"]
    assert (early.current_until, early.is_at_end) == (before.current_until, False)


def test_what_was_told_early_is_told_again_of_another_life(
    store: RedisStore, stream: FeedStream, shared_redis: RedisServer, prefix: str
) -> None:
    """Its numbers say nothing there."""
    stream.take()
    put(store, 1)
    assert stream.take().records
    with shared_redis.client() as client:
        client.delete(f"{prefix}:{{s0}}:m")
    put(store, 1)

    assert stream.take().is_reset


def test_who_is_silent_is_waited_for_as_long_as_its_lease(store: RedisStore, stream: FeedStream) -> None:
    """After that it uses nothing that it holds."""
    until_s = stream.take().current_until
    position = put(store, 1)

    assert 0 < behind(store, position) <= SUBSCRIPTION_LEASE_S
    until(lambda: behind(store, position) == 0, what="the end of the lease")
    assert until_s > 0


def test_a_feed_that_somebody_deleted_is_started_over(
    store: RedisStore, stream: FeedStream, shared_redis: RedisServer, prefix: str
) -> None:
    """The records that were in it are lost to whoever had not got them."""
    put(store, 1)
    with shared_redis.client() as client:
        client.delete(f"{prefix}:{{s0}}:x")

    assert stream.take().is_reset


def test_who_has_to_start_over_is_waited_for_until_it_has(
    store: RedisStore, stream: FeedStream, shared_redis: RedisServer, prefix: str
) -> None:
    """It is told so, but may still use what it holds."""
    position = put(store, 1)
    with shared_redis.client() as client:
        client.delete(f"{prefix}:{{s0}}:x")

    assert stream.take().is_reset

    assert behind(store, position) > 0
    stream.take()
    assert behind(store, position) == 0


def test_who_follows_is_waited_for_though_the_list_was_lost(
    store: RedisStore, stream: FeedStream, shared_redis: RedisServer, prefix: str
) -> None:
    """It holds its lease, whoever knows of it; for as long as that may be, somebody is waited for."""
    stream.take()
    with shared_redis.client() as client:
        client.delete(f"{prefix}:{{s0}}:w", f"{prefix}:{{s0}}:wp")
    position = put(store, 1)

    assert 0 < behind(store, position) <= SUBSCRIPTION_LEASE_S
    until(lambda: behind(store, position) == 0, what="the end of every lease")


def test_nobody_is_waited_for_longer_than_a_lease(store: RedisStore, shared_redis: RedisServer, prefix: str) -> None:
    """Not though the server's clock was put back by hours: what was listed before it looks as if it lay ahead."""
    hours = 10_000.0
    names = f"{prefix}:{{s0}}:w", f"{prefix}:{{s0}}:wp"
    with shared_redis.client() as client:
        seconds, _ = client.time()
        client.delete(*names)
        client.zadd(names[0], {"dead": seconds + hours, f"{seconds + hours:.6f}": "+inf"})
        client.hset(names[1], "dead", "gone.1")
    position = put(store, 1)

    assert 0 < behind(store, position) <= SUBSCRIPTION_LEASE_S
    until(lambda: behind(store, position) == 0, what="the end of every lease")


@pytest.mark.parametrize("now", [1_000_000.0, 4_000_000_000.0], ids=["past", "future"])
def test_leases_of_followers_are_by_the_servers_time(redis_url: str, now: float) -> None:
    """A test's clock stands still or jumps, and those who follow do not go by it."""
    clock = FakeClock(now)
    with closing(RedisStore(redis_url, clock=clock)) as store, closing(store.stream()) as stream:
        begin_life(store)
        assert stream.take().is_reset
        clock.advance(1_000.0)
        position = put(store, 1)

        assert behind(store, position) > 0
        until(lambda: behind(store, position) == 0, what="the end of the lease")


def begin_life(store: RedisStore) -> None:
    """Begin it, and wait until no follower of another one can hold a lease."""
    position = store.carry_out(ReadFeed(None)).position
    until(lambda: behind(store, position) == 0, what="the end of all leases of the life before")


def put(store: RedisStore, value: object, *, key: str = "a") -> Position:
    """Put another value of the entry; as of when."""
    store.carry_out(put_of(key, value, Tag("x")))
    return store.carry_out(ReadFeed(None)).position


def behind(store: RedisStore, position: Position) -> float:
    """For how long somebody may still use what is older."""
    return store.carry_out(Behind(position))
