"""Guards of the SQLite store that only show when somebody comes in between, or when something is missing."""

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from everfresh.model.dependency import Tag
from everfresh.model.entry import Key, Recipe, State, Terms
from everfresh.model.errors import StoreUnavailable
from everfresh.protocol.requests import Seen
from everfresh.stores.sqlite import SqliteStore
from everfresh.stores.sqlite_bell import bell_of
from everfresh.stores.sqlite_rows import FileMemory
from everfresh.stores.sqlite_tables import SqliteTables
from everfresh.stores.tables import Row
from everfresh.testing.by_hand import ByHand
from everfresh.testing.waiting import until

NOW = 1000.0
FULL = 2
ROOT = Path(__file__).parents[2]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache.db"


@pytest.fixture
def ours(path: Path) -> Iterator[SqliteStore]:
    with closing(SqliteStore(path)) as store:
        yield store


@pytest.fixture
def theirs(ours: SqliteStore, path: Path) -> Iterator[SqliteStore]:
    """Another process's view of the same file."""
    with closing(SqliteStore(path)) as store:
        yield store


# ------------------------------------------------------------------------------------------------------------- steps


def test_nobody_writes_between_what_a_step_reads_and_what_it_writes(ours: SqliteStore, path: Path) -> None:
    """It decides by what it read, so that must still be so when it writes."""
    ByHand(ours).put("k", 1)
    answers: list[str] = []

    with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as other:

        def meddle(statement: str) -> None:
            if not statement.startswith("SELECT"):
                return
            try:
                other.execute("UPDATE counters SET token = token + 1")
                answers.append("done")
            except sqlite3.OperationalError as error:
                answers.append(str(error))

        writer = writer_of(ours)
        writer.set_trace_callback(meddle)
        with suppress(StoreUnavailable):
            ByHand(ours).put("k", 2)
        writer.set_trace_callback(None)

    assert len(answers) > 1
    assert set(answers) == {"database is locked"}


def test_a_reader_does_not_wait_for_one_who_writes(ours: SqliteStore, path: Path) -> None:
    """However long that takes: it reads what was there before."""
    ByHand(ours).put("k", 1)

    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        other.execute("DELETE FROM entry")

        assert ByHand(ours).value("k") == 1


def test_a_step_that_was_left_open_does_not_take_the_next_one_along(ours: SqliteStore, path: Path) -> None:
    """A signal may come between the end of a step and the news of it; what nobody confirmed is undone."""
    ByHand(ours).put("k", 1)
    writer = writer_of(ours)
    writer.execute("BEGIN IMMEDIATE")
    writer.execute("UPDATE counters SET token = 77")

    ByHand(ours).put("k", 2)

    assert ByHand(ours).value("k") == 2
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("SELECT token FROM counters").fetchone() != (77,)


def test_every_field_of_a_row_that_changes_is_written(path: Path) -> None:
    """Only what changed is written, and all of that."""
    SqliteStore(path).close()
    changed: dict[str, Any] = {
        "recipe": Recipe("f", b"a"),
        "state": State.FAILED,
        "fingerprint": "p",
        "digest": "d",
        "version": 3,
        "good_from": 4,
        "changed_at": 5,
        "built_at": 6.5,
        "build_s": 0.5,
        "seen": (Seen(Key("inner"), "e"),),
        "terms": Terms(priority=-2),
        "stale_since": 7.5,
        "reason": "it broke",
        "attempts": 8,
        "retry_at": 9.5,
        "due": 10.5,
        "token": 11,
        "until": 12.5,
        "begun": 13,
        "n_died": 2,
        "expires_at": 14.5,
        "rank": -15.5,
        "queued_at": 16.5,
        "event_at": 17.5,
        "event": b"\x00",
        "cause": ("a",),
        "history": ("c",),
        "builder": "somebody",
        "is_error": True,
        "n_bytes": 18,
        "read_at": 19.5,
        "watched_until": 20.5,
    }
    assert set(changed) == {field.name for field in fields(Row)} - {"key", "groups"}

    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for name, value in changed.items():
            key = Key(name)
            first = SqliteTables(connection, NOW, FileMemory())
            first.save(Row(key=key, recipe=None))
            first.finish()
            second = SqliteTables(connection, NOW, FileMemory())
            row = second.row(key)
            assert row is not None
            setattr(row, name, value)
            second.save(row)
            second.finish()

            assert getattr(SqliteTables(connection, NOW, FileMemory()).row(key), name) == value


def test_a_lease_that_ran_out_keeps_no_marks(path: Path) -> None:
    """Its build is outrun anyway; the next one begins later."""
    SqliteStore(path).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        tables = SqliteTables(connection, NOW, FileMemory())
        tables.save(Row(key=Key("dead"), recipe=None, token=1, until=NOW, begun=3))
        tables.save(Row(key=Key("alive"), recipe=None, token=2, until=NOW + 1, begun=7))

        assert tables.oldest_lease(NOW) == 7


