"""A clock that is set back, by a person or a time server, makes nothing wrong: no promise hangs on it."""

import pytest

from everfresh.testing.clock import FakeClock
from tests.cache.making import Colour, done
from tests.cache.upstreams import Broken, Upstream

pytestmark = pytest.mark.redis


async def test_no_old_value_is_served_to_a_strict_reader(colour: Colour, upstream: Upstream, clock: FakeClock) -> None:
    """A bound of zero is zero, also for a value that becomes old in the future."""

    @colour.cached(depends_on=[upstream.tag])
    async def value() -> int:
        return upstream.read()

    await done(value())
    await upstream.change(2)
    clock.advance(-60)

    assert await done(value()) == 2


async def test_no_old_value_stands_in_for_a_strict_reader(colour: Colour, upstream: Upstream, clock: FakeClock) -> None:
    """The error is raised, as without the step."""

    @colour.cached(depends_on=[upstream.tag])
    async def value() -> int:
        return upstream.read()

    await done(value())
    await upstream.break_down()
    clock.advance(-60)

    with pytest.raises(Broken):
        await done(value())
