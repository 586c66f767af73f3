"""Timing: when an entry falls due, in which order, and when nobody wants its refresh any more."""
# ruff: noqa: S101 - these are tests, which happen to be shipped

from __future__ import annotations

import pytest

from everfresh.model.dependency import Tag
from everfresh.model.entry import Kind, OnChange, Terms
from everfresh.protocol.requests import GiveUp, Limit
from everfresh.protocol.scheduling import HEAD_START_S, RECENT_S
from everfresh.testing.by_hand import LEASE_S, ByHand
from everfresh.testing.clock import FakeClock
from everfresh.testing.contract.fixtures import StoreFixtures

A, B = Tag("a"), Tag("b")
MOMENT_S = 0.001


class TimingContract(StoreFixtures):
    """The terms of a function, as far as the queue keeps them."""

    # ---------------------------------------------------------------------------------------------------- debounce

    def test_a_debounced_entry_waits_for_quiet(self, hand: ByHand, clock: FakeClock) -> None:
        """Each further event puts the refresh off."""
        hand.build("k", 1, A, terms=Terms(debounce_s=5.0))
        hand.touch(A)
        clock.advance(3.0)
        hand.touch(A)

        clock.advance(5.0 - MOMENT_S)
        took = hand.took()
        assert took.due == ()
        assert took.next_due == pytest.approx(clock() + MOMENT_S)
        clock.advance(MOMENT_S)
        assert len(hand.take()) == 1

    def test_a_debounced_entry_waits_no_longer_than_it_may(self, hand: ByHand, clock: FakeClock) -> None:
        """Events that never end do not keep it stale for ever; the time counts from the first."""
        hand.build("k", 1, A, terms=Terms(debounce_s=5.0, max_wait_s=7.0))
        hand.touch(A)
        clock.advance(4.0)
        hand.touch(A)

        assert hand.took().next_due == clock() + 3.0

        clock.advance(3.0)
        hand.touch(A)
        assert len(hand.take()) == 1

    def test_a_new_wait_begins_once_the_events_are_answered(self, hand: ByHand, clock: FakeClock) -> None:
        """The first event after a build is the first of its own job."""
        terms = Terms(debounce_s=5.0, max_wait_s=7.0)
        hand.build("k", 1, A, terms=terms)
        hand.touch(A)
        clock.advance(5.0)
        hand.commit(hand.take()[0].lease, 1, A, terms=terms)
        clock.advance(100.0)

        hand.touch(A)

        assert hand.took().next_due == clock() + 5.0

    def test_an_event_during_a_build_is_debounced_too(self, hand: ByHand, clock: FakeClock) -> None:
        """The wait counts from the commit, and its limit from the event."""
        terms = Terms(debounce_s=5.0, max_wait_s=7.0)
        lease = hand.lease("k", A)
        hand.commit(lease, 1, A, terms=terms)
        lease = hand.lease("k", A)
        hand.touch(A)
        clock.advance(4.0)

        hand.commit(lease, 1, A, terms=terms)

        assert hand.took().next_due == clock() + 3.0

    def test_a_change_below_that_a_build_saw_begins_no_job(self, hand: ByHand, clock: FakeClock) -> None:
        """The build answers it, so nothing is left over for the next event's wait."""
        terms = Terms(debounce_s=5.0, max_wait_s=7.0, job_expires_s=60.0)
        hand.build("in", 1, A)
        hand.build("out", 1, B, seen={"in": 1}, terms=terms)
        lease = hand.lease("out")
        hand.build("in", 2, A)
        hand.commit(lease, 2, B, seen={"in": 2}, terms=terms)
        clock.advance(1_000.0)

        hand.touch(B)

        took = hand.took()
        assert (took.due, took.expired, took.next_due) == ((), (), clock() + 5.0)

    # ------------------------------------------------------------------------------------------------------- order

    def test_what_was_outrun_keeps_its_place(self, hand: ByHand, clock: FakeClock) -> None:
        """It is due since the event, not since the commit: what is touched again and again is not always last."""
        hand.build("outrun", 1, A)
        hand.build("later", 1, B)
        lease = hand.lease("outrun", A)
        hand.touch(A)
        clock.advance(1.0)
        hand.touch(B)
        clock.advance(1.0)
        hand.commit(lease, 2, A)

        assert [due.lease.key for due in hand.take(1)] == ["outrun"]

    def test_a_priority_is_a_head_start(self, hand: ByHand, clock: FakeClock) -> None:
        """Each level of it."""
        self._two(hand, Terms(priority=2))
        hand.touch(A)
        clock.advance(2 * HEAD_START_S - 1.0)
        hand.touch(B)

        assert [due.lease.key for due in hand.take(1)] == ["second"]

    def test_a_low_priority_is_not_starved(self, hand: ByHand, clock: FakeClock) -> None:
        """Whoever waited for longer than the head start comes first."""
        self._two(hand, Terms(priority=2))
        hand.touch(A)
        clock.advance(2 * HEAD_START_S + 1.0)
        hand.touch(B)

        assert [due.lease.key for due in hand.take(1)] == ["first"]

    def test_watched_entries_come_first(self, hand: ByHand, clock: FakeClock) -> None:
        """Before those read lately, and those before the others."""
        for key in ("other", "read", "watched"):
            hand.build(key, 1, A)
        clock.advance(RECENT_S + 1.0)
        hand.note(reads={"read": clock()}, watched={"watched": clock() + 100.0})

        hand.touch(A)

        assert [due.lease.key for due in hand.take(3)] == ["watched", "read", "other"]

    def test_what_nobody_watches_any_more_comes_with_the_others(self, hand: ByHand, clock: FakeClock) -> None:
        """Watching ends by itself, and so does having been read lately."""
        for key in ("a", "z"):
            hand.build(key, 1, Tag(key))
        hand.note(watched={"z": clock() + 10.0})
        clock.advance(RECENT_S + 1.0)

        hand.touch(Tag("a"))
        clock.advance(1.0)
        hand.touch(Tag("z"))

        assert [due.lease.key for due in hand.take(1)] == ["a"]

    def test_an_entry_that_waits_moves_up_when_it_is_watched(self, hand: ByHand, clock: FakeClock) -> None:
        """Somebody opened the page after the event."""
        hand.build("a", 1, A)
        hand.build("z", 1, A)
        hand.touch(A)
        clock.advance(1.0)

        hand.note(watched={"z": clock() + 100.0})

        assert [due.lease.key for due in hand.take(1)] == ["z"]

    # ------------------------------------------------------------------------------------------------ job's expiry

    def test_a_job_that_nobody_began_is_given_up(self, hand: ByHand, clock: FakeClock) -> None:
        """The entry is dropped, its worker and its followers are told, and who was built from it is touched."""
        hand.build("k", 1, A, terms=Terms(job_expires_s=60.0))
        hand.build("out", 1, seen={"k": 1})
        hand.touch(A)
        position = hand.position()
        clock.advance(60.0 + MOMENT_S)

        took = hand.took()

        assert (took.due, took.expired, took.cold) == ((), ("k",), ())
        assert hand.load("k").entry is None
        assert ("k", Kind.DROPPED) in [(record.key, record.kind) for record in hand.feed(position)]
        assert [due.lease.key for due in hand.take()] == ["out"]

    def test_a_job_is_wanted_to_its_last_moment(self, hand: ByHand, clock: FakeClock) -> None:
        """And whoever has it may take as long as a lease allows."""
        hand.build("k", 1, A, terms=Terms(job_expires_s=60.0))
        hand.touch(A)
        clock.advance(60.0)

        took = hand.took()

        assert (len(took.due), took.expired) == (1, ())

    def test_a_job_waits_from_when_it_is_due(self, hand: ByHand, clock: FakeClock) -> None:
        """A debounce is no waiting for a worker."""
        hand.build("k", 1, A, terms=Terms(debounce_s=100.0, job_expires_s=60.0))
        hand.touch(A)
        clock.advance(150.0)

        assert len(hand.take()) == 1

    @pytest.mark.parametrize("how", ["fail", "give up"])
    def test_a_job_that_nobody_begins_again_is_given_up(self, hand: ByHand, clock: FakeClock, how: str) -> None:
        """It was begun once, and waits since it is due again."""
        hand.build("k", 1, A, terms=Terms(job_expires_s=60.0))
        hand.touch(A)
        lease = hand.take()[0].lease
        if how == "fail":
            hand.fail(lease, retry_in_s=5.0)
            clock.advance(5.0)
        else:
            hand.store.carry_out(GiveUp(lease))
        clock.advance(60.0 + MOMENT_S)

        assert hand.took().expired == ("k",)

    def test_a_job_without_an_end_waits_for_ever(self, hand: ByHand, clock: FakeClock) -> None:
        """Nobody said that it might be given up."""
        hand.build("k", 1, A)
        hand.touch(A)
        clock.advance(1e7)

        assert len(hand.take()) == 1

    # -------------------------------------------------------------------------------------------------- keep warm

    def test_what_nobody_reads_is_dropped_instead_of_refreshed(self, hand: ByHand, clock: FakeClock) -> None:
        """Cold data costs nothing; the worker and the followers are told."""
        hand.build("k", 1, A, terms=Terms(keep_warm_s=100.0))
        hand.build("out", 1, seen={"k": 1})
        clock.advance(100.0 + MOMENT_S)
        hand.touch(A)
        position = hand.position()

        took = hand.took()

        assert (took.due, took.expired, took.cold) == ((), (), ("k",))
        assert hand.load("k").entry is None
        assert ("k", Kind.DROPPED) in [(record.key, record.kind) for record in hand.feed(position)]
        assert [due.lease.key for due in hand.take()] == ["out"]

    def test_an_entry_is_warm_to_its_last_moment(self, hand: ByHand, clock: FakeClock) -> None:
        """Counted from the last read; the first build is one."""
        hand.build("k", 1, A, terms=Terms(keep_warm_s=100.0))
        clock.advance(100.0)
        hand.touch(A)

        assert hand.took().cold == ()

    def test_a_read_keeps_an_entry_warm(self, hand: ByHand, clock: FakeClock) -> None:
        """From when it was read."""
        hand.build("k", 1, A, terms=Terms(keep_warm_s=100.0))
        clock.advance(90.0)
        hand.note(reads={"k": clock() - 10.0})
        clock.advance(90.0)
        hand.touch(A)

        assert [due.lease.key for due in hand.take()] == ["k"]

    def test_whoever_watches_keeps_an_entry_warm(self, hand: ByHand, clock: FakeClock) -> None:
        """As long as they do."""
        hand.build("k", 1, A, terms=Terms(keep_warm_s=100.0))
        hand.note(watched={"k": clock() + 500.0})
        clock.advance(499.0)
        hand.touch(A)

        assert [due.lease.key for due in hand.take()] == ["k"]

    def test_a_refresh_is_no_read(self, hand: ByHand, clock: FakeClock) -> None:
        """Workers do not keep warm what they alone look at."""
        terms = Terms(keep_warm_s=100.0)
        hand.build("k", 1, A, terms=terms)
        clock.advance(60.0)
        hand.touch(A)
        hand.commit(hand.take()[0].lease, 1, A, terms=terms)
        clock.advance(60.0)
        hand.touch(A)

        assert hand.took().cold == ("k",)

    def test_dropping_what_is_due_leaves_the_rest_due(self, hand: ByHand, clock: FakeClock) -> None:
        """A worker that asked for one, and got none as it was cold, is told to ask again at once."""
        hand.build("cold", 1, A, terms=Terms(keep_warm_s=10.0))
        hand.build("warm", 1, B)
        hand.touch(A)
        clock.advance(11.0)
        hand.touch(B)

        took = hand.took(1)

        assert (took.due, took.cold, took.next_due) == ((), ("cold",), clock())
        assert [due.lease.key for due in hand.take(1)] == ["warm"]

    def test_what_was_dropped_leaves_its_place_in_a_limit(self, hand: ByHand, clock: FakeClock) -> None:
        """A limit of one was spent on a cold entry: the worker is told to ask again at once."""
        hand.build("cold", 1, A, terms=Terms(keep_warm_s=10.0))
        hand.build("warm", 1, B)
        hand.touch(A)
        clock.advance(11.0)
        hand.touch(B)

        took = hand.took(limit=Limit(n_at_once=1))

        assert (took.due, took.cold, took.next_due) == ((), ("cold",), clock())

    def test_what_went_with_a_cold_entry_is_not_taken(self, hand: ByHand, clock: FakeClock) -> None:
        """Its builder died, so that it was due too; it drops with what it was built from."""
        hand.build("in", 1, A, terms=Terms(keep_warm_s=5.0))
        hand.build("out", 1, seen={"in": 1}, on_change=OnChange.DROP)
        hand.touch(A)
        hand.lease("out")
        clock.advance(LEASE_S)

        took = hand.took()

        assert (took.due, took.cold) == ((), ("in",))
        assert hand.load("out").entry is None

    def _two(self, hand: ByHand, terms: Terms) -> None:
        """One that A touches, and one of other terms that B touches."""
        hand.build("first", 1, A)
        hand.build("second", 1, B, terms=terms)
