"""The store in memory, held to the contract, and to the bounds of what it remembers of events."""

import pytest

from everfresh.matching.shapes import Bucket
from everfresh.model.conditions import lt
from everfresh.model.dependency import Tag, Topic
from everfresh.model.entry import Key, State
from everfresh.model.event import Event
from everfresh.stores.changing import is_outrun
from everfresh.stores.memory import MAX_FIRED, MAX_PROBES, MemoryStore, MemoryTables
from everfresh.stores.tables import MARKS_KEPT_FOR_LEASES, NO_ROOM_LIMIT, Row
from everfresh.testing.by_hand import ByHand
from everfresh.testing.clock import FakeClock
from everfresh.testing.store_contract import MakeStore, OpenStore, StoreContract

A = Tag("a")
CHEAP = Topic("book", {"price": lt(9)})
DEAR_BOOK = Event("book", {"price": 20})


class TestMemoryStore(StoreContract):
    @pytest.fixture
    def open_store(self) -> OpenStore:
        return lambda clock: MemoryStore(clock=clock)

    @pytest.fixture
    def make_store(self) -> MakeStore:
        return lambda clock, room: MemoryStore(clock=clock, room=room)

    def test_marks_that_a_lease_needs_are_kept(self, hand: ByHand, clock: FakeClock) -> None:
        """However many there are: the oldest live lease is still told apart by them."""
        early = hand.lease("early", lease_s=1e6)
        hand.touch(A)
        clock.advance(1.0)
        _fire_too_many(hand)

        assert hand.commit(early, 1, Tag("nobody touched it")).entry.state is State.FRESH

    def test_a_build_that_never_ends_does_not_keep_all_marks(self) -> None:
        """It counts as outrun in the end; a process that hangs must not fill the memory of others."""
        tables = MemoryTables(NO_ROOM_LIMIT)
        row = Row(key=Key("k"), recipe=None, token=1, until=1e9, begun=0)
        tables.save(row)
        most = MARKS_KEPT_FOR_LEASES * MAX_FIRED

        for number in range(1, most + MAX_FIRED):
            tables.counters.sequence = number
            tables.fire([Bucket(number.to_bytes(8, "big"))], number)
            if number == most - MAX_FIRED:
                assert tables.counters.fired_floor == 0

        assert tables.counters.fired_floor > most - MAX_FIRED
        assert is_outrun(tables, (), row.begun)

    def test_a_lease_older_than_the_marks_counts_as_outrun(self, hand: ByHand) -> None:
        """A put that was computed for longer than any lease lasts: nobody knows what fired since."""
        fence = hand.position()
        hand.touch(A)
        _fire_too_many(hand)
        _fire_too_many(hand)

        assert not hand.put("k", 1, Tag("nobody touched it"), fence=fence)
        assert hand.put("k", 1, Tag("nobody touched it"), fence=hand.position())

    def test_the_youngest_marks_are_kept(self, hand: ByHand) -> None:
        """The older half goes, and what fired again is young."""
        hand.touch(A)
        fence = hand.position()
        _fire_too_many(hand, 0, MAX_FIRED // 4)
        hand.touch(A)
        _fire_too_many(hand, MAX_FIRED // 4, MAX_FIRED + 1)

        assert not hand.put("k", 1, A, fence=fence)
        assert hand.put("k", 1, A, fence=hand.position())

    def test_what_events_said_of_conditions_is_bounded(self, hand: ByHand) -> None:
        """A build that began before what is left counts as outrun; a younger one does not."""
        early = hand.lease("early", CHEAP)
        n_early = MAX_PROBES * 3 // 4
        for _ in range(n_early):
            hand.publish(DEAR_BOOK)
        late = hand.lease("late", CHEAP)
        for _ in range(n_early, MAX_PROBES + 1):
            hand.publish(DEAR_BOOK)
        hand.build("other", 1, CHEAP)

        assert hand.commit(early, 1, CHEAP).entry.state is State.DIRTY
        assert hand.commit(late, 1, CHEAP).entry.state is State.FRESH


def _fire_too_many(hand: ByHand, start: int = 0, end: int = MAX_FIRED + 1) -> None:
    """Fire so many buckets, by few steps."""
    step = MAX_FIRED // 20
    for first in range(start, end, step):
        hand.touch(*(Tag(f"tag {number}") for number in range(first, min(end, first + step))))
