"""One build at a time for one key: whoever else wants the value waits for it and shares it."""

import asyncio
import threading
from datetime import timedelta

import pytest

from everfresh import FOREVER, Cache, WaitTimeout
from everfresh.testing.clock import FakeClock
from tests.cache.fixtures import OpenCache
from tests.cache.making import Colour, Gate, done, entry_of, many_threads, waited_for
from tests.cache.upstreams import Broken, Upstream

pytestmark = pytest.mark.redis


async def test_fifty_cold_callers_run_the_function_once(colour: Colour, upstream: Upstream, gate: Gate) -> None:
    """All of them get its value."""

    @colour.cached()
    async def value() -> int:
        await gate.stop()
        return upstream.read()

    many_threads(50)
    callers = [colour.start(value) for _ in range(50)]
    await gate.reached()
    gate.open()
    values = await asyncio.gather(*callers)

    assert (values, upstream.n_read) == ([1] * 50, 1)


async def test_cold_callers_of_both_colours_share_what_lies_below(cache: Cache, upstream: Upstream) -> None:
    """A blocking inner function under outer functions of both colours runs once."""
    go_on = threading.Event()

    @cache.cached
    def inner() -> int:
        assert go_on.wait(20)
        return upstream.read()

    @cache.cached
    async def asynchronous(n: int) -> int:
        return await asyncio.to_thread(inner) + n

    @cache.cached
    def blocking(n: int) -> int:
        return inner() + n

    many_threads(50)
    tasks = [asyncio.create_task(asynchronous(n)) for n in range(20)]
    tasks += [asyncio.create_task(asyncio.to_thread(blocking, n)) for n in range(20)]
    await waited_for(cache, inner.key(), 39)
    go_on.set()
    values = await asyncio.gather(*tasks)

    assert (values, upstream.n_read) == ([*range(1, 21)] * 2, 1)


async def test_callers_in_two_caches_on_one_file_run_the_function_once(
    open_cache: OpenCache, sqlite_url: str, gate: Gate
) -> None:
    """Over processes, too: the lease is in the store."""
    executed: list[str] = []

    def declare(name: str) -> Colour:
        return Colour(open_cache(sqlite_url), is_async=name == "asyncio")

    async def value() -> int:
        executed.append("value")
        await gate.stop()
        return 1

    one, other = declare("asyncio"), declare("asyncio")
    first = one.start(one.cached()(value))
    await gate.reached()
    waiting = other.cached()(value)
    second = other.start(waiting)
    await waited_for(other.cache, waiting.key(), 1)
    gate.open()

    assert (await first, await second, executed) == (1, 1, ["value"])


async def test_different_arguments_are_built_at_once(colour: Colour, gate: Gate) -> None:
    """Only callers of one entry wait for each other."""

    @colour.cached()
    async def double(n: int) -> int:
        await gate.stop()
        return 2 * n

    callers = [colour.start(double, n) for n in range(3)]
    for _ in callers:
        await gate.reached()
    gate.open()

    assert await asyncio.gather(*callers) == [0, 2, 4]


async def test_the_error_of_a_build_is_shared_by_those_who_waited(
    colour: Colour, upstream: Upstream, gate: Gate
) -> None:
    """An upstream that is down is not asked once for each of them."""
    upstream.is_broken = True

    @colour.cached()
    async def value() -> int:
        await gate.stop()
        return upstream.read()

    callers = [colour.start(value) for _ in range(5)]
    await gate.reached()
    await waited_for(colour.cache, value.key(), 4)
    gate.open()
    errors = await asyncio.gather(*callers, return_exceptions=True)

    assert ([type(error) for error in errors], upstream.n_read) == ([Broken] * 5, 1)


async def test_who_came_after_an_event_does_not_share_an_older_error(
    colour: Colour, upstream: Upstream, gate: Gate
) -> None:
    """The event may have mended what was broken; its own build begins after it."""
    upstream.is_broken = True

    @colour.cached(depends_on=[upstream.tag])
    async def value() -> int:
        is_broken = upstream.is_broken
        await gate.stop()
        if is_broken:
            raise Broken("before the event")
        return upstream.read()

    before = colour.start(value)
    await gate.reached()
    upstream.is_broken = False
    await upstream.change(2)
    after = colour.start(value)
    await waited_for(colour.cache, value.key(), 1)
    gate.open()

    assert await after == 2
    with pytest.raises(Broken):
        await before


