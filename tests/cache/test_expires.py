"""`expires`: a lifetime, for those who want one, beside or instead of events."""

from datetime import timedelta
from typing import Any

import pytest

from everfresh import FOREVER, Cache, State
from everfresh.refresh import Worker
from everfresh.testing.clock import FakeClock
from everfresh.testing.waiting import soon
from tests.cache.making import Colour, done, entry_of
from tests.cache.recording import recording
from tests.cache.upstreams import Upstream

pytestmark = pytest.mark.redis


@pytest.mark.parametrize("expires", [60, 60.0, timedelta(minutes=1)], ids=repr)
async def test_a_value_lives_for_so_long(colour: Colour, upstream: Upstream, clock: FakeClock, expires: Any) -> None:  # noqa: ANN401 - as an option may be given
    """Seconds or a timedelta, from its commit."""

    @colour.cached(expires=expires)
    async def value() -> int:
        return upstream.read()

    values = [await done(value())]
    upstream.value = 2
    clock.advance(59.9)
    values += [await done(value()), await done(value())]
    clock.advance(0.1)
    values += [await done(value()), await done(value())]

    assert (values, upstream.n_read) == ([1, 1, 1, 2, 2], 2)


@pytest.mark.parametrize("expires", [None, FOREVER, float("inf")], ids=["none", "forever", "inf"])
async def test_without_an_end_nothing_ends(colour: Colour, upstream: Upstream, clock: FakeClock, expires: Any) -> None:  # noqa: ANN401 - as above
    """Only events touch it."""

    @colour.cached(expires=expires)
    async def value() -> int:
        return upstream.read()

    await done(value())
    clock.advance(1e9)
    await done(value())

    assert (upstream.n_read, (await entry_of(value)).expires_at) == (1, None)


async def test_an_event_comes_before_the_end(colour: Colour, upstream: Upstream) -> None:
    """A lifetime promises nothing."""

    @colour.cached(expires=3600, depends_on=[upstream.tag])
    async def value() -> int:
        return upstream.read()

    await done(value())
    await upstream.change(2)

    assert await done(value()) == 2


async def test_a_value_whose_time_ends_is_held_near_until_then(
    cache: Cache, upstream: Upstream, clock: FakeClock
) -> None:
    """It costs the store nothing, and is not served a moment longer."""

    @cache.cached(expires=60)
    def value() -> int:
        return upstream.read()

    for _ in range(2):
        value()
    clock.advance(59.9)
    with recording(cache) as steps:
        near = value()
    upstream.value = 2
    clock.advance(0.1)

    assert (near, steps.all, value()) == (1, [], 2)


async def test_a_nested_end_is_the_outer_values_too(colour: Colour, upstream: Upstream, clock: FakeClock) -> None:
    """Else the outer value would live on with what has ended."""

    @colour.cached(expires=60)
    async def inner() -> int:
        return upstream.read()

    @colour.cached(expires=3600)
    async def outer() -> int:
        return await done(inner()) * 10

    await done(outer())
    upstream.value = 2
    clock.advance(60)

    assert await done(outer()) == 20


async def test_an_ended_value_is_served_within_the_bounds(colour: Colour, upstream: Upstream, clock: FakeClock) -> None:
    """They count from the end."""

    @colour.cached(expires=60, stale_if_error=timedelta(seconds=30))
    async def value() -> int:
        return upstream.read()

    await done(value())
    upstream.is_broken = True
    clock.advance(89.9)

    assert await done(value()) == 1


async def test_a_worker_refreshes_it_when_its_time_ends(colour: Colour, upstream: Upstream, clock: FakeClock) -> None:
    """So that nobody waits."""

    @colour.cached(expires=60)
    async def value() -> int:
        return upstream.read()

    await done(value())
    upstream.value = 2
    clock.advance(60)
    async with Worker(colour.cache):
        await soon(lambda: upstream.n_read == 2, what="the refresh")
        await soon(lambda: _is_new(value), what="its commit")

    assert (await entry_of(value)).state is State.FRESH


async def _is_new(value: Any) -> bool:  # noqa: ANN401 - a function of either colour
    return (await entry_of(value)).version == 2
