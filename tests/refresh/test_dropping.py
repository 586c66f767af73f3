"""What is dropped instead of refreshed, and told of: jobs that nobody began in time, and entries that nobody reads."""

from datetime import timedelta

import pytest

from everfresh import Notice
from everfresh.refresh import Worker
from everfresh.testing.clock import FakeClock
from everfresh.testing.waiting import soon
from tests.cache.fixtures import OpenCache
from tests.cache.making import Colour, done, is_fresh
from tests.cache.upstreams import Upstream
from tests.refresh.ringing import Bell

HALF_A_MINUTE = timedelta(seconds=30)
A_WEEK = timedelta(days=7)
A_WEEK_S = A_WEEK.total_seconds()


@pytest.fixture
def told(colour: Colour) -> list[Notice]:
    """The notices."""
    told: list[Notice] = []
    colour.cache.listen(told.append)
    return told


def keys_of(told: list[Notice], name: str) -> list[str]:
    return [notice.fields["key"] for notice in told if notice.name == name]


async def test_an_expired_job_is_dropped_and_reported(
    colour: Colour, upstream: Upstream, clock: FakeClock, told: list[Notice]
) -> None:
    """Conformance 22: never silently kept; the next reader builds."""

    @colour.cached(depends_on=[upstream.tag], job_expires=HALF_A_MINUTE)
    async def value() -> int:
        return upstream.read()

    await done(value())
    await upstream.change(2)
    clock.advance(31)
    async with Worker(colour.cache):
        await soon(lambda: keys_of(told, "job.expired"), what="the report")

    assert keys_of(told, "job.expired") == [value.key()]
    assert (await done(value.peek()), upstream.n_read) == (None, 1)
    assert await done(value()) == 2


async def test_a_job_that_is_begun_in_time_is_done(colour: Colour, upstream: Upstream, clock: FakeClock) -> None:
    """Up to the last moment."""

    @colour.cached(depends_on=[upstream.tag], job_expires=HALF_A_MINUTE)
    async def value() -> int:
        return upstream.read()

    await done(value())
    await upstream.change(2)
    clock.advance(30)
    async with Worker(colour.cache):
        await soon(lambda: is_fresh(value), what="the refresh")

    assert await done(value.peek()) == 2


async def test_a_job_does_not_expire_by_failing(
    colour: Colour, upstream: Upstream, clock: FakeClock, told: list[Notice]
) -> None:
    """Each try was begun in time. The last good value is kept, however long that takes."""
    bell, started = Bell(colour), clock()
    await bell.hang()

    @colour.cached(depends_on=[upstream.tag], job_expires=HALF_A_MINUTE)
    async def value() -> int:
        return upstream.read()

    await done(value())
    async with Worker(colour.cache):
        await upstream.break_down()
        for attempt in range(1, 8):
            await soon(lambda n=attempt: len(keys_of(told, "refresh.failed")) == n, what=f"try {attempt}")
            clock.advance(2.0 ** (attempt - 2))
            await bell.ring()

    assert clock() - started > HALF_A_MINUTE.total_seconds()
    assert (await done(value.peek()), keys_of(told, "job.expired")) == (1, [])


async def test_many_expired_jobs_do_not_hold_up_the_queue(
    colour: Colour, upstream: Upstream, clock: FakeClock, told: list[Notice]
) -> None:
    """The worker looks again at once: the clock stands still, and nothing rings."""

    @colour.cached(depends_on=[upstream.tag], job_expires=HALF_A_MINUTE)
    async def old(number: int) -> int:
        return number

    @colour.cached(depends_on=[upstream.tag], priority=-9)
    async def value() -> int:
        return upstream.read()

    for number in range(20):
        await done(old(number))
    await done(value())
    await upstream.change(2)
    clock.advance(31)
    async with Worker(colour.cache, concurrency=1):
        await soon(lambda: is_fresh(value), what="the refresh behind them", deadline_s=5)

    assert len(keys_of(told, "job.expired")) == 20


async def test_an_entry_that_nobody_reads_is_dropped_rather_than_refreshed(
    colour: Colour, upstream: Upstream, clock: FakeClock, told: list[Notice]
) -> None:
    """Cold data costs nothing."""

    @colour.cached(depends_on=[upstream.tag], keep_warm=A_WEEK)
    async def value() -> int:
        return upstream.read()

    await done(value())
    clock.advance(A_WEEK_S + 1)
    await upstream.change(2)
    async with Worker(colour.cache):
        await soon(lambda: keys_of(told, "refresh.cold"), what="the report")

    assert (await done(value.peek()), upstream.n_read) == (None, 1)


@pytest.mark.parametrize("way", ["near", "store"])
async def test_an_entry_that_is_read_is_kept_warm(
    colour: Colour, upstream: Upstream, clock: FakeClock, way: str
) -> None:
    """By a hit in the near cache, too, which never reaches the store; the worker asks who read before it drops."""

    @colour.cached(depends_on=[upstream.tag], keep_warm=A_WEEK)
    async def value() -> int:
        return upstream.read()

    await done(value())
    clock.advance(A_WEEK_S - 1)
    if way == "store":
        colour.cache.engine.near.on_reset()
    await done(value())
    clock.advance(2)
    await upstream.change(2)
    async with Worker(colour.cache):
        await soon(lambda: is_fresh(value), what="the refresh")

    assert await done(value.peek()) == 2


async def test_a_refresh_is_no_reading(
    colour: Colour, upstream: Upstream, clock: FakeClock, told: list[Notice]
) -> None:
    """Else whatever changes often would be warm for ever."""

    @colour.cached(depends_on=[upstream.tag], keep_warm=A_WEEK)
    async def value() -> int:
        return upstream.read()

    await done(value())
    async with Worker(colour.cache):
        clock.advance(A_WEEK_S / 2)
        await upstream.change(2)
        await soon(lambda: is_fresh(value), what="the refresh")
        clock.advance(A_WEEK_S / 2 + 1)
        await upstream.change(3)
        await soon(lambda: keys_of(told, "refresh.cold"), what="the report")

    assert upstream.n_read == 2


async def test_a_watched_entry_is_kept_warm(colour: Colour, upstream: Upstream, clock: FakeClock) -> None:
    """Nobody calls it, but somebody looks at it."""

    @colour.cached(depends_on=[upstream.tag], keep_warm=A_WEEK)
    async def value() -> int:
        return upstream.read()

    await done(value())
    with colour.cache.engine.attention.watching(value.key()):
        clock.advance(A_WEEK_S + 1)
        await upstream.change(2)
        async with Worker(colour.cache):
            await soon(lambda: is_fresh(value), what="the refresh")

    assert await done(value.peek()) == 2


async def test_a_reader_in_another_process_keeps_an_entry_warm(
    open_cache: OpenCache, sqlite_url: str, clock: FakeClock
) -> None:
    """It tells the store, which all processes share; here at the latest when it ends."""
    worker, reader = open_cache(sqlite_url), open_cache(sqlite_url)
    upstream = Upstream(worker)

    async def value() -> int:
        return upstream.read()

    ours = worker.cached(depends_on=[upstream.tag], keep_warm=A_WEEK)(value)
    theirs = reader.cached(depends_on=[upstream.tag], keep_warm=A_WEEK)(value)
    await theirs()
    clock.advance(A_WEEK_S - 1)
    await theirs()
    await reader.aclose()
    clock.advance(2)
    await upstream.change(2)
    async with Worker(worker):
        await soon(lambda: is_fresh(ours), what="the refresh")

    assert await ours.peek() == 2
