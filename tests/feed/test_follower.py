"""The follower: every record once and in order, whoever wrote it, and whatever comes in between."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TypeVar, cast

import pytest

from everfresh.feed.follower import MAX_BATCH, Follower
from everfresh.feed.listeners import Listener
from everfresh.feed.reader import FeedReader
from everfresh.model.entry import FeedRecord
from everfresh.model.errors import StoreUnavailable
from everfresh.model.marks import override
from everfresh.protocol.queueing import Distrust
from everfresh.protocol.requests import ReadFeed, Request
from everfresh.stores.sqlite import SqliteStore
from everfresh.stores.store import Store
from everfresh.testing.by_hand import ByHand
from everfresh.testing.passing import PassingStore
from everfresh.testing.waiting import DEADLINE_S, until

A = TypeVar("A")
RESET = "everything was lost"


class Notes(Listener):
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.keys: list[str] = []

    @override
    def on_records(self, records: Sequence[FeedRecord]) -> None:
        self.keys += [record.key for record in records]

    @override
    def on_reset(self) -> None:
        self.keys.append(RESET)


class Broken(Listener):
    """Raises whatever it is told."""

    @override
    def on_records(self, records: Sequence[FeedRecord]) -> None:
        raise LookupError

    @override
    def on_reset(self) -> None:
        raise LookupError


class Crossroads(PassingStore):
    """A store where something happens once, right after the next look at the feed; or instead of it, if that raises."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.after_feed: Callable[[], object] | None = None
        self.instead: Exception | None = None

    @override
    def carry_out(self, request: Request[A]) -> A:
        if type(request) is not ReadFeed:
            return self._store.carry_out(request)
        error, self.instead = self.instead, None
        if error is not None:
            raise error
        answer = self._store.carry_out(cast("Request[A]", request))
        happens, self.after_feed = self.after_feed, None
        if happens is not None:
            happens()
        return answer

    @override
    async def carry_out_async(self, request: Request[A]) -> A:
        answer = self.carry_out(request)
        # Let in whoever was woken meanwhile.
        await asyncio.sleep(0)
        return answer


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache.db"


@pytest.fixture
def store(path: Path) -> Iterator[Crossroads]:
    """The store of the process that follows."""
    with closing(Crossroads(SqliteStore(path))) as store:
        yield store


@pytest.fixture
def theirs(store: Crossroads, path: Path) -> Iterator[ByHand]:
    """Another process's hand on the same file."""
    with closing(SqliteStore(path)) as other:
        yield ByHand(other)


@pytest.fixture
def follower(store: Crossroads) -> Iterator[Follower]:
    follower = Follower(store)
    yield follower
    follower.stop()


@pytest.fixture
def notes(follower: Follower) -> Notes:
    notes = Notes()
    follower.add(notes)
    return notes


def test_what_another_process_wrote_is_told_when_somebody_asks(
    follower: Follower, notes: Notes, theirs: ByHand
) -> None:
    """A near hit is confirmed first, so it is never older than what was answered elsewhere."""
    theirs.put("a", 1)

    follower.confirm()

    assert notes.keys == ["a"]


def test_what_is_written_while_the_feed_is_read_is_told_next_time(
    follower: Follower, notes: Notes, theirs: ByHand, store: Crossroads
) -> None:
    """The version is noted as it was before the feed was read: what came in between makes it differ."""
    store.after_feed = lambda: theirs.put("late", 1)
    theirs.put("a", 1)

    follower.confirm()
    follower.confirm()

    assert notes.keys == ["a", "late"]


def test_however_much_was_written_all_of_it_is_told(follower: Follower, notes: Notes, theirs: ByHand) -> None:
    """The feed is read in batches, up to its end."""
    keys = [f"k{number}" for number in range(MAX_BATCH + 1)]
    for key in keys:
        theirs.enqueue(key)

    follower.confirm()

    assert notes.keys == keys


def test_each_record_is_told_once(follower: Follower, notes: Notes, theirs: ByHand) -> None:
    """Whoever asks again is told what came since."""
    for key in "abc":
        theirs.put(key, 1)
        follower.confirm()

    assert notes.keys == ["a", "b", "c"]


def test_own_steps_and_those_of_others_are_told_in_one_order(
    follower: Follower, notes: Notes, theirs: ByHand, store: Crossroads
) -> None:
    """And each once."""
    ours = ByHand(store)
    for number in range(3):
        theirs.put(f"theirs {number}", 1)
        ours.put(f"ours {number}", 1)
    follower.confirm()

    assert notes.keys == [f"{whose} {number}" for number in range(3) for whose in ("theirs", "ours")]


def test_when_another_process_begins_a_new_life_everybody_starts_over(
    follower: Follower, notes: Notes, theirs: ByHand
) -> None:
    """What was known of the store may never have been."""
    theirs.put("a", 1)
    theirs.store.carry_out(Distrust("a loss"))

    follower.confirm()

    assert notes.keys == [RESET]


def test_after_a_new_life_records_are_told_again(follower: Follower, notes: Notes, theirs: ByHand) -> None:
    """From its position on."""
    theirs.store.carry_out(Distrust("a loss"))
    follower.confirm()

    theirs.put("a", 1)
    follower.confirm()

    assert notes.keys == [RESET, "a"]


def test_a_listener_that_raises_keeps_nothing_from_the_others(
    follower: Follower, theirs: ByHand, caplog: pytest.LogCaptureFixture
) -> None:
    """What it raises is its own affair, and logged."""
    follower.add(Broken())
    notes = Notes()
    follower.add(notes)

    theirs.put("a", 1)
    follower.confirm()
    theirs.store.carry_out(Distrust("a loss"))
    follower.confirm()

    assert notes.keys == ["a", RESET]
    # Who cannot be told of records is told that they are lost.
    assert caplog.text.count("follower.listener_failed") == 3


def test_a_step_whose_records_cannot_be_read_is_done_all_the_same(
    follower: Follower, notes: Notes, store: Crossroads
) -> None:
    """Its caller is answered; the records are told when somebody asks."""
    store.instead = StoreUnavailable("the disk is on fire")

    assert ByHand(store).put("a", 1)
    follower.confirm()

    assert notes.keys == ["a"]


def test_who_waits_is_told_though_the_store_did_not_answer_once(
    follower: Follower, notes: Notes, theirs: ByHand, store: Crossroads
) -> None:
    """It may answer at the next look."""
    store.instead = StoreUnavailable("the disk is on fire")
    theirs.put("a", 1)

    follower.poll()

    until(lambda: notes.keys == ["a"], what="the record")


async def test_a_record_that_comes_while_the_feed_is_read_wakes_its_reader(
    follower: Follower, theirs: ByHand, store: Crossroads
) -> None:
    """It is not in what was read, and nobody rings again."""

    def happen() -> None:
        theirs.put("a", 1)
        follower.confirm()

    async with FeedReader(store, follower, None) as reader, asyncio.timeout(DEADLINE_S):
        follower.stop()
        store.after_feed = happen
        batch = await anext(reader)

    assert [record.key for record in batch.records] == ["a"]
