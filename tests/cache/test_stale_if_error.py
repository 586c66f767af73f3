"""`stale_if_error`: how long the last good value stands in for a build that fails; what failing does to an entry."""

from datetime import timedelta

import pytest

from everfresh import FOREVER, State
from everfresh.testing.clock import FakeClock
from everfresh.testing.waiting import soon
from tests.cache.making import Colour, Gate, done, entry_of
from tests.cache.upstreams import Broken, Upstream

pytestmark = pytest.mark.redis
BOUND = timedelta(seconds=30)


async def test_without_a_bound_the_error_is_raised(colour: Colour, upstream: Upstream) -> None:
    """Zero unless said: a value known to be out of date is not passed off as good."""

    @colour.cached(depends_on=[upstream.tag])
    async def value() -> int:
        return upstream.read()

    await done(value())
    await upstream.break_down()

    with pytest.raises(Broken):
        await done(value())


@pytest.mark.parametrize("after_s", [0.0, 29.9])
async def test_within_the_bound_the_last_good_value_stands_in(
    colour: Colour, upstream: Upstream, clock: FakeClock, after_s: float
) -> None:
    """It counts from the event that made the value old."""

    @colour.cached(depends_on=[upstream.tag], stale_if_error=BOUND)
    async def value() -> int:
        return upstream.read()

    await done(value())
    clock.advance(1e6)
    await upstream.break_down()
    clock.advance(after_s)

    assert await done(value()) == 1


async def test_beyond_the_bound_the_error_is_raised(colour: Colour, upstream: Upstream, clock: FakeClock) -> None:
    """The bound is a promise."""

    @colour.cached(depends_on=[upstream.tag], stale_if_error=BOUND)
    async def value() -> int:
        return upstream.read()

    await done(value())
    await upstream.break_down()
    clock.advance(30.0)

    with pytest.raises(Broken):
        await done(value())


async def test_forever_stands_in_without_an_end(colour: Colour, upstream: Upstream, clock: FakeClock) -> None:
    """An upstream may be down for a year."""

    @colour.cached(depends_on=[upstream.tag], stale_if_error=FOREVER)
    async def value() -> int:
        return upstream.read()

    await done(value())
    await upstream.break_down()
    clock.advance(1e9)

    assert await done(value()) == 1


async def test_the_first_build_has_nothing_that_could_stand_in(colour: Colour, upstream: Upstream) -> None:
    """Then the error is raised whatever the bound."""
    upstream.is_broken = True

    @colour.cached(stale_if_error=FOREVER)
    async def value() -> int:
        return upstream.read()

    with pytest.raises(Broken):
        await done(value())


async def test_fresh_raises_whatever_the_bound(colour: Colour, upstream: Upstream) -> None:
    """Who is strict wants the error."""

    @colour.cached(depends_on=[upstream.tag], stale_if_error=FOREVER)
    async def value() -> int:
        return upstream.read()

    await done(value())
    await upstream.break_down()

    with pytest.raises(Broken):
        await done(value.fresh())


async def test_while_a_retry_is_not_due_a_reader_within_the_bound_does_not_build(
    colour: Colour, upstream: Upstream
) -> None:
    """An upstream that is down is not asked again by every reader."""

    @colour.cached(depends_on=[upstream.tag], stale_if_error=FOREVER)
    async def value() -> int:
        return upstream.read()

    await done(value())
    await upstream.break_down()
    for _ in range(5):
        await done(value())

    assert upstream.n_read == 2


async def test_a_failing_entry_keeps_its_value_and_says_why(colour: Colour, upstream: Upstream) -> None:
    """The last good value stays in the store, marked with since when, why, and how often it was tried."""

    @colour.cached(depends_on=[upstream.tag])
    async def value() -> int:
        return upstream.read()

    await done(value())
    await upstream.break_down()
    with pytest.raises(Broken):
        await done(value())
    entry = await entry_of(value)

    seen = (value.load(entry), entry.state, entry.stale_since, entry.reason, entry.attempts)
    assert seen == (1, State.DIRTY, 1_000_000.0, "Broken: the upstream is down", 1)


async def test_when_the_upstream_is_back_the_next_strict_reader_gets_the_new_value(
    colour: Colour, upstream: Upstream
) -> None:
    """A failure never sticks."""

    @colour.cached(depends_on=[upstream.tag])
    async def value() -> int:
        return upstream.read()

    await done(value())
    await upstream.break_down()
    with pytest.raises(Broken):
        await done(value())
    upstream.is_broken, upstream.value = False, 2

    assert await done(value()) == 2