async def test_a_caller_waits_no_longer_than_it_was_told(
    open_cache: OpenCache, url: str, clock: FakeClock, gate: Gate
) -> None:
    """The message says what may have happened and what to do."""
    patient = Colour(open_cache(url, wait_timeout=timedelta(0)), is_async=True)

    @patient.cached()
    async def value() -> int:
        await gate.stop()
        return 1

    builder = patient.start(value)
    await gate.reached()

    with pytest.raises(WaitTimeout, match=r"somebody else has been building it for over 0 s.*wait_timeout"):
        await done(value())
    gate.open()
    assert await builder == 1


async def test_when_a_builder_died_another_takes_over(
    open_cache: OpenCache, sqlite_url: str, clock: FakeClock, gate: Gate
) -> None:
    """Its lease runs out, and whoever comes then builds."""
    executed: list[str] = []
    dead, alive = (Colour(open_cache(sqlite_url), is_async=True) for _ in range(2))

    async def value() -> int:
        executed.append("value")
        if len(executed) == 1:
            await gate.stop()
        return len(executed)

    # A builder that hangs without renewing: as far as the store can tell, it is dead.
    first = dead.start(dead.cached()(value))
    await gate.reached()
    clock.advance(11)
    second = await done(alive.cached()(value)())
    gate.open()
    await first

    assert second == 2


async def test_a_build_that_lost_its_lease_changes_nothing(
    open_cache: OpenCache, sqlite_url: str, clock: FakeClock, gate: Gate
) -> None:
    """Whatever it does later: the store keeps what the other has built."""
    executed: list[str] = []
    slow, quick = (Colour(open_cache(sqlite_url), is_async=True) for _ in range(2))

    async def value() -> int:
        executed.append("value")
        number = len(executed)
        if number == 1:
            await gate.stop()
        return number

    slows, quicks = slow.cached()(value), quick.cached()(value)
    first = slow.start(slows)
    await gate.reached()
    clock.advance(11)
    await done(quicks())
    before = await entry_of(quicks)
    gate.open()
    await first

    assert await entry_of(quicks) == before


@pytest.mark.parametrize("is_known", [True, False], ids=["rebuild", "first build"])
async def test_the_error_of_a_strict_build_is_not_for_those_who_take_old_values(
    colour: Colour, upstream: Upstream, gate: Gate, *, is_known: bool
) -> None:
    """A build of their own is served what is old below it, as its function declares."""

    @colour.cached(depends_on=[upstream.tag], stale_if_error=FOREVER)
    async def inner() -> int:
        return upstream.read()

    @colour.cached()
    async def middle() -> int:
        return await done(inner())

    @colour.cached()
    async def outer() -> int:
        if upstream.is_broken:
            await gate.stop()
        return await done(middle()) * 10

    await done(outer() if is_known else inner())
    await upstream.break_down()
    strict = colour.start(outer.fresh)
    await gate.reached()
    waiter = colour.start(outer)
    await waited_for(colour.cache, outer.key(), 1)
    gate.open()

    with pytest.raises(Broken):
        await strict
    assert await waiter == 10


async def test_the_error_of_a_strict_build_is_shared_where_all_would_meet_it(
    colour: Colour, upstream: Upstream, gate: Gate
) -> None:
    """The failure is its own, not one that something old below would have hidden."""

    @colour.cached(depends_on=[upstream.tag], stale_if_error=FOREVER)
    async def inner() -> int:
        return 1

    @colour.cached(depends_on=[upstream.tag])
    async def outer() -> int:
        await gate.stop()
        return await done(inner()) * upstream.read()

    upstream.is_broken = True
    strict = colour.start(outer.fresh)
    await gate.reached()
    waiters = [colour.start(outer) for _ in range(3)]
    await waited_for(colour.cache, outer.key(), 3)
    gate.open()
    ended = await asyncio.gather(strict, *waiters, return_exceptions=True)

    assert [type(error) for error in ended] == [Broken] * 4
    assert upstream.n_read == 1
