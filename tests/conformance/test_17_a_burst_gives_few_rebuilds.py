"""Conformance 17: what comes while a refresh is waiting or running is answered together."""

from datetime import timedelta

from everfresh import FOREVER, Event, dep
from everfresh.refresh import Worker
from everfresh.testing.clock import FakeClock
from everfresh.testing.plugin import Drain
from everfresh.testing.waiting import soon
from tests.cache.making import Colour, Gate, done, is_fresh
from tests.cache.upstreams import Upstream


async def test_a_hundred_events_during_a_build_give_one_more(colour: Colour, upstream: Upstream, gate: Gate) -> None:
    """17: the first event sets a build off; the other 99 come during it, and one more build answers them all."""

    @colour.cached(depends_on=[dep.Topic("counter")])
    async def value() -> int:
        found = upstream.read()
        if upstream.n_read == 2:
            await gate.stop()
        return found

    await done(value())
    async with Worker(colour.cache):
        for number in range(100):
            upstream.value = number
            await colour.cache.publish(Event("counter", {"step": 1}))
            if number == 0:
                await gate.reached()
        gate.open()
        await soon(lambda: is_fresh(value), what="the last refresh")

    assert (await done(value.peek()), upstream.n_read) == (99, 3)


async def test_a_hundred_events_before_a_build_give_one(colour: Colour, upstream: Upstream, drain: Drain) -> None:
    """17: an entry is in the queue once."""

    @colour.cached(depends_on=[dep.Topic("counter")])
    async def value() -> int:
        return upstream.read()

    await done(value())
    for number in range(100):
        upstream.value = number
        await colour.cache.publish(Event("counter"))
    drained = await drain()

    assert (drained.refreshed, await done(value()), upstream.n_read) == ([value.key()], 99, 2)


async def test_a_burst_is_waited_out(colour: Colour, upstream: Upstream, drain: Drain, clock: FakeClock) -> None:
    """17: with `debounce`, a stream of events a tenth of a second apart is one rebuild, after the last of them."""

    @colour.cached(depends_on=[dep.Topic("counter")], debounce=timedelta(seconds=1), max_wait=FOREVER)
    async def value() -> int:
        return upstream.read()

    await done(value())
    for number in range(100):
        upstream.value = number
        await colour.cache.publish(Event("counter"))
        clock.advance(0.1)
        assert (await drain()).refreshed == []
    clock.advance(1)
    await drain()

    assert (await done(value()), upstream.n_read) == (99, 2)


async def test_a_burst_without_an_end_is_answered_all_the_same(
    colour: Colour, upstream: Upstream, drain: Drain, clock: FakeClock
) -> None:
    """17: `max_wait` bounds the waiting, from the first event on."""

    @colour.cached(depends_on=[dep.Topic("counter")], debounce=timedelta(seconds=1), max_wait=timedelta(seconds=4.75))
    async def value() -> int:
        return upstream.read()

    await done(value())
    refreshed_after: list[float] = []
    for step in range(1, 21):
        await colour.cache.publish(Event("counter"))
        clock.advance(0.5)
        if (await drain()).refreshed:
            refreshed_after.append(step * 0.5)

    assert refreshed_after == [5.0, 10.0]
