"""Who reads and watches what in this process, as the store is told of it."""

import gc
import threading
from datetime import timedelta
from typing import Any

import pytest

from everfresh import Cache, Key, Notice, StoreUnavailable
from everfresh.cache.attention import TELL_AGAIN_AFTER_S, WATCH_LASTS_S, Attention
from everfresh.cache.near import NearCache, Slot
from everfresh.cache.notices import NoticeBoard
from everfresh.model.entry import FeedRecord, Kind
from everfresh.protocol.queueing import Note
from everfresh.protocol.requests import Request
from everfresh.stores.memory import MemoryStore
from everfresh.testing.clock import FakeClock
from everfresh.testing.waiting import soon, until
from tests.cache.fixtures import OpenCache
from tests.cache.making import Colour, done
from tests.unit.protocol.making import entry

A, B = Key("a"), Key("b")


class Notes(MemoryStore):
    """A store that keeps what it is told, and may be away."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock=clock)
        self.told: list[Note] = []
        self.is_away = False

    def carry_out(self, request: Request[Any]) -> Any:  # noqa: ANN401 - one answer type for each request
        """Note what is told."""
        if self.is_away:
            raise StoreUnavailable("the store is away")
        if isinstance(request, Note):
            self.told.append(request)
        return super().carry_out(request)


@pytest.fixture
def notes(clock: FakeClock) -> Notes:
    """The store."""
    return Notes(clock)


@pytest.fixture
def board() -> NoticeBoard:
    """Who is told of trouble."""
    return NoticeBoard()


@pytest.fixture
def attention(notes: Notes, board: NoticeBoard, clock: FakeClock) -> Any:  # noqa: ANN401 - closed after the test
    """What is under test; its thread looks every few seconds of the real clock, by which time the tests are over."""
    attention = Attention(notes, NearCache(10), board, clock)
    yield attention
    attention.close()


def test_it_costs_nothing_until_somebody_needs_it(attention: Attention, notes: Notes) -> None:
    """Neither a thread nor memory nor a write."""
    n_threads = threading.active_count()
    attention.read(A)
    attention.flush()

    assert (threading.active_count(), notes.told, attention.due_note()) == (n_threads, [], None)


def test_readings_are_told_with_their_times(attention: Attention, notes: Notes, clock: FakeClock) -> None:
    """By the store's clock."""
    attention.need()
    attention.read(A)
    clock.advance(3)
    attention.read(B)
    attention.flush()

    assert notes.told == [Note({A: clock() - 3, B: clock()}, {})]


def test_what_was_told_is_not_told_again(attention: Attention, notes: Notes) -> None:
    """Nor is nothing at all."""
    attention.need()
    attention.read(A)
    attention.flush()
    attention.flush()

    assert len(notes.told) == 1


def test_an_entry_that_is_read_all_the_time_costs_one_write_a_minute(
    attention: Attention, notes: Notes, clock: FakeClock
) -> None:
    """And its last reading reaches the store in the end."""
    attention.need()
    for _ in range(20):
        attention.read(A)
        attention.flush_due()
        clock.advance(6)
    last = clock() - 6
    clock.advance(TELL_AGAIN_AFTER_S)
    attention.flush_due()

    assert (len(notes.told), notes.told[-1].reads) == (3, {A: last})


def test_who_keeps_entries_warm_for_a_short_time_is_told_more_often(
    attention: Attention, notes: Notes, clock: FakeClock
) -> None:
    """What is read is known to be warm before it could count as cold."""
    attention.need(keep_warm_s=20.0)
    attention.need(keep_warm_s=900.0)
    attention.read(A)
    attention.flush_due()
    clock.advance(5)
    attention.read(A)
    attention.flush_due()

    assert len(notes.told) == 2


def test_a_store_that_is_away_is_told_later(
    attention: Attention, notes: Notes, board: NoticeBoard, clock: FakeClock
) -> None:
    """Of all of it; and somebody is told of the trouble."""
    told: list[Notice] = []
    board.listen(told.append)
    attention.need()
    attention.read(A)
    with attention.watching(B):
        notes.is_away = True
        attention.flush_due()
        notes.is_away = False
        clock.advance(5)
        attention.flush_due()

    assert [notice.name for notice in told] == ["attention.failed"]
    assert notes.told == [Note({A: clock() - 5}, {B: clock() + WATCH_LASTS_S})]


def test_a_newer_reading_outlasts_one_that_was_given_back(attention: Attention, notes: Notes, clock: FakeClock) -> None:
    """Whichever comes first."""
    attention.need()
    attention.read(A)
    note = attention.due_note()
    clock.advance(5)
    attention.read(A)
    assert note is not None
    attention.give_back(note)
    attention.flush()

    assert notes.told == [Note({A: clock()}, {})]


