"""Run the benchmarks: all of them, or those that are named. `make bench ARGS="hits"`."""

import sys
from collections.abc import Callable

from benchmarks import hits, triage

BENCHMARKS: dict[str, Callable[[], None]] = {"hits": hits.main, "triage": triage.main}


def main() -> int:
    """Run them in order; give the exit code."""
    names = sys.argv[1:] or list(BENCHMARKS)
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        print(f"There is no benchmark {', '.join(unknown)}. There are: {', '.join(BENCHMARKS)}.")
        return 2
    for name in names:
        BENCHMARKS[name]()
    return 0


if __name__ == "__main__":
    sys.exit(main())
