"""Tables as SQL, where they differ from a dict: what is read, what is written, and in which order what is due comes."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import fields
from itertools import pairwise
from pathlib import Path

import pytest

from everfresh.matching.shapes import Group, Shape, ShapeKind, bucket_of
from everfresh.model.dependency import Id, Tag, Topic
from everfresh.model.entry import Key, Recipe, State, Terms
from everfresh.protocol.queueing import Note, TakeDue
from everfresh.protocol.requests import UNLIMITED, Load, Seen
from everfresh.stores.sqlite import SqliteStore
from everfresh.stores.sqlite_columns import COLUMNS, LazyRow
from everfresh.stores.sqlite_rows import FileMemory
from everfresh.stores.sqlite_tables import SqliteTables
from everfresh.stores.tables import Row
from everfresh.testing.by_hand import FUNCTION, ByHand, groups_of
from everfresh.testing.clock import FakeClock

NOW = 1000.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "cache.db"
    SqliteStore(path).close()
    return path


@pytest.fixture
def connection(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        yield connection


@pytest.fixture
def tables(connection: sqlite3.Connection) -> SqliteTables:
    """The tables of a step that is under way."""
    return SqliteTables(connection, NOW, FileMemory())


def row(key: str, *, function: str = FUNCTION, **given: object) -> Row:
    """A row with a value, unless it is said otherwise."""
    return Row(key=Key(key), recipe=Recipe(function, b""), **{"state": State.FRESH, "version": 1, **given})


def again(tables: SqliteTables, connection: sqlite3.Connection) -> SqliteTables:
    """The tables of the next step."""
    tables.finish()
    tables.confirm()
    return SqliteTables(connection, NOW, FileMemory())


def test_every_field_of_a_row_comes_back(tables: SqliteTables, connection: sqlite3.Connection) -> None:
    """Whatever its value; what is forgotten here would be lost at each restart."""
    given = Row(
        key=Key("k"),
        recipe=Recipe("f", b"a"),
        state=State.FAILED,
        fingerprint="p",
        digest="d",
        version=3,
        good_from=4,
        changed_at=5,
        built_at=6.5,
        build_s=0.5,
        seen=(Seen(Key("inner"), "e"), Seen(Key("missing"), "")),
        terms=Terms(priority=-2, settle_s=(1.0, 2.0), keep_warm_s=3.0, linger_s=4.0),
        stale_since=7.5,
        reason="it broke",
        attempts=8,
        retry_at=9.5,
        due=10.5,
        token=11,
        until=12.5,
        begun=13,
        n_died=2,
        expires_at=14.5,
        rank=-15.5,
        queued_at=16.5,
        event_at=17.5,
        event=b"\x00\xff",
        cause=("a", "b"),
        history=("c",),
        builder="somebody",
        is_error=True,
        n_bytes=18,
        read_at=19.5,
        watched_until=20.5,
    )
    defaults = Row(key=Key("x"), recipe=None)
    unset = [
        field.name
        for field in fields(Row)
        if field.name != "groups" and getattr(given, field.name) == getattr(defaults, field.name)
    ]
    assert unset == []
    tables.save(given)
    tables.relink(given, groups_of(Id("article", 1), Tag("t"), Topic("bug.*", {"id": 7})))
    tables.save(defaults)

    after = again(tables, connection)

    for expected in (given, defaults):
        found = after.row(expected.key)
        assert isinstance(found, LazyRow)
        assert {field.name: getattr(found, field.name) for field in fields(Row)} == {
            field.name: getattr(expected, field.name) for field in fields(Row)
        }


def test_every_field_of_a_row_has_its_columns() -> None:
    """The recipe has two of them, and one is the tables' own."""
    names = {field.name for field in fields(Row)}

    assert set(COLUMNS) == (names - {"recipe"}) | {"function", "arguments", "is_ready"}


def test_what_nobody_looks_at_is_not_decoded(tables: SqliteTables, connection: sqlite3.Connection) -> None:
    """An event that touches an entry of many dependencies costs no more than any other."""
    made = row("k")
    tables.save(made)
    tables.relink(made, groups_of(*(Id("article", number) for number in range(200))))
    after = again(tables, connection)
    connection.execute("DELETE FROM shape")

    found = after.row(Key("k"))
    assert found is not None
    found.reason = "touched"
    after.save(found)
    after.finish()

    assert connection.execute("SELECT reason FROM entry").fetchall() == [("touched",)]


def test_a_change_writes_the_columns_that_changed(tables: SqliteTables, connection: sqlite3.Connection) -> None:
    """And so only the indexes over those."""
    tables.save(row("k"))
    after = again(tables, connection)
    found = after.row(Key("k"))
    assert found is not None
    found.read_at = 5.0
    after.save(found)

    with traced(connection) as statements:
        after.finish()

    assert [text for text in statements if text.startswith("UPDATE")] == ["UPDATE entry SET read_at = 5.0 WHERE id = 1"]


