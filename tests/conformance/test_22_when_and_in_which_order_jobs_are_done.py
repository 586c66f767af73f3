"""Conformance 22: the queue keeps to times, priorities and ends."""

from datetime import timedelta

from everfresh import Notice, dep
from everfresh.testing.clock import FakeClock
from everfresh.testing.plugin import Drain
from tests.cache.making import Colour, done
from tests.cache.upstreams import Upstream


async def test_what_is_due_in_two_seconds_does_not_run_before(
    colour: Colour, upstream: Upstream, clock: FakeClock, drain: Drain
) -> None:
    """22: not at once, not a moment too early, and then it does."""

    @colour.cached(depends_on=[upstream.tag], debounce=timedelta(seconds=2))
    async def value() -> int:
        return upstream.read()

    await done(value())
    await upstream.change(2)
    at_once = await drain()
    clock.advance(1.99)
    early = await drain()
    clock.advance(0.01)
    in_time = await drain()

    assert (at_once.refreshed, at_once.next_s, early.refreshed) == ([], 2.0, [])
    assert (in_time.refreshed, upstream.n_read) == ([value.key()], 2)


async def test_the_higher_priority_goes_first(colour: Colour, drain: Drain) -> None:
    """22: of what fell due together, whatever the order of the events."""
    for name, priority in [("low", -1), ("high", 1), ("middle", 0)]:

        @colour.cached(depends_on=[dep.Tag(name)], key=name, priority=priority, version=priority + 2)
        async def value() -> int:
            return 1

        await done(value())
    for name in ("low", "middle", "high"):
        await colour.cache.invalidate(dep.Tag(name))

    assert (await drain()).refreshed == ["high", "middle", "low"]


async def test_the_low_priority_is_not_starved(colour: Colour, clock: FakeClock, drain: Drain) -> None:
    """22: who waited long enough goes before a higher one that came just now."""

    @colour.cached(depends_on=[dep.Tag("low")], key="low")
    async def low() -> int:
        return 1

    @colour.cached(depends_on=[dep.Tag(dep.arg("n"))], key="high {n}", priority=3)
    async def high(n: int) -> int:
        return n

    await done(low())
    for n in range(10):
        await done(high(n))
    await colour.cache.invalidate(dep.Tag("low"))
    for n in range(5):
        await colour.cache.invalidate(dep.Tag(n))
    clock.advance(181)
    for n in range(5, 10):
        await colour.cache.invalidate(dep.Tag(n))
    order = (await drain()).refreshed

    assert [order.index(low.key()), len(order)] == [5, 11]


async def test_an_expired_job_is_dropped_and_reported(
    colour: Colour, upstream: Upstream, clock: FakeClock, drain: Drain
) -> None:
    """22: the entry goes, so that nobody is served it, and a notice says so; nothing is built in vain."""
    told: list[Notice] = []
    colour.cache.listen(told.append)

    @colour.cached(depends_on=[upstream.tag], job_expires=timedelta(seconds=60))
    async def value() -> int:
        return upstream.read()

    await done(value())
    await upstream.change(2)
    clock.advance(60.1)
    drained = await drain()

    assert (drained.refreshed, drained.dropped, upstream.n_read) == ([], [value.key()], 1)
    assert [notice.fields["key"] for notice in told if notice.name == "job.expired"] == [value.key()]
    assert (await done(value.peek()), await done(value())) == (None, 2)
