"""Run the tests of each pure floor alone, and ask that they reach every line and every branch of it.

The floors that decide (`model`, `matching`, `protocol`) need no store, clock or loop. So what their own tests do not
reach is either dead or a rule that nobody has stated; that some other test passes through it proves nothing.
"""

import io
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from coverage import Coverage
from coverage.exceptions import CoverageException

FLOORS = ("model", "matching", "protocol")
ENOUGH_PERCENT = 100.0
N_AT_ONCE = 2


def run_tests_of(floor: str, data_file: Path) -> bool:
    """Run the floor's own tests, measured into `data_file`; say whether they passed."""
    measured = [sys.executable, "-m", "coverage", "run", f"--data-file={data_file}"]
    # They run at the same time, and would write one another's cache.
    tests = ["-m", "pytest", "-q", "--no-header", "-p", "no:cacheprovider", f"tests/unit/{floor}"]
    done = subprocess.run([*measured, *tests], check=False, capture_output=True, text=True)
    if done.returncode != 0:
        print(done.stdout, done.stderr, sep="\n")
    return done.returncode == 0


def reached(floor: str, data_file: Path) -> tuple[float, str]:
    """Give the percentage of the floor that its tests reached, and a table of the lines that they did not."""
    coverage = Coverage(data_file=str(data_file))
    coverage.combine([str(data_file.parent)])
    table = io.StringIO()
    return coverage.report(include=[f"src/everfresh/{floor}/*"], omit=[], file=table), table.getvalue()


def is_covered(floor: str) -> bool:
    """Say whether the floor's own tests pass and reach all of it."""
    with tempfile.TemporaryDirectory() as folder:
        data_file = Path(folder) / ".coverage"
        if not run_tests_of(floor, data_file):
            return False
        try:
            percent, table = reached(floor, data_file)
        except CoverageException as error:
            print(f"everfresh.{floor}: {error}")
            return False
    print(f"everfresh.{floor}: tests/unit/{floor} alone reaches {percent:.1f} % of its lines and branches.")
    if percent < ENOUGH_PERCENT:
        print(f"It must be {ENOUGH_PERCENT:.0f} %.", table, sep="\n")
    return percent >= ENOUGH_PERCENT


if __name__ == "__main__":
    with ThreadPoolExecutor(N_AT_ONCE) as pool:
        covered = list(pool.map(is_covered, FLOORS))  # all of them: one answer for one run
    sys.exit(0 if all(covered) else 1)
