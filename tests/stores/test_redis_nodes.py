"""Steps go to the nodes of a Cluster in packets of their own, and find them when slots move and nodes die."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from redis.crc import key_slot

from everfresh.model.entry import Key, State
from everfresh.model.errors import StoreClosed, StoreUnavailable
from everfresh.protocol.requests import Load, ReadFeed, Request
from everfresh.stores.redis import RedisStore
from everfresh.stores.redis.sharded import ShardedStore
from everfresh.stores.store import FeedStream, Store
from everfresh.testing.by_hand import ByHand, put_of
from everfresh.testing.waiting import soon, until
from tests.redis_servers import Cluster, RedisServer, new_prefix, redis_cluster, redis_server

# Six servers have to find each other, and to notice that one is gone.
pytestmark = pytest.mark.timeout(120)
N_SHARDS = 16
N_KEYS = 40
Do = Callable[[Store, Request[Any]], Any]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Six nodes for all tests that harm none."""
    with redis_cluster() as one:
        yield one


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    """The event loop of all that a test asks."""
    with asyncio.Runner() as one:
        yield one


@pytest.fixture(params=["blocking", "asyncio"])
def do(request: pytest.FixtureRequest, runner: asyncio.Runner) -> Do:
    """Carries out requests in one colour."""
    if request.param == "blocking":
        return lambda store, asked: store.carry_out(asked)
    return lambda store, asked: runner.run(store.carry_out_async(asked))


def test_all_that_a_node_is_asked_travels_in_one_packet(cluster: Cluster, do: Do) -> None:
    """However many shards it has: each packet costs it a read, and whoever asks a write."""
    store = ShardedStore(f"{cluster.url}?prefix={new_prefix()}", N_SHARDS)
    do(store, ReadFeed(None))
    before = [_n_reads(node) for node in cluster.nodes[:3]]

    for _ in range(20):
        do(store, ReadFeed(None))

    n_reads = [_n_reads(node) - n for node, n in zip(cluster.nodes[:3], before, strict=True)]
    # Each has five shards or more; replicas tell now and then how far they are.
    assert max(n_reads) <= 30
    store.close()


def test_a_hit_in_a_cluster_needs_no_script(cluster: Cluster, do: Do) -> None:
    """The counters, the row and the value are of one slot."""
    store = RedisStore(f"{cluster.url}?prefix={new_prefix()}")
    do(store, put_of("k", 1))
    before = sum(map(_n_scripts, cluster.nodes))

    assert do(store, Load(Key("k"))).entry.state is State.FRESH

    assert sum(map(_n_scripts, cluster.nodes)) == before
    store.close()


def test_a_slot_that_moves_is_followed(cluster: Cluster, do: Do) -> None:
    """While half of it is elsewhere nothing is done on either half; then all of it is there, and nothing is trusted."""
    store = ShardedStore(f"{cluster.url}?prefix={new_prefix()}", N_SHARDS)
    for number in range(N_KEYS):
        do(store, put_of(f"k{number}", number))
    on_it, number = "k0", store.sharding.shard_of("k0")
    elsewhere = next(f"k{other}" for other in range(N_KEYS) if store.sharding.shard_of(f"k{other}") != number)
    shard = store.shards[number]
    moving, epoch = _Move(cluster, shard.key), shard.epoch

    moving.begin()
    with pytest.raises(StoreUnavailable):
        do(store, put_of(on_it, 2))
    assert do(store, put_of(elsewhere, 2))
    moving.end()

    assert do(store, put_of(on_it, 3))
    assert shard.epoch != epoch
    hand = ByHand(store)
    assert hand.value(on_it) == 3
    moved = [key for key in (f"k{other}" for other in range(1, N_KEYS)) if store.sharding.shard_of(key) == number]
    assert moved
    assert State.FRESH not in {hand.state(key) for key in moved}
    store.close()