async def test_after_max_attempts_an_entry_is_listed_as_failed(
    colour: Colour, upstream: Upstream, clock: FakeClock
) -> None:
    """Nobody tries again by itself."""

    @colour.cached(depends_on=[upstream.tag], max_attempts=2)
    async def value() -> int:
        return upstream.read()

    await done(value())
    await upstream.break_down()
    for _ in range(2):
        with pytest.raises(Broken):
            await done(value())
        clock.advance(0.5)
    entry = await entry_of(value)

    assert (entry.state, entry.attempts, entry.retry_at) == (State.FAILED, 2, None)


@pytest.mark.parametrize("after_s", [0.0, 1e6])
async def test_a_failed_entry_is_served_within_stale_if_error(
    colour: Colour, upstream: Upstream, clock: FakeClock, after_s: float
) -> None:
    """Readers within the bound build nothing, however long ago the last try was."""

    @colour.cached(depends_on=[upstream.tag], max_attempts=1, stale_if_error=FOREVER)
    async def value() -> int:
        return upstream.read()

    await done(value())
    await upstream.break_down()
    await done(value())
    clock.advance(after_s)

    assert (await done(value()), upstream.n_read) == (1, 2)


async def test_no_refresh_is_due_for_a_failed_entry(colour: Colour, upstream: Upstream) -> None:
    """So `stale_while_revalidate` does not speak for it: nothing is being revalidated."""

    @colour.cached(depends_on=[upstream.tag], max_attempts=1, stale_while_revalidate=FOREVER)
    async def value() -> int:
        return upstream.read()

    await done(value())
    await upstream.break_down()
    with pytest.raises(Broken):
        await done(value.fresh())

    with pytest.raises(Broken):
        await done(value())


async def test_an_event_revives_a_failed_entry(colour: Colour, upstream: Upstream) -> None:
    """The source has changed, so trying again makes sense; the count begins anew."""

    @colour.cached(depends_on=[upstream.tag], max_attempts=1)
    async def value() -> int:
        return upstream.read()

    await done(value())
    await upstream.break_down()
    with pytest.raises(Broken):
        await done(value())
    await upstream.announce()
    entry = await entry_of(value)

    assert (entry.state, entry.attempts) == (State.DIRTY, 0)


async def test_a_person_revives_a_failed_entry(colour: Colour, upstream: Upstream) -> None:
    """`refresh` builds whatever the state."""

    @colour.cached(depends_on=[upstream.tag], max_attempts=1)
    async def value() -> int:
        return upstream.read()

    await done(value())
    await upstream.break_down()
    with pytest.raises(Broken):
        await done(value())
    upstream.is_broken, upstream.value = False, 2
    await done(value.refresh())

    assert ((await entry_of(value)).state, await done(value())) == (State.FRESH, 2)


async def test_a_success_forgets_the_failures_before_it(colour: Colour, upstream: Upstream) -> None:
    """Attempts count failures in a row."""

    @colour.cached(depends_on=[upstream.tag])
    async def value() -> int:
        return upstream.read()

    await done(value())
    await upstream.break_down()
    with pytest.raises(Broken):
        await done(value())
    upstream.is_broken = False
    await done(value())
    entry = await entry_of(value)

    assert (entry.state, entry.attempts, entry.reason, entry.stale_since) == (State.FRESH, 0, "", None)


async def test_who_waits_for_a_build_that_fails_gets_the_error_or_the_stand_in(
    colour: Colour, upstream: Upstream, gate: Gate
) -> None:
    """Waiters share the outcome; each is served within the bounds of the function."""

    @colour.cached(depends_on=[upstream.tag], stale_if_error=FOREVER)
    async def value() -> int:
        if upstream.is_broken:
            await gate.stop()
        return upstream.read()

    await done(value())
    await upstream.break_down()
    readers = [colour.start(value) for _ in range(3)]
    strict = [colour.start(value.fresh) for _ in range(3)]
    await gate.reached()
    gate.open()

    assert [await reader for reader in readers] == [1] * 3
    for reader in strict:
        with pytest.raises(Broken):
            await reader


async def test_a_failing_refresh_in_the_background_goes_on_serving(
    colour: Colour, upstream: Upstream, clock: FakeClock
) -> None:
    """With both bounds FOREVER a reader never sees the upstream's trouble, and it is asked once per retry."""

    @colour.cached(depends_on=[upstream.tag], stale_while_revalidate=FOREVER, stale_if_error=FOREVER)
    async def value() -> int:
        return upstream.read()

    await done(value())
    await upstream.break_down()
    values = [await done(value())]
    await soon(lambda: _has_tried(value), what="the refresh in the background")
    values += [await done(value()) for _ in range(5)]

    assert (values, upstream.n_read) == ([1] * 6, 2)


async def _has_tried(function: object) -> bool:
    return (await entry_of(function)).attempts == 1  # type: ignore[arg-type]
