"""`f.warm([...])`: first builds are queued for workers, and nobody waits for them."""

from datetime import timedelta

import pytest

from everfresh import WaitTimeout
from everfresh.refresh import Worker
from everfresh.testing.clock import FakeClock
from everfresh.testing.waiting import soon
from tests.cache.fixtures import OpenCache
from tests.cache.making import CachedFunction, Colour, Gate, done, is_fresh

pytestmark = pytest.mark.redis


async def all_fresh(function: CachedFunction[[int], int], *numbers: int) -> bool:
    """Whether all are there and fresh."""
    return all([await is_fresh(function, number) for number in numbers])


async def test_workers_build_what_is_not_there(colour: Colour) -> None:
    """So that no reader waits for it; what is there is left alone."""
    built: list[int] = []

    @colour.cached()
    async def double(number: int) -> int:
        built.append(number)
        return number * 2

    await done(double(1))
    n_queued = await done(double.warm([1, 2, 3]))
    n_again = await done(double.warm([2]))
    n_before = len(built)
    async with Worker(colour.cache):
        await soon(lambda: all_fresh(double, 1, 2, 3), what="the builds")

    assert (n_queued, n_again, n_before, sorted(built)) == (2, 0, 1, [1, 2, 3])


async def test_ids_are_warmed_too(colour: Colour) -> None:
    """Each as one entry."""

    @colour.cached_many()
    async def double(ids: list[int], locale: str = "en") -> dict[int, int]:
        return {id_: id_ * 2 for id_ in ids}

    n_queued = await done(double.warm([1, 2], locale="de"))
    async with Worker(colour.cache):
        await soon(lambda: is_fresh(double.one, 1, "de"), what="the first")
        await soon(lambda: is_fresh(double.one, 2, "de"), what="the second")

    assert n_queued == 2


async def test_a_reader_need_not_wait_for_a_worker(colour: Colour) -> None:
    """What is queued is built by whoever comes first."""

    @colour.cached()
    async def double(number: int) -> int:
        return number * 2

    await done(double.warm([7]))

    assert await done(double(7)) == 14


async def test_who_built_a_value_is_told(colour: Colour) -> None:
    """A reader or a worker, and where it runs."""

    @colour.cached()
    async def double(number: int) -> int:
        return number * 2

    await done(double(1))
    await done(double.warm([2]))
    async with Worker(colour.cache):
        await soon(lambda: is_fresh(double, 2), what="the build")
    builders = [(await done(double.explain(number))).built_by.split()[0] for number in (1, 2)]

    assert builders == ["reader", "worker"]


async def test_a_function_has_a_patience_of_its_own(
    open_cache: OpenCache, colour: Colour, clock: FakeClock, gate: Gate
) -> None:
    """`wait_timeout` is how long its readers wait for somebody else's build, whatever the cache says."""
    colour = Colour(open_cache(wait_timeout=timedelta(hours=1)), is_async=colour.is_async)

    @colour.cached(wait_timeout=timedelta(0))
    async def value() -> int:
        await gate.stop()
        return 1

    builder = colour.start(value)
    await gate.reached()
    with pytest.raises(WaitTimeout):
        await colour.start(value)
    gate.open()

    assert await builder == 1
