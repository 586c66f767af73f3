"""How far a source has come stands in a SQLite file with what was applied, or neither does."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from everfresh.model.dependency import Topic
from everfresh.model.entry import State
from everfresh.model.errors import StoreUnavailable
from everfresh.model.event import Event
from everfresh.protocol.publishing import take_in
from everfresh.protocol.sourcing import Offset, ReadSources
from everfresh.stores.sqlite import SqliteStore
from everfresh.testing.by_hand import ByHand

BUG_CHANGED = Event("bug.update", {"bug": 7})


@pytest.mark.parametrize("table", ["source_offset", "fired", "feed"])
def test_a_step_that_breaks_off_leaves_neither_events_nor_offset(tmp_path: Path, table: str) -> None:
    """Wherever it does: in the middle of the events, in the offset, or in what is written last."""
    path = tmp_path / "cache.db"
    with closing(SqliteStore(path)) as store:
        hand = ByHand(store)
        hand.build("k", 1, Topic("bug.*"))
        hand.run(take_in([], hand.shapes, offsets=(Offset("bus", "1"),)))
        position = hand.position()
        run(path, f"CREATE TRIGGER no BEFORE INSERT ON {table} BEGIN SELECT RAISE(ABORT, 'the disk is full'); END")

        with pytest.raises(StoreUnavailable, match="the disk is full"):
            hand.run(take_in([BUG_CHANGED], hand.shapes, offsets=(Offset("bus", "2"),)))

        assert (hand.state("k"), hand.position(), offset(store)) == (State.FRESH, position, "1")
        run(path, "DROP TRIGGER no")
        hand.run(take_in([BUG_CHANGED], hand.shapes, offsets=(Offset("bus", "2"),)))
        assert (hand.state("k"), offset(store)) == (State.DIRTY, "2")


def test_a_file_that_is_put_back_has_the_offset_of_its_time(tmp_path: Path) -> None:
    """Its entries are distrusted, and what came since comes again to those that are built meanwhile."""
    path, backup = tmp_path / "cache.db", tmp_path / "backup"
    with closing(SqliteStore(path)) as store:
        hand = ByHand(store)
        hand.build("k", 1, Topic("bug.*"))
        hand.run(take_in([], hand.shapes, offsets=(Offset("bus", "1"),)))
    backup.write_bytes(path.read_bytes())
    with closing(SqliteStore(path)) as store:
        hand = ByHand(store)
        hand.run(take_in([BUG_CHANGED], hand.shapes, offsets=(Offset("bus", "2"),)))
        before = hand.position()
    path.write_bytes(backup.read_bytes())

    with closing(SqliteStore(path)) as store:
        assert ByHand(store).position().epoch != before.epoch
        assert (ByHand(store).state("k"), offset(store)) == (State.DIRTY, "1")


def offset(store: SqliteStore) -> str | None:
    """How far the one source has come."""
    (state,) = store.carry_out(ReadSources()).states
    return state.offset


def run(path: Path, statement: str) -> None:
    """Change the file behind the store's back."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(statement)
        connection.commit()
