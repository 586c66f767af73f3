"""A cancellation that the driver passes over is heeded all the same."""

import asyncio
from contextlib import suppress

import pytest

from everfresh.stores.redis.cancelling import Cancellations


async def passing_over() -> None:
    """As `asyncio.wait_for` of Python 3.11 does when what it waits for ends in the same turn."""
    with suppress(asyncio.CancelledError):
        await asyncio.get_running_loop().create_future()


async def test_who_was_cancelled_does_not_go_on() -> None:
    """Whoever called is not there any more."""
    went_on = False

    async def asker() -> None:
        nonlocal went_on
        cancellations = Cancellations()
        await passing_over()
        cancellations.heed()
        went_on = True

    task = asyncio.create_task(asker())
    await asyncio.sleep(0)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert not went_on


async def test_who_was_cancelled_before_may_clean_up() -> None:
    """What is asked for after a cancellation is asked for on purpose."""
    cleaned_up = False

    async def asker() -> None:
        nonlocal cleaned_up
        await passing_over()
        Cancellations().heed()
        cleaned_up = True

    task = asyncio.create_task(asker())
    await asyncio.sleep(0)
    task.cancel()
    await task

    assert cleaned_up


def test_outside_of_a_task_nobody_is_cancelled() -> None:
    """A callback of the loop is none."""

    async def main() -> None:
        done = asyncio.Event()

        def called() -> None:
            Cancellations().heed()
            done.set()

        asyncio.get_running_loop().call_soon(called)
        await done.wait()

    asyncio.run(main())
