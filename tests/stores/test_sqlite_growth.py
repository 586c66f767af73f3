"""A SQLite file stays in proportion to what is in it: what only grows is cut, and free room is given back."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from everfresh.matching.shapes import Bucket
from everfresh.matching.triage import Probe
from everfresh.model.conditions import lt
from everfresh.model.dependency import Id, Scope, Tag, Topic
from everfresh.model.entry import Key
from everfresh.protocol.requests import Delete, ReadFeed
from everfresh.stores.sqlite import SqliteStore
from everfresh.stores.sqlite_opening import WAL_BYTES, wal_of
from everfresh.stores.sqlite_rows import FileMemory
from everfresh.stores.sqlite_tables import MAX_FEED, MAX_FIRED, MAX_PROBES, SqliteTables
from everfresh.stores.tables import Row
from everfresh.testing.by_hand import ByHand

NOW = 1000.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache.db"


@pytest.fixture
def connection(path: Path) -> Iterator[sqlite3.Connection]:
    SqliteStore(path).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        yield connection


def test_an_entry_takes_little_room(path: Path) -> None:
    """1,000,000 entries of three dependencies have to fit in 1.2 KB each, beside key and value."""
    n = 3_000
    n_bytes = 0
    with closing(SqliteStore(path)) as store:
        hand = ByHand(store)
        for number in range(n):
            key = f"app.views.article@1({number})"
            entry = hand.build(
                key, number, Id("article", number), Tag(f"author {number % 99}"), Topic("bug.*", {"id": number})
            )
            n_bytes += len(key) + len(entry.value)

    assert (path.stat().st_size - n_bytes) / n < 700


def test_a_file_shrinks_when_its_entries_are_dropped(path: Path) -> None:
    """In small portions, while it is used, and when it is closed."""
    with closing(SqliteStore(path)) as store:
        hand = ByHand(store)
        for number in range(100):
            hand.put(f"k{number}", "x" * 200_000)
        for number in range(100):
            hand.delete(f"k{number}")
        used = page_count(path)

    assert used < 3_000
    assert path.stat().st_size < 3_000_000


def test_what_is_dropped_at_once_is_given_back_by_the_steps_that_follow(path: Path) -> None:
    """No single step waits for all of it."""
    with closing(SqliteStore(path)) as store:
        hand = ByHand(store)
        for number in range(100):
            hand.put(f"k{number}", "x" * 200_000)
        before = page_count(path)
        store.carry_out(Delete(tuple(Key(f"k{number}") for number in range(100))))
        after = page_count(path)
        for number in range(1_500):
            hand.put("k", number)

        assert before - 1_000 < after < before
        assert page_count(path) < 1_000


def test_a_little_free_room_is_kept(path: Path) -> None:
    """It is used again soon: to give it back would only be work."""
    with closing(SqliteStore(path)) as store:
        hand = ByHand(store)
        for number in range(100):
            hand.put(f"k{number}", "x" * 5_000)
        before = page_count(path)
        for number in range(100):
            hand.delete(f"k{number}")

        assert page_count(path) == before


def test_the_wal_stays_bounded_while_readers_are_busy(path: Path) -> None:
    """Somebody always reads, so there is no moment by itself at which it could begin anew."""
    is_over = threading.Event()
    has_begun = threading.Barrier(3)

    def read() -> None:
        with closing(sqlite3.connect(path, isolation_level=None)) as reader:
            has_begun.wait()
            while not is_over.is_set():
                reader.execute("BEGIN")
                reader.execute("SELECT count(*) FROM entry, value USING (id)").fetchall()
                reader.execute("COMMIT")

    with closing(SqliteStore(path)) as store:
        hand = ByHand(store)
        hand.put("k", 1)
        readers = [threading.Thread(target=read) for _ in range(2)]
        for reader in readers:
            reader.start()
        has_begun.wait()
        try:
            largest = 0
            for number in range(1_500):
                hand.put(f"k{number % 10}", f"{number}" * 10_000)
                largest = max(largest, wal_of(path).stat().st_size)
        finally:
            is_over.set()
            for reader in readers:
                reader.join()

    assert largest < 16 * WAL_BYTES


def test_the_feed_is_cut(path: Path) -> None:
    """Whoever is further behind starts over, so what is cut is said to be."""
    with closing(SqliteStore(path)) as store:
        hand = ByHand(store)
        hand.put("k", 0)
        begin = hand.position()
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("UPDATE counters SET sequence = sequence + ?", (2 * MAX_FEED,))
        hand.put("k", 1)

        assert count(path, "feed") == 1
        assert store.carry_out(ReadFeed(begin)).is_reset


def test_marks_are_cut_and_say_from_where_on_they_are_complete(connection: sqlite3.Connection) -> None:
    """A build that began before counts as outrun."""
    tables = SqliteTables(connection, NOW, FileMemory())
    for number in range(0, MAX_FIRED * 2, 1_000):
        tables.counters.sequence += 1
        tables.fire([mark(number + one) for one in range(1_000)], tables.counters.sequence)
    tables.finish()

    n_left, oldest = connection.execute("SELECT count(*), min(sequence) FROM fired").fetchone()
    assert n_left == MAX_FIRED
    assert tables.counters.fired_floor == oldest - 1


def test_marks_that_a_live_lease_needs_are_kept(connection: sqlite3.Connection) -> None:
    """Its commit has to see what fired since it began."""
    tables = SqliteTables(connection, NOW, FileMemory())
    tables.save(Row(key=Key("k"), recipe=None, token=1, begun=5, until=NOW + 1))
    for number in range(0, MAX_FIRED * 2, 1_000):
        tables.counters.sequence += 1
        tables.fire([mark(number + one) for one in range(1_000)], tables.counters.sequence)
    tables.finish()

    assert tables.counters.fired_floor == 5
    assert tables.last_fired([mark(0)]) == 0
    assert tables.last_fired([mark(5_000)]) == 6


def test_probes_are_cut_like_marks(connection: sqlite3.Connection) -> None:
    """A flood of them may outrun builds: each one is looked at by whoever commits."""
    tables = SqliteTables(connection, NOW, FileMemory())
    tables.save(Row(key=Key("k"), recipe=None, token=1, begun=5, until=NOW + 1))
    n = MAX_PROBES + 5_000
    for number in range(n):
        tables.counters.sequence += 1
        tables.keep_probe(probe(number), tables.counters.sequence)
    tables.finish()

    assert connection.execute("SELECT count(*) FROM probe").fetchone()[0] == MAX_PROBES
    assert tables.counters.fired_floor == n - MAX_PROBES
    assert list(tables.probes(probe(0).stem, n - 2)) == [probe(n - 2), probe(n - 1)]


def test_conditions_go_with_their_last_member(path: Path) -> None:
    """Else each set of operands that ever was would be tried against each event."""
    with closing(SqliteStore(path)) as store:
        hand = ByHand(store)
        cheap = Scope("book", {"genre": "sf", "price": lt(9)})
        hand.build("a", 1, cheap)
        hand.build("b", 1, cheap, Scope("book", {"genre": "sf", "price": lt(20)}))
        assert count(path, "condition") == 2
        hand.delete("b")
        assert count(path, "condition") == 1
        hand.build("a", 1)
        assert (count(path, "condition"), count(path, "link")) == (0, 0)


def test_nothing_is_left_of_what_was_deleted(path: Path) -> None:
    """Neither links nor values nor places in the queue."""
    with closing(SqliteStore(path)) as store:
        hand = ByHand(store)
        hand.build("in", 1, Tag("t"))
        hand.build("out", 1, Id("article", 1), seen={"in": 1})
        hand.touch(Tag("t"))
        hand.delete("in", "out")

        assert [count(path, table) for table in ("entry", "value", "link", "condition")] == [0, 0, 0, 0]


def mark(number: int) -> Bucket:
    """A bucket of its own for each number."""
    return Bucket(number.to_bytes(16, "big"))


def probe(number: int) -> Probe:
    """A probe of its own for each number, all in one stem."""
    return Probe(Bucket(b"s" * 16), 0, ("lt",), None, ((str(number),),), is_any=False)


def page_count(path: Path) -> int:
    """How many pages the file has, with what stands in the -wal."""
    with closing(sqlite3.connect(path)) as connection:
        found: int = connection.execute("PRAGMA page_count").fetchone()[0]
        return found


def count(path: Path, table: str) -> int:
    """How many rows the table has."""
    with closing(sqlite3.connect(path)) as connection:
        found: int = connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608 - a name from above
        return found
