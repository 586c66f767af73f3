"""What readers get while the server is gone, hangs, is full or has lost something; and that the end state is right.

Rules
- A loss is seen by the first step that reaches the server. From then on nothing that was built before is served.
- Until then a near cache may serve what it holds, for at most as long as its subscription lease runs.
- What a source was told is taken is applied; what cannot be applied is refused.
"""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from functools import partial

import pytest

from everfresh import Cache, Event, State, StoreUnavailable
from everfresh.stores.redis import RedisStore
from everfresh.stores.redis.following import SUBSCRIPTION_LEASE_S
from everfresh.testing.waiting import soon, until
from tests.redis_proxy import HOST, proxy_to
from tests.redis_servers import RedisServer, redis_server
from tests.stores.shop import N_ITEMS, Shop, seconds_of, shops

SLEEP_S = 5
# After two seconds a step is given up; the machine may be busy besides.
SILENCE_S = 3.0
FAST_SYNC = {"repl-diskless-sync-delay": 0}
both_colours = pytest.mark.parametrize("is_async", [False, True], ids=["blocking", "asyncio"])


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with redis_server(FAST_SYNC) as server:
        yield server


@both_colours
async def test_a_flushed_store_begins_anew(server: RedisServer, is_async: bool) -> None:
    """Nobody's near cache outlives it, and each reader has what is true now."""
    async with shops(server.url, is_async=is_async) as (near, far):
        with server.client() as client:
            client.flushall()

        # It touches nothing, as nothing is there; all the same nobody may serve what he holds once it returned.
        await far.change(0, acknowledged=True)

        for shop in (near, far):
            assert await shop.read(shop.strict, 0) == 2
            assert await shop.read(shop.total) == N_ITEMS + 1
        await far.recovers()
        assert far.source.n_asked[0] < 20


@both_colours
async def test_a_server_that_comes_back_with_nothing_is_a_new_store(server: RedisServer, is_async: bool) -> None:
    """Without persistence a restart loses everything."""
    async with shops(server.url, is_async=is_async) as (near, far):
        server.kill()
        await forgets(near)
        await check_readers_alone(near, held=1)
        await check_readers_alone(far)
        server.start()

        await answers(near)
        await answers(far)
        await far.publish(1)

        await far.recovers()
        await near.read_all()


@both_colours
async def test_a_server_that_comes_back_with_old_data_is_not_trusted(server: RedisServer, is_async: bool) -> None:
    """It does not know of the last events; nobody would tell it again."""
    async with shops(server.url, is_async=is_async) as (near, far):
        with server.client() as client:
            client.save()
        old = (server.folder / "dump.rdb").read_bytes()
        await far.change(0)
        await far.read_all()
        server.kill()
        (server.folder / "dump.rdb").write_bytes(old)
        server.start()

        await answers(far)
        entry = await far.cache.stored("strict:0")
        assert entry is None or entry.state is not State.FRESH or far.strict.load(entry) == 2
        await near.read_all()
        await far.recovers()


@both_colours
async def test_a_replica_that_lacks_the_last_writes_is_not_trusted(server: RedisServer, is_async: bool) -> None:
    """It takes the master's place behind the same address, with the feed and the entries as they were a moment ago."""
    with redis_server() as replica, proxy_to(server.port) as proxy:
        async with shops(f"redis://{HOST}:{proxy.port}", is_async=is_async) as (near, far):
            follow_and_part(server, replica)
            await far.change(0)
            await far.read_all()
            server.kill()
            proxy.lead_to(replica.port)

            await answers(far)

            await far.recovers()
            await near.read_all()


@both_colours
async def test_connections_to_the_server_that_was_are_not_used(server: RedisServer, is_async: bool) -> None:
    """Once one connection has met another server at the address, the others, idle or not, may lead to the old one."""
    with redis_server() as replica, proxy_to(server.port) as proxy:
        async with shops(f"redis://{HOST}:{proxy.port}", is_async=is_async) as (_, far):
            await asyncio.gather(*(far.read(far.strict, item % N_ITEMS) for item in range(16)))
            follow_and_part(server, replica)
            proxy.lead_to(replica.port, cut=False)
            store = far.cache.engine.store
            assert isinstance(store, RedisStore)
            # As one connection more does, that is opened from now on.
            store.clients.identity.forget()
            await asyncio.gather(*(far.read(far.strict, item % N_ITEMS) for item in range(16)))

            for item in range(N_ITEMS):
                far.source.prices[item] += 1
                await publish_on(replica, item)
            for _ in range(4):
                found = await asyncio.gather(*(far.read(far.strict, item) for item in range(N_ITEMS)))
                assert found == list(far.source.prices.values())


@both_colours
async def test_cut_connections_lose_nothing(server: RedisServer, is_async: bool) -> None:
    """They are made anew to the same server, so all is good that was."""
    with proxy_to(server.port) as proxy:
        async with shops(f"redis://{HOST}:{proxy.port}", is_async=is_async) as (near, far):
            epoch = (await far.position()).epoch
            n_asked = far.source.n_asked.total()
            for _ in range(3):
                proxy.cut()
                await near.read_all()
                await far.read_all()
            assert far.source.n_asked.total() == n_asked

            await far.change(0, acknowledged=True)

            assert await near.read(near.strict, 0) == 2
            assert (await far.position()).epoch == epoch
            await soon(near.works_again, what="it holds values near again")


