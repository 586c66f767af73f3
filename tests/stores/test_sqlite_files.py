"""Files that are not what they should be: a clear error, and the file left as it was."""

import asyncio
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from everfresh.model.errors import StoreClosed, StoreForeign, StoreUnavailable
from everfresh.stores.sqlite import SqliteStore
from everfresh.testing.by_hand import ByHand, put_of
from everfresh.testing.waiting import soon, until

NOBODY = 65534
FULL_DISK = Path(__file__).with_name("full_disk.py")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache.db"


def test_somebody_elses_database_is_refused(path: Path) -> None:
    """Nothing of it is changed."""
    run_sql(path, "CREATE TABLE customer (name TEXT)", "INSERT INTO customer VALUES ('Ada')")

    check_refused(path, StoreForeign, "not an Everfresh store")


def test_another_applications_empty_database_is_refused(path: Path) -> None:
    """An application's number says whose it is, before there is any table."""
    run_sql(path, "PRAGMA application_id = 7", "CREATE TABLE t (x)", "DROP TABLE t")

    check_refused(path, StoreForeign, "not an Everfresh store")


@pytest.mark.parametrize("data", [b"short", b"# notes\n" * 1_000, b"SQLite format 3\0" + b"\xff" * 200])
def test_what_is_no_database_is_refused(path: Path, data: bytes) -> None:
    """Nothing of it is changed."""
    path.write_bytes(data)

    check_refused(path, StoreForeign, "not a SQLite file")


def test_a_newer_schema_is_refused(path: Path) -> None:
    """A newer Everfresh knows what to do with it; this one does not."""
    SqliteStore(path).close()
    run_sql(path, "PRAGMA user_version = 1000")

    check_refused(path, StoreForeign, "schema 1000")


def test_an_empty_file_becomes_a_store(path: Path) -> None:
    """There is nothing in it to lose."""
    path.touch()

    with closing(SqliteStore(path)) as store:
        assert ByHand(store).put("k", 1)


def test_a_missing_folder_is_named(path: Path) -> None:
    """It is not made: a mistyped path would become a cache that nobody finds again."""
    missing = path.parent / "nowhere" / "cache.db"

    with pytest.raises(StoreUnavailable, match="nowhere"):
        SqliteStore(missing)

    assert not missing.parent.exists()


def test_a_folder_is_no_file(path: Path) -> None:
    """The error names the path."""
    path.mkdir()

    with pytest.raises(StoreUnavailable, match=r"cache\.db"):
        SqliteStore(path)


def test_a_file_that_may_not_be_written_can_be_read() -> None:
    """Its folder may not be written either, so nothing can be made beside it; a write says why it cannot be."""
    with open_folder() as folder:
        path = folder / "cache.db"
        with closing(SqliteStore(path)) as store:
            ByHand(store).put("k", 1)
        path.chmod(0o444)
        folder.chmod(0o555)
        with as_nobody(), closing(SqliteStore(path)) as store:
            hand = ByHand(store)
            assert hand.value("k") == 1
            assert hand.position().sequence > 0
            with pytest.raises(StoreUnavailable, match="only read") as raised:
                hand.put("k", 2)
            assert str(path) in str(raised.value)
            assert hand.value("k") == 1


def test_what_another_user_writes_into_it_is_seen_at_once() -> None:
    """Nobody who may only read serves what is outdated: not even what was read a moment ago."""
    with open_folder() as folder:
        path = folder / "cache.db"
        with closing(SqliteStore(path)) as store:
            ByHand(store).put("k", 1)
        path.chmod(0o444)
        folder.chmod(0o555)
        with as_nobody():
            theirs = SqliteStore(path)
            assert ByHand(theirs).value("k") == 1
            before = theirs.version()
        folder.chmod(0o755)
        path.chmod(0o644)
        with closing(SqliteStore(path)) as store:
            ByHand(store).put("k", 2)
        with as_nobody(), closing(theirs):
            assert theirs.version() != before
            assert ByHand(theirs).value("k") == 2


def test_a_file_of_an_older_schema_has_to_be_opened_by_one_who_may_write() -> None:
    """Who may only read cannot bring it to the newest."""
    with open_folder() as folder:
        path = folder / "cache.db"
        SqliteStore(path).close()
        run_sql(path, "PRAGMA user_version = 1", "PRAGMA wal_checkpoint(TRUNCATE)")
        folder.chmod(0o555)
        path.chmod(0o444)
        with as_nobody():
            check_refused(path, StoreUnavailable, "may write")


def test_a_folder_that_may_not_be_written_is_refused() -> None:
    """No file appears in it."""
    with open_folder() as folder:
        folder.chmod(0o555)
        with as_nobody(), pytest.raises(StoreUnavailable, match=r"cache\.db"):
            SqliteStore(folder / "cache.db")
        assert list(folder.iterdir()) == []


