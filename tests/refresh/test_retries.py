"""What a worker does when a build fails: others go on, it is tried again with growing waits, and in the end listed."""
# ruff: noqa: ANN401 - values of any type are what is tested

from functools import partial
from typing import Any

import pytest

from everfresh import Notice, State
from everfresh.refresh import Worker
from everfresh.testing.clock import FakeClock
from everfresh.testing.waiting import soon
from tests.cache.fixtures import OpenCache
from tests.cache.making import Colour, done, entry_of, is_fresh
from tests.cache.upstreams import Upstream
from tests.refresh.ringing import Bell


@pytest.fixture
async def bell(colour: Colour) -> Bell:
    """Has the worker look at its queue."""
    bell = Bell(colour)
    await bell.hang()
    return bell


async def test_a_function_that_fails_does_not_stop_the_others(colour: Colour, upstream: Upstream) -> None:
    """Each entry's trouble is its own."""

    @colour.cached(depends_on=[upstream.tag])
    async def fails() -> int:
        return upstream.read()

    @colour.cached(depends_on=[upstream.tag])
    async def works() -> int:
        return upstream.value

    await done(fails())
    await done(works())
    async with Worker(colour.cache, concurrency=1):
        upstream.value = 2
        await upstream.break_down()
        await soon(lambda: is_fresh(works), what="the refresh of the other entry")

    assert await done(works.peek()) == 2


async def test_a_failing_refresh_keeps_the_old_value_and_says_why(colour: Colour, upstream: Upstream) -> None:
    """Conformance 16: marked stale with the reason, and due again."""

    @colour.cached(depends_on=[upstream.tag])
    async def value() -> int:
        return upstream.read()

    await done(value())
    async with Worker(colour.cache):
        await upstream.break_down()
        await soon(lambda: _has_tried(value, 1), what="the first try")
    entry = await entry_of(value)

    seen = (value.load(entry), entry.state, entry.reason, entry.retry_at)
    assert seen == (1, State.DIRTY, "Broken: the upstream is down", 1_000_000.5)


async def test_it_is_not_tried_again_before_the_wait_is_over(
    colour: Colour, upstream: Upstream, clock: FakeClock, bell: Bell
) -> None:
    """The wait is by the store's clock."""

    @colour.cached(depends_on=[upstream.tag])
    async def value() -> int:
        return upstream.read()

    await done(value())
    async with Worker(colour.cache):
        await upstream.break_down()
        await soon(lambda: _has_tried(value, 1), what="the first try")
        clock.advance(0.4)
        await bell.ring()

    assert upstream.n_read == 2


async def test_it_is_tried_again_when_the_wait_is_over(
    colour: Colour, upstream: Upstream, clock: FakeClock, bell: Bell
) -> None:
    """By the worker itself, without an event."""

    @colour.cached(depends_on=[upstream.tag])
    async def value() -> int:
        return upstream.read()

    await done(value())
    async with Worker(colour.cache):
        await upstream.break_down()
        await soon(lambda: _has_tried(value, 1), what="the first try")
        clock.advance(0.5)
        await bell.ring()
        await soon(lambda: _has_tried(value, 2), what="the second try")

    assert upstream.n_read == 3


async def test_waits_grow_from_try_to_try(colour: Colour, upstream: Upstream, clock: FakeClock, bell: Bell) -> None:
    """Each may be twice as long as the one before, up to five minutes. The dice of these tests always roll the most."""
    told: list[Notice] = []
    colour.cache.listen(told.append)

    @colour.cached(depends_on=[upstream.tag], max_attempts=12)
    async def value() -> int:
        return upstream.read()

    await done(value())
    async with Worker(colour.cache):
        await upstream.break_down()
        for attempt in range(1, 13):
            await soon(partial(_has_told, told, attempt), what=f"the notice of try {attempt}")
            clock.advance(300)
            await bell.ring()

    waits = [notice.fields["retry_in_s"] for notice in _failures(told)]
    assert waits == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 300.0, None]


