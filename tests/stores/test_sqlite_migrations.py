"""Files of older schemas: values survive, and nothing of them is taken for fresh."""

import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from everfresh.model.entry import Key, OnChange, State
from everfresh.protocol.inspecting import Count, Explain
from everfresh.protocol.publishing import take_in
from everfresh.protocol.sourcing import Offset, ReadSources
from everfresh.stores.sqlite import SqliteStore
from everfresh.stores.sqlite_migrations import MIGRATIONS, SCHEMA_VERSION
from everfresh.stores.sqlite_opening import APPLICATION_ID
from everfresh.testing.by_hand import FUNCTION, ByHand

SCHEMA_1 = """
CREATE TABLE counters (
    id            INTEGER PRIMARY KEY CHECK (id = 1),
    epoch         TEXT    NOT NULL,
    sequence      INTEGER NOT NULL,
    applied       INTEGER NOT NULL,
    fired_floor   INTEGER NOT NULL,
    feed_floor    INTEGER NOT NULL,
    version_floor INTEGER NOT NULL,
    token         INTEGER NOT NULL
) STRICT;
CREATE TABLE entry (
    id          INTEGER PRIMARY KEY,
    key         TEXT    NOT NULL UNIQUE,
    function    TEXT    NOT NULL,
    arguments   BLOB    NOT NULL,
    state       TEXT    NOT NULL,
    fingerprint TEXT    NOT NULL,
    digest      TEXT    NOT NULL,
    version     INTEGER NOT NULL,
    good_from   INTEGER NOT NULL,
    changed_at  INTEGER NOT NULL,
    built_at    REAL    NOT NULL,
    build_s     REAL    NOT NULL,
    groups      BLOB    NOT NULL,
    seen        BLOB    NOT NULL,
    on_change   TEXT    NOT NULL,
    stale_since REAL,
    reason      TEXT    NOT NULL,
    attempts    INTEGER NOT NULL,
    retry_at    REAL,
    due         REAL,
    token       INTEGER,
    until       REAL    NOT NULL,
    begun       INTEGER NOT NULL,
    expires_at  REAL
) STRICT;
CREATE INDEX entry_due ON entry (function, due) WHERE due IS NOT NULL;
CREATE INDEX entry_leased ON entry (begun) WHERE token IS NOT NULL;
CREATE TABLE value (
    id   INTEGER PRIMARY KEY,
    data BLOB NOT NULL
) STRICT;
CREATE TABLE link (
    bucket BLOB    NOT NULL,
    entry  INTEGER NOT NULL,
    PRIMARY KEY (bucket, entry)
) STRICT, WITHOUT ROWID;
CREATE TABLE fired (
    mark     BLOB    PRIMARY KEY,
    sequence INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE shape (
    number INTEGER PRIMARY KEY,
    id     BLOB    NOT NULL UNIQUE,
    born   INTEGER NOT NULL,
    data   BLOB    NOT NULL
) STRICT;
CREATE TABLE feed (
    sequence INTEGER PRIMARY KEY,
    key      TEXT    NOT NULL,
    kind     TEXT    NOT NULL,
    version  INTEGER NOT NULL,
    digest   TEXT    NOT NULL
) STRICT;
"""

