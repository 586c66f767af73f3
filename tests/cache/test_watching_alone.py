"""Watching where no worker runs: time alone tells nobody, so whoever watches looks at the clock."""

import asyncio
import math
from datetime import timedelta

import msgspec
import pytest

from everfresh import FOREVER, Entry, Key, Position, State, track
from everfresh.cache.watching import Watched, wait_s
from everfresh.model.clock import wall_clock
from everfresh.model.dependency import Undescribed
from everfresh.protocol.requests import Policy
from everfresh.testing.waiting import soon
from tests.cache.fixtures import OpenCache
from tests.cache.making import CachedFunction, Colour, entry_of
from tests.cache.upstreams import Upstream

NOW = 1_000.0
SOON = timedelta(milliseconds=30)
LATER = timedelta(seconds=2)
ENTRY = Entry(
    key=Key("k"),
    function="f",
    state=State.FRESH,
    version=1,
    value=b"",
    digest="d",
    position=Position("e", 1),
    changed_at=Position("e", 1),
    built_at=NOW,
    build_s=0.0,
)
STALE = msgspec.structs.replace(ENTRY, state=State.DIRTY, stale_since=NOW - 1)


@pytest.fixture
def colour(request: pytest.FixtureRequest, open_cache: OpenCache, url: str) -> Colour:
    """Both colours in a cache that goes by the real time, and tries again what failed after a moment."""
    cache = open_cache(url, clock=wall_clock, dice=lambda: 0.02)
    return Colour(cache, is_async=request.param == "asyncio")


both_colours = pytest.mark.parametrize("colour", ["blocking", "asyncio"], indirect=True)


@both_colours
async def test_a_value_whose_lifetime_ends_is_built_again_for_who_watches(colour: Colour, upstream: Upstream) -> None:
    """The next reader builds, and who watches is that."""

    @colour.cached(expires=SOON)
    async def value() -> int:
        upstream.read()
        return upstream.n_read

    async with colour.watching(value) as watch:
        assert [await watch.next() for _ in range(3)] == [1, 2, 3]


@both_colours
async def test_who_watches_a_stand_in_is_told_when_the_upstream_is_well(colour: Colour, upstream: Upstream) -> None:
    """The next try is due by time alone, and nobody announces that it will do."""

    @colour.cached(depends_on=[upstream.tag], stale_if_error=FOREVER, max_attempts=1_000)
    async def value() -> int:
        return upstream.read()

    async with colour.watching(value) as watch:
        seen = [await watch.next()]
        await upstream_breaks(colour, upstream)
        coming = asyncio.create_task(watch.next())
        await soon(lambda: upstream.n_read > 1, what="a build that fails")
        upstream.is_broken, upstream.value = False, 2
        seen.append(await coming)

    assert seen == [1, 2]


async def upstream_breaks(colour: Colour, upstream: Upstream) -> None:
    """It fails from now on, and the event reaches the cache of the colour."""
    upstream.is_broken = True
    await colour.cache.invalidate(upstream.tag)


@both_colours
async def test_so_is_who_watches_an_old_value_whose_refresh_failed(colour: Colour, upstream: Upstream) -> None:
    """That was in the background, where a failure is no news."""

    @colour.cached(depends_on=[upstream.tag], stale_while_revalidate=FOREVER, max_attempts=1_000)
    async def value() -> int:
        return upstream.read()

    async with colour.watching(value) as watch:
        seen = [await watch.next()]
        await upstream_breaks(colour, upstream)
        coming = asyncio.create_task(watch.next())
        await soon(lambda: _has_failed(value), what="a refresh that fails")
        upstream.is_broken, upstream.value = False, 2
        seen.append(await coming)

    assert seen == [1, 2]


async def _has_failed(value: CachedFunction[[], int]) -> bool:
    return (await entry_of(value)).attempts > 0


@both_colours
async def test_who_watches_looks_again_after_an_event_that_came_before_its_data(
    colour: Colour, upstream: Upstream
) -> None:
    """As `settle` asks for; the data comes with the third build, and nobody announces that."""

    # On a machine that is busy the second build begins so late that it counts as the first look: there is another then.
    @colour.cached(depends_on=[upstream.tag], settle=(SOON, LATER))
    async def value() -> int:
        upstream.read()
        return 1 if upstream.n_read < 3 else 2

    async with colour.watching(value) as watch:
        seen = [await watch.next()]
        await colour.cache.invalidate(upstream.tag)
        seen.append(await watch.next())

    assert (seen, upstream.n_read) == ([1, 2], 3)


