"""Conformance 16: what was built once is there until something better is."""

from everfresh import FOREVER, State
from everfresh.refresh import Worker
from everfresh.testing.clock import FakeClock
from everfresh.testing.plugin import Drain
from everfresh.testing.waiting import soon
from tests.cache.making import Colour, Gate, done, entry_of, is_fresh
from tests.cache.upstreams import Upstream


async def test_after_a_rebuild_the_next_request_is_a_hit(colour: Colour, upstream: Upstream, drain: Drain) -> None:
    """16: nobody who asks has to build."""

    @colour.cached(depends_on=[upstream.tag])
    async def value() -> int:
        return upstream.read()

    await done(value())
    await upstream.change(2)
    await drain()
    n_before = upstream.n_read

    assert (await done(value()), upstream.n_read - n_before) == (2, 0)


async def test_while_it_is_rebuilt_the_old_value_is_served(colour: Colour, upstream: Upstream, gate: Gate) -> None:
    """16: at every moment there is a value, to those who take an old one."""

    @colour.cached(depends_on=[upstream.tag], stale_while_revalidate=FOREVER)
    async def value() -> int:
        found = upstream.read()
        if found > 1:
            await gate.stop()
        return found

    await done(value())
    async with Worker(colour.cache):
        await upstream.change(2)
        await gate.reached()
        during = await done(value())
        gate.open()
        await soon(lambda: is_fresh(value), what="the refresh")

    assert (during, await done(value()), upstream.n_read) == (1, 2, 2)


async def test_a_failing_rebuild_keeps_the_old_value_says_why_and_is_tried_again(
    colour: Colour, upstream: Upstream, drain: Drain, clock: FakeClock
) -> None:
    """16: marked stale since the event, with the reason; the next try heals it."""

    @colour.cached(depends_on=[upstream.tag], stale_while_revalidate=FOREVER, stale_if_error=FOREVER)
    async def value() -> int:
        return upstream.read()

    await done(value())
    upstream.value = 2
    await upstream.break_down()
    broken_at = clock()
    clock.advance(1)
    drained = await drain()
    served, entry = await done(value()), await entry_of(value)
    upstream.is_broken = False
    assert drained.next_s is not None
    clock.advance(drained.next_s)
    again = await drain()

    assert (served, entry.state, entry.stale_since, entry.attempts) == (1, State.DIRTY, broken_at, 1)
    assert entry.reason == "Broken: the upstream is down"
    assert (again.refreshed, await done(value()), (await entry_of(value)).stale_since) == ([value.key()], 2, None)