@pytest.mark.parametrize("is_killed", [True, False], ids=["killed", "silent"])
def test_shards_go_on_when_a_replica_takes_the_place_of_a_node(runner: asyncio.Runner, is_killed: bool) -> None:
    """Steps of either colour that need it fail until then; what stands on other nodes does not need it."""

    def ask(asked: Request[Any]) -> list[Any]:
        return runner.run(_in_both_colours(store, asked))

    with redis_cluster() as cluster:
        store = ShardedStore(cluster.url, N_SHARDS)
        for number in range(N_KEYS):
            ask(put_of(f"k{number}", number))
        by_node = {shard.standing.place().node.name: shard for shard in store.shards}
        gone, *_ = cluster.nodes
        left = [f"k{n}" for n in range(N_KEYS) if not _is_at(store, f"k{n}", gone)]
        assert len(by_node) == 3
        assert left
        if is_killed:
            gone.kill()
        else:
            gone.pause()

        # Until the nodes have noticed: then all of them refuse, as long as nobody serves all slots.
        assert all(found.entry is not None for key in left for found in ask(Load(Key(key))))
        assert [type(answer) for answer in ask(ReadFeed(None))] == [StoreUnavailable] * 2

        def goes_on() -> bool:
            if StoreUnavailable in map(type, ask(ReadFeed(None))):
                return False
            answers = [answer for number in range(N_KEYS) for answer in ask(put_of(f"k{number}", "new"))]
            assert StoreUnavailable not in map(type, answers), answers
            return all(answers)

        assert until(goes_on, what="a replica in the place of the node", deadline_s=60)
        if not is_killed:
            gone.resume()
        assert {ByHand(store).value(f"k{number}") for number in range(N_KEYS)} == {"new"}
        store.close()


async def test_a_round_that_is_cancelled_takes_nothing_from_the_next() -> None:
    """The replies to it are nobody's."""
    with redis_server() as server:
        store = ShardedStore(f"{server.url}?prefix={new_prefix()}", N_SHARDS)
        await store.carry_out_async(ReadFeed(None))
        server.pause()
        asking = [asyncio.ensure_future(store.carry_out_async(ReadFeed(None))) for _ in range(3)]
        await asyncio.sleep(0)
        asking[0].cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking[0]
        server.resume()

        assert (await asking[1]).position == (await asking[2]).position
        assert await store.carry_out_async(put_of("k", 1))
        position = (await store.carry_out_async(ReadFeed(None))).position
        assert [sequence for _, sequence in position.parts()].count(1) == 1
        store.close()


async def test_an_error_of_one_shard_is_not_anothers() -> None:
    """Whoever is in its packet is asked once more, and does nothing twice."""
    with redis_server() as server:
        store = ShardedStore(f"{server.url}?prefix={new_prefix()}", N_SHARDS)
        await store.carry_out_async(put_of("k", 1))
        with server.client() as client:
            # A server that was told to forget its library answers all with an error.
            client.execute_command("FUNCTION", "FLUSH")

        assert len((await store.carry_out_async(ReadFeed(None))).position.parts()) == N_SHARDS
        store.close()


def test_one_thread_follows_all_nodes(cluster: Cluster) -> None:
    """It hears of what any shard tells, and of being closed while it waits."""
    store = ShardedStore(f"{cluster.url}?prefix={new_prefix()}", N_SHARDS)
    stream = store.stream()
    while not stream.take().is_at_end:
        pass
    n_threads = threading.active_count()
    for number in range(N_KEYS):
        store.carry_out(put_of(f"k{number}", number))
    found: set[str] = set()

    def has_heard_all() -> bool:
        found.update(record.key for record in stream.take().records)
        return len(found) == N_KEYS

    assert until(has_heard_all, what="a record of each key")
    assert threading.active_count() == n_threads
    ended = threading.Event()
    thread = threading.Thread(target=_take_to_the_end, args=(stream, ended))
    thread.start()
    stream.close()
    assert ended.wait(20)
    thread.join()
    store.close()


async def test_who_asks_first_costs_no_more_than_others(cluster: Cluster) -> None:
    """Each of many that ask a new store at once takes a few steps of its own, and none for all shards."""
    store = ShardedStore(f"{cluster.url}?prefix={new_prefix()}", N_SHARDS)
    before = sum(map(_n_calls, cluster.nodes[:3]))

    await asyncio.gather(*(store.carry_out_async(put_of(f"k{number}", number)) for number in range(200)))

    assert sum(map(_n_calls, cluster.nodes[:3])) - before < 200 * N_SHARDS / 2
    store.close()


