"""Timing: candidates in turn, A B A B, so that a busy moment falls on all of them; medians and ratios."""

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping

N_ROUNDS = 15
# Long enough that the clock's own cost vanishes, short enough that a round is rarely disturbed.
ROUND_S = 0.02

Timed = Callable[[int], float]
"""Runs something so many times; gives the seconds that it took."""


def calls(function: Callable[[], object]) -> Timed:
    """Time a plain call."""

    def run(n: int) -> float:
        started = time.perf_counter()
        for _ in range(n):
            function()
        return time.perf_counter() - started

    return run


def awaits(function: Callable[[], Awaitable[object]], loop: asyncio.AbstractEventLoop) -> Timed:
    """Time an awaited call, within one running loop."""

    async def rounds(n: int) -> float:
        started = time.perf_counter()
        for _ in range(n):
            await function()
        return time.perf_counter() - started

    return lambda n: loop.run_until_complete(rounds(n))


def medians_ns(candidates: Mapping[str, Timed]) -> dict[str, float]:
    """Nanoseconds for one call of each candidate, the median of rounds in turn."""
    n_of = {name: _calibrated(timed) for name, timed in candidates.items()}
    rounds: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(N_ROUNDS):
        for name, timed in candidates.items():
            rounds[name].append(timed(n_of[name]) / n_of[name] * 1e9)
    return {name: statistics.median(times) for name, times in rounds.items()}


def table(title: str, results_ns: Mapping[str, float], limit: str) -> None:
    """Print the results, with the ratio of each to the limit."""
    print(f"\n{title}")
    width = max(map(len, results_ns))
    for name, result_ns in results_ns.items():
        print(f"  {name:<{width}}  {result_ns:>10,.0f} ns   {result_ns / results_ns[limit]:>7.2f} x {limit}")


def _calibrated(timed: Timed) -> int:
    n = 1
    while timed(n) < ROUND_S / 4:
        n *= 4
    return max(1, int(n * ROUND_S / max(timed(n), 1e-9)))