async def test_a_server_that_sleeps_keeps_no_reader_for_longer_than_a_silence(server: RedisServer) -> None:
    """And only who asks first for that long. Then nothing was lost, and nothing has to be built anew."""
    async with (
        shops(f"{server.url}?prefix=blocking", is_async=False) as blocking,
        shops(f"{server.url}?prefix=asyncio", is_async=True) as in_a_loop,
    ):
        everybody = (*blocking, *in_a_loop)
        epochs = [(await shop.position()).epoch for shop in everybody]
        asleep = asyncio.create_task(asyncio.to_thread(sleep_through, server, SLEEP_S))
        await soon(lambda: not any(shop.is_current for shop in everybody[::2]), what="nothing is current any more")
        waits = await asyncio.gather(*(waits_of(shop, asleep) for shop in everybody))
        for shop in everybody:
            await answers(shop)
        assert [(await shop.position()).epoch for shop in everybody] == epochs

        assert max(max(waits_of_one) for waits_of_one in waits) < SILENCE_S
        assert max(sum(wait > SILENCE_S / 3 for wait in waits_of_one) for waits_of_one in waits) <= 1
        assert min(map(len, waits)) > 10
        for near, far in (blocking, in_a_loop):
            await far.change(0, acknowledged=True)
            assert await near.read(near.strict, 0) == 2
            await far.recovers()
            await soon(near.works_again, what="it holds values near again")


async def waits_of(shop: Shop, asleep: "asyncio.Task[None]") -> list[float]:
    """How long each read takes, one after the other, as long as the server sleeps."""
    waits: list[float] = []
    while not asleep.done():
        waits.append(await seconds_of(partial(shop.check, shop.strict, 0)))
    return waits


@both_colours
async def test_a_server_that_stands_still_is_done_without(server: RedisServer, is_async: bool) -> None:
    """What was sent to it meanwhile and given up is no harm when it goes on."""
    async with shops(server.url, is_async=is_async) as (near, far):
        server.pause()
        await forgets(near)
        await check_readers_alone(near, held=1)
        await check_readers_alone(far)
        server.resume()

        await answers(near)
        await answers(far)
        await far.publish(1)

        await far.recovers()
        await soon(near.works_again, what="it holds values near again")


@both_colours
async def test_a_full_server_is_read_and_emptied(server: RedisServer, is_async: bool) -> None:
    """What is there is served, near too, and events touch it; what is new is for its reader alone."""
    async with shops(server.url, is_async=is_async) as (near, far):
        with server.client() as client:
            client.config_set("maxmemory", "1mb")

            await far.change(0, acknowledged=True)
            for shop in (near, far):
                assert await shop.read(shop.strict, 0) == 2
                assert await shop.read(shop.strict, 1) == 1
                with pytest.raises(StoreUnavailable, match="maxmemory"):
                    await shop.read(shop.unkind, 0)
            client.config_set("maxmemory", "0")

        await far.recovers()
        await near.read_all()


# ------------------------------------------------------------------------------------------------------------- by hand


async def check_readers_alone(shop: Shop, *, held: int | None = None) -> None:
    """A function is called for its reader, or its reader is told; what was held near is served within the bounds."""
    shop.source.prices[1] += 1
    assert await shop.read(shop.strict, 1) == shop.source.prices[1]
    assert await shop.read(shop.patient, 1) == (held or shop.source.prices[1])
    assert await shop.read(shop.total) == sum(shop.source.prices.values())
    with pytest.raises(StoreUnavailable):
        await shop.read(shop.unkind, 1)
    with pytest.raises(StoreUnavailable):
        await shop.publish(1)


def sleep_through(server: RedisServer, seconds: int) -> None:
    """Let it answer nobody for so long."""
    with server.client() as client:
        client.execute_command("DEBUG", "SLEEP", seconds)


async def forgets(shop: Shop) -> None:
    """Within a lease's time nothing is held near any more."""
    await soon(lambda: not shop.is_current, what="nothing is held near", deadline_s=2 * SUBSCRIPTION_LEASE_S)


async def answers(shop: Shop) -> None:
    """Wait until the server is asked again, and answers."""

    async def is_answered() -> bool:
        with suppress(StoreUnavailable):
            return bool(await shop.position())
        return False

    await soon(is_answered, what="an answer")


def follow_and_part(master: RedisServer, replica: RedisServer) -> None:
    """The replica copies the master, and is cut off: what comes now, it lacks."""
    with replica.client() as client:
        client.execute_command("REPLICAOF", HOST, master.port)
        until(lambda: client.info("replication").get("master_link_status") == "up", what="a replica in step")
        client.execute_command("REPLICAOF", "NO", "ONE")


async def publish_on(server: RedisServer, item: int) -> None:
    """Another process, which only knows that server, publishes."""
    async with Cache(server.url) as cache:
        await cache.publish(Event.change("item", before={"id": item}, after={"id": item}))
