"""A SQLite file that was put back: a backup, an older copy. It may be older than what was told of it."""

import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from everfresh import Cache, dep
from everfresh.model.dependency import Tag
from everfresh.model.entry import State
from everfresh.stores.sqlite import SqliteStore
from everfresh.testing.by_hand import ByHand
from everfresh.testing.waiting import until

T = Tag("t")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the store lies."""
    return tmp_path / "cache.db"


@pytest.fixture
def backup(path: Path) -> Path:
    """A copy that is older than the file: since then an invalidation has returned."""
    copy = path.with_name("backup.db")
    with closing(SqliteStore(path)) as store:
        ByHand(store).build("k", "old", T)
    shutil.copy(path, copy)
    with closing(SqliteStore(path)) as store:
        ByHand(store).touch(T)
    return copy


def test_a_file_that_nobody_touched_is_trusted(path: Path) -> None:
    """A restart costs nothing: what was fresh is fresh, and the epoch is the same."""
    with closing(SqliteStore(path)) as store:
        hand = ByHand(store)
        hand.build("k", 1, T)
        position = hand.position()

    for _ in range(2):
        with closing(SqliteStore(path)) as store:
            assert (ByHand(store).state("k"), ByHand(store).position()) == (State.FRESH, position)


def test_a_backup_that_was_moved_over_the_file_is_distrusted(path: Path, backup: Path) -> None:
    """It is another file than the one that the bell beside it speaks of."""
    backup.replace(path)

    with closing(SqliteStore(path)) as store:
        assert (ByHand(store).state("k"), ByHand(store).value("k")) == (State.DIRTY, "old")


def test_a_backup_that_was_copied_into_the_file_is_distrusted(path: Path, backup: Path) -> None:
    """It has not come as far as the bell beside it says."""
    shutil.copyfile(backup, path)

    with closing(SqliteStore(path)) as store:
        assert ByHand(store).state("k") is State.DIRTY


def test_a_file_that_somebody_else_wrote_meanwhile_is_trusted(path: Path) -> None:
    """Two that begin at once on a new file, or go on after one another: nothing was put back."""
    with closing(SqliteStore(path)) as first, closing(SqliteStore(path)) as second:
        ByHand(second).build("k", 1, T)
        epoch = ByHand(first).position().epoch
        ByHand(first).build("other", 1, T)
        with closing(SqliteStore(path)) as third:
            assert (ByHand(third).state("k"), ByHand(third).position().epoch) == (State.FRESH, epoch)
        ByHand(second).put("put", 1)

    with closing(SqliteStore(path)) as store:
        assert (ByHand(store).state("k"), ByHand(store).position().epoch) == (State.FRESH, epoch)


def test_a_bell_that_was_deleted_while_it_was_in_use_costs_nothing(path: Path) -> None:
    """Whoever hangs another says which file it is of, though nothing is written after that."""
    bell = path.with_name("cache.db-bell")
    with closing(SqliteStore(path)) as store:
        ByHand(store).build("k", 1, T)
        bell.unlink()
        until(lambda: store.version() >= 0 and bell.exists(), what="another bell")

    with closing(SqliteStore(path)) as store:
        assert ByHand(store).state("k") is State.FRESH


def test_one_who_still_writes_into_a_deleted_file_says_nothing_of_the_new_one(path: Path) -> None:
    """The bell is the new file's by then; what was built there is trusted."""
    with closing(SqliteStore(path)) as late:
        ByHand(late).build("k", 1, T)
        for suffix in ("", "-wal", "-shm"):
            path.with_name(path.name + suffix).unlink()
        with closing(SqliteStore(path)) as early:
            ByHand(early).build("k", 2, T)
            ByHand(late).put("lost", 1)

            until(lambda: ByHand(late).position() == ByHand(early).position(), what="the late one follows")
            assert (ByHand(early).state("k"), ByHand(early).value("k")) == (State.FRESH, 2)


@pytest.mark.parametrize("content", [None, b"", b"12345678", b"1" * 32], ids=["gone", "empty", "short", "foreign"])
def test_a_file_without_its_bell_is_distrusted(path: Path, content: bytes | None) -> None:
    """A backup has none; to build anew what was right costs little."""
    with closing(SqliteStore(path)) as store:
        ByHand(store).build("k", 1, T)
    bell = path.with_name("cache.db-bell")
    bell.unlink()
    if content is not None:
        bell.write_bytes(content)

    with closing(SqliteStore(path)) as store:
        assert ByHand(store).state("k") is State.DIRTY
    with closing(SqliteStore(path)) as store:
        epoch = ByHand(store).position().epoch
    with closing(SqliteStore(path)) as store:
        assert ByHand(store).position().epoch == epoch


def test_a_backup_that_is_moved_over_the_file_while_it_is_open_is_distrusted(tmp_path: Path) -> None:
    """By everybody, near caches included: nobody is served what was true before an invalidation that returned."""
    truth = {"price": 1}
    path = tmp_path / "cache.db"
    url = f"sqlite:///{path}"

    def prices(cache: Cache) -> Callable[[], int]:
        @cache.cached(depends_on=[dep.Tag("price")], key="price")
        def price() -> int:
            return truth["price"]

        return price

    with Cache(url) as early:
        prices(early)()
    shutil.copy(path, path.with_name("backup.db"))
    with Cache(url) as ours, Cache(url) as theirs:
        of_ours, of_theirs = prices(ours), prices(theirs)
        assert of_ours() == of_theirs() == 1
        truth["price"] = 2
        ours.blocking.invalidate(dep.Tag("price"))
        position = ours.blocking.position()
        for suffix in ("-wal", "-shm"):
            path.with_name(f"cache.db{suffix}").unlink()
        path.with_name("backup.db").replace(path)

        for cache, price in ((ours, of_ours), (theirs, of_theirs)):
            until(lambda cache=cache: cache.blocking.position().epoch != position.epoch, what="the file is followed")
            assert price() == 2
        assert ours.blocking.position().epoch == theirs.blocking.position().epoch
