"""The store on a Redis Cluster and behind Sentinels: the contract, and masters that die."""

import asyncio
from collections.abc import Iterator

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
pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with redis_cluster() as cluster:
        yield cluster


class TestRedisClusterStore(LastingStoreContract):
    @pytest.fixture
    def open_store(self, cluster: Cluster) -> OpenStore:
        url = f"{cluster.url}?prefix={new_prefix()}"
        return lambda clock: RedisStore(url, clock=clock)

    @pytest.fixture
    def make_store(self, cluster: Cluster) -> MakeStore:
        return lambda clock, room: RedisStore(f"{cluster.url}?prefix={new_prefix()}", clock=clock, room=room)


def test_many_may_be_the_first_to_ask_a_cluster(cluster: Cluster) -> None:
    """Its client is not ready for them by itself."""
    store = RedisStore(f"{cluster.url}?prefix={new_prefix()}")

    async def ask_at_once() -> None:
        await asyncio.gather(*(store.carry_out_async(put_of(f"k{number}", 1)) for number in range(100)))

    asyncio.run(ask_at_once())

    assert store.carry_out(ReadFeed(None)).position.sequence == 100
    store.close()


@pytest.mark.parametrize("is_async", [False, True])
def test_a_replica_takes_its_masters_place_in_a_cluster(is_async: bool) -> None:
    """Steps fail until it has, and then go on, on the connections that they had."""
    with redis_cluster() as cluster:
        store = RedisStore(cluster.url)
        asyncio.run(store.carry_out_async(ReadFeed(None)))
        ByHand(store).put("k", 1)
        master = next(node for node in cluster.nodes if _holds(node.port, store))

        with asyncio.Runner() as runner:
            runner.run(store.carry_out_async(Load(Key("k"))))
            master.kill()

            def goes_on() -> bool:
                try:
                    if is_async:
                        return runner.run(store.carry_out_async(put_of("k", 2)))
                    return store.carry_out(put_of("k", 2))
                except StoreUnavailable:
                    return False

            assert until(goes_on, what="a new master that takes writes", deadline_s=60)
        assert ByHand(store).value("k") == 2
        store.close()


@pytest.mark.parametrize("is_async", [False, True])
def test_a_replica_takes_its_masters_place_behind_sentinels(is_async: bool) -> None:
    """The Sentinels say who is the master, at each new connection."""
    with sentinel_pair() as pair:
        store = RedisStore(pair.url)
        ByHand(store).put("k", 1)
        with asyncio.Runner() as runner:
            runner.run(store.carry_out_async(Load(Key("k"))))
            pair.servers[0].kill()

            def goes_on() -> bool:
                try:
                    if is_async:
                        return runner.run(store.carry_out_async(put_of("k", 2)))
                    return store.carry_out(put_of("k", 2))
                except StoreUnavailable:
                    return False

            assert until(goes_on, what="a new master that takes writes", deadline_s=60)
        assert pair.master_port() == pair.servers[1].port
        assert ByHand(store).value("k") == 2
        store.close()


def _holds(port: int, store: RedisStore) -> bool:
    return store.clients.blocking.info(store.key).get("tcp_port") == port
