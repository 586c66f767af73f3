"""Reasons: of several events an entry is told the one that touches it, and through which builds it came."""
# ruff: noqa: S101 - these are tests, which happen to be shipped

from __future__ import annotations

from everfresh.model.conditions import gt
from everfresh.model.dependency import Scope, Tag, Topic
from everfresh.model.entry import OnChange, Terms
from everfresh.model.event import Event
from everfresh.testing.by_hand import ByHand, encoded
from everfresh.testing.contract.fixtures import StoreFixtures

A, B = Tag("a"), Tag("b")
ONE, TWO = Event("one", id="e1"), Event("two", id="e2")
CHAIN = ("first", "second")
N_REMEMBERED = 5


class ReasonContract(StoreFixtures):
    """What an entry remembers of the events that touched it."""

    def test_each_entry_is_told_the_last_event_that_touches_it(self, hand: ByHand) -> None:
        """Events applied in one step keep their names."""
        hand.build("first", 1, Topic("one"))
        hand.build("second", 1, Topic("two"))
        hand.build("both", 1, Topic("two"), Topic("one"))

        hand.publish(ONE, TWO)

        assert hand.entry("first").reason == "event one e1"
        assert hand.entry("second").reason == "event two e2"
        assert hand.entry("both").reason == "event two e2"

    def test_a_whole_shape_and_a_filter_tell_their_event_too(self, hand: ByHand) -> None:
        """Whatever way the event found the entry."""
        hand.build("filtered", 1, Topic("one", {"n": gt(1)}))
        hand.build("whole", 1, Scope("book"))

        hand.publish(Event("one", {"n": 2}, id="e1"), Event.unknown("book"), Event("three"))

        assert hand.entry("filtered").reason == "event one e1"
        assert "book" in hand.entry("whole").reason

    def test_a_name_is_told(self, hand: ByHand) -> None:
        """Somebody touched the entry by hand, and here is what they named."""
        hand.build("k", 1, A, B)

        hand.touch(B)

        assert hand.entry("k").reason == f"invalidated {B!r}"

    def test_the_last_events_are_remembered(self, hand: ByHand) -> None:
        """Oldest first, over builds, and no more than a few."""
        hand.build("k", 1, Topic("#"))
        for number in range(N_REMEMBERED + 2):
            hand.publish(Event("bug", id=str(number)))
            hand.build("k", number, Topic("#"))

        assert hand.explain("k").history == tuple(f"event bug {number}" for number in range(2, N_REMEMBERED + 2))

    def test_a_change_below_is_no_event(self, hand: ByHand) -> None:
        """The entry is told what changed, and its history is of events alone."""
        hand.build("in", 1, A)
        hand.build("out", 1, seen={"in": 1})

        hand.build("in", 2, A)

        assert hand.entry("out").reason == "in changed"
        assert hand.explain("out").history == ()

    def test_a_builder_that_asks_for_it_is_given_the_event(self, hand: ByHand) -> None:
        """The last one that touched the entry, whole; others are given none."""
        hand.build("asks", 1, Topic("one"), Topic("two"), terms=Terms(keeps_event=True))
        hand.build("others", 1, Topic("one"), Topic("two"))

        hand.publish(ONE, TWO)

        assert hand.lease("asks").event == encoded(TWO)
        assert hand.lease("others").event is None

    def test_a_name_is_no_event(self, hand: ByHand) -> None:
        """It supersedes the event before: there is nothing that the value must show."""
        hand.build("k", 1, A, Topic("one"), terms=Terms(keeps_event=True))
        hand.publish(ONE)

        hand.touch(A)

        assert hand.lease("k").event is None

    def test_an_event_is_answered_once(self, hand: ByHand) -> None:
        """A later build, by hand or by time, answers none."""
        terms = Terms(keeps_event=True)
        hand.build("k", 1, Topic("one"), terms=terms)
        hand.publish(ONE)
        hand.build("k", 2, Topic("one"), terms=terms)

        assert hand.lease("k").event is None

    def test_a_build_knows_the_builds_that_caused_it(self, hand: ByHand) -> None:
        """A chain of builds that publish events can be told from an event from outside."""
        hand.build("k", 1, A)
        assert hand.lease("k").cause == ()
        hand.build("other", 1, Topic("one"))

        hand.publish(ONE, cause=CHAIN)

        assert hand.lease("other").cause == CHAIN

    def test_a_cause_ends_with_the_build_that_answers_it(self, hand: ByHand) -> None:
        """A later event from outside, or a build by time, has its own cause or none."""
        hand.build("k", 1, A)
        hand.touch(A, cause=CHAIN)
        hand.build("k", 1, A)
        by_hand = hand.lease("k")
        assert by_hand.cause == ()
        hand.commit(by_hand, 1, A)

        hand.touch(A, cause=CHAIN)
        hand.touch(A)

        assert hand.lease("k").cause == ()

    def test_a_cause_goes_outward_with_a_change(self, hand: ByHand) -> None:
        """Who is built because an inner value changed has the inner one's cause."""
        hand.build("in", 1, A)
        hand.build("out", 1, seen={"in": 1})
        hand.touch(A, cause=CHAIN)

        hand.build("in", 2, A)

        assert hand.lease("out").cause == CHAIN

    def test_a_cause_goes_outward_with_a_drop(self, hand: ByHand) -> None:
        """Over any number of entries that are dropped."""
        hand.build("in", 1, A, on_change=OnChange.DROP)
        hand.build("middle", 1, seen={"in": 1}, on_change=OnChange.DROP)
        hand.build("out", 1, seen={"middle": 1})

        hand.touch(A, cause=CHAIN)

        assert hand.lease("out").cause == CHAIN
