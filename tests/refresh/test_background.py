"""Refreshes that a reader sets off, without a worker: they are done although its event loop ends."""

import asyncio
import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest

from everfresh import FOREVER, Cache, dep
from everfresh.testing.waiting import soon, until

TAG = dep.Tag("t")


class Source:
    """A number that an async function reads; builds after the first stop until it is open."""

    def __init__(self) -> None:
        self.value = 1
        self.n_read = 0
        self.loops: list[asyncio.AbstractEventLoop] = []
        self.is_open = True
        self.reached = threading.Event()

    async def read(self) -> int:
        """What a cached function does."""
        self.n_read += 1
        self.loops.append(asyncio.get_running_loop())
        self.reached.set()
        if not self.is_open:
            await asyncio.Event().wait()
        return self.value


@pytest.fixture
def source() -> Source:
    """A fact that does not know of the cache."""
    return Source()


@pytest.fixture
def any_cache(url: str) -> Iterator[Cache]:
    """A cache of blocking code, with the real clock and leases that are soon over."""
    with Cache(url, lease=timedelta(seconds=0.2)) as cache:
        yield cache


def test_a_reader_whose_loop_ends_at_once_still_gets_the_entry_refreshed(any_cache: Cache, source: Source) -> None:
    """As in a program that calls `asyncio.run` for each call: the refresh begins anew in a thread."""

    @any_cache.cached(depends_on=[TAG], stale_while_revalidate=FOREVER)
    async def value() -> int:
        return await source.read()

    asyncio.run(value())
    source.value = 2
    any_cache.blocking.invalidate(TAG)
    served = asyncio.run(value())

    until(lambda: source.n_read > 1 and asyncio.run(value()) == 2, what="the refresh")
    assert served == 1


def test_a_refresh_in_the_middle_of_which_the_loop_ends_is_done_anew(any_cache: Cache, source: Source) -> None:
    """Its lease is given back first, so nobody waits for it to run out."""

    @any_cache.cached(depends_on=[TAG], stale_while_revalidate=FOREVER)
    async def value() -> int:
        return await source.read()

    async def read_and_leave() -> int:
        number = await value()
        await soon(lambda: source.n_read > 1, what="the refresh")
        source.is_open = True
        return number

    asyncio.run(value())
    source.value, source.is_open = 2, False
    any_cache.blocking.invalidate(TAG)
    served = asyncio.run(read_and_leave())

    until(lambda: asyncio.run(value.peek()) == 2, what="the refresh")
    assert (served, source.n_read) == (1, 3)


def test_in_a_loop_that_lives_the_refresh_runs_in_it(any_cache: Cache, source: Source) -> None:
    """So it may use what belongs to the loop: clients, pools."""

    @any_cache.cached(depends_on=[TAG], stale_while_revalidate=FOREVER)
    async def value() -> int:
        return await source.read()

    async def main() -> None:
        await value()
        await any_cache.invalidate(TAG)
        await value()
        await soon(lambda: source.n_read > 1, what="the refresh")

    asyncio.run(main())

    assert source.loops[1] is source.loops[0]


def test_a_loop_that_stands_still_holds_nobody_up(any_cache: Cache, source: Source) -> None:
    """Its refresh may never go on, so its lease is not renewed, and the next reader sets off another."""

    @any_cache.cached(depends_on=[TAG], stale_while_revalidate=FOREVER)
    async def value() -> int:
        return await source.read()

    async def until_reached() -> int:
        number = await value()
        await soon(source.reached.is_set, what="the build")
        return number

    asyncio.run(value())
    source.value, source.is_open = 2, False
    source.reached.clear()
    any_cache.blocking.invalidate(TAG)
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(until_reached())
        source.is_open = True

        until(lambda: asyncio.run(value()) == 2, what="the refresh that another reader set off")
    finally:
        _end(loop)


def test_a_build_in_a_loop_that_stands_still_is_overtaken(any_cache: Cache, source: Source) -> None:
    """A reader that waits for it goes on as soon as the lease is over."""

    @any_cache.cached
    async def value() -> int:
        return await source.read()

    async def until_reached() -> asyncio.Task[int]:
        task = asyncio.ensure_future(value())
        await soon(source.reached.is_set, what="the build")
        return task

    source.is_open = False
    loop = asyncio.new_event_loop()
    try:
        task = loop.run_until_complete(until_reached())
        source.is_open = True

        assert asyncio.run(asyncio.wait_for(value(), 10)) == 1
        assert not task.done()
    finally:
        _end(loop)


def test_a_cache_that_is_closed_leaves_the_entry_to_others(url: str, source: Source) -> None:
    """Nothing goes on behind its back: what was cancelled by the end of the cache does not begin anew."""

    async def main() -> None:
        async with Cache(url) as cache:

            @cache.cached(depends_on=[TAG], stale_while_revalidate=FOREVER)
            async def value() -> int:
                return await source.read()

            @cache.cached(depends_on=[TAG], stale_while_revalidate=FOREVER)
            def blocking() -> int:
                return 1

            # Threads are there already.
            blocking()
            await cache.invalidate(TAG)
            blocking()
            await value()
            source.is_open = False
            source.reached.clear()
            await cache.invalidate(TAG)
            await value()
            await soon(source.reached.is_set, what="the build")

    asyncio.run(main())

    assert source.n_read == 2
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("everfresh-refresh")] == []


def _end(loop: asyncio.AbstractEventLoop) -> None:
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
    loop.close()
