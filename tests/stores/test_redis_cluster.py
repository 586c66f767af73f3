"""The store on a Redis Cluster and behind Sentinels: the contract, and masters that die."""

import asyncio
from contextlib import suppress

import pytest

from everfresh.model.entry import Key
from everfresh.model.errors import StoreUnavailable
from everfresh.protocol.requests import Load, ReadFeed
from everfresh.stores.redis import RedisStore
from everfresh.testing.by_hand import ByHand, put_of
from everfresh.testing.store_contract import LastingStoreContract, MakeStore, OpenStore
from everfresh.testing.waiting import until
from tests.redis_servers import Cluster, new_prefix, redis_cluster, sentinel_pair

# Six servers have to find each other, and to notice that one is gone.
pytestmark = [pytest.mark.uncounted, pytest.mark.timeout(120)]


class TestRedisClusterStore(LastingStoreContract):
    @pytest.fixture
    def open_store(self, shared_cluster: Cluster) -> OpenStore:
        url = f"{shared_cluster.url}?prefix={new_prefix()}"
        return lambda clock: RedisStore(url, clock=clock)

    @pytest.fixture
    def make_store(self, shared_cluster: Cluster) -> MakeStore:
        return lambda clock, room: RedisStore(f"{shared_cluster.url}?prefix={new_prefix()}", clock=clock, room=room)


def test_many_may_be_the_first_to_ask_a_cluster(shared_cluster: Cluster) -> None:
    """Its client is not ready for them by itself."""
    store = RedisStore(f"{shared_cluster.url}?prefix={new_prefix()}")

    async def ask_at_once() -> None:
        await asyncio.gather(*(store.carry_out_async(put_of(f"k{number}", 1)) for number in range(100)))

    asyncio.run(ask_at_once())

    assert store.carry_out(ReadFeed(None)).position.sequence == 100
    store.close()


def test_a_replica_takes_its_masters_place_in_a_cluster() -> None:
    """Steps of either colour fail until it has, and then go on, on the connections that they had."""
    with redis_cluster() as cluster:
        store = RedisStore(cluster.url)
        with asyncio.Runner() as runner:
            runner.run(store.carry_out_async(ReadFeed(None)))
            ByHand(store).put("k", 1)
            master = next(node for node in cluster.nodes if _holds(node.port, store))
            runner.run(store.carry_out_async(Load(Key("k"))))

            master.kill()

            check_it_goes_on(store, runner)
        store.close()


def test_a_replica_takes_its_masters_place_behind_sentinels() -> None:
    """The Sentinels say who is the master, at each new connection of either colour."""
    with sentinel_pair() as pair:
        store = RedisStore(pair.url)
        ByHand(store).put("k", 1)
        with asyncio.Runner() as runner:
            runner.run(store.carry_out_async(Load(Key("k"))))

            pair.servers[0].kill()

            check_it_goes_on(store, runner)
        assert pair.master_port() == pair.servers[1].port
        store.close()


def check_it_goes_on(store: RedisStore, runner: asyncio.Runner) -> None:
    """Sooner or later both colours write again, asked in turns, and what they wrote is there."""
    colours = {
        "blocking": lambda: store.carry_out(put_of("blocking", 2)),
        "asyncio": lambda: runner.run(store.carry_out_async(put_of("asyncio", 2))),
    }
    waiting = set(colours)

    def do_both_go_on() -> bool:
        for name in sorted(waiting):
            with suppress(StoreUnavailable):
                colours[name]()
                waiting.remove(name)
        return not waiting

    assert until(do_both_go_on, what="a new master that takes writes", deadline_s=60)
    assert [ByHand(store).value(name) for name in ("blocking", "asyncio")] == [2, 2]


def _holds(port: int, store: RedisStore) -> bool:
    return store.clients.blocking.info(store.key).get("tcp_port") == port
