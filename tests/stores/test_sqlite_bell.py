"""The bell beside a SQLite store: a look at the version that costs no lock, and misses nothing that was answered."""

import sqlite3
from collections.abc import Generator
from pathlib import Path

import pytest

from everfresh.model.entry import Key
from everfresh.model.errors import StoreUnavailable
from everfresh.protocol.requests import Delete, Register
from everfresh.stores.sqlite import SqliteStore
from everfresh.stores.sqlite_bell import Bell, bell_of
from everfresh.testing.by_hand import ByHand
from everfresh.testing.waiting import until


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the store lies."""
    return tmp_path / "cache.db"


@pytest.fixture
def ours(path: Path) -> Generator[SqliteStore]:
    """The store that looks."""
    store = SqliteStore(path)
    yield store
    store.close()


@pytest.fixture
def theirs(ours: SqliteStore, path: Path) -> Generator[SqliteStore]:
    """Another process's view of the same file."""
    store = SqliteStore(path)
    yield store
    store.close()


def test_what_another_has_answered_is_seen_at_once(ours: SqliteStore, theirs: SqliteStore) -> None:
    """Whoever commits rings before the step is answered, so no look after that finds the old version."""
    for number in range(200):
        before = ours.version()
        ByHand(theirs).put(f"k{number}", number)

        assert ours.version() != before


def test_without_a_ring_the_version_stands(ours: SqliteStore) -> None:
    """Nobody wrote: two looks give the same, asked of SQLite or not."""
    assert len({ours.version() for _ in range(100)}) == 1


def test_who_wrote_without_ringing_is_noticed_soon(ours: SqliteStore, path: Path) -> None:
    """A process that was killed before its ring has answered nobody; SQLite is asked anyway, every few milliseconds."""
    before = ours.version()
    with sqlite3.connect(path) as foreign:
        foreign.execute("UPDATE counters SET token = token + 1")
    foreign.close()

    until(lambda: ours.version() != before, what="the version")


def test_two_who_ring_at_once_are_both_heard(path: Path) -> None:
    """The number is drawn anew each time, so that no two rings write the same."""
    path.touch()
    one, other = Bell(path), Bell(path)
    seen = set[bytes]()
    for _ in range(100):
        one.ring()
        seen.add(other.number())
        other.ring()
        seen.add(one.number())

    assert len(seen) == 200


def test_a_bell_that_was_deleted_is_hung_again(ours: SqliteStore, path: Path) -> None:
    """Whoever deletes it by hand harms nobody for long: it is looked after once a second."""
    bell_of(path).unlink()

    def is_there() -> bool:
        ours.version()
        return bell_of(path).exists()

    until(is_there, what="the bell")
    theirs = SqliteStore(path)
    before = ours.version()
    theirs.carry_out(Delete((Key("nothing"),)))
    ByHand(theirs).put("k", 1)

    assert ours.version() != before
    theirs.close()


def test_the_bell_is_as_open_as_the_file(path: Path) -> None:
    """Who may write the store must be able to ring, and nobody else."""
    path.touch()
    path.chmod(0o640)

    Bell(path)

    assert bell_of(path).stat().st_mode & 0o777 == 0o640


def test_a_store_whose_bell_cannot_be_rung_is_refused(path: Path) -> None:
    """Its writes would be seen late by all others, so it does not open to write."""
    bell_of(path).mkdir()

    with pytest.raises(StoreUnavailable, match="-bell: Is a directory"):
        SqliteStore(path)


def test_a_file_with_two_names_has_one_bell(path: Path, tmp_path: Path) -> None:
    """It lies beside the file itself, where SQLite keeps its own, whatever links lead there."""
    ours = SqliteStore(path)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "link.db").symlink_to(path)
    theirs = SqliteStore(tmp_path / "other" / "link.db")
    before = ours.version()

    ByHand(theirs).put("k", 1)

    assert ours.version() != before
    theirs.close()
    ours.close()


def test_a_bell_that_was_cut_short_harms_nobody(ours: SqliteStore, theirs: SqliteStore, path: Path) -> None:
    """Whoever copies files over it, or empties it, ends no process; the next ring makes it whole."""
    with bell_of(path).open("wb"):
        before = ours.version()
        ByHand(theirs).put("k", 1)

        assert ours.version() != before


def test_a_step_that_tells_the_feed_nothing_rings_too(theirs: SqliteStore, path: Path) -> None:
    """Every writing step rings, whether it tells the feed of anything or not."""
    before = Bell(path).number()
    theirs.carry_out(Register(()))

    assert Bell(path).number() != before
