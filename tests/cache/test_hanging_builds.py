"""Builds that hang: who has waited for one as long as it may is served what stands in for a build that fails."""

from datetime import timedelta
from typing import Any

import pytest

from everfresh import FOREVER, WaitTimeout
from everfresh.testing.clock import FakeClock
from tests.cache.fixtures import OpenCache
from tests.cache.making import Colour, Gate, done
from tests.cache.upstreams import Upstream

pytestmark = pytest.mark.redis


@pytest.fixture
def impatient(open_cache: OpenCache, url: str, colour: Colour) -> Colour:
    """Functions of a cache in which nobody waits for the build of another."""
    return Colour(open_cache(url, wait_timeout=timedelta(0)), is_async=colour.is_async)


async def hanging(impatient: Colour, gate: Gate, stale_if_error: timedelta) -> tuple[Any, Any]:
    """A function with an old value, whose build hangs until the gate is open; and that build."""
    upstream = Upstream(impatient.cache)

    @impatient.cached(depends_on=[upstream.tag], stale_if_error=stale_if_error)
    async def value() -> int:
        if upstream.value > 1:
            await gate.stop()
        return upstream.read()

    assert await done(value()) == 1
    await upstream.change(2)
    builder = impatient.start(value)
    await gate.reached()
    return value, builder


async def test_the_last_good_value_stands_in_for_a_build_that_hangs(impatient: Colour, gate: Gate) -> None:
    """For those who waited in vain it has failed, and `stale_if_error` says what they get then."""
    value, builder = await hanging(impatient, gate, FOREVER)

    served = await done(value())

    gate.open()
    assert (served, await builder) == (1, 2)


async def test_a_value_beyond_the_bound_does_not_stand_in(impatient: Colour, gate: Gate, clock: FakeClock) -> None:
    """It is too old for any failure."""
    value, builder = await hanging(impatient, gate, timedelta(seconds=5))
    clock.advance(5)

    with pytest.raises(WaitTimeout):
        await done(value())

    gate.open()
    assert await builder == 2


async def test_one_who_takes_nothing_old_is_told_that_it_waited(impatient: Colour, gate: Gate) -> None:
    """`fresh` is a call with both bounds at zero."""
    value, builder = await hanging(impatient, gate, FOREVER)

    with pytest.raises(WaitTimeout):
        await done(value.fresh())

    gate.open()
    assert await builder == 2
