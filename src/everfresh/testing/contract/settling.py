"""Settling: an upstream may show a change after it has told of it, so the entry is looked at again."""
# ruff: noqa: S101 - these are tests, which happen to be shipped

from __future__ import annotations

from everfresh.model.dependency import Tag, Topic
from everfresh.model.entry import Lease, OnChange, State, Terms
from everfresh.model.event import Event
from everfresh.protocol.requests import GiveUp, NotNeeded
from everfresh.testing.by_hand import ByHand, begin_of, encoded
from everfresh.testing.clock import FakeClock
from everfresh.testing.contract.fixtures import StoreFixtures

A, B = Tag("a"), Tag("b")
TERMS = Terms(settle_s=(2.0, 30.0))
MOMENT_S = 0.001
ASKS = Terms(settle_s=(2.0, 30.0), keeps_event=True)


class SettleContract(StoreFixtures):
    """When to look again, and when that is enough."""

    def test_an_equal_value_is_looked_at_again(self, hand: ByHand, clock: FakeClock) -> None:
        """After each of the delays, counted from the event, and then no more; it is served all the while."""
        _touched(hand)
        event_at = clock()

        clock.advance(1.0)
        assert _refresh(hand) is State.FRESH
        assert hand.took().next_due == event_at + 2.0
        clock.advance(1.0)
        assert _refresh(hand) is State.FRESH
        assert hand.took().next_due == event_at + 30.0
        clock.advance(28.0)
        assert _refresh(hand) is State.FRESH

        assert hand.took().next_due is None

    def test_a_changed_value_needs_no_further_look(self, hand: ByHand, clock: FakeClock) -> None:
        """It shows the event: at once, or at a look."""
        _touched(hand)
        _refresh(hand)
        clock.advance(2.0)

        _refresh(hand, 2)

        assert hand.took().next_due is None

    def test_a_value_that_changes_at_once_needs_no_look(self, hand: ByHand) -> None:
        """Nothing was late."""
        _touched(hand)

        _refresh(hand, 2)

        assert hand.took().next_due is None

    def test_the_function_decides_what_shows_the_event(self, hand: ByHand, clock: FakeClock) -> None:
        """A value that changed for another reason is not enough, and an equal one may be."""
        hand.build("k", 1, Topic("bug"), terms=ASKS)
        hand.publish(Event("bug", {"n": 1}))
        due = hand.take()[0]
        assert due.lease.event == encoded(Event("bug", {"n": 1}))

        hand.commit(due.lease, 2, Topic("bug"), terms=ASKS, is_awaited=False)
        assert hand.took().next_due == clock() + 2.0
        clock.advance(2.0)
        due = hand.take()[0]
        assert due.lease.event == encoded(Event("bug", {"n": 1}))
        hand.commit(due.lease, 2, Topic("bug"), terms=ASKS, is_awaited=True)

        assert hand.took().next_due is None
        assert hand.lease("k").event is None

    def test_the_event_is_let_go_after_the_last_look(self, hand: ByHand, clock: FakeClock) -> None:
        """A later build answers nothing, though the value never showed it."""
        hand.build("k", 1, Topic("bug"), terms=ASKS)
        hand.publish(Event("bug"))
        clock.advance(30.0)
        hand.commit(hand.take()[0].lease, 1, Topic("bug"), terms=ASKS, is_awaited=False)

        assert hand.took().next_due is None
        assert hand.lease("k").event is None

    def test_a_look_that_fails_goes_on(self, hand: ByHand, clock: FakeClock) -> None:
        """The value is as good as it was, and is looked at after a while; when that is given up, at the next time."""
        _touched(hand)
        _refresh(hand)
        clock.advance(2.0)

        hand.fail(hand.take()[0].lease, retry_in_s=1.0)
        assert (hand.state("k"), hand.entry("k").attempts) == (State.FRESH, 1)
        assert hand.took().next_due == clock() + 1.0
        clock.advance(1.0)
        (due,) = hand.take()
        assert due.lease.attempts == 1
        hand.fail(due.lease, retry_in_s=None)

        assert hand.state("k") is State.FRESH
        assert hand.took().next_due == clock() + 27.0

    def test_the_last_look_that_fails_or_is_cancelled_was_none(self, hand: ByHand, clock: FakeClock) -> None:
        """Without a worker it is a reader who looks late, and who may go away; the next one looks."""
        _touched(hand)
        _refresh(hand)
        clock.advance(100.0)
        applied = hand.load("k").applied

        for _ in range(2):
            lease = hand.store.carry_out(begin_of("k", good_from=applied))
            assert isinstance(lease, Lease)
            hand.store.carry_out(GiveUp(lease))
            assert hand.entry("k").look_at == clock()
        (due,) = hand.take()
        hand.fail(due.lease, retry_in_s=5.0)
        assert hand.entry("k").look_at == clock() + 5.0
        clock.advance(5.0)

        _refresh(hand)

        assert (hand.entry("k").look_at, hand.entry("k").attempts, hand.take()) == (None, 0, [])

    def test_a_refresh_that_fails_is_looked_at_from_the_event_on(self, hand: ByHand, clock: FakeClock) -> None:
        """Its retry is the first build; the looks that are over by then are not made up for."""
        _touched(hand)
        hand.fail(hand.take()[0].lease, retry_in_s=5.0)
        clock.advance(5.0)

        _refresh(hand)

        assert hand.took().next_due == clock() + 25.0

    def test_a_build_that_began_before_the_look_was_none(self, hand: ByHand, clock: FakeClock) -> None:
        """However late it ended, it may have read before: the look is due at once."""
        _touched(hand)
        clock.advance(1.0)
        lease = hand.take()[0].lease
        clock.advance(3.0)
        hand.commit(lease, 1, A, terms=TERMS)

        assert [due.lease.key for due in hand.take()] == ["k"]

    def test_a_build_that_began_at_the_look_was_one(self, hand: ByHand, clock: FakeClock) -> None:
        """A reader's build as well as a worker's."""
        _touched(hand)
        clock.advance(2.0)
        hand.build("k", 1, A, terms=TERMS)

        assert hand.took().next_due == clock() + 28.0

    def test_a_new_event_begins_anew(self, hand: ByHand, clock: FakeClock) -> None:
        """The delays count from the last event."""
        _touched(hand)
        _refresh(hand)
        clock.advance(1.5)
        hand.touch(A)
        _refresh(hand)

        assert hand.took().next_due == clock() + 2.0

    def test_an_event_during_a_build_is_not_shown_by_it(self, hand: ByHand, clock: FakeClock) -> None:
        """The changed value may be due to what was before: the event's own build, and its looks, follow."""
        _touched(hand)
        lease = hand.take()[0].lease
        hand.touch(A)
        hand.commit(lease, 2, A, terms=TERMS)

        _refresh(hand, 2)

        assert hand.took().next_due == clock() + 2.0

    def test_the_looks_count_from_an_event_during_a_build(self, hand: ByHand, clock: FakeClock) -> None:
        """Not from the end of the build that it outran."""
        _touched(hand)
        lease = hand.take()[0].lease
        hand.touch(A)
        event_at = clock()
        clock.advance(1.0)
        hand.commit(lease, 1, A, terms=TERMS)

        _refresh(hand)

        assert hand.took().next_due == event_at + 2.0

    def test_an_event_during_a_first_build_is_looked_for_too(self, hand: ByHand, clock: FakeClock) -> None:
        """Its mark outruns the build, and the next build may see the old data still."""
        lease = hand.lease("k")
        hand.touch(A)
        hand.commit(lease, 1, A, terms=TERMS)

        _refresh(hand)

        assert hand.took().next_due == clock() + 2.0

    def test_without_an_event_nothing_is_late(self, hand: ByHand) -> None:
        """A build by hand that comes out equal has no looks."""
        hand.build("k", 1, A, terms=TERMS)
        hand.build("k", 1, A, terms=TERMS)

        assert hand.took().next_due is None

    def test_without_delays_nothing_is_looked_at_again(self, hand: ByHand) -> None:
        """The function said nothing of late data."""
        hand.build("k", 1, A)
        hand.touch(A)
        hand.commit(hand.take()[0].lease, 1, A)

        assert hand.took().next_due is None

    def test_a_look_and_a_lifetime_are_both_kept(self, hand: ByHand, clock: FakeClock) -> None:
        """Whichever comes first."""
        terms = Terms(settle_s=(2.0,), expires_s=10.0)
        hand.build("k", 1, A, terms=terms)
        hand.touch(A)
        hand.commit(hand.take()[0].lease, 1, A, terms=terms)
        assert hand.took().next_due == clock() + 2.0

        clock.advance(2.0)
        hand.commit(hand.take()[0].lease, 1, A, terms=terms)

        assert hand.took().next_due == clock() + 10.0

    def test_a_suspect_entry_is_looked_at_too(self, hand: ByHand, clock: FakeClock) -> None:
        """That something below it is unsettled does not make its own data come in time."""
        hand.build("in", 1, B)
        hand.build("k", 1, A, seen={"in": 1}, terms=TERMS)
        hand.touch(A, B)
        hand.lease("in")

        lease = hand.lease("k")
        hand.commit(lease, 1, A, seen={"in": 1}, terms=TERMS)

        assert hand.state("k") is State.SUSPECT
        assert hand.took().next_due == clock() + 2.0

    def test_a_look_that_nobody_has_begun_is_the_next_readers(self, hand: ByHand, clock: FakeClock) -> None:
        """There may be no worker: what is due for a look is over, as by a lifetime, until somebody looks."""
        _touched(hand)
        event_at = clock()
        _refresh(hand)
        assert (hand.entry("k").look_at, hand.entry("k").expires_at) == (event_at + 2.0, None)
        clock.advance(2.0 - MOMENT_S)
        applied = hand.load("k").applied
        assert hand.store.carry_out(begin_of("k", good_from=applied)) == NotNeeded()
        clock.advance(MOMENT_S)

        lease = hand.store.carry_out(begin_of("k", good_from=applied))

        assert isinstance(lease, Lease)
        assert hand.entry("k").look_at is None
        assert hand.commit(lease, 1, A, terms=TERMS).entry.look_at == event_at + 30.0

    def test_a_lifetime_that_ends_before_the_look_counts(self, hand: ByHand, clock: FakeClock) -> None:
        """The earlier of the two ends the value; without an event there is no look."""
        terms = Terms(settle_s=(9.0,), expires_s=5.0)
        hand.build("k", 1, A, terms=terms)
        hand.touch(A)
        hand.build("k", 1, A, terms=terms)
        assert hand.entry("k").ends_at() == clock() + 5.0
        clock.advance(5.0)

        hand.build("k", 1, A, terms=terms)

        assert hand.entry("k").ends_at() == clock() + 4.0

    def test_what_is_stale_is_not_over_by_its_look(self, hand: ByHand, clock: FakeClock) -> None:
        """It counts from its event how old it is; a reader `after` an earlier position may have it."""
        _touched(hand)
        _refresh(hand)
        hand.touch(A)

        assert (hand.entry("k").stale_since, hand.entry("k").look_at) == (clock(), None)

    def test_what_drops_has_nothing_to_look_at(self, hand: ByHand) -> None:
        """The event has dropped it."""
        hand.build("k", 1, A, terms=Terms(on_change=OnChange.DROP, settle_s=(2.0,)))
        hand.touch(A)

        assert hand.took().next_due is None


def _touched(hand: ByHand) -> None:
    hand.build("k", 1, A, terms=TERMS)
    hand.touch(A)


def _refresh(hand: ByHand, value: object = 1) -> State:
    """Take the one that is due and build it."""
    (due,) = hand.take()
    return hand.commit(due.lease, value, A, terms=TERMS).entry.state
