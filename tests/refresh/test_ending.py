"""How a worker's block ends: what it holds is finished or given back, and nothing outlives it."""

import asyncio
import threading
from datetime import timedelta

import pytest

from everfresh import FOREVER, Cache, State
from everfresh.refresh import Worker
from everfresh.testing.waiting import soon
from tests.cache.fixtures import OpenCache
from tests.cache.making import Colour, Gate, done, entry_of, is_fresh
from tests.cache.upstreams import Upstream

NO_GRACE = timedelta(0)


async def test_asynchronous_builds_are_cancelled_and_given_back(cache: Cache, upstream: Upstream, gate: Gate) -> None:
    """The next worker takes them at once: the clock of this test stands still, so no lease runs out."""
    colour = Colour(cache, is_async=True)

    @colour.cached(depends_on=[upstream.tag])
    async def value() -> int:
        if upstream.n_read:
            await gate.stop()
        return upstream.read()

    await done(value())
    async with Worker(cache, grace=NO_GRACE):
        await upstream.change(2)
        await gate.reached()
    given_back = (await entry_of(value)).state
    gate.open()
    async with Worker(cache):
        await soon(lambda: is_fresh(value), what="the refresh by the next worker")

    assert (given_back, await done(value.peek())) == (State.DIRTY, 2)


async def test_a_build_that_was_given_back_is_no_failed_try(cache: Cache, upstream: Upstream, gate: Gate) -> None:
    """Nothing was wrong with it."""
    colour = Colour(cache, is_async=True)

    @colour.cached(depends_on=[upstream.tag], max_attempts=1)
    async def value() -> int:
        if upstream.n_read:
            await gate.stop()
        return upstream.read()

    await done(value())
    async with Worker(cache, grace=NO_GRACE):
        await upstream.change(2)
        await gate.reached()
    entry = await entry_of(value)

    assert (entry.state, entry.attempts) == (State.DIRTY, 0)


async def test_blocking_builds_are_finished(cache: Cache, upstream: Upstream, gate: Gate) -> None:
    """They cannot be cancelled, so the end of the block waits for them."""
    colour, order, leaving = Colour(cache, is_async=False), [], asyncio.Event()

    @colour.cached(depends_on=[upstream.tag])
    async def value() -> int:
        if upstream.n_read:
            await gate.stop()
        order.append("built")
        return upstream.read()

    async def work() -> None:
        async with Worker(cache):
            await upstream.change(2)
            await gate.reached()
            leaving.set()
        order.append("left")

    await done(value())
    working = asyncio.create_task(work())
    await leaving.wait()
    for _ in range(100):
        await asyncio.sleep(0)  # a block that does not wait would be left by now
    gate.open()
    await working

    assert (order, await is_fresh(value)) == (["built", "built", "left"], True)


async def test_the_block_ends_although_an_error_left_it(colour: Colour, upstream: Upstream) -> None:
    """The error is the block's own; the worker does not hide it."""
    with pytest.raises(ZeroDivisionError):
        async with Worker(colour.cache):
            _ = 1 / 0

    assert colour.cache.background.n_workers == 0


async def test_no_task_of_a_worker_outlives_its_block(colour: Colour, upstream: Upstream) -> None:
    """Neither its own nor those of builds."""

    @colour.cached(depends_on=[upstream.tag])
    async def value() -> int:
        return upstream.read()

    await done(value())
    before = asyncio.all_tasks()
    async with Worker(colour.cache):
        await upstream.change(2)
        await soon(lambda: is_fresh(value), what="the refresh")

    assert asyncio.all_tasks() == before


async def test_no_thread_of_a_worker_outlives_its_block(cache: Cache, upstream: Upstream) -> None:
    """Neither the one that takes nor those that build."""

    @cache.cached(depends_on=[upstream.tag])
    def value() -> int:
        return upstream.read()

    value()
    # The threads of the cache itself and of the loop are there for longer.
    async with Worker(cache):
        await upstream.change(2)
        await soon(lambda: is_fresh(value), what="the refresh")
    names = [thread.name for thread in threading.enumerate()]

    assert [name for name in names if name.startswith(("everfresh-worker", "everfresh-build"))] == []


async def test_a_store_that_is_closed_under_a_worker_ends_it(colour: Colour, upstream: Upstream) -> None:
    """Blocks may end in any order."""

    @colour.cached(depends_on=[upstream.tag])
    async def value() -> int:
        return upstream.read()

    await done(value())
    async with Worker(colour.cache):
        await upstream.change(2)
        await soon(lambda: is_fresh(value), what="the refresh")
        await colour.cache.aclose()


async def test_a_store_that_is_closed_under_a_build_ends_the_worker(
    colour: Colour, upstream: Upstream, gate: Gate
) -> None:
    """The build's value has nowhere to go; nobody hangs."""

    @colour.cached(depends_on=[upstream.tag])
    async def value() -> int:
        if upstream.n_read:
            await gate.stop()
        return upstream.read()

    await done(value())
    async with Worker(colour.cache):
        await upstream.change(2)
        await gate.reached()
        colour.cache.close()
        gate.open()


async def test_after_the_last_worker_readers_see_to_refreshes_again(open_cache: OpenCache, url: str) -> None:
    """A reader that is served an old value sets off a refresh as soon as nobody else would."""
    cache = open_cache(url)
    upstream, colour = Upstream(cache), Colour(cache, is_async=True)

    @colour.cached(depends_on=[upstream.tag], stale_while_revalidate=FOREVER)
    async def value() -> int:
        return upstream.read()

    await done(value())
    async with Worker(cache), Worker(cache):
        pass
    await upstream.change(2)
    await done(value())

    await soon(lambda: is_fresh(value), what="the refresh that the reader set off")
