"""What was built before a loss is queued anew: once, by whoever is there, the most urgent first, at a bounded rate."""

import asyncio
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing

import pytest

from everfresh.model.dependency import Id, Tag
from everfresh.model.entry import Key, State, Terms
from everfresh.protocol.inspecting import ListEntries
from everfresh.protocol.requests import Load, ReadFeed
from everfresh.stores.redis import RedisStore, wire
from everfresh.stores.redis.chunks import DistrustBegin, DistrustRows, DistrustScan
from everfresh.stores.redis.scripts import script_of
from everfresh.stores.redis.servers import SWEPT_PER_S
from everfresh.testing.by_hand import ByHand, put_of
from everfresh.testing.waiting import until
from tests.redis_servers import RedisServer, redis_server

A = Tag("a")
REASON = "somebody said so"
N_STORES = 8


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with redis_server({"appendonly": "yes", "appendfsync": "always"}) as server:
        yield server


def test_all_notice_and_one_life_begins(server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    """However many connections meet the new run at the same time, of both colours."""
    caplog.set_level(logging.WARNING, "everfresh")
    with ExitStack() as stack:
        stores = [stack.enter_context(closing(RedisStore(server.url))) for _ in range(N_STORES)]
        before = ByHand(stores[0]).build("k", 1, A).position
        server.kill()
        server.start()

        pool = stack.enter_context(ThreadPoolExecutor(2 * N_STORES))
        tasks = [
            *(pool.submit(store.carry_out, Load(Key("k"))) for store in stores),
            *(pool.submit(lambda store: asyncio.run(store.carry_out_async(Load(Key("k")))), store) for store in stores),
        ]
        entries = [task.result().entry for task in tasks]

        assert {entry.state for entry in entries if entry} == {State.DIRTY}
        (epoch,) = {entry.position.epoch for entry in entries if entry}
        assert epoch != before.epoch
        until(lambda: due_in_order(stores[0]) == ["k"], what="the sweep")
        assert {store.carry_out(ReadFeed(None)).position.epoch for store in stores} == {epoch}
        assert caplog.text.count("store.distrusted") == 1


def test_the_most_urgent_are_due_first_and_not_all_at_once(server: RedisServer) -> None:
    """By priority, then by who was read last; so many a second, so that their sources are not overrun."""
    with closing(RedisStore(server.url)) as store:
        hand = ByHand(store)
        for number in range(30):
            hand.build(f"k{number:02}", 1, A, terms=Terms(priority=number % 3))
        server.kill()
        server.start()
        until(lambda: len(due_in_order(store)) == 30, what="the sweep")

        listed = sorted(store.carry_out(ListEntries(n_max=100)), key=lambda one: one.due or 0)

        assert [int(one.key[1:]) % 3 for one in listed] == [2] * 10 + [1] * 10 + [0] * 10
        first, last = listed[0].due, listed[-1].due
        assert first is not None
        assert last is not None
        assert last - first == pytest.approx(29 / SWEPT_PER_S, abs=0.02)


def test_another_goes_on_when_the_sweeper_dies(server: RedisServer) -> None:
    """What is read meanwhile is distrusted all the same."""
    with closing(RedisStore(server.url)) as store, closing(RedisStore(server.url)) as other:
        hand = ByHand(store)
        keys = sorted(hand.build(f"k{number}", 1, A).key for number in range(3))
        begin_to_sweep(store, n=1)
        assert {entry.state for key in keys if (entry := other.carry_out(Load(key)).entry)} == {State.DIRTY}
        assert len(due_in_order(other)) == 1

        dies(server)
        with closing(other.stream()) as stream:
            stream.take()

        until(lambda: due_in_order(other) == keys, what="the rest of the sweep")
        until(lambda: not is_unswept(server), what="its end")


def test_a_restart_in_the_middle_of_a_sweep_begins_it_anew(server: RedisServer) -> None:
    """What was swept before the restart is distrusted once more, as its last writes may be lost, too."""
    with closing(RedisStore(server.url)) as store:
        hand = ByHand(store)
        keys = sorted(hand.build(f"k{number}", 1, A).key for number in range(3))
        begin_to_sweep(store, n=1)
        hand.build("k0", 2, A)
        server.kill()
        server.start()

        until(lambda: due_in_order(store) == keys, what="the sweep")

        assert {hand.state(key) for key in keys} == {State.DIRTY}
        until(lambda: not is_unswept(server), what="its end")


@pytest.mark.parametrize("lost", ["m", "s"])
def test_what_a_part_of_the_store_was_lost_for_is_swept(server: RedisServer, lost: str) -> None:
    """A key deleted by hand begins a new life; its entries are queued by whoever follows, as after any other loss."""
    with closing(RedisStore(server.url)) as store, server.client() as client:
        hand = ByHand(store)
        keys = sorted(hand.build(f"k{number}", 1, Id("item", number)).key for number in range(3))
        client.delete(store.key[:-1] + lost)
        hand.put("other", 1)

        with closing(store.stream()) as stream:
            stream.take()

        until(lambda: due_in_order(store) == keys, what="the sweep")
        until(lambda: not is_unswept(server), what="its end")


def test_going_back_under_the_same_run_is_noticed_by_who_follows(server: RedisServer) -> None:
    """Its position shows that the store was further."""
    with closing(RedisStore(server.url)) as store, closing(store.stream()) as stream, server.client() as client:
        hand = ByHand(store)
        hand.build("k", 1, A)
        client.save()
        hand.touch(A)
        epoch = hand.build("k", 2, A).position.epoch
        until(lambda: not stream.take().records, what="the end of the feed")
        client.config_set("appendonly", "no")
        client.execute_command("DEBUG", "RELOAD", "NOSAVE")
        assert hand.value("k") == 1

        assert stream.take().is_reset

        entry = hand.entry("k")
        assert (entry.state, entry.position.epoch == epoch) == (State.DIRTY, False)
        with closing(store.stream()) as another:
            another.take()
        until(lambda: due_in_order(store) == ["k"], what="the sweep")


def test_the_first_life_after_a_flush_is_known_by_its_server(server: RedisServer) -> None:
    """So it is trusted as long as that runs, and by the next run no more."""
    with closing(RedisStore(server.url)) as store, server.client() as client:
        hand = ByHand(store)
        hand.build("k", 1, A)
        client.flushall()
        hand.build("k", 2, A)
        with closing(RedisStore(server.url)) as other:
            assert ByHand(other).state("k") is State.FRESH

        server.kill()
        server.start()

        until(lambda: due_in_order(store) == ["k"], what="the sweep")
        assert hand.state("k") is State.DIRTY


def test_a_step_that_was_given_up_and_arrives_late_is_not_done(redis_url: str) -> None:
    """Its slot has been used for another step since."""
    with closing(RedisStore(redis_url)) as store:
        for serial, value in ((2, "new"), (1, "old")):
            request = put_of("k", value)
            payload = wire.encode(request, (None, "slot", serial, "0" * 16, None, None, False, {}))
            store.clients.blocking.run(script_of(payload.script), store.key, (payload.packed, *payload.blobs))

        assert ByHand(store).value("k") == "new"


# ------------------------------------------------------------------------------------------------------------- by hand


def begin_to_sweep(store: RedisStore, *, n: int) -> None:
    """Distrust everything, queue the first ones, and be killed."""
    store.carry_out(DistrustBegin(REASON))
    ranked = store.carry_out(DistrustScan(0)).ranked
    store.carry_out(DistrustRows(tuple(key for key, *_ in ranked)[:n], 0, SWEPT_PER_S, REASON))


def dies(server: RedisServer) -> None:
    """Whoever swept was not heard of for so long that he must be dead."""
    with server.client() as client:
        client.delete("everfresh:{s0}:sweeper")


def is_unswept(server: RedisServer) -> bool:
    """Whether the store says that something is left to sweep."""
    with server.client() as client:
        return bool(client.exists("everfresh:{s0}:unswept"))


def due_in_order(store: RedisStore) -> list[Key]:
    """The keys of what is queued."""
    return sorted(one.key for one in store.carry_out(ListEntries(n_max=100)) if one.due is not None)
