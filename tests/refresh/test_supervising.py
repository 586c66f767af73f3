"""Whoever runs a worker hears when one of its loops has ended, and sees that they turn."""

import asyncio

import pytest

from everfresh import Cache
from everfresh.model.marks import override
from everfresh.refresh import Worker
from everfresh.testing.waiting import soon


async def test_loops_that_turn_have_no_end(cache: Cache) -> None:
    """And were round a moment ago; they look at the queue every second."""
    async with Worker(cache) as worker:
        watching = asyncio.create_task(worker.supervise())
        first = worker.quiet_s
        await soon(lambda: worker.quiet_s > first, what="time passes")
        is_over = watching.done()
        watching.cancel()

    assert (first < 5, is_over) == (True, False)


async def test_a_worker_outside_its_block_is_not_quiet(cache: Cache) -> None:
    """Nobody expects it to turn."""
    worker = Worker(cache)
    await worker.supervise()

    assert worker.quiet_s == 0


async def test_a_cache_that_is_closed_ends_the_supervision(cache: Cache) -> None:
    """Without an error: somebody wanted it."""

    @cache.cached
    async def value() -> int:
        return 1

    async with Worker(cache) as worker:
        await cache.aclose()
        await worker.supervise()


class Rotten(dict[str, object]):
    """Functions that cannot be looked at."""

    @override
    def values(self) -> object:  # pyright: ignore[reportIncompatibleMethodOverride]
        raise RecursionError("nobody expected this")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_an_error_that_nobody_expected_is_raised(cache: Cache) -> None:
    """Else a worker would be there that does nothing."""
    cache.engine.functions = Rotten()  # pyright: ignore[reportAttributeAccessIssue]
    async with Worker(cache) as worker:
        with pytest.raises((RecursionError, ExceptionGroup)):
            await worker.supervise()
