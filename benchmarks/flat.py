"""What an event costs with few entries and with many, the same number of them touched; it should be the same.

The two stores take turns. An event finds its entry fresh; each is a publish, and in SQLite a transaction, of its own.
"""

import gc
import statistics
import tempfile
import tracemalloc
from pathlib import Path

from benchmarks.report import Report
from benchmarks.touching import Touching

_N_TOUCHED = 500
_N_ROUNDS = 9
_FEW = 1_000
_MOST = {"memory": 1.3, "SQLite": 2.0}


def main(report: Report) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        for kind, most in _MOST.items():
            many = 1_000_000 if report.is_full or kind == "memory" else 200_000
            print(f"\nOne event, one entry touched, {kind}")
            few_of, many_of = (_touching(kind, n, Path(folder)) for n in (_FEW, many))
            _compare(report, f"{kind}, {many:,} entries", few_of, many_of, most)
            if kind == "memory":
                _allocations(report, many, few_of, many_of)
            for touching in (few_of, many_of):
                touching.cache.close()
            del few_of, many_of, touching
            gc.collect()


def _touching(kind: str, n: int, folder: Path) -> Touching:
    return Touching("memory:" if kind == "memory" else f"sqlite:///{folder / f'{n}.db'}", n, _N_TOUCHED)


def _compare(report: Report, name: str, few: Touching, many: Touching, most: float) -> None:
    ratios: list[float] = []
    times_us: list[tuple[float, float]] = []
    for _ in range(_N_ROUNDS):
        few_s, many_s = few.touch(), many.touch()
        ratios.append(many_s / few_s)
        times_us.append((few_s * 1e6, many_s * 1e6))
        few.freshen()
        many.freshen()
    report.raw[f"flat: {name}, µs"] = times_us
    few_us, many_us = (statistics.median(times) for times in zip(*times_us, strict=True))
    low, _, high = statistics.quantiles(ratios, n=4)
    print(f"  {few_us:.1f} µs with {_FEW:,} entries, {many_us:.1f} µs with more; ratios {low:.2f} to {high:.2f}")
    report.at_most(f"one event, {name}", statistics.median(ratios), most, f"x {_FEW:,} entries")


def _allocations(report: Report, n_many: int, few: Touching, many: Touching) -> None:
    """The highest use of memory while events are applied, above that before them."""
    few_bytes, many_bytes = _peak_bytes(few), _peak_bytes(many)
    report.figure(f"allocated by an event, memory, {_FEW:,} entries", few_bytes, "bytes")
    report.figure(f"allocated by an event, memory, {n_many:,} entries", many_bytes, "bytes")
    report.at_most("allocated by an event, memory", many_bytes / few_bytes, 1.3, f"x {_FEW:,} entries")


def _peak_bytes(touching: Touching) -> float:
    # The first events fill memos; then no table is to grow by doubling just now.
    touching.freshen()
    touching.touch()
    gc.collect()
    tracemalloc.start()
    try:
        touching.touch()
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        touching.touch()
        return (tracemalloc.get_traced_memory()[1] - before) / touching.n_touched
    finally:
        tracemalloc.stop()
