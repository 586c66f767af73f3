"""Queueing: what is due is taken once, the longest due first, by whom it may concern."""
# ruff: noqa: S101 - these are tests, which happen to be shipped

from __future__ import annotations

from everfresh.model.dependency import Tag
from everfresh.model.entry import Kind, OnChange, Recipe, State
from everfresh.protocol.queueing import TakeDue
from everfresh.protocol.requests import UNLIMITED, Extend, GiveUp
from everfresh.testing.by_hand import FUNCTION, LEASE_S, ByHand, begin_of, commit_of
from everfresh.testing.clock import FakeClock
from everfresh.testing.contract.fixtures import StoreFixtures

A = Tag("a")


class QueueContract(StoreFixtures):
    """TakeDue."""

    def test_nothing_is_due_at_first(self, hand: ByHand, clock: FakeClock) -> None:
        """And there is nothing to wait for."""
        took = hand.store.carry_out(TakeDue({FUNCTION: UNLIMITED}, 10, LEASE_S))

        assert (took.due, took.now, took.next_due) == ((), clock(), None)

    def test_a_taken_entry_comes_with_what_it_takes_to_build_it(self, hand: ByHand, clock: FakeClock) -> None:
        """Its recipe, and a lease that holds for as long as was asked."""
        hand.build("k", 1, A)
        hand.touch(A)

        due = hand.take(lease_s=7.0)[0]

        assert due.recipe == Recipe(FUNCTION, b"k")
        assert due.lease.until == clock() + 7.0
        assert hand.state("k") is State.BUILDING
        assert hand.commit(due.lease, 2, A).entry.state is State.FRESH

    def test_an_entry_is_taken_once(self, hand: ByHand) -> None:
        """Two workers never hold one entry, and a reader waits for the worker."""
        hand.build("k", 1, A)
        hand.touch(A)

        assert len(hand.take()) == 1
        assert hand.take() == []
        assert hand.load("k").is_leased

    def test_the_longest_due_comes_first(self, hand: ByHand, clock: FakeClock) -> None:
        """Whatever its name and whenever it was first built."""
        for key in ("b", "c", "a"):
            hand.build(key, 1, Tag(key))
        for key in ("c", "a", "b"):
            clock.advance(1.0)
            hand.touch(Tag(key))

        assert [due.lease.key for due in hand.take(2)] == ["c", "a"]
        assert [due.lease.key for due in hand.take(2)] == ["b"]

    def test_at_most_so_many_are_taken(self, hand: ByHand) -> None:
        """What is left is still due, and the answer says so."""
        for number in range(5):
            hand.build(f"k{number}", 1, A)
        hand.touch(A)

        took = hand.store.carry_out(TakeDue({FUNCTION: UNLIMITED}, 3, LEASE_S))

        assert len(took.due) == 3  # noqa: PLR2004 - as asked
        assert took.next_due == took.now
        assert len(hand.take()) == 2  # noqa: PLR2004 - the rest

    def test_others_functions_are_left_to_others(self, hand: ByHand) -> None:
        """A worker takes only what it can build; what it passes over loses no place."""
        for function in ("mine", "theirs"):
            lease = hand.lease(function, function=function)
            hand.commit(lease, 1, A)
        hand.touch(A)

        assert [due.lease.key for due in hand.take(function="mine")] == ["mine"]
        assert hand.take(function="mine") == []
        assert [due.lease.key for due in hand.take(function="theirs")] == ["theirs"]

    def test_a_worker_without_functions_takes_nothing(self, hand: ByHand) -> None:
        """And is not told to come back."""
        hand.build("k", 1, A)
        hand.touch(A)

        took = hand.store.carry_out(TakeDue({}, 10, LEASE_S))

        assert (took.due, took.next_due) == ((), None)

    def test_the_next_time_is_said(self, hand: ByHand, clock: FakeClock) -> None:
        """So that a worker can sleep until then: a retry, or the end of somebody's lease."""
        hand.build("k", 1, A)
        hand.touch(A)
        hand.fail(hand.lease("k"), retry_in_s=3.0)

        took = hand.store.carry_out(TakeDue({FUNCTION: UNLIMITED}, 10, LEASE_S))
        assert took.next_due == clock() + 3.0

        clock.advance(3.0)
        hand.take()
        took = hand.store.carry_out(TakeDue({FUNCTION: UNLIMITED}, 10, LEASE_S))
        assert took.next_due == clock() + LEASE_S

    def test_what_a_dead_worker_held_comes_back(self, hand: ByHand, clock: FakeClock) -> None:
        """After its lease, and not before."""
        hand.build("k", 1, A)
        hand.touch(A)
        dead = hand.take()[0].lease

        clock.advance(LEASE_S - 0.001)
        assert hand.take() == []

        clock.advance(0.001)
        lease = hand.take()[0].lease
        assert lease.token != dead.token

    def test_what_a_live_worker_holds_does_not_come_back(self, hand: ByHand, clock: FakeClock) -> None:
        """A renewed lease keeps the entry out of the queue."""
        hand.build("k", 1, A)
        hand.touch(A)
        lease = hand.take()[0].lease
        clock.advance(LEASE_S - 1)
        hand.store.carry_out(Extend((lease,), LEASE_S))
        clock.advance(LEASE_S - 1)

        assert hand.take() == []

    def test_a_first_build_whose_builder_died_is_nobodys_work(self, hand: ByHand, clock: FakeClock) -> None:
        """Whoever asked for it builds it; it is cleared away, and waiters are told."""
        hand.lease("k")
        clock.advance(LEASE_S)
        position = hand.position()

        assert hand.take() == []

        assert [record.kind for record in hand.feed(position)] == [Kind.DROPPED]
        assert hand.build("k", 1).state is State.FRESH

    def test_a_suspect_entry_is_not_due(self, hand: ByHand) -> None:
        """It is settled by what is below it."""
        hand.build("in", 1, A)
        hand.build("out", 1, seen={"in": 1})
        hand.touch(A)

        assert [due.lease.key for due in hand.take()] == ["in"]

    def test_what_was_built_meanwhile_is_not_due(self, hand: ByHand) -> None:
        """A reader was quicker than the worker."""
        hand.build("k", 1, A)
        hand.touch(A)
        hand.build("k", 2, A)

        assert hand.take() == []

    def test_what_was_dropped_meanwhile_is_not_due(self, hand: ByHand) -> None:
        """An entry that is gone is out of the queue, also when its key begins another life."""
        hand.build("k", 1, A)
        hand.touch(A)
        hand.delete("k")
        assert hand.take() == []

        hand.build("k", 1, A)
        assert hand.take() == []

    def test_a_due_time_may_come_back(self, hand: ByHand) -> None:
        """A clock that stands still: touched, begun and given up at the same moment, and still queued once."""
        hand.build("k", 1, A)
        for _ in range(3):
            hand.touch(A)
            hand.store.carry_out(GiveUp(hand.lease("k")))

        assert [due.lease.key for due in hand.take()] == ["k"]
        assert hand.take() == []

    def test_a_clock_that_is_set_back_loses_nothing(self, hand: ByHand, clock: FakeClock) -> None:
        """What was due by the old time is due again when that time comes; what is touched now is due now."""
        hand.build("early", 1, Tag("early"))
        hand.build("late", 1, Tag("late"))
        hand.touch(Tag("early"))
        clock.advance(-100.0)
        hand.touch(Tag("late"))

        assert [due.lease.key for due in hand.take()] == ["late"]
        clock.advance(100.0)
        assert "early" in [due.lease.key for due in hand.take()]

    def test_an_outrun_commit_is_due_at_once(self, hand: ByHand) -> None:
        """And tells so, after the change: whoever sleeps until something is stale wakes up."""
        position = hand.position()
        lease = hand.lease("k")
        hand.touch(A)
        hand.store.carry_out(commit_of(lease, 1, A))

        assert [record.kind for record in hand.feed(position)] == [Kind.CHANGED, Kind.STALE]
        assert len(hand.take()) == 1

    def test_a_cascade_may_drop_what_is_due(self, hand: ByHand, clock: FakeClock) -> None:
        """A dead first build is cleared away, and with it goes who stood on the entry's former life."""
        hand.build("in", 1, A)
        hand.build("out", 1, seen={"in": 1}, on_change=OnChange.DROP)
        hand.delete("in")
        hand.build("out", 1, A)
        hand.store.carry_out(begin_of("in"))
        hand.touch(A)
        clock.advance(LEASE_S)

        assert [due.lease.key for due in hand.take()] == ["out"]
