"""Steps that were given up: what reaches the server too late is not done, and what was done meanwhile is given back."""

import asyncio
from typing import TypeVar

import pytest

from everfresh.model.dependency import Tag
from everfresh.model.entry import Lease, State
from everfresh.model.errors import StoreUnavailable
from everfresh.protocol.queueing import TakeDue
from everfresh.protocol.requests import UNLIMITED, Request
from everfresh.stores.redis import RedisStore
from everfresh.stores.redis.deadlines import ServerClock
from everfresh.stores.store import Store
from everfresh.testing.by_hand import FUNCTION, ByHand, begin_of, put_of
from everfresh.testing.waiting import until
from tests.redis_proxy import proxy_to
from tests.redis_servers import HOST, RedisServer, new_prefix, redis_server

A = Tag("a")
LONG_S = 3_600.0
TAKE = TakeDue({FUNCTION: UNLIMITED}, 10, LONG_S)
T = TypeVar("T")


def test_a_clock_that_was_never_told_says_nothing() -> None:
    """Nobody is refused for it."""
    assert ServerClock().not_after(5.0) is None


def test_a_clock_is_known_as_well_as_the_quickest_answer() -> None:
    """It was told between question and answer, nobody knows when; so it may say that much more."""
    clock = ServerClock()

    clock.note(10.0, 1_000.0, 12.0)
    assert clock.not_after(12.0) == 1_000.0
    clock.note(12.0, 1_001.5, 12.5)
    assert clock.not_after(12.0) == 1_001.0
    clock.note(20.0, 1_010.0, 30.0)
    assert clock.not_after(12.0) == 1_001.0


@pytest.mark.parametrize("told", [5.0, 9_000.0])
def test_a_clock_that_was_set_is_known_anew(told: float) -> None:
    """Forward or back: the newest word counts."""
    clock = ServerClock()
    clock.note(10.0, 1_000.0, 10.0)

    clock.note(20.0, told, 20.5)

    assert clock.not_after(20.5) == told


@pytest.mark.parametrize("is_async", [False, True])
def test_a_put_that_was_given_up_is_not_done_later(is_async: bool) -> None:
    """The server stood still, and reads it when it goes on; by then its asker may have put another."""
    with redis_server() as server:
        given_up, other = RedisStore(server.url, retry_s=0.1), RedisStore(server.url)
        ByHand(given_up).put("k", 1)
        server.pause()
        with pytest.raises(StoreUnavailable):
            _asked(given_up, put_of("k", "late"), is_async=is_async)
        # So that nobody asks what became of it.
        given_up.close()

        server.resume()
        hand = ByHand(other)
        hand.put("other", 1)
        for _ in range(50):
            hand.position()

        assert hand.value("k") == 1
        other.close()


def test_what_a_worker_gave_up_is_taken_by_the_next() -> None:
    """Its lease would be nobody's until it ran out."""
    with redis_server() as server:
        given_up, other = RedisStore(server.url, retry_s=0.1), RedisStore(server.url)
        hand = ByHand(other)
        hand.build("k", 1, A)
        hand.touch(A)
        server.pause()
        with pytest.raises(StoreUnavailable):
            given_up.carry_out(TAKE)
        given_up.close()

        server.resume()
        for _ in range(50):
            hand.position()

        assert [due.lease.key for due in hand.take()] == ["k"]
        other.close()


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("told", [5.0, 9e12])
def test_a_step_that_was_refused_for_a_wrong_clock_is_sent_anew(redis_url: str, told: float, is_async: bool) -> None:
    """Somebody has set it: who is told the time meets it, and whoever asked notices nothing."""
    store = RedisStore(redis_url)
    store.sender.server_clock.note(1e12, told, 1e12)

    assert _asked(store, put_of("k", 1), is_async=is_async)
    assert _asked(store, put_of("k", 2), is_async=is_async)

    assert ByHand(store).value("k") == 2
    store.close()


@pytest.mark.parametrize(("step", "request_"), [(b"_take_due", TAKE), (b"_begin", begin_of("k", A, lease_s=LONG_S))])
def test_leases_whose_answer_was_lost_for_good_are_given_back(
    shared_redis: RedisServer, step: bytes, request_: Request[object]
) -> None:
    """Once the server answers again: whoever asked has gone on without them."""
    url = f"redis://{HOST}:{shared_redis.port}/0?prefix={new_prefix()}"
    other = RedisStore(url)
    hand = ByHand(other)
    hand.build("k", 1, A)
    hand.touch(A)
    with proxy_to(shared_redis.port) as proxy:
        store = RedisStore(url.replace(str(shared_redis.port), str(proxy.port)))
        store.version()
        proxy.lose_answer_to(step, step, step)
        with pytest.raises(StoreUnavailable):
            store.carry_out(request_)
        assert proxy.n_lost == 3

        def is_given_back() -> bool:
            loaded = hand.load("k")
            return loaded.entry is not None and loaded.entry.state is State.DIRTY

        until(is_given_back, what="the lease, given back")
        assert [due.lease.key for due in hand.take()] == ["k"]
        store.close()
    other.close()


def test_a_step_whose_fate_is_known_is_never_done_later(shared_redis: RedisServer) -> None:
    """It was asked what became of it, and it had not arrived: if it does now, it changes nothing."""
    url = f"redis://{HOST}:{shared_redis.port}/0?prefix={new_prefix()}"
    store = RedisStore(url)
    hand = ByHand(store)
    hand.put("k", 1)
    sent = store.sender.sent(put_of("k", "late"))
    late = (sent.script, store.key, sent.arguments)

    store.sender.ask_what_became_of(sent)
    with pytest.raises(Exception, match="LATE"):
        store.clients.blocking.run(sent.script, store.key, sent.arguments)
    store.clients.blocking.run(*late)

    assert hand.value("k") == 1
    store.close()


def test_a_lease_is_begun_again_where_it_was_refused(redis_url: str) -> None:
    """What was refused was not done."""
    store = RedisStore(redis_url)
    store.sender.server_clock.note(1e12, 5.0, 1e12)

    lease = store.carry_out(begin_of("k", A))

    assert isinstance(lease, Lease)
    assert lease.attempts == 0
    store.close()


def _asked(store: Store, request: Request[T], *, is_async: bool) -> T:
    if is_async:
        return asyncio.run(store.carry_out_async(request))
    return store.carry_out(request)
