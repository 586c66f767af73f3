"""What an event costs among ever more entries, one of which it touches; the limit is a loop over as many predicates.

To store a million entries takes a minute, so all rounds are of one process.
"""

import gc
import time
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.rows.yardstick import YARDSTICK, yardstick_ns

_Predicate = Callable[[dict[str, Any]], bool]

_N_TOUCHED = 200
_N_ROUNDS = 5
_SCANNED_S = 0.05


def main(peer: Any, *, n_most: int = 1_000_000, **place: str) -> dict[str, Any]:  # noqa: ARG001 - as all rows
    """Measure each size with a cache of its own."""
    # No peer has it, so it runs in our own environment alone.
    from benchmarks.touching import Touching  # noqa: PLC0415

    figures: dict[str, list[float]] = {}
    limits: dict[str, list[float]] = {}
    for n in (10**power for power in range(3, 7) if 10**power <= n_most):
        # To look for garbage again and again while nothing but entries is made takes as long as making them.
        gc.disable()
        touching = Touching("memory:", n, _N_TOUCHED)
        gc.enable()
        predicates = [_predicate(number) for number in range(n)]
        name = f"{n:,} entries"
        for _ in range(_N_ROUNDS):
            figures.setdefault(name, []).append(touching.touch() * 1e9)
            limits.setdefault(name, []).append(_scan_s(predicates) * 1e9)
            touching.freshen()
        touching.cache.close()
        del touching, predicates
    limits[YARDSTICK] = [yardstick_ns()]
    return {"figures": figures, "limits": limits, "empty": {}, "notes": {}}


def _predicate(number: int) -> _Predicate:
    return lambda event: event["after"]["id"] == number


def _scan_s(predicates: Sequence[_Predicate]) -> float:
    """Asking each entry whether the event is for it, as the best of some."""
    event = {"before": {"id": -1, "state": 1}, "after": {"id": len(predicates) // 2, "state": 2}}
    best_s, ends_at = float("inf"), time.perf_counter() + _SCANNED_S
    while True:
        started = time.perf_counter()
        touched = [predicate for predicate in predicates if predicate(event)]
        best_s = min(best_s, time.perf_counter() - started)
        if len(touched) != 1:
            raise ValueError("the scan found another number of entries")
        if time.perf_counter() > ends_at:
            return best_s