def test_a_step_that_changed_nothing_writes_nothing(path: Path) -> None:
    """A worker that looks in vain does not make every other process look what it wrote."""
    with closing(SqliteStore(path)) as store:
        ByHand(store).put("k", 1)
        before = store.version()

        assert ByHand(store).take() == []

        assert store.version() == before


def test_a_row_is_written_once_a_step(tables: SqliteTables, connection: sqlite3.Connection) -> None:
    """However often it is saved."""
    tables.save(row("k"))
    after = again(tables, connection)
    found = after.row(Key("k"))
    assert found is not None
    with traced(connection) as statements:
        for number in range(5):
            found.attempts = number + 1
            after.save(found)
        after.finish()

    assert len([text for text in statements if text.startswith("UPDATE entry")]) == 1


def test_what_a_step_saved_is_seen_by_its_own_questions(tables: SqliteTables) -> None:
    """Though it is written later."""
    made = row("k")
    tables.save(made)
    made.token, made.until, made.begun = 1, NOW + 10, 7
    made.stale_since, made.due = NOW, NOW + 10
    tables.save(made)

    assert tables.oldest_lease(NOW) == 7
    assert tables.n_leased(FUNCTION, NOW) == 1
    assert tables.any_stale([Key("k")])
    assert tables.due(NOW, {FUNCTION: 1}, 1) == ([], NOW + 10)
    assert tables.due(NOW + 10, {FUNCTION: 1}, 1) == ([made], None)
    assert tables.counted(FUNCTION, NOW).n_known == 1
    assert [one.due for one in tables.listed(None, State.FRESH, Key(""), 5, NOW)] == [NOW + 10]
    assert tables.coldest(1) == [made]


def test_what_is_due_comes_by_rank_whatever_its_priority(tables: SqliteTables) -> None:
    """A low priority has a rank above its due time, a high one may have the best rank long before it is due."""
    tables.save(row("low", due=NOW - 5, rank=NOW + 600))
    tables.save(row("plain", due=NOW - 1, rank=NOW - 1))
    for number in range(20):
        tables.save(row(f"later{number}", due=NOW + 50 + number, rank=NOW - 900))

    assert [found.key for found in tables.due(NOW, {FUNCTION: 9}, 9)[0]] == ["plain", "low"]
    assert tables.due(NOW, {FUNCTION: 9}, 9)[1] == NOW + 50


def test_each_function_gives_at_most_its_quota(tables: SqliteTables) -> None:
    """The best of all of them come first; what a quota holds back is not due next."""
    for number in range(4):
        tables.save(row(f"a{number}", function="a", due=NOW, rank=float(number)))
        tables.save(row(f"b{number}", function="b", due=NOW, rank=number + 0.5))
        tables.save(row(f"c{number}", function="c", due=NOW, rank=-1.0))

    keys, next_due = tables.due(NOW, {"a": 2, "b": 3}, 9)
    assert [found.key for found in keys] == ["a0", "b0", "a1", "b1", "b2"]
    assert next_due is None
    assert [found.key for found in tables.due(NOW, {"a": 2, "b": 3}, 3)[0]] == ["a0", "b0", "a1"]
    assert tables.due(NOW, {"a": 2, "b": 3}, 3)[1] == NOW


def test_what_was_ready_and_is_put_off_waits_again(tables: SqliteTables, connection: sqlite3.Connection) -> None:
    """Though it was moved among the ready by a statement that the row did not see."""
    made = row("k", due=NOW, rank=NOW)
    tables.save(made)
    after = again(tables, connection)
    found = after.row(Key("k"))
    assert found is not None
    assert after.due(NOW, {FUNCTION: 1}, 1)[0] == [found]
    found.due = NOW + 9
    after.save(found)

    assert after.due(NOW, {FUNCTION: 1}, 1) == ([], NOW + 9)