async def test_a_value_that_is_not_kept_is_not_built_without_a_pause(
    open_cache: OpenCache, url: str, upstream: Upstream
) -> None:
    """That it is gone again is told by its own build alone."""
    for is_async in (False, True):
        colour = Colour(open_cache(url, production_mode=True), is_async=is_async)
        upstream.n_read = 0

        @colour.cached()
        async def value() -> int:
            track(Undescribed("article", ("author",)))
            return upstream.read()

        @colour.cached()
        async def other(number: int) -> int:
            return number

        async with colour.watching(value) as watch:
            await watch.next()
            coming = asyncio.create_task(watch.next())
            for number in range(200):
                await colour.start(other, number)
            n_read, upstream.value = upstream.n_read, 2

            # In the time of so many builds there would be about as many; a pause is half a second, and then longer.
            assert (await coming, n_read < 20) == (2, True)
        upstream.value = 1


async def test_who_watches_can_always_be_cancelled(open_cache: OpenCache, url: str) -> None:
    """Also when the bell rings at that very moment."""
    cache = open_cache(url, clock=wall_clock)

    @cache.cached(expires=timedelta(seconds=30))
    async def value() -> int:
        return 1

    for _ in range(20):
        watch = value.watch()
        await anext(watch)
        coming = asyncio.ensure_future(anext(watch))
        for _ in range(5):
            await asyncio.sleep(0)
        # In one turn of the loop: the record wakes it, and then it is cancelled.
        cache.engine.wakers.on_reset()
        await asyncio.sleep(0)
        coming.cancel()
        with pytest.raises(asyncio.CancelledError):
            await coming


def test_a_settled_value_is_looked_at_when_it_is_over() -> None:
    """And not at all when it is never over."""
    ending = msgspec.structs.replace(ENTRY, expires_at=NOW + 5)

    assert Watched().look_at(ending, Policy(), NOW) == NOW + 5
    assert Watched().look_at(ENTRY, Policy(), NOW) is None


def test_what_failed_is_looked_at_when_its_next_try_is_due() -> None:
    """And not by time when there will be none."""
    failing = msgspec.structs.replace(STALE, retry_at=NOW + 7)
    failed = msgspec.structs.replace(STALE, state=State.FAILED)

    assert Watched().look_at(failing, Policy(), NOW) == NOW + 7
    assert Watched().look_at(failed, Policy(), NOW) is None


def test_what_somebody_refreshes_is_looked_at_less_and_less_often() -> None:
    """Down to once in the length of a lease: whoever refreshes it may have died. Once it is settled all begins anew."""
    watched, policy = Watched(), Policy(first_retry_s=0.5, lease_s=3.0)

    pauses = [watched.look_at(STALE, policy, NOW) for _ in range(5)]
    watched.look_at(ENTRY, policy, NOW)

    assert pauses == [NOW + pause_s for pause_s in (0.5, 1.0, 2.0, 3.0, 3.0)]
    assert watched.look_at(STALE, policy, NOW) == NOW + 0.5


def test_what_is_not_kept_twice_in_a_row_is_in_vain() -> None:
    """Once may be an event that came during the build: then there is a better value at once."""
    watched, unkept = Watched(), msgspec.structs.replace(STALE, version=0)

    seen: list[bool] = []
    for entry in (unkept, unkept, ENTRY, unkept):
        watched.look_at(entry, Policy(), NOW)
        seen.append(watched.is_in_vain)

    assert seen == [False, True, False, False]


@pytest.mark.parametrize(
    ("look_at", "has_worker", "expected"),
    [
        (None, False, None),
        (None, True, None),
        (NOW + 2, False, 2.0),
        (NOW + 2, True, 60.0),
        (NOW - 2, False, 0.001),
        (NOW + 1e9, False, 60.0),
        (math.inf, False, 60.0),
    ],
)
def test_nobody_waits_for_the_clock_alone_for_long(
    look_at: float | None, has_worker: bool, expected: float | None
) -> None:
    """It may be set meanwhile, and the worker that sees to it, and to the function's `rate`, may end."""
    assert wait_s(look_at, NOW, has_worker=has_worker) == expected
