"""kill -9 at every moment of a refresh, then a restart on the same file: every entry ends fresh, none is stale."""

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from everfresh import Cache, State
from everfresh.refresh import Worker
from everfresh.testing.waiting import until
from tests.crash.shop import N_ARTICLES, Shop

pytestmark = pytest.mark.uncounted

ROOT = Path(__file__).parents[2]
OLD, NEW = [1, 2, 3], [4, 5, 6]


@contextmanager
def refresher(store: Path, truth: Path) -> Iterator[subprocess.Popen[str]]:
    """The process that changes the truth and refreshes; killed at the end, wherever it is."""
    command = [sys.executable, "-m", "tests.crash.refresher", str(store), str(truth), ",".join(map(str, NEW))]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, cwd=ROOT, **pipes) as process:  # type: ignore[call-overload]
        try:
            yield process
        finally:
            process.kill()


def moments(store: Path, truth: Path, n: int) -> list[str]:
    """Let the process run through `n` moments and kill it at the last; the moments that it said."""
    said: list[str] = []
    with refresher(store, truth) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        while len(said) < n and (line := process.stdout.readline()):
            said.append(line.strip())
            if len(said) < n:
                process.stdin.write("\n")
                process.stdin.flush()
    return said


def make_warm(store: Path, truth: Path) -> None:
    """Store every entry, with the old truth."""
    with Cache(f"sqlite:///{store}") as cache:
        shop = Shop(cache, truth)
        shop.change(OLD)
        shop.warm()


def restart(store: Path, truth: Path, *, is_published: bool) -> None:
    """Begin again on the same file, and see that all is well in the end."""
    with Cache(f"sqlite:///{store}", lease=timedelta(seconds=0.3)) as cache:
        shop = Shop(cache, truth)
        if not is_published:
            # Whoever was killed before the event was applied never told its source that it was taken: it comes again.
            cache.blocking.publish(*shop.change(NEW))
        keys = [*(shop.price.key(article) for article in range(N_ARTICLES)), shop.total.key()]
        with Worker(cache).in_thread():
            until(lambda: all(_is_fresh(cache, key) for key in keys), what="every entry is fresh", deadline_s=20)
        assert shop.values() == (NEW, sum(NEW))
        assert [shop.price.peek(article) for article in range(N_ARTICLES)] == NEW
        assert shop.total.peek() == sum(NEW)
    with closing(sqlite3.connect(store)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def _is_fresh(cache: Cache, key: str) -> bool:
    entry = cache.blocking.stored(key)
    return entry is not None and entry.state is State.FRESH


@pytest.fixture(scope="module")
def all_moments(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What the process says when nobody kills it."""
    folder = tmp_path_factory.mktemp("whole")
    make_warm(folder / "cache.db", folder / "truth.json")
    return moments(folder / "cache.db", folder / "truth.json", 10_000)


def test_the_process_goes_through_all_that_a_refresh_does(all_moments: list[str]) -> None:
    """The other test is worth something only when these moments are among those at which it kills."""
    needed = {"TakeDue", "Commit", "Apply", "Load"}

    assert needed <= {moment.rpartition(" ")[2] for moment in all_moments}
    assert all_moments[-1] == "refreshed"


def test_killed_at_any_moment_every_entry_ends_fresh(all_moments: list[str], tmp_path: Path) -> None:
    """No event is lost and nothing stays stale, wherever the process died."""
    for n in range(1, len(all_moments) + 1):
        store, truth = tmp_path / f"{n}.db", tmp_path / f"{n}.json"
        make_warm(store, truth)

        said = moments(store, truth, n)

        # The first is refused: this process has yet to learn which shapes the store knows.
        restart(store, truth, is_published=said.count("after Apply") > 1)


def test_killed_at_a_random_time_many_workers_leave_nothing_stale(tmp_path: Path) -> None:
    """Between two requests a process can die as well: in the user's function, or within a step."""
    store, truth = tmp_path / "cache.db", tmp_path / "truth.json"
    make_warm(store, truth)

    for round_ in range(12):
        with refresher(store, truth) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            # Told beforehand to go on at every moment; killed while it runs, after another number of lines each time.
            process.stdin.write("\n" * (5 + 4 * round_))
            process.stdin.flush()
            for _ in range(3 + 4 * round_):
                process.stdout.readline()

    restart(store, truth, is_published=False)
