"""Yardstick: how fast the interpreter is just now, at code of many small calls, as a library written in Python is.

A look-up in a dict stays in the CPU's first cache, whatever runs beside it; ten thousand instructions do not. So a busy
machine makes the one slower than the other, and a ratio to the look-up worse than the library became.
"""

import time
from fractions import Fraction

YARDSTICK = "yardstick"
"""Its name among the limits."""

_N_ROUNDS = 20
_N_CALLS = 100


def yardstick_ns() -> float:
    """What a few sums of fractions take, in the standard library's own Python; the fastest of twenty rounds."""
    best_s = float("inf")
    for _ in range(_N_ROUNDS):
        started = time.perf_counter()
        for number in range(_N_CALLS):
            _work(number)
        best_s = min(best_s, time.perf_counter() - started)
    return best_s / _N_CALLS * 1e9


def _work(number: int) -> Fraction:
    return Fraction(number, 7) + Fraction(5, 9) * Fraction(3, number + 2)
