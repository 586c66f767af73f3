"""What people are told of values that are over by time while no worker runs: they wait to be built."""

from datetime import timedelta

import pytest

from everfresh import State, dep
from everfresh.testing.clock import FakeClock
from tests.cache.by_hand import ByHand
from tests.cache.making import Colour, done, entry_of

pytestmark = pytest.mark.redis

TAG = dep.Tag("t")


async def test_a_value_whose_lifetime_is_over_is_not_told_as_fresh(colour: Colour, clock: FakeClock) -> None:
    """The next reader builds it; so it is dirty, for whoever looks at it, lists it or counts it."""

    @colour.cached(expires=10, key="value")
    async def value() -> int:
        return 1

    await done(value())
    clock.advance(10)

    assert (await entry_of(value)).state is State.DIRTY
    assert await colour.cache.entries(state="fresh") == []
    assert [(one.key, one.state) for one in await colour.cache.entries(state="dirty")] == [("value", State.DIRTY)]
    assert dict((await colour.cache.coverage()).n_by_state) == {State.DIRTY: 1}


async def test_a_value_is_fresh_to_the_end_of_its_lifetime(colour: Colour, clock: FakeClock) -> None:
    """Not a moment less."""

    @colour.cached(expires=10, key="value")
    async def value() -> int:
        return 1

    await done(value())
    clock.advance(9.5)

    assert (await entry_of(value)).state is State.FRESH
    assert [one.key for one in await colour.cache.entries(state="fresh")] == ["value"]
    assert dict((await colour.cache.coverage()).n_by_state) == {State.FRESH: 1}


async def test_a_value_that_waits_for_another_look_is_not_told_as_fresh(colour: Colour, clock: FakeClock) -> None:
    """Its event announced data that was not there yet; once it is time to look, the value is not believed."""

    @colour.cached(depends_on=[TAG], settle=(timedelta(seconds=2),), key="value")
    async def value() -> int:
        return 1

    await done(value())
    await colour.cache.invalidate(TAG)
    await done(value())
    before = [one.key for one in await colour.cache.entries(state="fresh")]
    clock.advance(2)
    explained = await colour.cache.explain("value")

    assert before == ["value"]
    assert [one.key for one in await colour.cache.entries(state="dirty")] == ["value"]
    assert dict((await colour.cache.coverage()).n_by_state) == {State.DIRTY: 1}
    assert (await entry_of(value)).state is explained.state is State.DIRTY
    assert (explained.why, explained.waits_for) == ("another look is due", "another look, due now")


async def test_what_is_over_and_built_again_is_fresh(colour: Colour, clock: FakeClock) -> None:
    """With a lifetime of its own."""

    @colour.cached(expires=10, key="value")
    async def value() -> int:
        return 1

    await done(value())
    clock.advance(10)
    await done(value())

    assert [one.key for one in await colour.cache.entries(state="fresh")] == ["value"]


async def test_what_ends_by_itself_does_not_only_go_by_hand(by_hand: ByHand) -> None:
    """`explain` says what touches a value, and whether anything but a hand takes it away."""
    await by_hand.put("ends", 1, expires=60)
    await by_hand.put("stays", 1)

    told = {key: str(await by_hand.explain(key)).splitlines() for key in ("ends", "stays")}

    assert "  touched by: nothing" in told["ends"]
    assert "  touched by: nothing; only delete, or drop, takes it away" in told["stays"]


async def test_why_a_value_that_is_over_is_not_fresh_is_explained(colour: Colour, clock: FakeClock) -> None:
    """As it is told elsewhere."""

    @colour.cached(expires=10, on_change="drop", stale_if_error=timedelta(hours=1), key="value")
    async def value() -> int:
        return 1

    await done(value())
    clock.advance(12)
    explained = await colour.cache.explain("value")

    assert (explained.state, explained.why) == (State.DIRTY, "its lifetime is over")
    assert explained.waits_for == "its end, due for 2 s, then the next reader builds it"
