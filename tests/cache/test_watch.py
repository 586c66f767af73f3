"""`watch`: the value now, then every changed value."""

import asyncio

import pytest

from everfresh import FOREVER, StoreClosed
from everfresh.refresh import Worker
from everfresh.testing.waiting import soon
from tests.cache.making import Colour, Gate, done
from tests.cache.upstreams import Broken, Upstream

pytestmark = pytest.mark.redis


async def test_who_watches_gets_the_value_now(colour: Colour, upstream: Upstream) -> None:
    """Built, if it is not there."""

    @colour.cached()
    async def value() -> int:
        return upstream.read()

    async with colour.watching(value) as watch:
        assert await watch.next() == 1


async def test_who_watches_gets_each_changed_value(colour: Colour, upstream: Upstream) -> None:
    """A worker rebuilds, whoever watches is told."""

    @colour.cached(depends_on=[upstream.tag])
    async def value() -> int:
        return upstream.read()

    async with Worker(colour.cache), colour.watching(value) as watch:
        seen = [await watch.next()]
        for number in (2, 3):
            await upstream.change(number)
            seen.append(await watch.next())

    assert seen == [1, 2, 3]


async def test_without_a_worker_who_watches_builds(colour: Colour, upstream: Upstream) -> None:
    """Everything stays correct without one."""

    @colour.cached(depends_on=[upstream.tag])
    async def value() -> int:
        return upstream.read()

    async with colour.watching(value) as watch:
        seen = [await watch.next()]
        await upstream.change(2)
        seen.append(await watch.next())

    assert seen == [1, 2]


async def test_within_the_bounds_who_watches_sees_the_old_value_and_then_the_new(
    colour: Colour, upstream: Upstream
) -> None:
    """A page that opens on a stale entry shows something at once and the right thing soon."""

    @colour.cached(depends_on=[upstream.tag], stale_while_revalidate=FOREVER)
    async def value() -> int:
        return upstream.read()

    await done(value())
    await upstream.change(2)

    async with colour.watching(value) as watch:
        assert [await watch.next(), await watch.next()] == [1, 2]


async def test_an_equal_value_is_no_news(colour: Colour, upstream: Upstream) -> None:
    """Only what differs is given."""

    @colour.cached(depends_on=[upstream.tag])
    async def value() -> int:
        return upstream.read()

    async with Worker(colour.cache), colour.watching(value) as watch:
        seen = [await watch.next()]
        await upstream.announce()
        await soon(lambda: upstream.n_read == 2, what="the rebuild with an equal value")
        await upstream.change(2)
        seen.append(await watch.next())

    assert seen == [1, 2]


async def test_only_the_watched_entry_is_given(colour: Colour, upstream: Upstream) -> None:
    """Other entries of the function change unnoticed."""

    @colour.cached(depends_on=[upstream.tag])
    async def product(factor: int) -> int:
        return factor * upstream.read()

    await done(product(10))
    async with Worker(colour.cache), colour.watching(product, 1) as watch:
        seen = [await watch.next()]
        await upstream.change(2)
        seen.append(await watch.next())

    assert seen == [1, 2]


async def test_a_value_that_was_dropped_is_built_for_who_watches(colour: Colour, upstream: Upstream) -> None:
    """Who watches is the next reader."""

    @colour.cached(depends_on=[upstream.tag], on_change="drop")
    async def value() -> int:
        return upstream.read()

    async with colour.watching(value) as watch:
        seen = [await watch.next()]
        await upstream.change(2)
        seen.append(await watch.next())

    assert seen == [1, 2]


async def test_a_first_build_that_fails_is_raised(colour: Colour, upstream: Upstream) -> None:
    """Who watches would else wait for ever for a value that may never come."""
    upstream.is_broken = True

    @colour.cached()
    async def value() -> int:
        return upstream.read()

    async with colour.watching(value) as watch:
        with pytest.raises(Broken):
            await watch.next()


async def test_a_later_failure_is_waited_out(colour: Colour, upstream: Upstream) -> None:
    """The last value stands until there is another."""

    @colour.cached(depends_on=[upstream.tag])
    async def value() -> int:
        return upstream.read()

    async with colour.watching(value) as watch:
        seen = [await watch.next()]
        await upstream.break_down()
        coming = asyncio.create_task(watch.next())
        await soon(lambda: upstream.n_read >= 2, what="a build that fails")
        upstream.is_broken = False
        await upstream.change(2)
        seen.append(await coming)

    assert seen == [1, 2]


async def test_an_event_that_comes_while_a_build_fails_is_not_waited_out(
    colour: Colour, upstream: Upstream, gate: Gate
) -> None:
    """The pause after the last attempt is the longest; the event says that another build may do better."""

    @colour.cached(depends_on=[upstream.tag], max_attempts=1)
    async def value() -> int:
        if upstream.n_read:
            await gate.stop()
        return upstream.read()

    async with colour.watching(value) as watch:
        seen = [await watch.next()]
        await upstream.break_down()
        coming = asyncio.create_task(watch.next())
        await gate.reached()
        await upstream.announce()
        gate.open()
        await soon(lambda: upstream.n_read >= 3, what="a build for the event")
        upstream.is_broken = False
        await upstream.change(2)
        seen.append(await coming)

    assert seen == [1, 2]


async def test_who_watches_is_told_when_the_cache_is_closed(colour: Colour, upstream: Upstream) -> None:
    """Else a thread that watches would keep the process from ending."""

    @colour.cached()
    async def value() -> int:
        return upstream.read()

    async with colour.watching(value) as watch:
        await watch.next()
        coming = asyncio.create_task(watch.next())
        await asyncio.sleep(0)
        await colour.cache.aclose()

        with pytest.raises(StoreClosed):
            await coming
