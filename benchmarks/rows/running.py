"""Running the rows: beside all peers for the page, or quickly beside the committed ratios."""

import time
from pathlib import Path

from benchmarks.report import Report
from benchmarks.rows import page
from benchmarks.rows.guard import regressions, tolerances
from benchmarks.rows.measuring import measure, quickly
from benchmarks.rows.results import PATH, Results, read
from benchmarks.rows.table import WORKS

NAME = "rows"
_N_MORE = 3


def beside_peers(report: Report) -> Results:
    """Measure all rows in all columns."""
    results = Results(machine=dict(report.raw["machine"]))
    print("\nRows, beside all peers")
    measure(results)
    return results


def keep(results: Results, report: Report, path: Path | None, *, is_whole: bool) -> None:
    """Write what was measured: of a whole run the documentation; a file, where one is asked for."""
    results.bars, results.skipped = report.bars, {**results.skipped, **report.skipped}
    if is_whole:
        results.write(PATH)
        page.main()
        print(f"\nWritten: {PATH}, and the page and plots that are made of it.")
    if path is not None:
        results.write(path)
    if not is_whole:
        print("\n" + page.page(results))


def quick(path: Path | None) -> int:
    """Measure our own columns; the exit code is 1 when a ratio became worse than is allowed.

    What seems worse is measured a few times more: the fastest round counts, and one round may be a busy moment.
    """
    started_s = time.perf_counter()
    results, committed, allowed = Results(), read(), tolerances()
    with quickly(results) as again:
        for work in WORKS:
            again(work.name, None)
        for _ in range(_N_MORE):
            worse = {(found.work, found.module) for found in regressions(results, committed, allowed)}
            for name, module in sorted(worse):
                again(name, module)
    if path is not None:
        results.write(path)
    complaints = list(regressions(results, committed, allowed))
    n_figures = sum(len(cells.figures) for of_columns in results.works.values() for cells in of_columns.values())
    for name, why in results.skipped.items():
        print(f"SKIP  {name}: {why}")
    for found in complaints:
        print(f"FAIL  {found.work}, {found.module}, {found.words}")
    print(f"{n_figures} figures in {time.perf_counter() - started_s:.0f} s, {len(complaints)} worse than is allowed")
    return 1 if complaints else 0
