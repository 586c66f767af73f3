"""Builds that publish events which lead to builds that publish events: they are stopped. Conformance 25."""

import asyncio

import pytest

from everfresh import AsyncFunction, Cache, Event, TooManyGenerations, dep
from everfresh.refresh import Worker
from everfresh.testing.waiting import soon
from tests.cache.fixtures import OpenCache
from tests.cache.making import Colour, done

pytestmark = pytest.mark.redis


async def test_a_loop_of_builds_and_events_is_stopped_with_the_chain_in_the_error(
    open_cache: OpenCache, url: str
) -> None:
    """Conformance 25: ping tells pong, pong tells ping."""
    cache = open_cache(url, max_generations=4)
    n_built: list[str] = []

    @cache.cached(depends_on=[dep.Tag("ping")], key="ping", max_attempts=1)
    async def ping() -> int:
        n_built.append("ping")
        await cache.invalidate(dep.Tag("pong"))
        return len(n_built)

    @cache.cached(depends_on=[dep.Tag("pong")], key="pong", max_attempts=1)
    async def pong() -> int:
        n_built.append("pong")
        await cache.invalidate(dep.Tag("ping"))
        return len(n_built)

    await pong()
    n_built.clear()
    async with Worker(cache):
        await ping()
        failed = await soon(cache.failed, what="the end of the loop")

    (reason,) = {one.reason for one in failed}
    assert reason.startswith("TooManyGenerations: generations: ping -> pong -> ping -> pong -> ping. ")
    assert n_built == ["ping", "pong", "ping", "pong", "ping"]


async def test_a_chain_that_ends_is_no_loop(open_cache: OpenCache) -> None:
    """As many generations as are allowed."""
    cache = open_cache(max_generations=3)

    @cache.cached(depends_on=[dep.Tag(dep.arg("n"))])
    async def step(n: int) -> int:
        if n < 3:
            await cache.invalidate(dep.Tag(n + 1))
        return n

    for n in (3, 2, 1):
        await step(n)
    async with Worker(cache):
        await cache.invalidate(dep.Tag(1))
        await soon(lambda: _are_fresh(cache), what="the refreshes")

    assert await cache.failed() == []


async def _are_fresh(cache: Cache) -> bool:
    return not await cache.entries(state="dirty") and not await cache.entries(state="building")


async def test_each_event_from_outside_begins_anew(open_cache: OpenCache) -> None:
    """What people publish has no chain behind it, however often they do."""
    cache = open_cache(max_generations=1)
    n_built = 0

    @cache.cached(depends_on=[dep.Tag("t")])
    async def value() -> int:
        nonlocal n_built
        n_built += 1
        await cache.publish(Event("built"))
        return n_built

    for _ in range(5):
        await value()
        await cache.invalidate(dep.Tag("t"))

    assert await value() == 6


async def test_nested_builds_are_one_generation(colour: Colour) -> None:
    """How deep functions call each other says nothing about loops of events."""
    cache = colour.cache
    cache.engine.max_generations = 1

    @colour.cached()
    async def nested(depth: int) -> int:
        cache.blocking.publish(Event("built"))
        return depth if depth == 0 else await done(nested(depth - 1))

    assert await done(nested(12)) == 0


async def test_the_chain_goes_on_through_values_that_were_built_from_each_other(
    open_cache: OpenCache, url: str
) -> None:
    """The inner value changes because of an event of the outer one, which is built again because of that."""
    cache = open_cache(url, max_generations=5)
    n_built = 0

    @cache.cached(depends_on=[dep.Tag("inner")], key="inner", max_attempts=1)
    async def inner() -> int:
        nonlocal n_built
        n_built += 1
        return n_built

    @cache.cached(key="outer", max_attempts=1)
    async def outer() -> int:
        value = await inner()
        await cache.invalidate(dep.Tag("inner"))
        return value

    await outer()
    async with Worker(cache):
        failed = await soon(cache.failed, what="the end of the loop")

    assert failed[0].reason.startswith("TooManyGenerations: generations: outer -> ")


async def test_the_caller_of_a_build_that_goes_too_far_gets_the_error(open_cache: OpenCache) -> None:
    """Nothing of that event was applied."""
    cache = open_cache(max_generations=1)
    told: list[str] = []

    @cache.cached(depends_on=[dep.Tag("t")], key="value")
    async def value() -> int:
        await cache.invalidate(dep.Tag("t"))
        return 1

    await _led_to_itself(value)
    cache.listen(lambda notice: told.append(notice.name))
    with pytest.raises(TooManyGenerations, match="value -> value"):
        await value()

    assert "event.applied" not in told


async def test_an_event_in_a_transaction_of_a_build_has_the_chain_behind_it(open_cache: OpenCache) -> None:
    """That it was held back does not make it an event from outside."""
    cache = open_cache(max_generations=1)

    @cache.cached(depends_on=[dep.Tag("t")], key="value")
    async def value() -> int:
        async with cache.transaction():
            await cache.invalidate(dep.Tag("t"))
        return 1

    await _led_to_itself(value)
    with pytest.raises(TooManyGenerations):
        await value()


async def test_what_a_thread_of_a_build_publishes_has_the_chain_behind_it(open_cache: OpenCache) -> None:
    """As what it tracks belongs to the build."""
    cache = open_cache(max_generations=1)

    @cache.cached(depends_on=[dep.Tag("t")])
    async def value() -> int:
        await asyncio.to_thread(cache.blocking.invalidate, dep.Tag("t"))
        return 1

    await _led_to_itself(value)
    with pytest.raises(TooManyGenerations):
        await value()


async def _led_to_itself(value: AsyncFunction[[], int]) -> None:
    """Build it, and once more: during its first build nobody knows yet that its own event touches it."""
    await value()
    await value()
