"""Keys of the store that somebody wrote into by hand: they count as lost, and cost rebuilds, and nothing worse."""

import logging
from collections.abc import Iterator
from contextlib import closing
from typing import cast

import pytest
import redis

from everfresh import Cache, Event, StoreUnavailable, dep
from everfresh.matching.shapes import CALL_SHAPE
from everfresh.model.dependency import Tag
from everfresh.model.entry import Key, State
from everfresh.protocol.requests import LoadMany
from everfresh.stores.redis import RedisStore
from everfresh.testing.by_hand import ByHand
from everfresh.testing.waiting import until
from tests.redis_servers import RedisServer, new_prefix

pytestmark = pytest.mark.uncounted

A = Tag("a")
JUNK = b"\xc1junk"
# What each kind of key is told by: its first letters.
KINDS = ["d", "e", "f", "i:", "m", "n:", "p:", "r:", "run", "s", "t", "v:", "w", "w:", "wp", "x", "y:"]


class Shop:
    """Two functions, one built from the other, and what is true."""

    def __init__(self, cache: Cache) -> None:
        self.cache = cache
        self.truth = 0

        @cache.cached(depends_on=[dep.Id("x", 1), dep.Scope("y", where={"a": dep.arg("number")})])
        def inner(number: int) -> list[int]:
            return [number, self.truth]

        @cache.cached(depends_on=[dep.Tag("t")])
        def outer(number: int) -> int:
            return inner(number)[1]

        self.inner, self.outer = inner, outer

    def fill(self) -> None:
        """Have something in each kind of key."""
        self.read()
        self.cache.blocking.put("put", 1, dep.Tag("q"))
        self.change()
        self.read()
        self.cache.blocking.invalidate(dep.Id("x", 1))
        self.inner(2)

    def change(self) -> None:
        """Something else is true, and everybody is told so."""
        self.truth += 1
        self.cache.blocking.publish(Event.change("y", before={"id": 1, "a": 1}, after={"id": 1, "a": 3}))
        self.cache.blocking.invalidate(dep.Id("x", 1))

    def read(self) -> tuple[object, ...]:
        """What readers are given."""
        return self.outer(1), self.inner(2), self.inner(3)

    def check(self) -> None:
        """What is true is what readers are given, and everything else works."""
        for number in range(3):
            self.change()
            assert self.read() == (self.truth, [2, self.truth], [3, self.truth])
            # The step that repairs the store begins another life of it, in which nothing counts that was put before.
            self.cache.blocking.put("put", number)
        assert self.cache.blocking.get("put") == 2
        assert len(self.cache.blocking.entries()) == 5
        self.cache.blocking.drop(self.inner)
        assert self.read() == (self.truth, [2, self.truth], [3, self.truth])


@pytest.fixture
def prefix() -> str:
    """What the names of this test's keys begin with."""
    return new_prefix()


@pytest.fixture
def url(shared_redis: RedisServer, prefix: str) -> str:
    """A store with that prefix."""
    return f"{shared_redis.url}?prefix={prefix}"


@pytest.fixture
def client(shared_redis: RedisServer) -> Iterator[redis.Redis]:
    """Somebody who meddles."""
    with shared_redis.client() as client:
        yield client


def key_of(client: redis.Redis, prefix: str, kind: str) -> bytes:
    """One key of the kind."""
    begins = f"{prefix}:{{s0}}:{kind}".encode()
    names = sorted(name for name in client.scan_iter(f"{prefix}:*") if name.startswith(begins))
    found = [name for name in names if kind.endswith(":") or name == begins]
    return found[0] if found else begins + (b"" if not kind.endswith(":") else b"function")


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_of_another_type_costs_rebuilds(url: str, prefix: str, client: redis.Redis, kind: str) -> None:
    """It is removed by the first step that meets it; nothing of what it said is taken for true."""
    with Cache(url, near=0) as cache:
        shop = Shop(cache)
        shop.fill()
        name = key_of(client, prefix, kind)
        client.delete(name)
        client.rpush(name, "a")

        shop.check()


@pytest.mark.parametrize("kind", ["w:", "g:", "p:"])
def test_a_key_that_breaks_the_first_nested_commit_costs_rebuilds(
    url: str, prefix: str, client: redis.Redis, kind: str
) -> None:
    """Half of that commit is written, and in no counter; the outer is found by the inner's changes all the same."""
    with Cache(url, near=0) as cache:
        truth, to_hurt = [0], [b""]

        @cache.cached(depends_on=[dep.Id("x", 1)])
        def inner() -> int:
            return truth[0]

        @cache.cached(depends_on=[dep.Tag("t")], expires=1_000)
        def outer() -> int:
            value = inner() if to_hurt[0] else -1
            client.delete(to_hurt[0])
            client.rpush(to_hurt[0], "a")
            return value

        inner()
        named = CALL_SHAPE.id if kind == "p:" else outer.key().partition("(")[0].encode()
        to_hurt[0] = f"{prefix}:{{s0}}:{kind}".encode() + named
        assert client.exists(to_hurt[0]) or kind != "p:"
        assert outer() == 0
        for _ in range(3):
            truth[0] += 1
            to_hurt[0] = b"unharmed"
            cache.blocking.invalidate(dep.Id("x", 1))
            assert (inner(), outer()) == (truth[0], truth[0])


def test_a_part_of_the_index_and_the_counters_deleted_together_cost_rebuilds(
    url: str, prefix: str, client: redis.Redis
) -> None:
    """Nobody knows any more where somebody stands who was built from another."""
    with Cache(url, near=0) as cache:
        shop = Shop(cache)
        shop.fill()
        client.delete(f"{prefix}:{{s0}}:m", f"{prefix}:{{s0}}:p:".encode() + CALL_SHAPE.id)

        shop.check()


