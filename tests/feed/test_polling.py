"""How often a process looks whether another one wrote: often while something happens, seldom when nothing does."""

import itertools
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from everfresh.feed.follower import LONGEST_POLL_S, POLL_S, Follower, pause_s
from everfresh.stores.sqlite import SqliteStore
from everfresh.testing.clock import FakeClock
from everfresh.testing.waiting import until


class Looks(SqliteStore):
    """A store that notes when it is looked at."""

    def __init__(self, path: Path, clock: FakeClock) -> None:
        super().__init__(path, clock=clock)
        self.at: list[float] = []

    def version(self) -> int:
        """Note it."""
        looks: list[float] | None = getattr(self, "at", None)
        if looks is not None:
            looks.append(time.monotonic())
        return super().version()

    def pauses(self, n: int) -> list[float]:
        """Between the last looks."""
        return [later - earlier for earlier, later in itertools.pairwise(self.at[-n - 1 :])]


@pytest.fixture
def looks(tmp_path: Path, clock: FakeClock) -> Iterator[Looks]:
    """The store."""
    store = Looks(tmp_path / "cache.db", clock)
    yield store
    store.close()


@pytest.fixture
def follower(looks: Looks) -> Iterator[Follower]:
    """What is under test."""
    follower = Follower(looks)
    yield follower
    follower.stop()


@pytest.mark.parametrize(
    ("quiet_s", "pause"),
    [(0.0, POLL_S), (0.1, POLL_S), (0.32, 0.01), (1.0, 1 / 32), (1.1, LONGEST_POLL_S), (1e9, LONGEST_POLL_S)],
)
def test_it_is_late_by_a_small_part_of_the_time_in_which_nothing_happened(quiet_s: float, pause: float) -> None:
    """And by no more than nobody sees."""
    assert pause_s(quiet_s) == pytest.approx(pause)


def test_who_follows_for_long_and_is_told_nothing_looks_seldom(follower: Follower, looks: Looks) -> None:
    """An idle worker costs next to nothing. On a busy machine pauses are longer, and never shorter."""
    follower.poll()

    until(
        lambda: len(looks.pauses(10)) == 10 and statistics.median(looks.pauses(10)) >= LONGEST_POLL_S,
        what="the long pauses",
    )


def test_who_begins_to_wait_has_it_look_often_again(follower: Follower, looks: Looks) -> None:
    """Builds of others end in milliseconds, as a rule."""
    follower.poll()
    until(lambda: len(looks.pauses(3)) == 3 and min(looks.pauses(3)) >= LONGEST_POLL_S, what="the long pauses")

    def looks_often() -> bool:
        follower.poll()
        return min(looks.pauses(5)) < LONGEST_POLL_S / 2

    until(looks_often, what="the short pauses")


def test_who_stops_is_not_kept_waiting(follower: Follower, looks: Looks) -> None:
    """The poller is woken, and ends."""
    follower.poll()
    follower.stop()
    n_looks = len(looks.at)

    follower.poll()

    assert len(looks.at) == n_looks
