"""Where a part of a request over shards fails: nobody waits twice, and nothing that was taken is lost."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from redis import exceptions

from everfresh.model.entry import Key
from everfresh.model.errors import StoreUnavailable
from everfresh.protocol.queueing import TakeDue
from everfresh.protocol.requests import Limit, Load, ReadFeed
from everfresh.stores.redis import sharding_rounds
from everfresh.stores.redis.exchange import Ask, exchange, exchange_async
from everfresh.stores.redis.nodes import Place
from everfresh.stores.redis.sending import Sent
from everfresh.stores.redis.shard import Shard
from everfresh.stores.redis.sharded import ShardedStore
from everfresh.stores.redis.sharding import Part, shard_of
from everfresh.stores.redis.sharding_rounds import side_by_side, side_by_side_async
from everfresh.testing.by_hand import FUNCTION, ByHand
from everfresh.testing.waiting import until
from tests.redis_servers import RedisServer, new_prefix, redis_server

N_SHARDS = 3
N_KEYS = 12
KEYS = [f"k{number}" for number in range(N_KEYS)]
TAKE_ALL = TakeDue({FUNCTION: Limit()}, N_KEYS, 60.0)
Do = Callable[[Sequence[Shard]], object]


@pytest.fixture
def url(shared_redis: RedisServer) -> str:
    return f"{shared_redis.url}?prefix={new_prefix()}"


@pytest.fixture
def store(url: str) -> Iterator[ShardedStore]:
    """With entries that are due on each shard."""
    store = ShardedStore(url, N_SHARDS)
    ByHand(store).enqueue(*KEYS)
    yield store
    store.close()


@pytest.fixture(params=["blocking", "asyncio"])
def take(request: pytest.FixtureRequest) -> Iterator[Do]:
    """Takes all that is due of all shards, in one colour."""
    parts = [Part(shard, TAKE_ALL) for shard in range(N_SHARDS)]
    if request.param == "blocking":
        yield lambda shards: side_by_side(shards, parts)
        return
    with asyncio.Runner() as runner:
        yield lambda shards: runner.run(side_by_side_async(shards, parts))


@pytest.fixture
def silent() -> Iterator[RedisServer]:
    """A server of the test's own, that stands still when it is told to."""
    with redis_server() as server:
        yield server
        server.resume()


def on(shard: int) -> list[str]:
    """The entries that stand there."""
    return [key for key in KEYS if shard_of(key, N_SHARDS) == shard]


def leased(url: str) -> set[str]:
    """What somebody holds, as another process sees it."""
    other = ShardedStore(url, N_SHARDS)
    found = {key for key in KEYS if other.carry_out(Load(Key(key))).is_leased}
    other.close()
    return found


@contextmanager
def cut_off(monkeypatch: pytest.MonkeyPatch, *numbers: int) -> Iterator[pytest.MonkeyPatch]:
    """Lose what these shards reply to steps of all while the block runs, and whatever they are asked again."""

    def lose(asks: Sequence[Ask]) -> None:
        for ask in asks:
            if any(f"{{s{number}}}" in ask.key for number in numbers):
                ask.found = exceptions.ConnectionError("its node died")

    def losing(asks: Sequence[Ask]) -> None:
        exchange(asks)
        lose(asks)

    async def losing_async(asks: Sequence[Ask]) -> None:
        await exchange_async(asks)
        lose(asks)

    def go_on(shard: Shard, sent: Sent, error: Exception) -> None:
        shard.give_up(sent, error)
        msg = f"{shard.key}: its node died"
        raise StoreUnavailable(msg)

    async def go_on_async(shard: Shard, sent: Sent, error: Exception) -> None:
        go_on(shard, sent, error)

    with monkeypatch.context() as patch:
        patch.setattr(sharding_rounds, "exchange", losing)
        patch.setattr(sharding_rounds, "exchange_async", losing_async)
        patch.setattr(Shard, "go_on", go_on)
        patch.setattr(Shard, "go_on_async", go_on_async)
        yield patch