@pytest.mark.parametrize("kind", KINDS)
def test_junk_in_a_key_costs_rebuilds(url: str, prefix: str, client: redis.Redis, kind: str) -> None:
    """Bytes that nobody of us packed."""
    with Cache(url, near=0) as cache:
        shop = Shop(cache)
        shop.fill()
        name = key_of(client, prefix, kind)
        match client.type(name):
            case b"hash":
                client.hset(name, mapping=dict.fromkeys(client.hkeys(name), JUNK))
            case b"zset":
                client.delete(name)
                client.zadd(name, {JUNK: 1})
            case b"set":
                client.delete(name)
                client.sadd(name, JUNK)
            case b"stream":
                client.xadd(name, {"r": JUNK})
            case _ if kind != "v:":
                client.set(name, JUNK)
            case _:
                # Whoever can write values can forge them.
                client.delete(name)

        shop.check()


def test_what_was_removed_is_told_in_the_log(
    url: str, prefix: str, client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """Somebody has to find out who writes there. No more of the name than what kind of key it was."""
    with closing(RedisStore(url)) as store:
        hand = ByHand(store)
        hand.build("k", 1, A)
        hand.touch(A)
        name = key_of(client, prefix, "y:")
        client.delete(name)
        client.set(name, "a")

        with caplog.at_level(logging.WARNING, logger="everfresh"):
            hand.take()

    assert "store.lost" in caplog.text
    assert "a key that began with 'y'" in caplog.text
    assert "function" not in caplog.text


def test_a_reader_who_meets_it_repairs_it_too(url: str, prefix: str, client: redis.Redis) -> None:
    """Nobody may ever write there again."""
    with closing(RedisStore(url)) as store:
        hand = ByHand(store)
        hand.build("k", 1, A)
        client.delete(f"{prefix}:{{s0}}:x")
        client.set(f"{prefix}:{{s0}}:x", "a")
        before = hand.load("k").position

        assert hand.feed(before) == []

        assert client.type(f"{prefix}:{{s0}}:x") == b"none"
        entry = hand.entry("k")
        assert entry.state is State.DIRTY
        assert entry.position.epoch != before.epoch


def test_a_follower_that_meets_it_repairs_it_too(url: str, prefix: str, client: redis.Redis) -> None:
    """It is the only one who looks there when nothing happens."""
    with closing(RedisStore(url)) as store:
        ByHand(store).build("k", 1, A)
        client.delete(f"{prefix}:{{s0}}:wp")
        client.set(f"{prefix}:{{s0}}:wp", "a")

        def follows() -> bool:
            with closing(store.stream()) as stream:
                try:
                    return stream.take().is_reset
                except StoreUnavailable:
                    return False

        until(follows, what="a follower")
        assert client.type(f"{prefix}:{{s0}}:wp") == b"hash"


@pytest.mark.parametrize("kinds", [["y:"], ["w:"], ["y:", "w:"], ["f", "y:", "w:"]], ids="".join)
def test_what_waited_in_a_queue_that_was_lost_is_queued_anew(
    url: str, prefix: str, client: redis.Redis, kinds: list[str]
) -> None:
    """Nobody would ever refresh it, as its row says that it waits already."""
    with closing(RedisStore(url)) as store:
        hand = ByHand(store)
        hand.build("k", 1, A)
        hand.touch(A)
        client.delete(*(key_of(client, prefix, kind) for kind in kinds))

        def taken() -> list[str]:
            return [due.lease.key for due in hand.take()]

        until(lambda: taken() == ["k"], what="the entry, taken")


def test_a_function_without_entries_has_lost_nothing(url: str) -> None:
    """Workers ask for all functions that they know."""
    with closing(RedisStore(url)) as store:
        hand = ByHand(store)
        hand.build("k", 1, A)
        epoch = hand.position().epoch

        hand.take(function="another")
        hand.take()
        hand.delete("k")
        hand.take()

        assert hand.position().epoch == epoch


def test_an_error_of_another_sort_removes_nothing(url: str, prefix: str, client: redis.Redis) -> None:
    """A bug of ours is raised, and costs nobody what is stored; that it was met while repairing changes nothing."""
    with closing(RedisStore(url)) as store:
        hand = ByHand(store)
        hand.build("k", 1, A)
        names = set(client.scan_iter(f"{prefix}:*"))
        no_key = cast("Key", ["a list"])
        sent = store.sender.sent(LoadMany((Key("k"), no_key)))
        assert store.sender.note_damage(sent, redis.ResponseError("WRONGTYPE"))

        with pytest.raises(redis.ResponseError, match="concatenate"):
            store.clients.blocking.run(sent.script, store.key, sent.arguments)

        assert names <= set(client.scan_iter(f"{prefix}:*"))
        assert hand.entry("k").state is State.FRESH


def test_junk_beside_a_bucket_keeps_nobody_from_storing(url: str, prefix: str, client: redis.Redis) -> None:
    """Who is to stand there finds it, and what stood there is built again."""
    with closing(RedisStore(url)) as store:
        hand = ByHand(store)
        hand.build("k", 1, A)
        for name in client.keys(f"{prefix}:*:i:*"):
            for field in client.hkeys(name):
                client.hset(name, field, JUNK)

        hand.build("other", 1, A)

        until(lambda: hand.state("k") is not State.FRESH, what="the other entry distrusted")