@pytest.mark.parametrize("n", [10, 1_000])
def test_looking_what_is_due_does_not_pass_over_what_waits(path: Path, n: int) -> None:
    """Neither over those with the best ranks that wait, nor over all that are due."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        tables = SqliteTables(connection, NOW, FileMemory())
        connection.execute("BEGIN")
        for number in range(n):
            tables.save(row(f"later{number}", due=NOW + 50, rank=-1e9))
            tables.save(row(f"due{number}", due=NOW, rank=NOW + number))
        tables.due(NOW, {FUNCTION: 3}, 3)
        connection.execute("COMMIT")
        n_ticks = 0

        def tick() -> None:
            nonlocal n_ticks
            n_ticks += 1

        connection.set_progress_handler(tick, 100)
        SqliteTables(connection, NOW, FileMemory()).due(NOW, {FUNCTION: 3}, 3)
        connection.set_progress_handler(None, 0)

        assert n_ticks < 10


def test_the_coldest_come_first(tables: SqliteTables) -> None:
    """Those that were read longest ago; what has no value takes no room."""
    tables.save(row("new", read_at=3.0))
    tables.save(row("old", read_at=1.0))
    tables.save(row("unbuilt", read_at=0.0, version=0))

    assert [found.key for found in tables.coldest(9)] == ["old", "new"]


def test_noting_a_reading_is_told_to_nobody(path: Path) -> None:
    """It changes nothing that a reader could see."""
    with closing(SqliteStore(path)) as store:
        hand = ByHand(store)
        hand.build("k", 1)
        before = hand.position()

        store.carry_out(Note({Key("k"): NOW}, {Key("k"): NOW + 1}))

        assert hand.position() == before


def test_a_group_is_stored_without_its_shape(path: Path) -> None:
    """A shape has a long text, and a million entries have the same."""
    shape = Shape(ShapeKind.TOPIC, "a.very.long.pattern." * 20, ("a_long_field",))
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        tables = SqliteTables(connection, NOW, FileMemory())
        for number in range(9):
            made = row(f"k{number}")
            tables.save(made)
            tables.relink(made, (Group(shape, ((str(number),),)),))
        tables.finish()

        assert connection.execute("SELECT max(length(groups)) FROM entry").fetchone()[0] < 30
        assert tables.members(bucket_of(shape.id, ("7",))) == [Key("k7")]
        assert SqliteTables(connection, NOW, FileMemory()).row(Key("k7")).groups == (Group(shape, (("7",),)),)  # type: ignore[union-attr]


def test_what_an_undone_step_learnt_is_not_relied_on(path: Path) -> None:
    """Else the next entry would name a shape that nobody finds."""
    memory = FileMemory()
    groups = groups_of(Topic("bug.*", {"id": 7}))
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        undone = SqliteTables(connection, NOW, memory)
        undone.learn(groups[0].shape, 0)
        undone.relink(row("undone"), groups)
        assert undone.born(groups[0].shape.id) == 0
        connection.execute("ROLLBACK")

        tables = SqliteTables(connection, NOW, memory)
        assert tables.born(groups[0].shape.id) is None
        tables.relink(row("k"), groups)
        tables.finish()

        assert SqliteTables(connection, NOW, FileMemory()).row(Key("k")).groups == groups  # type: ignore[union-attr]


def test_reading_an_entry_is_one_statement(path: Path) -> None:
    """It is a transaction by itself, so it needs neither a beginning nor an end."""
    with closing(SqliteStore(path)) as store:
        hand = ByHand(store)
        hand.build("k", 1, Tag("t"))
        with traced(store._opened.reader) as statements:  # noqa: SLF001 - what it says to SQLite is what this is about
            hand.store.carry_out(Load(Key("k")))

        assert len(statements) == 1


def test_reading_a_suspect_entry_sees_one_moment(path: Path) -> None:
    """It looks at the entries below as well, so that is a transaction."""
    with closing(SqliteStore(path)) as store:
        hand = ByHand(store)
        hand.build("in", 1, Tag("t"))
        hand.build("out", 1, seen={"in": 1})
        hand.touch(Tag("t"))
        with traced(store._opened.reader) as statements:  # noqa: SLF001 - as above
            found = hand.load("out")

        assert found.unsettled == (Key("in"),)
        assert [text for text in statements if text in {"BEGIN", "COMMIT"}] == ["BEGIN", "COMMIT"]


def test_what_fell_due_while_nobody_looked_is_taken_in_order(path: Path) -> None:
    """More of it than is moved in one go is taken all the same."""
    clock = FakeClock()
    with closing(SqliteStore(path, clock=clock)) as store:
        hand = ByHand(store)
        for number in range(30):
            hand.build(f"k{number}", 1, Tag("t"))
            clock.advance(1.0)
            hand.touch(Tag("t"))
        taken = []
        while due := store.carry_out(TakeDue({FUNCTION: UNLIMITED}, 7, 1000.0)).due:
            taken.extend(due)

        assert len(taken) == 30
        assert all(one.lease.key != other.lease.key for one, other in pairwise(taken))


@contextmanager
def traced(connection: sqlite3.Connection) -> Iterator[list[str]]:
    """The statements that SQLite carries out meanwhile."""
    statements: list[str] = []
    connection.set_trace_callback(statements.append)
    try:
        yield statements
    finally:
        connection.set_trace_callback(None)
