"""Eight processes on one file, killed at random with SIGKILL: the file is whole, nothing is stale, nothing is stuck.

EVERFRESH_KILL_SECONDS says for how long; 60 is what is promised.
"""

import os
import random
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from time import monotonic

import pytest

from everfresh import Cache, State
from everfresh.refresh import Worker
from everfresh.testing.waiting import until
from tests.stores.newsroom import N_ARTICLES, N_PROCESSES, Newsroom

ROOT = Path(__file__).parents[2]
KILL_S = float(os.environ.get("EVERFRESH_KILL_SECONDS", "5"))
SEED = int(os.environ.get("EVERFRESH_KILL_SEED", "1"))
# About one a second; the others go on meanwhile.
PAUSES_S = (0.2, 1.6)

pytestmark = [pytest.mark.uncounted, pytest.mark.timeout(KILL_S + 120)]


class Crowd:
    """The processes, each with its number."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._chance = random.Random(SEED)  # noqa: S311 - it chooses victims
        self.running = [self._started(number) for number in range(N_PROCESSES)]

    def kill_one(self) -> None:
        """Kill one at random, at a random time, and start it again."""
        number = self._chance.randrange(N_PROCESSES)
        victim = self.running[number]
        with pytest.raises(subprocess.TimeoutExpired):
            victim.wait(self._chance.uniform(*PAUSES_S))
        victim.kill()
        victim.wait()
        self.running[number] = self._started(number)

    def _started(self, number: int) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", "tests.stores.killed_process", str(self._folder), str(number)]
        return subprocess.Popen(command, cwd=ROOT)


@contextmanager
def crowd(folder: Path) -> Iterator[Crowd]:
    """Eight processes at work; all of them are killed at the end."""
    made = Crowd(folder)
    try:
        yield made
    finally:
        for process in made.running:
            process.kill()
            process.wait()


def test_killed_at_random_nothing_is_stale_and_nothing_is_stuck(tmp_path: Path) -> None:
    """Whatever they were doing; and the last ones leave their leases, their half-told changes and the -wal behind."""
    path = tmp_path / "cache.db"
    read_all(path)
    with crowd(tmp_path) as people:
        until(lambda: all(sum_of(tmp_path, kind) for kind in ("changes", "checks")), what="they work")
        ends_at = monotonic() + KILL_S
        while monotonic() < ends_at or sum_of(tmp_path, "changes") <= N_PROCESSES:
            people.kill_one()

    assert run_sql(path, "PRAGMA integrity_check") == [("ok",)]
    assert not (tmp_path / "stale").exists(), (tmp_path / "stale").read_text()
    with Cache(f"sqlite:///{path}", lease=timedelta(seconds=1)) as cache:
        newsroom = Newsroom(cache, tmp_path)
        newsroom.tell_the_rest(range(N_ARTICLES))
        with Worker(cache).in_thread():
            until(lambda: waiting(path) == [], what="no lease is held and the queue is empty")
        truth = [newsroom.number_in("truth", number) for number in range(N_ARTICLES)]
        assert sum(truth) >= sum_of(tmp_path, "changes") > N_PROCESSES
        assert [newsroom.article.peek(number) for number in range(N_ARTICLES)] == truth
        assert newsroom.total.peek() == sum(truth)
        assert [newsroom.dropped(number) for number in range(N_ARTICLES)] == truth
        assert {entry.state for entry in cache.blocking.entries()} == {State.FRESH}
    assert run_sql(path, "PRAGMA integrity_check") == [("ok",)]
    assert run_sql(path, "SELECT n_entries, n_bytes FROM counters") == run_sql(
        path, "SELECT (SELECT count(*) FROM entry), (SELECT sum(length(data)) FROM value)"
    )


def read_all(path: Path) -> None:
    """Have all stored before it begins: in a short storm, on a busy machine, nobody may come by some of it."""
    with Cache(f"sqlite:///{path}") as cache:
        newsroom = Newsroom(cache, path.parent)
        for number in range(N_ARTICLES):
            newsroom.article(number)
        newsroom.total()


def waiting(path: Path) -> list[tuple[object, ...]]:
    """What is leased, queued or not settled."""
    return run_sql(path, "SELECT key, state FROM entry WHERE token IS NOT NULL OR due IS NOT NULL OR state <> 'fresh'")


def sum_of(folder: Path, kind: str) -> int:
    """What all processes have done of it."""
    return sum(int(file.read_text()) for file in folder.glob(f"{kind}-[0-9]"))


def run_sql(path: Path, statement: str) -> list[tuple[object, ...]]:
    """What the statement gives."""
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(statement).fetchall()