def test_a_full_disk_is_said_to_be_full(path: Path) -> None:
    """Nothing that was stored is lost, nothing is there by half, and with room it goes on."""
    done = subprocess.run([sys.executable, str(FULL_DISK), str(path)], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    error, kept, near, again = done.stdout.splitlines()
    assert "cache.db" in error
    assert "disk" in error
    assert (kept, near, again) == ("kept: True None", "near: 42 42", "again: True 1")
    assert run_sql(path, "PRAGMA integrity_check") == [("ok",)]


def test_a_file_that_another_process_holds_is_unavailable_for_writing(path: Path) -> None:
    """After the busy timeout, without an effect; reading goes on, and so does writing when it is free again."""
    with closing(SqliteStore(path)) as store, closing(sqlite3.connect(path, isolation_level=None)) as other:
        hand = ByHand(store)
        hand.put("k", 1)
        other.execute("BEGIN IMMEDIATE")

        with pytest.raises(StoreUnavailable, match="locked"):
            hand.put("k", 2)
        assert hand.value("k") == 1

        other.execute("ROLLBACK")
        assert hand.put("k", 3)


async def test_readers_do_not_wait_for_one_who_waits_to_write(path: Path) -> None:
    """Not even when it is time to look whether the file is still the same."""
    with closing(SqliteStore(path)) as store, closing(sqlite3.connect(path, isolation_level=None)) as other:
        hand = ByHand(store)
        hand.put("k", 1)
        other.execute("BEGIN IMMEDIATE")
        writing = asyncio.create_task(store.carry_out_async(put_of("k", 2)))
        ends_at = time.monotonic() + 1.5

        def has_read_past_the_look() -> bool:
            store.version()
            return hand.value("k") == 1 and time.monotonic() > ends_at

        await soon(has_read_past_the_look, what="the next look at the file")
        other.execute("ROLLBACK")

        # It would have been refused by now, had a reader waited for it.
        assert await writing


def test_a_damaged_file_says_so(path: Path) -> None:
    """The error says what to do: it is a cache. It is found when the file is opened, not when the page is needed."""
    with closing(SqliteStore(path)) as store:
        ByHand(store).put("k", "x" * 100_000)
    data = bytearray(path.read_bytes())
    data[8192:] = b"\xa5" * (len(data) - 8192)
    path.write_bytes(data)

    check_refused(path, StoreUnavailable, "delete it")


def test_damage_in_a_large_file_is_found_when_the_machine_had_stopped(path: Path) -> None:
    """A stopped machine is what damages files; to read gigabytes at each start would cost more than it is worth."""
    with closing(SqliteStore(path, boot="a")) as store:
        hand = ByHand(store)
        for number in range(60):
            hand.put(f"k{number}", "x" * 100_000)
    run_sql(path, "UPDATE counters SET is_clean = 0")
    data = bytearray(path.read_bytes())
    data[-500_000:-100_000] = b"\xa5" * 400_000
    path.write_bytes(data)

    SqliteStore(path, boot="a").close()
    run_sql(path, "UPDATE counters SET is_clean = 0")
    with pytest.raises(StoreUnavailable, match="delete it"):
        SqliteStore(path, boot="b")


def test_a_schema_that_became_newer_is_noticed_by_those_who_have_the_file_open(path: Path) -> None:
    """They would write what the newer one does not understand."""
    with closing(SqliteStore(path)) as store:
        hand = ByHand(store)
        hand.put("k", 1)
        run_sql(path, "PRAGMA user_version = 1000")

        with pytest.raises(StoreForeign, match="schema 1000"):
            until(lambda: hand.value("k") != 1, what="the newer schema is noticed")


def test_two_that_make_the_file_at_once_have_one_store(tmp_path: Path) -> None:
    """Whoever is second finds what the first has made."""
    n_threads = 4
    together = threading.Barrier(n_threads)

    def epoch(path: Path) -> str:
        together.wait()
        with closing(SqliteStore(path)) as store:
            return ByHand(store).position().epoch

    with ThreadPoolExecutor(n_threads) as pool:
        for number in range(10):
            epochs = set(pool.map(epoch, [tmp_path / f"{number}.db"] * n_threads))
            assert len(epochs) == 1


def test_closing_under_load_says_closed_and_nothing_else(path: Path) -> None:
    """Whoever comes too late is told so, whatever they were about to do."""
    store = SqliteStore(path)
    hand = ByHand(store)
    has_begun = threading.Event()

    def work(number: int) -> str:
        try:
            while True:
                hand.put(f"k{number}", number)
                hand.load(f"k{number}")
                store.version()
                has_begun.set()
        except StoreClosed:
            return "closed"

    with ThreadPoolExecutor(4) as pool:
        working = [pool.submit(work, number) for number in range(4)]
        has_begun.wait(20.0)
        store.close()

        assert [future.result(20.0) for future in working] == ["closed"] * 4


def run_sql(path: Path, *statements: str) -> list[tuple[object, ...]]:
    """What the last statement gives, on a connection of its own."""
    found: list[tuple[object, ...]] = []
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            found = connection.execute(statement).fetchall()
    return found


def check_refused(path: Path, error: type[Exception], text: str) -> None:
    """It cannot be opened, the error names it and says why, and not a byte of it is another."""
    before = path.read_bytes()

    with pytest.raises(error, match=text) as raised:
        SqliteStore(path)

    assert str(path) in str(raised.value)
    assert path.read_bytes() == before


@contextmanager
def open_folder() -> Iterator[Path]:
    """A folder that everybody may look into."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder
        folder.chmod(0o755)


@contextmanager
def as_nobody() -> Iterator[None]:
    """Root may write everything, so root becomes somebody who may not."""
    if os.getuid() != 0:
        yield
        return
    os.setresuid(NOBODY, NOBODY, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)
