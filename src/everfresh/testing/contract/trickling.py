"""Trickling: what may have changed unseen is dirty at once, and falls due one after the other."""
# ruff: noqa: S101 - these are tests, which happen to be shipped

from __future__ import annotations

from everfresh.model.dependency import Tag, Topic
from everfresh.model.entry import Kind, Lease, OnChange, State, Terms
from everfresh.model.event import Event
from everfresh.protocol.applying import Applied
from everfresh.protocol.publishing import suspect
from everfresh.protocol.scheduling import RECENT_S
from everfresh.testing.by_hand import ByHand, begin_of
from everfresh.testing.clock import FakeClock
from everfresh.testing.contract.fixtures import StoreFixtures

BUG = Topic("bug.*", {"id": 7})
BUG_CHANGED = Event("bug.update", {"id": 7})
LOST = "events from bus may have been lost"


class TrickleContract(StoreFixtures):
    """`Apply.per_s`."""

    def test_they_are_dirty_at_once_and_fall_due_in_turn(self, hand: ByHand, clock: FakeClock) -> None:
        """So many a second, the most urgent first: by priority, watched, read lately, the rest."""
        hand.build("other", 1, BUG)
        hand.build("high", 1, BUG, terms=Terms(priority=1))
        for key in ("read", "watched"):
            hand.build(key, 1, BUG)
        clock.advance(RECENT_S + 1.0)
        hand.note(reads={"read": clock()}, watched={"watched": clock() + 100.0})

        touched = _suspected(hand, per_s=2.0).touched

        keys = ["high", "watched", "read", "other"]
        assert sorted(touched) == sorted(keys)
        assert {hand.state(key) for key in keys} == {State.DIRTY}
        order: list[list[str]] = []
        for _ in keys:
            order.append([due.lease.key for due in hand.take()])
            assert hand.take() == []
            clock.advance(0.5)
        assert order == [[key] for key in keys]

    def test_it_says_since_when_and_why(self, hand: ByHand, clock: FakeClock) -> None:
        """For people, and for followers, of each once."""
        hand.build("k", 1, BUG)
        position = hand.position()

        _suspected(hand)

        assert (hand.entry("k").stale_since, hand.entry("k").reason) == (clock(), LOST)
        assert [(record.key, record.kind) for record in hand.feed(position)] == [("k", Kind.STALE)]

    def test_a_reader_need_not_wait_for_its_turn(self, hand: ByHand, clock: FakeClock) -> None:
        """A strict reader builds at once; and what was built is no longer due."""
        for key in ("a", "b"):
            hand.build(key, 1, BUG)
        _suspected(hand, per_s=0.01)
        good_from = hand.position().sequence

        lease = hand.store.carry_out(begin_of("b", good_from=good_from))
        assert isinstance(lease, Lease)
        assert hand.commit(lease, 1, BUG).entry.state is State.FRESH

        clock.advance(1_000.0)
        assert [due.lease.key for due in hand.take()] == ["a"]

    def test_one_that_is_due_stays_due(self, hand: ByHand, clock: FakeClock) -> None:
        """An event came for it before; it takes nobody's turn."""
        for key in ("a", "b", "c"):
            hand.build(key, 1, BUG)
        hand.build("tagged", 1, BUG, Tag("a"))
        hand.touch(Tag("a"))

        _suspected(hand, per_s=1.0)

        assert sorted(due.lease.key for due in hand.take()) == ["a", "tagged"]
        clock.advance(1.0)
        assert [due.lease.key for due in hand.take()] == ["b"]

    def test_one_that_falls_due_earlier_keeps_its_time(self, hand: ByHand, clock: FakeClock) -> None:
        """A second loss does not put it off."""
        for key in ("a", "b"):
            hand.build(key, 1, BUG)
        _suspected(hand, per_s=1.0)
        hand.build("aa", 1, BUG)

        _suspected(hand, per_s=0.01)

        clock.advance(1.0)
        assert sorted(due.lease.key for due in hand.take()) == ["a", "aa", "b"]

    def test_an_event_ends_the_waiting(self, hand: ByHand) -> None:
        """Now it is known to have changed, and is due like all others."""
        for key in ("a", "b"):
            hand.build(key, 1, BUG)
        hand.build("c", 1, BUG, Tag("c"))
        _suspected(hand, per_s=0.01)

        hand.touch(Tag("c"))

        assert sorted(due.lease.key for due in hand.take()) == ["a", "c"]

    def test_a_build_under_way_is_outrun(self, hand: ByHand) -> None:
        """It may have read what was there before the loss; its entry is due as after any event."""
        lease = hand.lease("k", BUG)

        _suspected(hand, per_s=0.01)

        assert hand.commit(lease, 1, BUG).entry.state is State.DIRTY
        assert [due.lease.key for due in hand.take()] == ["k"]

    def test_a_debounce_is_waited_for(self, hand: ByHand, clock: FakeClock) -> None:
        """Its turn may come later than that, and not earlier."""
        hand.build("a", 1, BUG, terms=Terms(debounce_s=5.0, priority=1))
        hand.build("b", 1, BUG)

        _suspected(hand, per_s=1.0)

        assert hand.take() == []
        clock.advance(1.0)
        assert [due.lease.key for due in hand.take()] == ["b"]
        clock.advance(4.0)
        assert [due.lease.key for due in hand.take()] == ["a"]

    def test_what_drops_is_dropped(self, hand: ByHand) -> None:
        """At once; who was built from it takes a turn, and who was built from that is suspect."""
        hand.build("first", 1, BUG)
        hand.build("in", 1, BUG, on_change=OnChange.DROP)
        hand.build("middle", 1, seen={"in": 1})
        hand.build("out", 1, seen={"middle": 1})

        applied = _suspected(hand, per_s=0.01)

        assert (set(applied.touched), applied.suspect) == ({"first", "in", "middle"}, ("out",))
        assert [hand.state(key) for key in ("in", "middle", "out")] == [None, State.DIRTY, State.SUSPECT]
        assert [due.lease.key for due in hand.take()] == ["first"]

    def test_events_without_it_are_due_at_once(self, hand: ByHand) -> None:
        """All of what an event touches."""
        for key in ("a", "b"):
            hand.build(key, 1, BUG)

        hand.publish(BUG_CHANGED)

        assert sorted(due.lease.key for due in hand.take()) == ["a", "b"]


def _suspected(hand: ByHand, *, per_s: float = 100.0) -> Applied:
    return hand.run(suspect(("bug.#",), LOST, hand.shapes, per_s=per_s)).applied
