"""Leases: one builder at a time, and one that lost its lease changes nothing."""
# ruff: noqa: S101 - these are tests, which happen to be shipped

from __future__ import annotations

import msgspec
import pytest

from everfresh.model.dependency import Tag
from everfresh.model.entry import Kind, Lease, State
from everfresh.protocol.requests import Begin, Busy, Extend, GiveUp, NotNeeded, Overtaken
from everfresh.testing.by_hand import LEASE_S, ByHand, begin_of, commit_of
from everfresh.testing.clock import FakeClock
from everfresh.testing.contract.fixtures import StoreFixtures

A, B = Tag("a"), Tag("b")


class LeaseContract(StoreFixtures):
    """Begin, Extend, GiveUp, and what they refuse."""

    def test_an_outrun_value_is_stale_since_its_build_began(self, hand: ByHand, clock: FakeClock) -> None:
        """The event came during the build: bounds count from there at the latest, however long the build took."""
        hand.build("k", 1, A)
        hand.touch(A)
        clock.advance(3.0)
        lease = hand.lease("k")
        begun_at = clock()
        hand.touch(A)
        clock.advance(6.0)

        entry = hand.commit(lease, 2, A).entry

        assert (entry.state, entry.stale_since) == (State.DIRTY, begun_at)

    def test_an_outrun_value_is_as_old_as_what_it_was_built_from(self, hand: ByHand, clock: FakeClock) -> None:
        """Its bounds count from there, and do not begin anew with each build that an event outruns."""
        hand.build("in", 1, A)
        hand.touch(A)
        stale_since = clock()
        clock.advance(3.0)
        for _ in range(2):
            lease = hand.lease("out", B)
            hand.touch(B)
            clock.advance(3.0)

            entry = hand.commit(lease, 2, B, seen={"in": 1}).entry

            assert (entry.state, entry.stale_since) == (State.DIRTY, stale_since)

    def test_builders_that_die_one_after_the_other_are_counted(self, hand: ByHand, clock: FakeClock) -> None:
        """Apart from builds that failed: these two mean different things. Whoever ends a build well is none of them."""
        hand.build("k", 1, A)
        hand.touch(A)
        for n_died in range(3):
            lease = hand.lease("k")
            assert (lease.n_died, lease.attempts) == (n_died, n_died)
            clock.advance(LEASE_S)
        lease = hand.lease("k")

        hand.fail(lease)

        assert hand.entry("k").attempts == 4  # noqa: PLR2004 - three died, and one failed
        assert hand.lease("k").n_died == 0
        clock.advance(LEASE_S)
        hand.touch(A)
        assert hand.lease("k").n_died == 1

    def test_an_event_is_known_to_the_second_when_it_touched(self, hand: ByHand, clock: FakeClock) -> None:
        """The entry was fresh when somebody wanted it built, so the first event tells since when it is stale."""
        hand.build("k", 1, A)
        lease = hand.lease("k")
        clock.advance(3.0)
        hand.touch(A)
        touched_at = clock()
        clock.advance(6.0)

        assert hand.commit(lease, 2, A).entry.stale_since == touched_at

    def test_what_was_built_from_something_stale_is_stale_as_long(self, hand: ByHand, clock: FakeClock) -> None:
        """Its bounds count from there, too."""
        hand.build("in", 1, A)
        hand.touch(A)
        stale_since = clock()
        clock.advance(3.0)
        lease = hand.lease("out")
        clock.advance(3.0)

        entry = hand.commit(lease, 2, seen={"in": 1}).entry

        assert (entry.state, entry.stale_since) == (State.SUSPECT, stale_since)

    def test_nothing_is_there_at_first(self, hand: ByHand) -> None:
        """An entry that nobody built is not there, and nobody holds it."""
        loaded = hand.load("k")

        assert loaded.entry is None
        assert not loaded.is_leased

    def test_a_first_build_is_not_an_entry_yet(self, hand: ByHand) -> None:
        """Until the first commit there is nothing to serve, only a lease."""
        hand.lease("k")

        assert hand.load("k").entry is None
        assert hand.load("k").is_leased

    def test_a_lease_is_held_by_one(self, hand: ByHand, clock: FakeClock) -> None:
        """Whoever comes second is told until when somebody else holds it."""
        lease = hand.lease("k")

        answer = hand.store.carry_out(begin_of("k"))

        assert answer == Busy(clock(), lease.until)

    def test_leases_of_two_entries_are_apart(self, hand: ByHand) -> None:
        """A lease is an entry's, and its token is nobody else's."""
        assert hand.lease("k").token != hand.lease("other").token

    def test_a_dead_builders_lease_is_taken_over(self, hand: ByHand, clock: FakeClock) -> None:
        """A lease that nobody renews runs out; the next builder has another token, and one try is counted."""
        dead = hand.lease("k")
        clock.advance(LEASE_S)

        lease = hand.lease("k")

        assert lease.token != dead.token
        assert lease.attempts == 1

    def test_a_lease_holds_to_its_last_moment(self, hand: ByHand, clock: FakeClock) -> None:
        """Just before its end a lease still keeps others out, and its commit is taken."""
        lease = hand.lease("k")
        clock.advance(LEASE_S - 0.001)

        assert isinstance(hand.store.carry_out(begin_of("k")), Busy)
        assert hand.commit(lease, 1).entry.state is State.FRESH

    def test_a_commit_after_the_lease_changes_nothing(self, hand: ByHand, clock: FakeClock) -> None:
        """A build that took too long changes nothing, though nobody else took over."""
        hand.build("k", "old", A)
        late = hand.lease("k")
        clock.advance(LEASE_S)
        before, position = hand.load("k"), hand.position()

        answer = hand.store.carry_out(commit_of(late, "late", A))

        assert isinstance(answer, Overtaken)
        assert hand.load("k") == before
        assert hand.feed(position) == []

    def test_a_first_commit_after_the_lease_leaves_nothing(self, hand: ByHand, clock: FakeClock) -> None:
        """The same for the first build of an entry."""
        late = hand.lease("k")
        clock.advance(LEASE_S)

        assert isinstance(hand.store.carry_out(commit_of(late, "late", A)), Overtaken)
        assert hand.load("k").entry is None

    def test_a_commit_with_an_old_token_changes_nothing(self, hand: ByHand, clock: FakeClock) -> None:
        """Once somebody took over, the one before is fenced off for good, before and after the new commit."""
        late = hand.lease("k")
        clock.advance(LEASE_S)
        lease = hand.lease("k")

        assert isinstance(hand.store.carry_out(commit_of(late, "late", A)), Overtaken)
        hand.commit(lease, "good", A)
        assert isinstance(hand.store.carry_out(commit_of(late, "late", A)), Overtaken)
        assert hand.value("k") == "good"

    def test_a_commit_is_taken_once(self, hand: ByHand) -> None:
        """The commit ends the lease, so that the same one again changes nothing."""
        lease = hand.lease("k")
        hand.commit(lease, "first", A)

        assert isinstance(hand.store.carry_out(commit_of(lease, "second", A)), Overtaken)
        assert hand.value("k") == "first"

    @pytest.mark.parametrize("token", [0, -1, 10**9])
    def test_a_foreign_token_changes_nothing(self, hand: ByHand, token: int) -> None:
        """Commit, Fail, GiveUp and Extend with a token that the store never gave do nothing."""
        lease = hand.lease("k")
        foreign = msgspec.structs.replace(lease, token=token)
        before = hand.load("k")

        assert isinstance(hand.store.carry_out(commit_of(foreign, 1, A)), Overtaken)
        hand.fail(foreign)
        hand.store.carry_out(GiveUp(foreign))
        assert not hand.store.carry_out(Extend((foreign,), 100.0))
        assert hand.load("k") == before
        hand.commit(lease, 1)

    def test_a_token_does_not_open_another_entry(self, hand: ByHand) -> None:
        """A token is worth nothing with another key, and nothing with a key that is not there."""
        lease = hand.lease("k")
        hand.lease("other")

        for key in ("other", "nowhere"):
            elsewhere = msgspec.structs.replace(lease, key=key)
            assert isinstance(hand.store.carry_out(commit_of(elsewhere, 1)), Overtaken)
            assert hand.load(key).entry is None

    def test_a_lease_of_another_life_changes_nothing(self, hand: ByHand) -> None:
        """A store that lost its memory does not know the leases that it gave before, even if tokens are alike."""
        lease = hand.lease("k")
        begun = msgspec.structs.replace(lease.begun, epoch="another")

        answer = hand.store.carry_out(commit_of(msgspec.structs.replace(lease, begun=begun), 1))

        assert isinstance(answer, Overtaken)
        assert hand.load("k").entry is None

    def test_extend_renews(self, hand: ByHand, clock: FakeClock) -> None:
        """An extended lease holds for as long as was asked, from now on."""
        lease = hand.lease("k")
        clock.advance(LEASE_S - 1)

        assert hand.store.carry_out(Extend((lease,), 5.0))

        clock.advance(4.9)
        assert isinstance(hand.store.carry_out(begin_of("k")), Busy)
        hand.commit(lease, 1)

    def test_extend_does_not_wake_the_dead(self, hand: ByHand, clock: FakeClock) -> None:
        """A lease that ran out stays lost, whoever asks to renew it; the others in the same request are renewed."""
        dead = hand.lease("dead")
        clock.advance(LEASE_S)
        live = hand.lease("live")

        assert not hand.store.carry_out(Extend((dead, live), 100.0))

        assert isinstance(hand.store.carry_out(commit_of(dead, 1)), Overtaken)
        clock.advance(99.0)
        hand.commit(live, 1)

    def test_giving_up_a_first_build_leaves_nothing(self, hand: ByHand) -> None:
        """A cancelled first build is as if it had never begun; whoever waits for it is told."""
        position = hand.position()
        lease = hand.lease("k")

        hand.store.carry_out(GiveUp(lease))

        assert not hand.load("k").is_leased
        assert [record.kind for record in hand.feed(position)] == [Kind.DROPPED]
        hand.build("k", 1)

    def test_giving_up_a_refresh_queues_it(self, hand: ByHand, clock: FakeClock) -> None:
        """A cancelled refresh keeps the last value and is somebody else's work at once, without a try counted."""
        hand.build("k", 1, A)
        hand.touch(A)
        since = clock()
        lease = hand.lease("k")
        clock.advance(1.0)
        position = hand.position()

        hand.store.carry_out(GiveUp(lease))

        assert [record.kind for record in hand.feed(position)] == [Kind.STALE]
        assert (hand.state("k"), hand.entry("k").stale_since) == (State.DIRTY, since)
        assert hand.value("k") == 1
        assert [due.lease.attempts for due in hand.take()] == [0]

    def test_giving_up_a_build_of_what_is_fresh_leaves_it_fresh(self, hand: ByHand) -> None:
        """Nothing is known against it; whoever waits is told that the build ended."""
        hand.build("k", 1, A)
        position = hand.position()

        hand.store.carry_out(GiveUp(hand.lease("k")))

        assert [record.kind for record in hand.feed(position)] == [Kind.FRESH]

        assert hand.state("k") is State.FRESH
        assert not hand.load("k").is_leased
        assert hand.take() == []

    def test_a_settled_entry_needs_no_build(self, hand: ByHand) -> None:
        """Who needs something that is good now gets no lease for what is fresh."""
        hand.build("k", 1, A)

        assert hand.store.carry_out(begin_of("k", good_from=hand.position().sequence)) == NotNeeded()

    def test_an_entry_that_is_good_enough_needs_no_build(self, hand: ByHand) -> None:
        """Who came before the event is content with a value that was built after they came."""
        came = hand.position().sequence
        hand.build("k", 1, A)
        hand.touch(A)

        assert hand.store.carry_out(begin_of("k", good_from=came)) == NotNeeded()
        assert isinstance(hand.store.carry_out(begin_of("k", good_from=hand.position().sequence)), Lease)

    def test_a_forced_build_begins_whatever_the_state(self, hand: ByHand) -> None:
        """Without a position a fresh entry is built too, and is served meanwhile."""
        hand.build("k", 1, A)

        assert isinstance(hand.store.carry_out(begin_of("k", good_from=None)), Lease)
        assert hand.entry("k").state is State.BUILDING
        assert hand.entry("k").stale_since is None

    def test_another_fingerprint_is_a_miss(self, hand: ByHand) -> None:
        """A value that was built by other code is not there for this code, which may build its own at once."""
        hand.build("k", 1, A)

        assert hand.load("k", "f2").entry is None
        assert hand.load("k", "f1").entry is not None
        request: Begin = begin_of("k", fingerprint="f2", good_from=hand.position().sequence)
        assert isinstance(hand.store.carry_out(request), Lease)

    def test_a_new_fingerprint_is_a_change(self, hand: ByHand) -> None:
        """The same bytes under another fingerprint are another value: it gets a version of its own."""
        old = hand.build("k", 1, A)
        lease = hand.lease("k", fingerprint="f2")

        answer = hand.store.carry_out(commit_of(lease, 1, A, fingerprint="f2"))

        assert not isinstance(answer, Overtaken)
        assert answer.entry.version > old.version
        assert hand.load("k", "f1").entry is None

    def test_a_new_recipe_takes_the_place_of_the_old(self, hand: ByHand) -> None:
        """The function was renamed, or its arguments are written another way: workers build it by the new one."""
        hand.build("k", 1, A, function="old")
        hand.build("k", 1, A, function="new")
        hand.touch(A)

        assert hand.entry("k").function == "new"
        assert hand.take(function="old") == []
        assert [due.recipe.function for due in hand.take(function="new")] == ["new"]
