"""Conformance 23: two events may be answered by one run, but never by a run that began before the second."""

from datetime import timedelta

from everfresh import Event, dep, track
from everfresh.refresh import Worker
from everfresh.testing.clock import FakeClock
from everfresh.testing.plugin import Drain
from everfresh.testing.waiting import soon
from tests.cache.making import Colour, Gate, done, is_fresh
from tests.cache.upstreams import Upstream

SECOND = timedelta(seconds=1)
EVENT = Event("page.edited", {"page": 1})


async def test_the_same_event_twice_within_a_second_is_one_run(
    colour: Colour, upstream: Upstream, clock: FakeClock, drain: Drain
) -> None:
    """23: with `debounce` of a second."""

    @colour.cached(depends_on=[dep.Topic("page.edited")], debounce=SECOND)
    async def value() -> int:
        return upstream.read()

    await done(value())
    for _ in range(2):
        await colour.cache.publish(EVENT)
        clock.advance(0.5)
        await drain()
    clock.advance(3600)
    await drain()

    assert upstream.n_read == 2


async def test_an_update_during_a_coalesced_run_is_not_lost(colour: Colour, upstream: Upstream, gate: Gate) -> None:
    """23: the run may have read the fact before it changed, so there is another."""

    @colour.cached(depends_on=[dep.Topic("page.edited")])
    async def value() -> int:
        found = upstream.read()
        if upstream.n_read == 2:
            await gate.stop()
        return found

    await done(value())
    async with Worker(colour.cache):
        await colour.cache.publish(EVENT, EVENT)
        await gate.reached()
        upstream.value = 2
        await colour.cache.publish(EVENT)
        gate.open()
        await soon(lambda: is_fresh(value), what="the second run")

    assert (await done(value.peek()), upstream.n_read) == (2, 3)


async def test_an_update_after_a_coalesced_run_is_not_lost(
    colour: Colour, upstream: Upstream, clock: FakeClock, drain: Drain
) -> None:
    """23: even within the second in which the same event was answered."""

    @colour.cached(depends_on=[dep.Topic("page.edited")], debounce=SECOND)
    async def value() -> int:
        return upstream.read()

    await done(value())
    await colour.cache.publish(EVENT, EVENT)
    clock.advance(1)
    await drain()
    upstream.value = 2
    await colour.cache.publish(EVENT)
    clock.advance(1)
    await drain()

    assert (await done(value.peek()), upstream.n_read) == (2, 3)


async def test_an_update_during_the_first_run_is_not_lost(
    colour: Colour, upstream: Upstream, gate: Gate, drain: Drain
) -> None:
    """23: not even when nobody could know yet that this entry hangs on it; its reader does not wait for ever either."""

    @colour.cached()
    async def value() -> int:
        track(dep.Topic("page.edited"))
        found = upstream.read()
        if upstream.n_read == 1:
            await gate.stop()
        return found

    reader = colour.start(value)
    await gate.reached()
    upstream.value = 2
    await colour.cache.publish(EVENT)
    gate.open()
    await reader
    await drain()

    assert (await done(value.peek()), await is_fresh(value), upstream.n_read) == (2, True, 2)
