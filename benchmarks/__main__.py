"""Run the benchmarks: all of them, or those that are named. `make bench ARGS="hits triage --json results.json"`."""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import (
    amqp,
    disk,
    flat,
    hits,
    http_events,
    mutator,
    redis_cluster,
    redis_hits,
    redis_rates,
    redis_size,
    redis_steps,
    size,
    triage,
)
from benchmarks.report import Report

BENCHMARKS: dict[str, Callable[[Report], None]] = {
    "hits": hits.main,
    "disk": disk.main,
    "mutator": mutator.main,
    "triage": triage.main,
    "flat": flat.main,
    "size": size.main,
    "http_events": http_events.main,
    "amqp": amqp.main,
    "redis_hits": redis_hits.main,
    "redis_steps": redis_steps.main,
    "redis_rates": redis_rates.main,
    "redis_size": redis_size.main,
    "redis_cluster": redis_cluster.main,
}


def main() -> int:
    """Run them in order; the exit code is 1 when a bar did not hold."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which to run: {', '.join(BENCHMARKS)}")
    parser.add_argument(
        "--full", action="store_true", help="a million entries in SQLite and Redis too, which takes minutes"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all rounds here")
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"There is no benchmark {', '.join(unknown)}. There are: {', '.join(BENCHMARKS)}.")
    report = Report(options.full)
    report.machine()
    for name in options.names or BENCHMARKS:
        started = time.perf_counter()
        BENCHMARKS[name](report)
        print(f"  ({name}: {time.perf_counter() - started:.0f} s)")
    return report.end(options.json)


if __name__ == "__main__":
    sys.exit(main())
