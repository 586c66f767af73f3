"""Conformance 25: a build publishes, which leads to a build that publishes, and so on."""

import pytest

from everfresh import Cache, TooManyGenerations, dep
from everfresh.testing.plugin import Drain
from tests.cache.fixtures import OpenCache
from tests.cache.making import Colour, done


@pytest.fixture
def cache(open_cache: OpenCache, url: str) -> Cache:
    """Three generations are allowed."""
    return open_cache(url, max_generations=3)


async def test_it_ends_at_the_set_number_with_the_chain_in_the_error(colour: Colour, drain: Drain) -> None:
    """25: ping tells pong, pong tells ping; the error names them all in their order."""
    blocking = colour.cache.blocking
    built: list[str] = []

    @colour.cached(depends_on=[dep.Tag("ping")], key="ping", max_attempts=1)
    async def ping() -> int:
        built.append("ping")
        blocking.invalidate(dep.Tag("pong"))
        return len(built)

    @colour.cached(depends_on=[dep.Tag("pong")], key="pong", max_attempts=1)
    async def pong() -> int:
        built.append("pong")
        blocking.invalidate(dep.Tag("ping"))
        return len(built)

    # When `pong` is built first, there is nobody yet whom its event could touch.
    await done(pong())
    await drain()
    built.clear()
    await done(ping())
    drained = await drain()
    (error,) = drained.failed.values()

    assert isinstance(error, TooManyGenerations)
    assert "ping -> pong -> ping -> pong." in str(error)
    assert (built, drained.next_s) == (["ping", "pong", "ping", "pong"], None)
    assert [one.key for one in await colour.cache.failed()] == ["pong"]


async def test_a_chain_that_ends_in_time_is_no_error(colour: Colour, drain: Drain) -> None:
    """25: as many generations as are allowed."""
    blocking = colour.cache.blocking

    @colour.cached(depends_on=[dep.Tag(dep.arg("n"))], key="step {n}")
    async def step(n: int) -> int:
        if n < 3:
            blocking.invalidate(dep.Tag(n + 1))
        return n

    for n in (3, 2, 1):
        await done(step(n))
    await drain()
    await colour.cache.invalidate(dep.Tag(1))
    drained = await drain()

    assert (drained.refreshed, drained.failed) == (["step 1", "step 2", "step 3"], {})


async def test_events_from_outside_have_no_chain(colour: Colour, drain: Drain) -> None:
    """25: however many there are."""

    @colour.cached(depends_on=[dep.Tag("t")])
    async def value() -> int:
        return 1

    await done(value())
    for _ in range(10):
        await colour.cache.invalidate(dep.Tag("t"))
        assert (await drain()).failed == {}
