"""Run the benchmarks: all of them, or those that are named. `make bench ARGS="hits triage --json results.json"`.

Without names the rows beside all peers come first, and all is written to docs/benchmarks.md and what it is made of.
"""

import argparse
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks import (
    amqp,
    disk,
    flat,
    hits,
    http_events,
    mutator,
    push_churn,
    push_latency,
    push_processes,
    redis_cluster,
    redis_hits,
    redis_rates,
    redis_size,
    redis_steps,
    size,
    triage,
)
from benchmarks.report import Report
from benchmarks.rows import running as rows

BENCHMARKS: dict[str, Callable[[Report], None]] = {
    "hits": hits.main,
    "disk": disk.main,
    "mutator": mutator.main,
    "triage": triage.main,
    "flat": flat.main,
    "size": size.main,
    "http_events": http_events.main,
    "amqp": amqp.main,
    "push_churn": push_churn.main,
    "push_latency": push_latency.main,
    "push_processes": push_processes.main,
    "redis_hits": redis_hits.main,
    "redis_steps": redis_steps.main,
    "redis_rates": redis_rates.main,
    "redis_size": redis_size.main,
    "redis_cluster": redis_cluster.main,
}
# An hour.
_ONLY_WHEN_NAMED = frozenset({"push_churn"})


def main() -> int:
    """Run them in order; the exit code is 1 when a bar did not hold, or with --quick when a ratio became worse."""
    options = _options()
    if options.quick:
        return rows.quick(options.results)
    report = Report(options.full)
    report.machine()
    is_whole = not options.names
    results = rows.beside_peers(report) if is_whole or rows.NAME in options.names else None
    for name in [name for name in options.names or BENCHMARKS if name != rows.NAME]:
        if is_whole and name in _ONLY_WHEN_NAMED:
            continue
        started = time.perf_counter()
        run = BENCHMARKS[name]
        if name == "push_churn" and options.minutes is not None:
            run = partial(push_churn.main, minutes=options.minutes)
        run(report)
        print(f"  ({name}: {time.perf_counter() - started:.0f} s)")
    code = report.end(options.json)
    if results is not None:
        rows.keep(results, report, options.results, is_whole=is_whole)
    return code


def _options() -> argparse.Namespace:
    names = [rows.NAME, *BENCHMARKS]
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which to run: {', '.join(names)}")
    parser.add_argument("--quick", action="store_true", help="our own rows beside the committed ratios, in a minute")
    parser.add_argument(
        "--full", action="store_true", help="a million entries in SQLite and Redis too, which takes minutes"
    )
    parser.add_argument(
        "--minutes", type=float, metavar="N", help=f"how long push_churn takes, else {push_churn.MINUTES:g}"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all rounds of the benchmarks with bars here")
    parser.add_argument("--results", type=Path, metavar="FILE", help="write all rounds of the rows here")
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in names]
    if unknown:
        parser.error(f"There is no benchmark {', '.join(unknown)}. There are: {', '.join(names)}.")
    return options


if __name__ == "__main__":
    sys.exit(main())
