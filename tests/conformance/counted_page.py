"""A function that two processes of a test declare alike; each run of it adds a line to a file."""

import threading
from datetime import timedelta
from pathlib import Path

from everfresh import Cache, SyncFunction, dep

LEASE = timedelta(seconds=0.3)
PAGE = dep.Tag("page")


def declare(cache: Cache, runs: Path, *, stands_still: bool) -> SyncFunction[[], int]:
    """The function; it gives how often it ran, over all processes."""

    @cache.cached(depends_on=[PAGE], key="page")
    def page() -> int:
        with runs.open("a") as file:
            file.write("run\n")
        if stands_still:
            print("building", flush=True)  # noqa: T201 - the test waits for it
            threading.Event().wait()
        return n_runs(runs)

    return page


def n_runs(runs: Path) -> int:
    """How often the function ran."""
    return len(runs.read_text().splitlines()) if runs.exists() else 0
