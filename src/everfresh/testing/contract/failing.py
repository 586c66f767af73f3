"""Failing: the last good value is kept, tried again later, and listed as failed in the end."""
# ruff: noqa: S101 - these are tests, which happen to be shipped

from __future__ import annotations

import pytest

from everfresh.model.dependency import Tag
from everfresh.model.entry import Kind, OnChange, State, Terms
from everfresh.protocol.requests import GiveUp
from everfresh.testing.by_hand import LEASE_S, ByHand
from everfresh.testing.clock import FakeClock
from everfresh.testing.contract.fixtures import StoreFixtures

A = Tag("a")


class FailContract(StoreFixtures):
    """Fail, and who tries again when."""

    def test_a_failed_first_build_leaves_nothing(self, hand: ByHand) -> None:
        """There is no value to keep; whoever waits is told that the lease ended."""
        position = hand.position()

        loaded = hand.fail(hand.lease("k"))

        assert loaded.entry is None
        assert hand.load("k").entry is None
        assert not hand.load("k").is_leased
        assert [record.kind for record in hand.feed(position)] == [Kind.DROPPED]

    def test_a_failed_refresh_keeps_the_last_value(self, hand: ByHand, clock: FakeClock) -> None:
        """With since when it is stale, why, and when it is tried again."""
        hand.build("k", "good", A)
        hand.touch(A)
        stale_since = clock()
        clock.advance(2.0)

        kept = hand.fail(hand.lease("k"), retry_in_s=5.0, reason="the source is down").entry

        assert kept == hand.entry("k")
        assert hand.value("k") == "good"
        assert (hand.entry("k").state, hand.entry("k").stale_since) == (State.DIRTY, stale_since)
        assert (hand.entry("k").reason, hand.entry("k").attempts) == ("the source is down", 1)
        assert hand.entry("k").retry_at == clock() + 5.0

    def test_a_failed_refresh_is_told_to_followers(self, hand: ByHand) -> None:
        """With the version that is kept."""
        _stale(hand)
        position = hand.position()

        hand.fail(hand.lease("k"))

        assert [(record.kind, record.version) for record in hand.feed(position)] == [(Kind.FAILED, 1)]

    def test_a_failed_refresh_of_what_is_fresh_leaves_it_fresh(self, hand: ByHand) -> None:
        """No event says that the value is another one by now."""
        hand.build("k", 1, A)
        before = hand.entry("k")

        hand.fail(hand.lease("k"), retry_in_s=None)

        assert hand.state("k") is State.FRESH
        assert (hand.entry("k").value, hand.entry("k").version) == (before.value, before.version)
        assert not hand.load("k").is_leased
        assert hand.take() == []

    def test_it_is_tried_again_when_it_is_time(self, hand: ByHand, clock: FakeClock) -> None:
        """Not before, and with the number of tries that failed."""
        _stale(hand)
        hand.fail(hand.lease("k"), retry_in_s=5.0)

        clock.advance(4.9)
        assert hand.take() == []

        clock.advance(0.1)
        assert [due.lease.attempts for due in hand.take()] == [1]

    def test_tries_are_counted(self, hand: ByHand, clock: FakeClock) -> None:
        """Until a build succeeds."""
        _stale(hand)
        for n_failed in range(3):
            lease = hand.lease("k")
            assert lease.attempts == n_failed
            hand.fail(lease, retry_in_s=5.0)
            clock.advance(5.0)

        hand.build("k", 1, A)

        assert (hand.entry("k").attempts, hand.entry("k").retry_at) == (0, None)

    def test_the_last_try_leaves_it_failed(self, hand: ByHand, clock: FakeClock) -> None:
        """It is not queued any more."""
        _stale(hand)

        hand.fail(hand.lease("k"), retry_in_s=None)

        assert hand.state("k") is State.FAILED
        clock.advance(10_000.0)
        assert hand.take() == []

    def test_readers_do_not_use_up_the_tries(self, hand: ByHand, clock: FakeClock) -> None:
        """Who tries before it is time, and fails, changes neither the number of tries nor the time of the next."""
        _stale(hand)
        hand.fail(hand.lease("k"), retry_in_s=5.0)
        clock.advance(2.0)

        for _ in range(3):
            hand.fail(hand.lease("k"), retry_in_s=None)

        entry = hand.entry("k")
        assert (entry.state, entry.attempts, entry.retry_at) == (State.DIRTY, 1, clock() + 3.0)
        clock.advance(3.0)
        (due,) = hand.take()
        hand.fail(due.lease, retry_in_s=None)
        assert (hand.state("k"), hand.entry("k").attempts) == (State.FAILED, 2)

    def test_a_try_that_ends_after_the_next_was_due_leaves_it_due(self, hand: ByHand, clock: FakeClock) -> None:
        """It began before, so it was not the one that was to come."""
        _stale(hand)
        hand.fail(hand.lease("k"), retry_in_s=5.0)
        clock.advance(2.0)
        lease = hand.lease("k")
        clock.advance(4.0)

        hand.fail(lease, retry_in_s=None)

        assert [due.lease.attempts for due in hand.take()] == [1]

    @pytest.mark.parametrize("retry_in_s", [None, 1_000.0], ids=["failed", "waiting"])
    def test_an_event_after_a_failure_begins_a_job_of_its_own(
        self, hand: ByHand, clock: FakeClock, retry_in_s: float | None
    ) -> None:
        """It waits for quiet, and for as long as it may, from that event on: not from the failure."""
        terms = Terms(debounce_s=2.0, max_wait_s=20.0, job_expires_s=60.0)
        hand.build("k", 1, A, terms=terms)
        hand.touch(A)
        clock.advance(2.0)
        hand.fail(hand.take()[0].lease, retry_in_s=retry_in_s)
        clock.advance(900.0)

        hand.touch(A)

        took = hand.took()
        assert (took.due, took.expired, took.next_due) == ((), (), clock() + 2.0)
        clock.advance(2.0)
        assert [due.lease.key for due in hand.take()] == ["k"]

    def test_an_event_retries_what_failed(self, hand: ByHand) -> None:
        """The source has changed, so the count begins anew."""
        _stale(hand)
        hand.fail(hand.lease("k"), retry_in_s=None)

        hand.touch(A)

        assert hand.state("k") is State.DIRTY
        assert [due.lease.attempts for due in hand.take()] == [0]

    def test_an_event_retries_at_once_what_waits(self, hand: ByHand) -> None:
        """Nobody waits for the rest of a pause after an event, and workers are told."""
        _stale(hand)
        hand.fail(hand.lease("k"), retry_in_s=300.0)
        position = hand.position()

        hand.touch(A)

        assert hand.entry("k").retry_at is None
        assert [record.kind for record in hand.feed(position)] == [Kind.STALE]
        assert [due.lease.attempts for due in hand.take()] == [0]

    @pytest.mark.parametrize("retry_in_s", [300.0, None])
    def test_an_event_during_a_failing_build_retries_at_once(self, hand: ByHand, retry_in_s: float | None) -> None:
        """It may have failed for what the event says is over, though it was the last try."""
        hand.build("k", 1, A)
        lease = hand.lease("k", A)
        hand.touch(A)

        hand.fail(lease, retry_in_s=retry_in_s)

        assert hand.state("k") is State.DIRTY
        assert [due.lease.attempts for due in hand.take()] == [0]

    def test_a_person_retries_what_failed(self, hand: ByHand) -> None:
        """A lease is to be had of an entry that failed, and its commit makes it fresh."""
        _stale(hand)
        hand.fail(hand.lease("k"), retry_in_s=None)

        assert hand.build("k", 2, A).state is State.FRESH

    def test_a_late_failure_changes_nothing(self, hand: ByHand, clock: FakeClock) -> None:
        """Who lost the lease cannot fail the entry either; they are answered with what is there now."""
        hand.build("k", 1, A)
        late = hand.lease("k")
        clock.advance(LEASE_S)
        hand.build("k", 2, A)
        before, position = hand.load("k"), hand.position()

        answer = hand.fail(late)

        assert answer.entry == before.entry
        assert hand.load("k") == before
        assert hand.feed(position) == []

    def test_a_kept_value_of_another_shape_does_not_stand_in(self, hand: ByHand) -> None:
        """It is kept for processes of the older code, and a miss for the newer."""
        hand.build("k", 1, A)

        answer = hand.fail(hand.lease("k", fingerprint="f2"), fingerprint="f2")

        assert answer.entry is None
        assert hand.load("k", "f1").entry is not None

    def test_a_function_that_drops_keeps_nothing(self, hand: ByHand) -> None:
        """The event dropped the last value already; a failing build after it finds nothing to keep."""
        hand.build("k", 1, A, on_change=OnChange.DROP)
        hand.touch(A)

        assert hand.fail(hand.lease("k")).entry is None

    @pytest.mark.parametrize("how", ["fail", "give up"])
    def test_what_has_ended_and_is_not_refreshed_is_stale(self, hand: ByHand, clock: FakeClock, how: str) -> None:
        """From then on, and so is who was built from it: nobody knows how it is now."""
        hand.build("k", 1, terms=Terms(expires_s=60.0))
        hand.build("out", 1, seen={"k": 1})
        clock.advance(61.0)
        lease = hand.take()[0].lease
        assert hand.state("out") is State.FRESH

        if how == "fail":
            hand.fail(lease)
        else:
            hand.store.carry_out(GiveUp(lease))

        assert (hand.state("k"), hand.entry("k").stale_since) == (State.DIRTY, clock())
        assert hand.state("out") is State.SUSPECT

    def test_a_builder_that_dies_costs_a_try(self, hand: ByHand, clock: FakeClock) -> None:
        """An entry whose builds kill their process is seen to fail."""
        hand.build("k", 1, A)
        hand.touch(A)
        hand.take()
        clock.advance(LEASE_S)

        due = hand.take()[0]

        assert due.lease.attempts == 1
        hand.commit(due.lease, 1, A)
        assert hand.entry("k").attempts == 0


def _stale(hand: ByHand) -> None:
    """An entry that was touched."""
    hand.build("k", 1, A)
    hand.touch(A)
