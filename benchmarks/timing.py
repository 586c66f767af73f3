"""Timing: candidates in turn, A B A B, so that a busy moment falls on all of them; medians, ratios within a round."""

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice, repeat
from typing import Any

N_ROUNDS = 15
# Long enough that the clock's own cost vanishes, short enough that a round is rarely disturbed.
ROUND_S = 0.02

Timed = Callable[[int], float]
"""Runs something so many times; gives the seconds that it took."""


@dataclass(frozen=True)
class Rounds:
    """What one candidate took in each round, in nanoseconds for one call."""

    times_ns: tuple[float, ...]

    @property
    def median_ns(self) -> float:
        """Half of the rounds were faster."""
        return statistics.median(self.times_ns)

    @property
    def spread_ns(self) -> tuple[float, float]:
        """The fastest and the slowest quarter end here."""
        low, _, high = statistics.quantiles(self.times_ns, n=4)
        return low, high

    def ratio_to(self, other: "Rounds") -> float:
        """The median of the ratios within each round: a moment that was busy for both says nothing."""
        pairs = zip(self.times_ns, other.times_ns, strict=True)
        return statistics.median(ours / theirs for ours, theirs in pairs)


def calls(function: Callable[..., object], *args: Any) -> Timed:  # noqa: ANN401 - whatever it takes
    """Time a plain call."""

    def run(n: int) -> float:
        started = time.perf_counter()
        for _ in repeat(None, n):
            function(*args)
        return time.perf_counter() - started

    return run


def awaits(function: Callable[..., Awaitable[object]], loop: asyncio.AbstractEventLoop, *args: Any) -> Timed:  # noqa: ANN401 - as above
    """Time an awaited call, within one running loop."""

    async def run(n: int) -> float:
        started = time.perf_counter()
        for _ in repeat(None, n):
            await function(*args)
        return time.perf_counter() - started

    return lambda n: loop.run_until_complete(run(n))


def each(function: Callable[..., object], arguments: Iterator[tuple[Any, ...]]) -> Timed:
    """Time a plain call that has other arguments each time."""

    def run(n: int) -> float:
        started = time.perf_counter()
        for args in islice(arguments, n):
            function(*args)
        return time.perf_counter() - started

    return run


def awaits_each(
    function: Callable[..., Awaitable[object]], loop: asyncio.AbstractEventLoop, arguments: Iterator[tuple[Any, ...]]
) -> Timed:
    """Time an awaited call that has other arguments each time, within one running loop."""

    async def run(n: int) -> float:
        started = time.perf_counter()
        for args in islice(arguments, n):
            await function(*args)
        return time.perf_counter() - started

    return lambda n: loop.run_until_complete(run(n))


def in_turn(
    candidates: Mapping[str, Timed], *, n_rounds: int = N_ROUNDS, round_s: float = ROUND_S
) -> dict[str, Rounds]:
    """Time each candidate in each round, as many calls of it as take about `round_s`."""
    n_of = {name: _calibrated(timed, round_s) for name, timed in candidates.items()}
    times_ns: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(n_rounds):
        for name, timed in candidates.items():
            times_ns[name].append(timed(n_of[name]) / n_of[name] * 1e9)
    return {name: Rounds(tuple(times)) for name, times in times_ns.items()}


def _calibrated(timed: Timed, round_s: float) -> int:
    n = 1
    while timed(n) < round_s / 4:
        n *= 4
    return max(1, int(n * round_s / max(timed(n), 1e-9)))
