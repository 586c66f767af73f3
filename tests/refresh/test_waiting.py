"""Events that come together lead to one refresh: `debounce`, `max_wait`, and what happens in the middle of one."""

from datetime import timedelta
from typing import Any

import pytest

from everfresh.refresh import Worker
from everfresh.testing.clock import FakeClock
from everfresh.testing.waiting import soon
from tests.cache.making import Colour, Gate, done, is_fresh
from tests.cache.upstreams import Upstream
from tests.refresh.ringing import Bell

TWO_S = timedelta(seconds=2)


@pytest.fixture
async def bell(colour: Colour) -> Bell:
    """Has the worker look at its queue."""
    bell = Bell(colour)
    await bell.hang()
    return bell


async def test_what_is_due_in_two_seconds_does_not_run_before(
    colour: Colour, upstream: Upstream, clock: FakeClock, bell: Bell
) -> None:
    """Conformance 22."""

    @colour.cached(depends_on=[upstream.tag], debounce=TWO_S)
    async def value() -> int:
        return upstream.read()

    await done(value())
    async with Worker(colour.cache):
        await upstream.change(2)
        clock.advance(1.9)
        await bell.ring()
        n_read_before = upstream.n_read
        clock.advance(0.1)
        await bell.ring()
        await soon(lambda: is_fresh(value), what="the refresh")

    assert (n_read_before, upstream.n_read, await done(value.peek())) == (1, 2, 2)


async def test_the_same_event_twice_within_the_debounce_is_one_run(
    colour: Colour, upstream: Upstream, clock: FakeClock, bell: Bell
) -> None:
    """Conformance 23: and the run waits for the second one's quiet time."""

    @colour.cached(depends_on=[upstream.tag], debounce=TWO_S)
    async def value() -> int:
        return upstream.read()

    await done(value())
    async with Worker(colour.cache):
        await upstream.change(2)
        clock.advance(1)
        await upstream.change(3)
        clock.advance(1.5)
        await bell.ring()
        n_read_between = upstream.n_read
        clock.advance(0.5)
        await bell.ring()
        await soon(lambda: is_fresh(value), what="the refresh")
        clock.advance(10)
        await bell.ring()

    assert (n_read_between, upstream.n_read, await done(value.peek())) == (1, 2, 3)


async def test_a_stream_of_events_is_answered_within_the_longest_wait(
    colour: Colour, upstream: Upstream, clock: FakeClock, bell: Bell
) -> None:
    """Else a busy source would never be shown at all."""

    @colour.cached(depends_on=[upstream.tag], debounce=TWO_S, max_wait=timedelta(seconds=5))
    async def value() -> int:
        return upstream.read()

    await done(value())
    async with Worker(colour.cache):
        for number in range(2, 7):
            await upstream.change(number)
            clock.advance(1)
        await bell.ring()
        await soon(lambda: is_fresh(value), what="the refresh")

    assert (upstream.n_read, await done(value.peek())) == (2, 6)


async def test_an_event_during_a_coalesced_run_is_not_lost(
    colour: Colour, upstream: Upstream, clock: FakeClock, bell: Bell, gate: Gate
) -> None:
    """Conformance 23: the run may have read what was before it, so there is another, after the debounce."""

    @colour.cached(depends_on=[upstream.tag], debounce=TWO_S)
    async def value() -> int:
        number = upstream.read()
        if number == 2:
            await gate.stop()
        return number

    await done(value())
    async with Worker(colour.cache):
        await upstream.change(2)
        clock.advance(2)
        await bell.ring()
        await gate.reached()
        await upstream.change(3)
        gate.open()
        await soon(lambda: _is_stored(value, 2), what="the first run")
        clock.advance(2)
        await soon(lambda: _is_fresh_after_a_look(colour, bell, value), what="the second run")

    assert (await done(value.peek()), upstream.n_read) == (3, 3)


async def test_an_event_after_a_coalesced_run_is_not_lost(
    colour: Colour, upstream: Upstream, clock: FakeClock, bell: Bell
) -> None:
    """Conformance 23: it begins a debounce of its own."""

    @colour.cached(depends_on=[upstream.tag], debounce=TWO_S)
    async def value() -> int:
        return upstream.read()

    await done(value())
    async with Worker(colour.cache):
        for number in (2, 3):
            await upstream.change(number)
            clock.advance(2)
            await bell.ring()
            await soon(lambda: is_fresh(value), what="the refresh")

    assert (await done(value.peek()), upstream.n_read) == (3, 3)


async def test_a_reader_does_not_wait_for_the_debounce(colour: Colour, upstream: Upstream) -> None:
    """It bounds how often a worker builds, not how old a value may be."""

    @colour.cached(depends_on=[upstream.tag], debounce=TWO_S)
    async def value() -> int:
        return upstream.read()

    await done(value())
    async with Worker(colour.cache):
        await upstream.change(2)

        assert await done(value()) == 2


async def test_a_burst_of_equal_events_gives_few_rebuilds(colour: Colour, upstream: Upstream, gate: Gate) -> None:
    """Conformance 17: a hundred of them, the first build being under way; and the last value is right."""

    @colour.cached(depends_on=[upstream.tag])
    async def value() -> int:
        number = upstream.read()
        if number == 2:
            await gate.stop()
        return number

    await done(value())
    async with Worker(colour.cache):
        await upstream.change(2)
        await gate.reached()
        for number in range(3, 102):
            await upstream.change(number)
        gate.open()
        await soon(lambda: is_fresh(value), what="the last value")

    assert (await done(value.peek()), upstream.n_read) == (101, 3)


async def _is_stored(value: Any, number: int) -> bool:  # noqa: ANN401 - of either colour
    return await done(value.peek()) == number


async def _is_fresh_after_a_look(colour: Colour, bell: Bell, value: Any) -> bool:  # noqa: ANN401 - as above
    await bell.ring()
    return await is_fresh(value)