@pytest.mark.parametrize("end", ["event", "loss", "eviction", "replacement"])
def test_a_hit_counts_although_its_slot_is_gone(end: str) -> None:
    """Just when an event comes, it matters whether somebody read the entry."""
    near = NearCache(1)
    near.note_use()
    hold(near, A).is_used = True
    match end:
        case "event":
            near.on_records([FeedRecord(9, A, Kind.STALE, 1, "d")])
        case "loss":
            near.on_reset()
        case "eviction":
            hold(near, B)
        case _:
            hold(near, A)

    assert near.take_used() == {A}
    assert near.take_used() == set()


def test_a_collected_use_still_counts_when_room_is_made() -> None:
    """To count reads must not change what is held."""
    near = NearCache(2)
    near.note_use()
    hold(near, A).is_used = True
    hold(near, B)

    near.take_used()
    hold(near, Key("c"))

    assert (near.get(A) is not None, near.get(B)) == (True, None)


def test_nothing_is_kept_of_uses_that_nobody_collects() -> None:
    """A near cache that evicts for ever would keep the key of everything that was ever read."""
    near = NearCache(1)
    hold(near, A).is_used = True
    near.on_reset()

    assert near.take_used() == set()


def hold(near: NearCache, key: Key) -> Slot:
    """Put a value into the near cache."""
    slot = Slot(entry(key=key), 7)
    near.settle(near.open(key), slot)
    return slot


def test_watchers_are_told_ahead_and_again_in_time(attention: Attention, notes: Notes, clock: FakeClock) -> None:
    """A process that dies watches nothing a minute later."""
    with attention.watching(A):
        attention.flush()
        clock.advance(WATCH_LASTS_S / 2 - 1)
        attention.flush()
        clock.advance(2)
        attention.flush()

    assert [note.watched for note in notes.told[:2]] == [
        {A: clock() - WATCH_LASTS_S / 2 - 1 + WATCH_LASTS_S},
        {A: clock() + WATCH_LASTS_S},
    ]


def test_the_last_of_several_watchers_ends_it(attention: Attention, notes: Notes, clock: FakeClock) -> None:
    """Its end counts as a reading: from then on the entry may grow cold."""
    with attention.watching(A):
        with attention.watching(A):
            attention.flush()
        clock.advance(WATCH_LASTS_S)
        attention.flush()
    clock.advance(WATCH_LASTS_S)
    attention.flush()

    assert [set(note.watched) for note in notes.told] == [{A}, {A}, set()]
    assert notes.told[-1].reads == {A: clock() - WATCH_LASTS_S}


def test_somebody_who_begins_to_watch_is_told_of_at_once(attention: Attention, notes: Notes) -> None:
    """Not at the next turn: the entry may be due now."""
    with attention.watching(A):
        until(lambda: notes.told, what="the note", deadline_s=3)

    assert set(notes.told[0].watched) == {A}


def test_a_watcher_that_is_forgotten_ends_too(attention: Attention) -> None:
    """A generator that nobody closed is collected as garbage, in whatever thread."""

    def watcher() -> Any:  # noqa: ANN401 - a generator
        with attention.watching(A):
            yield

    watching = watcher()
    next(watching)
    del watching
    gc.collect()

    assert attention._watchers == {}  # noqa: SLF001 - what is left behind shows nowhere else


def test_the_end_of_a_cache_tells_what_is_known(open_cache: OpenCache, sqlite_url: str, clock: FakeClock) -> None:
    """A program that reads and ends at once was a reader all the same."""
    before, after = open_cache(sqlite_url), open_cache(sqlite_url)

    @before.cached(key="value", keep_warm=timedelta(days=1))
    def value() -> int:
        return 1

    value()
    clock.advance(10)
    value()
    before.close()

    (listed,) = after.blocking.entries()
    assert listed.read_at == clock()


async def test_every_way_of_reading_counts(colour: Colour, clock: FakeClock) -> None:
    """A hit in the near cache, one in the store, and a strict one."""
    cache = colour.cache
    read_at: list[float] = []

    @colour.cached(keep_warm=timedelta(days=1))
    async def value() -> int:
        return 1

    await done(value())
    for way in ("near", "store", "fresh"):
        clock.advance(10)
        if way == "store":
            cache.engine.near.on_reset()
        await done(value.fresh() if way == "fresh" else value())
        cache.engine.attention.flush()
        (listed,) = await cache.entries()
        read_at.append(clock() - listed.read_at)

    assert read_at == [0, 0, 0]


async def test_who_watches_a_function_is_told(colour: Colour) -> None:
    """`watch` marks its entry, as pages that show it do."""

    async def value() -> int:
        return 1

    function = colour.cached()(value)
    async with colour.watching(function) as watch:
        await watch.next()
        await soon(lambda: _is_watched(colour.cache, function.key()), what="the mark")


async def _is_watched(cache: Cache, key: Key) -> bool:
    cache.engine.attention.flush()
    return key in cache.engine.attention._watched_until  # noqa: SLF001 - the queue's order alone would show it