# ---------------------------------------------------------------------------------------------------------- the bell


def test_a_commit_between_the_look_at_sqlite_and_the_note_of_it_is_seen(ours: SqliteStore, theirs: SqliteStore) -> None:
    """The bell is read before SQLite is asked, so it has another number after that."""

    def commit(_cursor: sqlite3.Cursor, columns: tuple[int]) -> tuple[int]:
        ByHand(theirs).put("k", 1)
        return columns

    versions = ours._versions  # noqa: SLF001 - nothing else comes between the two looks
    ByHand(theirs).put("k", 0)
    versions.row_factory = commit
    seen = ours.version()
    versions.row_factory = None

    assert ours.version() != seen


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a file that takes nothing")
def test_who_cannot_ring_answers_when_everybody_has_looked(path: Path) -> None:
    """SQLite is asked every few milliseconds whoever rings, and the step is answered after that."""
    bell_of(path).symlink_to("/dev/full")
    with closing(SqliteStore(path)) as ours, closing(SqliteStore(path)) as theirs:
        for number in range(10):
            before = ours.version()
            ByHand(theirs).put("k", number)

            assert ours.version() != before


def test_a_bell_without_a_number_has_sqlite_asked(path: Path) -> None:
    """One that was emptied says nothing: two who find it so have not found the same."""
    with closing(SqliteStore(path)) as ours, closing(sqlite3.connect(path, isolation_level=None)) as foreign:
        ByHand(ours).put("k", 1)
        for number in range(20):
            bell_of(path).write_bytes(b"")
            before = ours.version()
            foreign.execute("UPDATE counters SET token = ?", (1000 + number,))

            assert ours.version() != before


# ---------------------------------------------------------------------------------------------------------- the file


def test_nobody_writes_between_the_look_at_a_new_file_and_the_making_of_it(path: Path) -> None:
    """Whoever comes second finds all that the first has made, or waits for it."""
    command = [sys.executable, "-m", "tests.stores.meddled_opening", str(path)]

    said = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout

    assert said == "database is locked\n"


def test_the_next_file_has_no_version_that_was_seen_of_the_first(path: Path) -> None:
    """SQLite counts from the beginning again, and who compares would take the one for the other."""
    with closing(SqliteStore(path)) as store:
        seen = store.version()
        for file in path.parent.iterdir():
            file.unlink()

        def is_made_again() -> bool:
            store.version()
            return path.exists()

        until(is_made_again, what="the file")
        assert store.version() not in range(seen + 1000)


def test_that_a_file_is_in_use_is_on_the_disk_before_anything_else(path: Path) -> None:
    """Else a power cut could bring the closed file back, as if nothing had been written since."""
    with closing(SqliteStore(path, boot="a")) as store:
        ByHand(store).put("k", 1)
    with closing(SqliteStore(path, boot="a")) as store:
        statements: list[str] = []
        writer = writer_of(store)
        writer.set_trace_callback(statements.append)
        ByHand(store).put("k", 2, Tag("t"))
        writer.set_trace_callback(None)

    marks = [text for text in statements if text.startswith(("PRAGMA synchronous", "UPDATE counters SET is_clean"))]
    assert marks == [
        "PRAGMA synchronous = FULL",
        "UPDATE counters SET is_clean = 0, boot = 'a'",
        "PRAGMA synchronous = NORMAL",
    ]
    assert statements.index(marks[-1]) < next(
        place for place, text in enumerate(statements) if text.startswith("INSERT INTO")
    )


def test_where_runs_are_not_named_every_commit_waits_for_the_disk(path: Path) -> None:
    """Those after the one that takes the file into use, too."""
    with closing(SqliteStore(path, boot="")) as store:
        ByHand(store).put("k", 1)
    with closing(SqliteStore(path, boot="")) as store:
        ByHand(store).put("k", 2)

        assert writer_of(store).execute("PRAGMA synchronous").fetchone() == (FULL,)


def test_who_closes_does_not_speak_for_another_run_of_the_machine(path: Path) -> None:
    """What that run writes after it is in use again, and not closed."""
    last = SqliteStore(path, boot="a")
    ByHand(last).put("k", 1)
    with closing(SqliteStore(path, boot="b")) as present:
        ByHand(present).put("k", 2)

        last.close()

        with closing(sqlite3.connect(path)) as other:
            assert other.execute("SELECT boot, is_clean FROM counters").fetchone() == ("b", 0)


def writer_of(store: SqliteStore) -> sqlite3.Connection:
    """The connection that writes."""
    opened = store._opened  # noqa: SLF001 - what it says to SQLite is what this is about
    assert opened.writer is not None
    return opened.writer
