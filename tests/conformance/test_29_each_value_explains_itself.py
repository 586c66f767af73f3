"""Conformance 29: how fresh, touched by what, touched by what next, and built by whom."""

from everfresh import Event, State, dep
from everfresh.testing.clock import FakeClock
from everfresh.testing.plugin import Drain
from tests.cache.by_hand import ByHand
from tests.cache.making import Colour, done


async def test_a_value_says_how_fresh_it_is_and_which_event_touched_it_last(
    colour: Colour, clock: FakeClock, drain: Drain
) -> None:
    """29: before the event, after it, and after the refresh."""

    @colour.cached(depends_on=[dep.Topic("bug.*", where={"id": dep.arg("number")})])
    async def bug(number: int) -> int:
        return number

    await done(bug(7))
    fresh = await done(bug.explain(7))
    clock.advance(10)
    await colour.cache.publish(Event("bug.update", {"id": 7}, id="m-1"))
    clock.advance(5)
    dirty = await done(bug.explain(7))
    await drain()
    again = await done(bug.explain(7))

    assert [one.state for one in (fresh, dirty, again)] == [State.FRESH, State.DIRTY, State.FRESH]
    assert (fresh.events, dirty.events, again.events) == ((), ("event bug.update m-1",), ("event bug.update m-1",))
    assert (dirty.why, dirty.at - (dirty.stale_since or 0)) == ("event bug.update m-1", 5.0)
    assert (fresh.at - fresh.built_at, dirty.at - dirty.built_at, again.at - again.built_at) == (0.0, 15.0, 0.0)


async def test_a_value_says_which_events_would_touch_it(colour: Colour) -> None:
    """29: in the words in which they are declared; and that is true."""

    @colour.cached(depends_on=[dep.Topic("bug.*", where={"id": dep.arg("number")}), dep.Tag("all")])
    async def bug(number: int) -> int:
        return number

    await done(bug(7))
    explained = await done(bug.explain(7))

    assert set(explained.dependencies) == {"topic bug.* where id = 7", "tag all"}
    assert await colour.cache.touched_by(Event("bug.new", {"id": 7})) == [bug.key(7)]


async def test_a_value_says_who_rebuilt_it(colour: Colour, drain: Drain) -> None:
    """29: a reader, or a worker; with what it was built from, and what was built from it."""

    @colour.cached(depends_on=[dep.Tag("t")])
    async def inner() -> int:
        return 1

    @colour.cached()
    async def outer() -> int:
        return await done(inner())

    await done(outer())
    by_reader = await done(inner.explain())
    await colour.cache.invalidate(dep.Tag("t"))
    await drain()
    by_worker = await done(inner.explain())

    assert [one.built_by.split()[0] for one in (by_reader, by_worker)] == ["reader", "worker"]
    assert ((await done(outer.explain())).built_from, by_worker.used_by) == ((inner.key(),), (outer.key(),))


async def test_printed_it_answers_all_of_that(by_hand: ByHand) -> None:
    """29: for a value that was put, too."""
    await by_hand.put("homepage", "text", dep.Id("article", 1), expires=30)

    lines = [line.strip() for line in str(await by_hand.explain("homepage")).splitlines()]

    assert lines[0] == "homepage"
    assert lines[1].startswith("fresh: ")
    assert {"id article 1", "lifetime: ends in 30 s"} <= set(lines)
    assert any("put by hand" in line for line in lines)
