"""Guard: whether a ratio to a limit of the same run has become worse than the committed one; never an absolute time.

It compares the fastest rounds: other work on the machine makes rounds slower and never faster, while code that became
slower makes all of them slower. And a ratio has to be worse both to the limit and to the yardstick, as a busy machine
does not slow all code alike. How much worse is allowed stands in tolerances.toml, with the reason.
"""

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.rows.results import Cells, Results
from benchmarks.rows.table import work_of
from benchmarks.rows.yardstick import YARDSTICK

_TOLERANCES = Path(__file__).with_name("tolerances.toml")


@dataclass(frozen=True)
class Tolerance:
    """How many times the committed ratio is still no regression."""

    factor: float
    why: str


def tolerances() -> dict[str, Tolerance]:
    """By work, or by work and figure: `hits` and `hits, 1 MiB`."""
    return {name: Tolerance(**told) for name, told in tomllib.loads(_TOLERANCES.read_text()).items()}


def best_ratios(cells: Cells, figure: str, unit: str) -> tuple[float, ...]:
    """The fastest round beside the fastest of the limit, and beside the yardstick where it is a time; more is worse."""
    ours, limits = cells.figures[figure], cells.limits[figure]
    yardsticks = cells.limits.get(YARDSTICK, []) if unit != "bytes" else []
    is_rate = figure.endswith("/s")
    to_limit = max(limits) / max(ours) if is_rate else min(ours) / min(limits)
    if not yardsticks:
        return (to_limit,)
    return to_limit, (1 / max(ours) if is_rate else min(ours)) / min(yardsticks)


@dataclass(frozen=True)
class Regression:
    """What became worse, and what is said of it."""

    work: str
    module: str
    words: str


def regressions(fresh: Results, committed: Results, allowed: dict[str, Tolerance]) -> Iterator[Regression]:
    """Give a complaint for each figure that became worse, and for each that is gone."""
    for work, of_columns in fresh.works.items():
        for module, cells in of_columns.items():
            before = committed.works.get(work, {}).get(module, Cells())
            for figure, why in cells.empty.items():
                if figure in before.figures:
                    yield Regression(work, module, f"{figure}: was measured once, and now {why}")
            for figure in cells.figures:
                if figure not in before.limits or figure not in cells.limits:
                    continue
                factor = allowed.get(f"{work}, {figure}", allowed[work]).factor
                unit = work_of(work).unit
                pairs = list(zip(best_ratios(cells, figure, unit), best_ratios(before, figure, unit), strict=False))
                if all(now > then * factor for now, then in pairs):
                    now, then = pairs[0]
                    worse = f"{now:.3g} x its limit, {then:.3g} x before, {factor:g} times that allowed"
                    yield Regression(work, module, f"{figure}: {worse}")