def test_what_the_others_gave_is_given_back(
    store: ShardedStore, url: str, take: Do, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who hears of a failure hears of no lease, so nobody would build them until they run out."""
    with cut_off(monkeypatch, 1), pytest.raises(StoreUnavailable):
        take(store.shards)

    assert leased(url) == set(on(1))


def test_what_became_of_each_that_failed_is_found_out(
    store: ShardedStore, url: str, take: Do, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not only of the first one: all of them may have been carried out."""
    with cut_off(monkeypatch, 1, 2), pytest.raises(StoreUnavailable):
        take(store.shards)
    assert leased(url) == {*on(1), *on(2)}

    for shard in store.shards:
        shard.look_again()

    assert not leased(url)


def test_no_step_goes_on_when_nobody_waits_for_it(store: ShardedStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where one fails at once, the other tries are waited for."""
    ended: list[str] = []

    async def go_on(shard: Shard, _: Sent, __: Exception) -> object:
        if shard is store.shards[1]:
            msg = "at once"
            raise StoreUnavailable(msg)
        for _turn in range(10):
            await asyncio.sleep(0)
        ended.append(shard.key)
        msg = "later"
        raise StoreUnavailable(msg)

    with cut_off(monkeypatch, 1, 2) as patch:
        patch.setattr(Shard, "go_on_async", go_on)
        with pytest.raises(StoreUnavailable, match="at once"):
            asyncio.run(side_by_side_async(store.shards, [Part(shard, TAKE_ALL) for shard in range(N_SHARDS)]))

    assert ended == [store.shards[2].key]


def test_a_silence_that_one_shard_met_the_others_are_spared(silent: RedisServer) -> None:
    """They are on the same server."""
    store = ShardedStore(f"{silent.url}?prefix={new_prefix()}", N_SHARDS)
    silent.pause()
    with pytest.raises(StoreUnavailable, match="no answer in time"):
        store.carry_out(Load(Key(on(0)[0])))

    for number in range(1, N_SHARDS):
        with pytest.raises(StoreUnavailable, match="it did not answer just now"):
            store.carry_out(Load(Key(on(number)[0])))

    silent.resume()
    until(lambda: _is_served(store), what="the server's answer to the one who asks for all shards")
    store.close()


def test_one_look_at_a_silent_node_is_for_all_shards(silent: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks all of them sits through one silence before the first try is over, not through one for each."""
    store = ShardedStore(f"{silent.url}?prefix={new_prefix()}", N_SHARDS)
    for shard in store.shards:
        shard.standing.forget()
    failed: list[str] = []
    silent.pause()

    def place(shard: Shard) -> Place:
        try:
            return whole(shard)
        except exceptions.TimeoutError:
            failed.append(shard.key)
            raise

    whole = Shard.place
    monkeypatch.setattr(Shard, "place", place)

    with pytest.raises(StoreUnavailable):
        side_by_side(store.shards, [Part(shard, ReadFeed(None)) for shard in range(N_SHARDS)])

    assert len(failed) == 1
    store.close()


def test_a_store_that_opens_while_its_server_stands_still_looks_once(
    silent: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """The other shards are told; the log too, once."""
    silent.pause()

    store = ShardedStore(f"{silent.url}?prefix={new_prefix()}", N_SHARDS)

    told = [record for record in caplog.records if "store.unavailable" in record.getMessage()]
    assert len(told) == 1
    silent.resume()
    until(lambda: _is_served(store), what="the server's answer")
    store.close()


def _is_served(store: ShardedStore) -> bool:
    try:
        answers: list[Any] = [store.carry_out(Load(Key(on(number)[0]))) for number in range(N_SHARDS)]
    except StoreUnavailable:
        return False
    return len(answers) == N_SHARDS
