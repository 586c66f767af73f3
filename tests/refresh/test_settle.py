"""Event before data: an upstream announces a change before it shows it, and the value is right in the end."""

from datetime import timedelta
from typing import Any

import pytest

from everfresh import Event, dep
from everfresh.refresh import Worker
from everfresh.testing.clock import FakeClock
from everfresh.testing.waiting import soon
from tests.cache.making import Colour, Gate, done, entry_of, is_fresh
from tests.cache.upstreams import Upstream
from tests.refresh.ringing import Bell

SETTLE = (timedelta(seconds=2), timedelta(seconds=30))


@pytest.fixture
async def bell(colour: Colour) -> Bell:
    """Has the worker look at its queue."""
    bell = Bell(colour)
    await bell.hang()
    return bell


def build_of(upstream: Upstream) -> Any:  # noqa: ANN401 - a body for either colour
    async def value() -> int:
        return upstream.read()

    return value


async def looks(bell: Bell, upstream: Upstream, n: int) -> None:
    """Until the function has run so many times."""
    await bell.ring()
    await soon(lambda: upstream.n_read == n, what=f"build {n}")
    # The build that was counted may not be committed yet; the next look finds it so.
    await bell.ring()


async def test_the_event_comes_before_the_data(
    colour: Colour, upstream: Upstream, clock: FakeClock, bell: Bell
) -> None:
    """Conformance 20: without anybody's word for it, an equal value is looked at again after each delay."""
    value = colour.cached(depends_on=[upstream.tag], settle=SETTLE)(build_of(upstream))
    await done(value())
    async with Worker(colour.cache):
        await upstream.announce()
        await looks(bell, upstream, 2)
        upstream.value = 2
        clock.advance(2)
        await soon(lambda: _shows(value, bell, 2), what="the new value")

    assert upstream.n_read == 3


async def test_not_before_the_delay(colour: Colour, upstream: Upstream, clock: FakeClock, bell: Bell) -> None:
    """The upstream was just asked."""
    value = colour.cached(depends_on=[upstream.tag], settle=SETTLE)(build_of(upstream))
    await done(value())
    async with Worker(colour.cache):
        await upstream.announce()
        await looks(bell, upstream, 2)
        clock.advance(1.9)
        await bell.ring()

    assert upstream.n_read == 2


async def test_meanwhile_the_value_counts_as_fresh(colour: Colour, upstream: Upstream, bell: Bell) -> None:
    """It is what the upstream shows; readers are not sent there again and again."""
    value = colour.cached(depends_on=[upstream.tag], settle=SETTLE)(build_of(upstream))
    await done(value())
    async with Worker(colour.cache):
        await upstream.announce()
        await looks(bell, upstream, 2)
        await soon(lambda: is_fresh(value), what="the commit")
        await done(value())

    assert upstream.n_read == 2


async def test_it_stops_at_the_first_changed_value(
    colour: Colour, upstream: Upstream, clock: FakeClock, bell: Bell
) -> None:
    """What the event told of is there."""
    value = colour.cached(depends_on=[upstream.tag], settle=SETTLE)(build_of(upstream))
    await done(value())
    async with Worker(colour.cache):
        await upstream.announce()
        await looks(bell, upstream, 2)
        upstream.value = 2
        clock.advance(2)
        await soon(lambda: _shows(value, bell, 2), what="the new value")
        clock.advance(3600)
        await bell.ring()

    assert upstream.n_read == 3


async def test_it_stops_after_the_last_delay(colour: Colour, upstream: Upstream, clock: FakeClock, bell: Bell) -> None:
    """The event changed nothing here, then."""
    value = colour.cached(depends_on=[upstream.tag], settle=SETTLE)(build_of(upstream))
    await done(value())
    async with Worker(colour.cache):
        await upstream.announce()
        await looks(bell, upstream, 2)
        clock.advance(2)
        await looks(bell, upstream, 3)
        clock.advance(28)
        await looks(bell, upstream, 4)
        clock.advance(3600)
        await bell.ring()

    assert (upstream.n_read, await is_fresh(value)) == (4, True)


async def test_a_build_that_began_before_the_delay_and_ended_after_it_has_not_looked(
    colour: Colour, upstream: Upstream, clock: FakeClock, bell: Bell, gate: Gate
) -> None:
    """It read what was shown before; so the look is still to come, and due at once."""

    @colour.cached(depends_on=[upstream.tag], settle=(timedelta(seconds=2),))
    async def value() -> int:
        number = upstream.read()
        if upstream.n_read == 2:
            await gate.stop()
        return number

    await done(value())
    async with Worker(colour.cache):
        await upstream.announce()
        await gate.reached()
        upstream.value = 2
        clock.advance(3)
        gate.open()
        await soon(lambda: _shows(value, bell, 2), what="the new value")

    assert upstream.n_read == 3


async def test_a_value_that_changed_for_another_reason_is_not_the_one_that_was_announced(
    colour: Colour, clock: FakeClock, bell: Bell
) -> None:
    """Conformance 20: with `settled` the event itself says what must be seen."""
    shown = {"version": 1, "n_read": 0}

    @colour.cached(
        depends_on=[dep.Topic("page.edited")],
        settle=SETTLE,
        settled=lambda event, value: value[0] >= event.body["version"],
    )
    async def page() -> list[int]:
        shown["n_read"] += 1
        return [shown["version"], shown["n_read"]]

    await done(page())
    async with Worker(colour.cache):
        await colour.cache.publish(Event("page.edited", {"version": 2}))
        # It is another value each time, yet not the one that was announced.
        await soon(lambda: shown["n_read"] == 2, what="the first build")
        await bell.ring()
        clock.advance(2)
        await bell.ring()
        await soon(lambda: shown["n_read"] == 3, what="the second look")
        await bell.ring()
        shown["version"] = 2
        clock.advance(28)
        await soon(lambda: _begins_with(page, bell, 2), what="the announced value")

    assert (await done(page.peek()))[0] == 2


async def test_a_value_that_shows_the_event_at_once_is_not_looked_at_again(
    colour: Colour, clock: FakeClock, bell: Bell
) -> None:
    """Even if it is equal to the one before: `settled` knows."""
    n_read = [0]

    @colour.cached(depends_on=[dep.Topic("page.edited")], settle=SETTLE, settled=lambda event, value: True)
    async def page() -> int:
        n_read[0] += 1
        return 1

    await done(page())
    async with Worker(colour.cache):
        await colour.cache.publish(Event("page.edited"))
        await soon(lambda: n_read[0] == 2, what="the build")
        await bell.ring()
        clock.advance(3600)
        await bell.ring()

    assert n_read == [2]


async def _shows(value: Any, bell: Bell, number: int) -> bool:  # noqa: ANN401 - of either colour
    await bell.ring()
    return await done(value.peek()) == number and (await entry_of(value)).stale_since is None


async def _begins_with(value: Any, bell: Bell, number: int) -> bool:  # noqa: ANN401 - as above
    await bell.ring()
    return (await done(value.peek()))[0] == number
