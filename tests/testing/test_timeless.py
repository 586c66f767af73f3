"""An event loop in which waiting takes no time."""

import asyncio
import time

import pytest

from everfresh.testing.timeless import elapse, run_timeless


def test_what_waits_for_hours_is_done_at_once() -> None:
    """In the order of its times, by a clock that shows them."""
    begun_at = time.monotonic()
    ended: list[tuple[str, float]] = []

    async def wait(name: str, wait_s: float) -> None:
        await elapse(wait_s)
        ended.append((name, asyncio.get_running_loop().time()))

    async def main() -> None:
        await asyncio.gather(wait("late", 7_200), wait("early", 60), wait("never", 0))

    run_timeless(main())

    assert ended == [("never", 0), ("early", pytest.approx(60)), ("late", pytest.approx(7_200))]
    assert time.monotonic() - begun_at < 3_600


def test_a_time_limit_is_reached_by_the_same_clock() -> None:
    """What waits for nobody is given up."""

    async def main() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(30):
                await asyncio.get_running_loop().create_future()
        return asyncio.get_running_loop().time()

    assert run_timeless(main()) == pytest.approx(30)


def test_what_is_ready_goes_before_what_waits() -> None:
    """The clock leaps only when nothing else can go on."""

    async def main() -> float:
        waiting = asyncio.create_task(elapse(10))
        for _ in range(1_000):
            await asyncio.sleep(0)
        now = asyncio.get_running_loop().time()
        await waiting
        return now

    assert run_timeless(main()) == 0


async def test_in_another_loop_nobody_lets_time_elapse() -> None:
    """There it would be a sleep."""
    with pytest.raises(AssertionError, match="run_timeless"):
        await elapse(1)