async def test_tasks_of_all_shards_share_few_connections(cluster: Cluster) -> None:
    """A worker holds as many for sixteen shards as for one."""
    store = ShardedStore(f"{cluster.url}?prefix={new_prefix()}", N_SHARDS)
    before = [_n_connections(node) for node in cluster.nodes[:3]]

    await asyncio.gather(*(store.carry_out_async(put_of(f"k{number}", number)) for number in range(200)))

    def are_few() -> bool:
        n_more = [_n_connections(node) - n for node, n in zip(cluster.nodes[:3], before, strict=True)]
        return max(n_more) <= 8

    assert await soon(are_few, what="few connections")
    store.close()


async def _in_both_colours(store: ShardedStore, asked: Request[Any]) -> list[Any]:
    """At the same time; an answer may be that the store is unavailable."""
    blocking = asyncio.to_thread(store.carry_out, asked)
    answers = await asyncio.gather(blocking, store.carry_out_async(asked), return_exceptions=True)
    assert all(isinstance(one, StoreUnavailable) or not isinstance(one, BaseException) for one in answers), answers
    return [*answers]


def _n_calls(node: RedisServer) -> int:
    with node.client() as client:
        return int(client.info("commandstats").get("cmdstat_fcall", {"calls": 0})["calls"])


def _take_to_the_end(stream: FeedStream, ended: threading.Event) -> None:
    try:
        while True:
            stream.take()
    except StoreClosed:
        ended.set()


class _Move:
    """Moves the slot of a key from the node that has it to another, half of it first."""

    def __init__(self, cluster: Cluster, key: str) -> None:
        self._slot = key_slot(key.encode())
        self._masters = cluster.nodes[:3]
        ids = [_told(node, "CLUSTER", "MYID") for node in self._masters]
        shards = [self._has_slot(node) for node in self._masters]
        self._source, self._target = shards.index(True), (shards.index(True) + 1) % 3
        self._ids = ids

    def _has_slot(self, node: RedisServer) -> bool:
        with node.client() as client:
            slots: Any = client.execute_command("CLUSTER", "SLOTS")
        return any(
            int(slot[0]) <= self._slot <= int(slot[1]) and int(slot[2][1]) == node.port for slot in _slots_of(slots)
        )

    def begin(self) -> None:
        """Half of the keys are there."""
        source, target = self._masters[self._source], self._masters[self._target]
        _told(target, "CLUSTER", "SETSLOT", self._slot, "IMPORTING", self._ids[self._source])
        _told(source, "CLUSTER", "SETSLOT", self._slot, "MIGRATING", self._ids[self._target])
        self._carry(lambda keys: keys[: len(keys) // 2])

    def end(self) -> None:
        """All are there, and everybody knows."""
        self._carry(lambda keys: keys)
        for node in (self._masters[self._target], self._masters[self._source]):
            _told(node, "CLUSTER", "SETSLOT", self._slot, "NODE", self._ids[self._target])

    def _carry(self, chosen: Callable[[list[bytes]], list[bytes]]) -> None:
        source, target = self._masters[self._source], self._masters[self._target]
        with source.client() as client:
            keys: Any = client.execute_command("CLUSTER", "GETKEYSINSLOT", self._slot, 10_000)
            for key in chosen(sorted(keys)):
                client.execute_command("MIGRATE", "127.0.0.1", target.port, key, 0, 5_000)


def _slots_of(slots: Any) -> list[Any]:  # noqa: ANN401 - the driver tells it in two ways
    if isinstance(slots, dict):
        return [[first, last, ["", told["primary"][1]]] for (first, last), told in slots.items()]
    return list(slots)


def _told(node: RedisServer, *words: str | int) -> str:
    with node.client() as client:
        told: Any = client.execute_command(*words)
    return told.decode() if isinstance(told, bytes) else str(told)


def _is_at(store: ShardedStore, key: str, node: RedisServer) -> bool:
    return store.shards[store.sharding.shard_of(key)].standing.place().node.name.endswith(f":{node.port}")


def _n_reads(node: RedisServer) -> int:
    with node.client() as client:
        return int(client.info("stats")["total_reads_processed"])


def _n_connections(node: RedisServer) -> int:
    with node.client() as client:
        return int(client.info("clients")["connected_clients"])


def _n_scripts(node: RedisServer) -> int:
    with node.client() as client:
        return int(client.info("commandstats").get("cmdstat_fcall", {}).get("calls", 0))
