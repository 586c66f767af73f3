"""Readers of one value while the store does not answer: one call at a time, shared by those who came before it."""

import asyncio
import threading
from datetime import timedelta
from typing import Any

import pytest

from everfresh import Cache
from everfresh.cache.flights import Flights
from everfresh.model.entry import Key
from everfresh.testing.waiting import DEADLINE_S, soon
from tests.cache.breaking import out_of_order
from tests.cache.fixtures import OpenCache
from tests.cache.making import Colour, Gate, done, is_fresh, many_threads
from tests.cache.upstreams import Broken, Upstream

N = 20


@pytest.fixture
def cache(open_cache: OpenCache, sqlite_url: str) -> Cache:
    """A cache whose store can be broken from outside."""
    return open_cache(sqlite_url)


async def n_waiting(cache: Cache, n: int) -> None:
    """Until so many readers wait for a call that has not begun."""
    await soon(lambda: cache.engine.flights.n_waiting == n, what=f"{n} waiting readers")


async def outcomes_of(readers: list[Any]) -> list[Any]:
    """What each of them has in the end."""
    return await asyncio.gather(*readers, return_exceptions=True)


async def test_readers_share_calls(
    cache: Cache, colour: Colour, upstream: Upstream, sqlite_url: str, gate: Gate
) -> None:
    """The first calls for itself; all who come meanwhile have the next call, which begins later than they came."""
    many_threads(N)

    @colour.cached()
    async def value() -> int:
        answer = upstream.read()
        await gate.stop()
        return answer

    with out_of_order(sqlite_url):
        first = colour.start(value)
        await gate.reached()
        upstream.value = 2
        others = [colour.start(value) for _ in range(N - 1)]
        await n_waiting(cache, N - 1)
        gate.open()

        assert await outcomes_of([first, *others]) == [1] + [2] * (N - 1)

    assert upstream.n_read == 2


async def test_readers_of_other_values_wait_for_nobody(colour: Colour, sqlite_url: str, gate: Gate) -> None:
    """Other arguments are another value."""

    @colour.cached()
    async def value(number: int) -> int:
        if number == 1:
            await gate.stop()
        return number

    with out_of_order(sqlite_url):
        first = colour.start(value, 1)
        await gate.reached()

        assert await done(value(2)) == 2

        gate.open()
        assert await first == 1


async def test_who_cancels_cancels_nobody_else(cache: Cache, upstream: Upstream, sqlite_url: str, gate: Gate) -> None:
    """Neither whoever calls nor whoever waits: another of those who wait calls then."""

    @cache.cached
    async def value() -> int:
        answer = upstream.read()
        await gate.stop()
        return answer

    with out_of_order(sqlite_url):
        caller, *others = [asyncio.create_task(value()) for _ in range(4)]
        await gate.reached()
        await n_waiting(cache, 3)
        others[0].cancel()
        await n_waiting(cache, 2)
        caller.cancel()
        gate.open()

        ended = await outcomes_of([caller, *others])

    assert [type(one) for one in ended] == [asyncio.CancelledError, asyncio.CancelledError, int, int]
    assert upstream.n_read == 2


async def test_a_call_that_was_cut_short_is_begun_anew_by_who_shares_it(
    open_cache: OpenCache, upstream: Upstream, sqlite_url: str
) -> None:
    """It gave nothing, and they still want it."""
    cache = open_cache(sqlite_url, lease=timedelta(hours=1))
    gates = [Gate(), Gate(), Gate()]

    @cache.cached
    async def value() -> int:
        gate = gates[upstream.n_read]
        upstream.read()
        await gate.stop()
        return upstream.n_read

    with out_of_order(sqlite_url):
        first, *others = [asyncio.create_task(value()) for _ in range(3)]
        await gates[0].reached()
        await n_waiting(cache, 2)
        gates[0].open()
        await gates[1].reached()
        await first
        others[0].cancel()
        await gates[2].reached()
        gates[2].open()

        ended = await outcomes_of(others)

    assert [type(one) for one in ended] == [asyncio.CancelledError, int]
    assert upstream.n_read == 3


async def test_what_shares_a_call_is_not_kept_as_good(cache: Cache, upstream: Upstream, sqlite_url: str) -> None:
    """Nobody watches over what it was built from, though another build has called it."""
    begun, called, built = Gate(), Gate(), Gate()

    @cache.cached
    async def inner() -> int:
        if upstream.read() and upstream.n_read == 1:
            await called.stop()
        return upstream.n_read

    @cache.cached
    async def outer() -> int:
        await begun.stop()
        value = await inner()
        await built.stop()
        return value

    building = asyncio.create_task(outer())
    await begun.reached()
    with out_of_order(sqlite_url):
        first = asyncio.create_task(inner())
        await called.reached()
        # It waits longer than the outer one, so it is the one who calls.
        second = asyncio.create_task(inner())
        await n_waiting(cache, 1)
        begun.open()
        await n_waiting(cache, 2)
        called.open()
        await built.reached()
        assert await outcomes_of([first, second]) == [1, 2]
    built.open()

    assert await building == 2
    assert upstream.n_read == 2
    assert not await is_fresh(outer)