VERSION_FLOOR = 9


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file as the first schema left it: refreshed, dropping, put, failing and half-built entries."""
    path = tmp_path / "cache.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executescript(SCHEMA_1)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("INSERT INTO counters VALUES (1, 'old', 70, 60, 0, 10, ?, 5)", (VERSION_FLOOR,))
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("PRAGMA user_version = 1")
        add_entry(connection, 1, "fresh")
        add_entry(connection, 2, "dropping", on_change="drop")
        add_entry(connection, 3, "put", function="")
        add_entry(connection, 4, "failed", state="failed", stale_since=5.0, reason="it broke", attempts=8)
        add_entry(connection, 5, "half-built", version=0, state="building", token=4, until=99.0)
        connection.execute("INSERT INTO link VALUES (x'0102', 1)")
        connection.execute("INSERT INTO fired VALUES (x'0102', 60)")
        connection.execute("INSERT INTO shape VALUES (1, x'01', 0, x'00')")
        connection.execute("INSERT INTO feed VALUES (70, 'fresh', 'changed', 3, 'd')")
    return path


def add_entry(connection: sqlite3.Connection, number: int, key: str, **given: object) -> None:
    """One row of schema 1."""
    columns = {
        "id": number,
        "key": key,
        "function": FUNCTION,
        "arguments": key.encode(),
        "state": "fresh",
        "fingerprint": "f1",
        "digest": "d",
        "version": 3,
        "good_from": 50,
        "changed_at": 50,
        "built_at": 1.0,
        "build_s": 0.25,
        "groups": msgspec.msgpack.encode([[{"kind": "tag"}, [["t"]]]]),
        "seen": msgspec.msgpack.encode([]),
        "on_change": "refresh",
        "stale_since": None,
        "reason": "",
        "attempts": 0,
        "retry_at": None,
        "due": None,
        "token": None,
        "until": 0.0,
        "begun": 0,
        "expires_at": None,
        **given,
    }
    places = ", ".join("?" * len(columns))
    connection.execute(f"INSERT INTO entry ({', '.join(columns)}) VALUES ({places})", tuple(columns.values()))  # noqa: S608
    if columns["version"]:
        connection.execute("INSERT INTO value VALUES (?, ?)", (number, msgspec.msgpack.encode(number)))


def test_every_version_has_a_way_to_the_newest() -> None:
    """A file is never left behind."""
    assert sorted(MIGRATIONS) == list(range(1, SCHEMA_VERSION))


def test_values_of_schema_1_survive_and_are_built_again(path: Path) -> None:
    """Its dependencies cannot be carried over, so nothing of it counts as fresh; under a new epoch."""
    with closing(SqliteStore(path)) as store:
        hand = ByHand(store)
        assert {key: hand.value(key) for key in ("fresh", "failed")} == {"fresh": 1, "failed": 4}
        assert {hand.state(key) for key in ("fresh", "failed")} == {State.DIRTY}
        assert hand.entry("fresh").version == 3
        assert hand.position().epoch != "old"
        assert hand.position().sequence > 70


def test_what_nobody_could_build_again_is_dropped(path: Path) -> None:
    """A put value without its dependencies would be served for ever; so would one that is dropped on change."""
    with closing(SqliteStore(path)) as store:
        hand = ByHand(store)
        assert [hand.state(key) for key in ("put", "dropping", "half-built")] == [None, None, None]
        assert store.carry_out(Count()).n_known == 2


def test_after_that_it_is_a_store_like_any_other(path: Path) -> None:
    """What was brought over is refreshed, and its versions go on; what was dropped begins above its old version."""
    with closing(SqliteStore(path)) as store:
        hand = ByHand(store)
        # They fall due one after the other, and how many are by now is a matter of time.
        taken = {due.lease.key: due.lease for due in hand.take()}
        assert set(taken) <= {"fresh", "failed"}
        lease = taken.get(Key("fresh")) or hand.lease("fresh")
        assert hand.commit(lease, "new").entry.version > VERSION_FLOOR
        assert hand.build("dropping", "new", on_change=OnChange.DROP).version > VERSION_FLOOR
        explained = store.carry_out(Explain(hand.entry("dropping").key))
        assert explained is not None
        assert explained.terms.on_change is OnChange.DROP
    assert sql(path, "PRAGMA user_version") == SCHEMA_VERSION
    assert sql(path, "PRAGMA integrity_check") == "ok"


def test_it_can_shrink_from_now_on(path: Path) -> None:
    """The first schema could not give room back."""
    SqliteStore(path).close()

    assert sql(path, "PRAGMA auto_vacuum") == 2


def test_its_counters_are_true(path: Path) -> None:
    """Room is kept by them."""
    SqliteStore(path).close()

    n_entries, n_bytes = sql(path, "SELECT count(*) FROM entry"), sql(path, "SELECT sum(length(data)) FROM value")
    assert sql(path, "SELECT n_entries FROM counters") == n_entries
    assert sql(path, "SELECT n_bytes FROM counters") == n_bytes


def test_a_migration_that_fails_leaves_the_old_file(path: Path) -> None:
    """It is one transaction: nothing is there by half, and the next one who opens it begins anew."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("ALTER TABLE entry RENAME COLUMN good_from TO elsewhere")
        connection.execute("ALTER TABLE entry RENAME COLUMN digest TO missing")
    before = sql(path, "SELECT group_concat(sql) FROM sqlite_master")

    with pytest.raises(Exception, match=r"cache\.db"):
        SqliteStore(path)

    assert sql(path, "PRAGMA user_version") == 1
    assert sql(path, "SELECT group_concat(sql) FROM sqlite_master") == before
    assert sql(path, "SELECT count(*) FROM value") == 4


def test_two_who_open_it_at_once_migrate_it_once(path: Path) -> None:
    """Whoever is second finds the newest schema."""
    n_threads = 4
    together = threading.Barrier(n_threads)

    def opened(_: int) -> tuple[str, object]:
        together.wait()
        with closing(SqliteStore(path)) as store:
            return ByHand(store).position().epoch, ByHand(store).value("fresh")

    with ThreadPoolExecutor(n_threads) as pool:
        found = set(pool.map(opened, range(n_threads)))

    assert len(found) == 1


def test_all_of_schema_2_survives(tmp_path: Path) -> None:
    """It only knew no sources: entries stay fresh, in the same epoch, and nothing is said to be lost."""
    path = file_of_schema_2(tmp_path / "cache.db")
    epoch = sql(path, "SELECT epoch FROM counters")

    with closing(SqliteStore(path)) as store:
        hand = ByHand(store)

        assert (hand.value("k"), hand.state("k")) == ("old", State.FRESH)
        assert hand.position().epoch == epoch
        hand.run(take_in([], hand.shapes, offsets=(Offset("bus", "5"),)))
        assert [state.offset for state in store.carry_out(ReadSources()).states] == ["5"]
    assert sql(path, "PRAGMA user_version") == SCHEMA_VERSION


@pytest.mark.parametrize("version", [1, 2])
def test_a_file_that_was_brought_over_is_like_a_new_one(tmp_path: Path, path: Path, version: int) -> None:
    """Table by table and column by column."""
    SqliteStore(tmp_path / "new.db").close()
    old = path if version == 1 else file_of_schema_2(tmp_path / "old.db")
    SqliteStore(old).close()

    assert columns_of(old) == columns_of(tmp_path / "new.db")


def file_of_schema_2(path: Path) -> Path:
    """A file with one entry, as the second schema left it."""
    with closing(SqliteStore(path)) as store:
        ByHand(store).build("k", "old")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for name in ("source_offset", "report", "unreadable"):
            connection.execute(f"DROP TABLE {name}")
        connection.execute("PRAGMA user_version = 2")
    return path


def columns_of(path: Path) -> list[tuple[object, ...]]:
    """What the tables and indexes are made of."""
    query = (
        "SELECT one.type, one.name, part.name, part.type, part.pk, part.'notnull' FROM sqlite_master AS one "
        "LEFT JOIN pragma_table_info(one.name) AS part ORDER BY 1, 2, part.cid"
    )
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


def sql(path: Path, statement: str) -> object:
    """The first column of what the statement gives."""
    with closing(sqlite3.connect(path)) as connection:
        found: object = connection.execute(statement).fetchone()[0]
        return found