@pytest.mark.parametrize(("roll", "wait_s"), [(0.0, 0.0), (0.5, 0.25), (1.0, 0.5)])
async def test_the_wait_is_anything_up_to_its_length(
    open_cache: OpenCache, url: str, roll: float, wait_s: float
) -> None:
    """Full jitter: many entries that failed together are not tried again together."""
    cache = open_cache(url, dice=lambda: roll)
    colour, upstream, told = Colour(cache, is_async=True), Upstream(cache), []
    cache.listen(told.append)

    @colour.cached(depends_on=[upstream.tag], max_attempts=2)
    async def value() -> int:
        return upstream.read()

    await done(value())
    async with Worker(cache):
        await upstream.break_down()
        await soon(lambda: _failures(told), what="the notice of the failure")

    assert _failures(told)[0].fields["retry_in_s"] == wait_s


async def test_after_max_attempts_it_is_left_alone(
    colour: Colour, upstream: Upstream, clock: FakeClock, bell: Bell
) -> None:
    """Listed as failed, until an event or a person retries it."""

    @colour.cached(depends_on=[upstream.tag], max_attempts=2)
    async def value() -> int:
        return upstream.read()

    await done(value())
    async with Worker(colour.cache):
        await upstream.break_down()
        await soon(lambda: _has_tried(value, 1), what="the first try")
        clock.advance(1)
        await bell.ring()
        await soon(lambda: _has_tried(value, 2), what="the second try")
        clock.advance(1e6)
        await bell.ring()
    entry = await entry_of(value)

    assert (entry.state, entry.retry_at, upstream.n_read) == (State.FAILED, None, 3)


async def test_an_event_has_a_failed_entry_refreshed(colour: Colour, upstream: Upstream) -> None:
    """Its source has changed, so it may work again."""

    @colour.cached(depends_on=[upstream.tag], max_attempts=1)
    async def value() -> int:
        return upstream.read()

    await done(value())
    async with Worker(colour.cache):
        await upstream.break_down()
        await soon(lambda: _has_tried(value, 1), what="the try")
        upstream.is_broken = False
        await upstream.change(2)
        await soon(lambda: is_fresh(value), what="the refresh")

    assert await done(value.peek()) == 2


async def test_an_event_does_not_wait_for_the_next_retry(colour: Colour, upstream: Upstream) -> None:
    """The clock stands still here: no retry ever falls due by itself."""

    @colour.cached(depends_on=[upstream.tag])
    async def value() -> int:
        return upstream.read()

    await done(value())
    async with Worker(colour.cache):
        await upstream.break_down()
        await soon(lambda: _has_tried(value, 1), what="the first try")
        upstream.is_broken = False
        await upstream.change(2)
        await soon(lambda: is_fresh(value), what="the refresh")

    assert upstream.n_read == 3


async def test_a_failing_inner_function_does_not_lose_the_outer_one(
    colour: Colour, upstream: Upstream, clock: FakeClock, bell: Bell
) -> None:
    """When the inner one is well again, the outer one follows."""

    @colour.cached(depends_on=[upstream.tag])
    async def inner() -> int:
        return upstream.read()

    @colour.cached()
    async def outer() -> int:
        return await done(inner()) * 10

    await done(outer())
    async with Worker(colour.cache):
        await upstream.break_down()
        await soon(lambda: _has_tried(inner, 1), what="the first try")
        upstream.is_broken, upstream.value = False, 2
        clock.advance(1)
        await bell.ring()
        await soon(lambda: is_fresh(outer), what="the outer value")

    assert await done(outer.peek()) == 20


def _has_told(told: list[Notice], n: int) -> bool:
    return len(_failures(told)) == n


def _failures(told: list[Notice]) -> list[Notice]:
    return [notice for notice in told if notice.name == "refresh.failed"]


async def _has_tried(function: Any, n: int) -> bool:
    return (await entry_of(function)).attempts == n