async def test_an_error_is_for_those_who_waited(
    cache: Cache, colour: Colour, upstream: Upstream, sqlite_url: str, gate: Gate
) -> None:
    """Each has one of his own; who comes later calls again."""
    many_threads(N)

    @colour.cached()
    async def value() -> int:
        await gate.stop()
        return upstream.read()

    with out_of_order(sqlite_url):
        upstream.is_broken = True
        readers = [colour.start(value)]
        await gate.reached()
        readers += [colour.start(value) for _ in range(3)]
        await n_waiting(cache, 3)
        gate.open()
        errors = await outcomes_of(readers)
        n_failed = upstream.n_read
        upstream.is_broken = False

        assert await done(value()) == 1

    assert [type(error) for error in errors] == [Broken] * 4
    assert len({id(error) for error in errors}) == 4
    assert n_failed == 2


async def test_strict_readers_share_with_strict_ones(
    colour: Colour, upstream: Upstream, sqlite_url: str, gate: Gate
) -> None:
    """What others build may hold what is old within bounds further down."""

    @colour.cached()
    async def value() -> int:
        if upstream.n_read == 0:
            upstream.read()
            await gate.stop()
        return upstream.read()

    with out_of_order(sqlite_url):
        first = colour.start(value)
        await gate.reached()

        assert await done(value.fresh()) == 1

        gate.open()
        assert await first == 1


async def test_many_share_with_one(cache: Cache, sqlite_url: str, gate: Gate) -> None:
    """What somebody builds already is waited for; the others are built at once, by one call."""
    called: list[list[int]] = []

    @cache.cached_many
    async def values(ids: list[int]) -> dict[int, str]:
        called.append(ids)
        if len(called) == 1:
            await gate.stop()
        return {id_: f"{id_}" for id_ in ids}

    with out_of_order(sqlite_url):
        first = asyncio.create_task(values([1]))
        await gate.reached()
        many = asyncio.create_task(values([1, 2, 3]))
        await soon(lambda: len(called) == 2, what="those that nobody builds")
        one_more = asyncio.create_task(values([1]))
        await n_waiting(cache, 2)
        gate.open()

        assert await outcomes_of([first, many, one_more]) == [{1: "1"}, {1: "1", 2: "2", 3: "3"}, {1: "1"}]

    assert called == [[1], [2, 3], [1]]


async def test_who_waits_for_longer_than_a_lease_calls(open_cache: OpenCache, sqlite_url: str, gate: Gate) -> None:
    """A call that never ends holds nobody up for ever."""
    cache = open_cache(sqlite_url, lease=timedelta(seconds=1))
    called: list[int] = []

    @cache.cached
    async def value() -> int:
        called.append(1)
        if called == [1]:
            await gate.stop()
        return len(called)

    with out_of_order(sqlite_url):
        hanging = asyncio.create_task(value())
        await gate.reached()

        assert await value() == 2
        assert await value() == 3

        gate.open()
        await hanging


async def test_who_blocks_a_loop_waits_for_nobody(cache: Cache, sqlite_url: str) -> None:
    """A task of that loop may be calling, and could not go on."""
    called: list[int] = []
    may_end = threading.Event()

    @cache.cached
    def value() -> int:
        called.append(1)
        if len(called) == 1:
            assert may_end.wait(DEADLINE_S)
        return len(called)

    with out_of_order(sqlite_url):
        first = asyncio.create_task(asyncio.to_thread(value))
        await soon(lambda: called, what="the first call")

        assert value() == 2

        other = asyncio.create_task(asyncio.to_thread(value))
        await n_waiting(cache, 1)
        may_end.set()
        assert await outcomes_of([first, other]) == [2, 3]


def test_who_gives_up_waiting_lets_nobody_call_beside_the_one_who_calls() -> None:
    """Who comes next waits for the same end."""
    flights, name = Flights(), (Key("k"), "f", False)
    n_begun = 0
    for _ in range(5):
        n_begun += flights.begin(flights.join(name))
        impatient = flights.join(name)
        n_begun += flights.begin(impatient)
        flights.leave(name, impatient)

    assert n_begun == 1
