"""A power cut may take back the last commits of a SQLite file. Nothing served after that may be older than was told."""

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from everfresh.model.dependency import Tag
from everfresh.model.entry import OnChange, State
from everfresh.stores.sqlite import SqliteStore
from everfresh.testing.by_hand import ByHand

LeftOpen = Callable[[], Path]
NORMAL, FULL = 1, 2


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache.db"


@pytest.fixture
def left_open(path: Path) -> LeftOpen:
    """The file as it is while somebody has it open: what is left of it when the machine stops."""

    def copy() -> Path:
        target = path.parent / "stopped" / path.name
        target.parent.mkdir()
        for file in path.parent.glob("cache.db*"):
            shutil.copy(file, target.parent / file.name)
        # A machine that stops leaves the same file; the copy has another number.
        bell = target.with_name("cache.db-bell")
        old, new = (number.to_bytes(8, "little") for number in (path.stat().st_ino, target.stat().st_ino))
        bell.write_bytes(bell.read_bytes().replace(old, new))
        return target

    return copy


def test_a_file_that_was_closed_well_is_trusted_by_another_run_of_the_machine(path: Path) -> None:
    """All that was written is on the disk."""
    with closing(SqliteStore(path, boot="a")) as store:
        hand = ByHand(store)
        hand.build("k", 1, Tag("t"))
        position = hand.position()

    with closing(SqliteStore(path, boot="b")) as store:
        assert ByHand(store).state("k") is State.FRESH
        assert ByHand(store).position() == position


def test_a_process_that_died_loses_nothing(path: Path, left_open: LeftOpen) -> None:
    """The machine goes on, so what it was given to write is written."""
    with closing(SqliteStore(path, boot="a")) as store:
        ByHand(store).build("k", 1, Tag("t"))
        stopped = left_open()

    with closing(SqliteStore(stopped, boot="a")) as store:
        assert ByHand(store).state("k") is State.FRESH


def test_after_a_power_cut_nothing_counts_as_fresh(path: Path, left_open: LeftOpen) -> None:
    """The last commits may be gone, and with them events: there is a new epoch, and all of it is built again."""
    with closing(SqliteStore(path, boot="a")) as store:
        hand = ByHand(store)
        hand.build("k", 1, Tag("t"))
        hand.build("dropping", 1, on_change=OnChange.DROP)
        hand.put("put", 1)
        epoch = hand.position().epoch
        stopped = left_open()

    with closing(SqliteStore(stopped, boot="b")) as store:
        hand = ByHand(store)
        assert hand.position().epoch != epoch
        assert (hand.state("k"), hand.value("k")) == (State.DIRTY, 1)
        assert (hand.state("put"), hand.state("dropping")) == (None, None)
        assert [due.lease.key for due in hand.take()] == ["k"]


def test_it_is_distrusted_once(path: Path, left_open: LeftOpen) -> None:
    """Whoever opens it next in the same run finds what the first has made of it."""
    with closing(SqliteStore(path, boot="a")) as store:
        ByHand(store).build("k", 1)
        stopped = left_open()

    with closing(SqliteStore(stopped, boot="b")) as first, closing(SqliteStore(stopped, boot="b")) as second:
        assert ByHand(first).position().epoch == ByHand(second).position().epoch


def test_one_who_closes_does_not_make_it_clean_for_one_who_goes_on(path: Path, left_open: LeftOpen) -> None:
    """What the other writes after that may be lost as well."""
    with closing(SqliteStore(path, boot="a")) as ours:
        hand = ByHand(ours)
        SqliteStore(path, boot="a").close()
        hand.build("k", 1)
        stopped = left_open()

    with closing(SqliteStore(stopped, boot="b")) as store:
        assert ByHand(store).state("k") is State.DIRTY


def test_whoever_only_reads_leaves_it_clean(path: Path, left_open: LeftOpen) -> None:
    """There is nothing that could be lost."""
    with closing(SqliteStore(path, boot="a")) as store:
        ByHand(store).build("k", 1)
    with closing(SqliteStore(path, boot="a")) as store:
        ByHand(store).load("k")
        stopped = left_open()

    with closing(SqliteStore(stopped, boot="b")) as store:
        assert ByHand(store).state("k") is State.FRESH


def test_a_machine_that_does_not_name_its_runs_waits_for_the_disk(path: Path, left_open: LeftOpen) -> None:
    """Then no commit can be lost, so there is nothing to distrust."""
    with closing(SqliteStore(path, boot="")) as store:
        ByHand(store).build("k", 1)
        stopped = left_open()

    with closing(SqliteStore(stopped, boot="")) as store:
        assert ByHand(store).state("k") is State.FRESH
        assert synchronous_of(store) == FULL


def test_a_machine_that_names_its_runs_does_not_wait_for_the_disk(path: Path) -> None:
    """To take the file into use does, and only that."""
    with closing(SqliteStore(path, boot="a")) as store:
        ByHand(store).put("k", 1)
    with closing(SqliteStore(path, boot="a")) as store:
        ByHand(store).put("k", 2)
        assert synchronous_of(store) == NORMAL


def synchronous_of(store: SqliteStore) -> int:
    """How the store's writing connection waits for the disk."""
    opened = store._opened  # noqa: SLF001 - the setting cannot be seen from outside
    assert opened.writer is not None
    found: int = opened.writer.execute("PRAGMA synchronous").fetchone()[0]
    return found


def test_a_distrusted_file_is_whole(path: Path, left_open: LeftOpen) -> None:
    """To distrust is one step, like any other."""
    with closing(SqliteStore(path, boot="a")) as store:
        hand = ByHand(store)
        for number in range(50):
            hand.build(f"k{number}", number, Tag(f"t{number % 5}"), seen={"k0": 0} if number else {})
        stopped = left_open()

    with closing(SqliteStore(stopped, boot="b")) as store:
        assert {ByHand(store).state(f"k{number}") for number in range(50)} == {State.DIRTY}
    with closing(sqlite3.connect(stopped)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
