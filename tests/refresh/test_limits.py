"""How fast the entries of one function are refreshed, over all workers: `concurrency` and `rate`."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from everfresh import Cache, dep
from everfresh.refresh import Worker
from everfresh.testing.clock import FakeClock
from everfresh.testing.waiting import soon
from tests.cache.fixtures import OpenCache
from tests.cache.making import Colour, Gate, done, is_fresh
from tests.refresh.ringing import Bell

TAG = dep.Tag("t")
N = 6


class Counting:
    """A body that counts how many run at once, and how many have run since the first builds."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self.is_counting = False
        self.n_done = self.n_running = self.n_most = 0
        self._lock = threading.Lock()

    async def build(self, number: int) -> int:
        """What is cached."""
        if self.is_counting:
            with self._lock:
                self.n_running += 1
                self.n_most = max(self.n_most, self.n_running)
            await self.gate.stop()
            with self._lock:
                self.n_running -= 1
                self.n_done += 1
        return number


@pytest.fixture
async def counting(gate: Gate) -> Counting:
    """A body that stops at the gate."""
    return Counting(gate)


async def built(cached: Callable[[Any], Any], counting: Counting) -> Any:  # noqa: ANN401 - of either colour
    """The function, with its entries."""

    async def value(number: int) -> int:
        return await counting.build(number)

    function = cached(value)
    for number in range(N):
        await done(function(number))
    counting.is_counting = True
    return function


async def test_of_one_function_no_more_are_refreshed_at_once_than_it_allows(
    colour: Colour, counting: Counting, gate: Gate
) -> None:
    """Though the worker has room for more; all are refreshed in the end."""
    value = await built(colour.cached(depends_on=[TAG], concurrency=2), counting)
    async with Worker(colour.cache, concurrency=N):
        await colour.cache.invalidate(TAG)
        for _ in range(2):
            await gate.reached()
        gate.open()
        await soon(lambda: counting.n_done == N, what="all refreshes", deadline_s=5)
        await soon(lambda: is_fresh(value, N - 1), what="the last commit")

    assert counting.n_most == 2


async def test_the_limit_of_one_function_holds_no_other_up(colour: Colour, counting: Counting, gate: Gate) -> None:
    """Each has its own."""

    @colour.cached(depends_on=[TAG])
    async def other() -> int:
        return 1

    await done(other())
    await built(colour.cached(depends_on=[TAG], concurrency=1, priority=5), counting)
    async with Worker(colour.cache, concurrency=N):
        await colour.cache.invalidate(TAG)
        await gate.reached()
        await soon(lambda: is_fresh(other), what="the other's refresh")
        gate.open()


@pytest.mark.parametrize("is_async", [False, True], ids=["blocking", "asyncio"])
async def test_two_workers_keep_to_one_concurrency(
    open_cache: OpenCache, sqlite_url: str, counting: Counting, gate: Gate, is_async: bool
) -> None:
    """The store counts the leases of all processes; who was held back is told when one ends."""
    caches = [open_cache(sqlite_url) for _ in range(2)]
    colours = [Colour(cache, is_async=is_async) for cache in caches]
    functions = [await built(colour.cached(depends_on=[TAG], concurrency=1), counting) for colour in colours]
    counting.n_most = counting.n_done = 0
    async with Worker(caches[0], concurrency=N), Worker(caches[1], concurrency=N):
        await caches[0].invalidate(TAG)
        await gate.reached()
        gate.open()
        await soon(lambda: _all_fresh(functions[0]), what="all refreshes")

    assert counting.n_most == 1


async def test_no_more_are_refreshed_in_a_second_than_the_rate_allows(
    colour: Colour, counting: Counting, gate: Gate, clock: FakeClock
) -> None:
    """By the store's clock; a second's worth at once."""
    bell = Bell(colour)
    await bell.hang()
    gate.open()
    await built(colour.cached(depends_on=[TAG], rate=2.0), counting)
    n_done: list[int] = []
    async with Worker(colour.cache):
        await colour.cache.invalidate(TAG)
        for n in (2, 3, 4):
            await soon(lambda n=n: counting.n_done >= n, what=f"{n} refreshes")
            await bell.ring()
            n_done.append(counting.n_done)
            clock.advance(0.5)
            await bell.ring()

    assert n_done == [2, 3, 4]


async def test_two_workers_keep_to_one_rate(
    open_cache: OpenCache, sqlite_url: str, counting: Counting, gate: Gate
) -> None:
    """The clock stands still here, so there is one burst for both."""
    caches = [open_cache(sqlite_url) for _ in range(2)]
    colours = [Colour(cache, is_async=True) for cache in caches]
    bells = [Bell(colour) for colour in colours]
    gate.open()
    for colour in colours:
        await built(colour.cached(depends_on=[TAG], rate=3.0), counting)
    for bell in bells:
        await bell.hang()
    counting.n_done = 0
    async with Worker(caches[0]), Worker(caches[1]):
        await caches[0].invalidate(TAG)
        await soon(lambda: counting.n_done == 3, what="the burst")
        for bell in bells:
            await bell.ring()

    assert counting.n_done == 3


async def test_readers_are_not_held_back(cache: Cache, counting: Counting, gate: Gate) -> None:
    """A limit is for refreshes that nobody waits for."""
    gate.open()
    value = await built(cache.cached(depends_on=[TAG], rate=0.001, concurrency=1), counting)
    await cache.invalidate(TAG)

    assert [await value(number) for number in range(N)] == list(range(N))


async def _all_fresh(function: Any) -> bool:  # noqa: ANN401 - of either colour
    return all([await is_fresh(function, number) for number in range(N)])
