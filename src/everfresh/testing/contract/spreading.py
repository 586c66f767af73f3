"""Spreading: an event reaches those built from what it touches, directly or not, and no further than need be."""
# ruff: noqa: S101 - these are tests, which happen to be shipped

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest

from everfresh.model.dependency import Tag
from everfresh.model.entry import Kind, OnChange, State
from everfresh.protocol.requests import GiveUp
from everfresh.testing.by_hand import NOT_THERE, ByHand, digest_of
from everfresh.testing.contract.fixtures import StoreFixtures

A, B = Tag("a"), Tag("b")
FRESH, SUSPECT, DIRTY, BUILDING, FAILED = State.FRESH, State.SUSPECT, State.DIRTY, State.BUILDING, State.FAILED


class SpreadContract(StoreFixtures):
    """Suspect marks, how they are settled, and how drops cascade."""

    def test_whoever_was_built_from_a_touched_entry_is_suspect(self, hand: ByHand) -> None:
        """The mark stands in the same step as the event, all the way out; only what was touched is queued."""
        _chain(hand, "in", "middle", "out")

        applied = hand.touch(A)

        assert (applied.touched, set(applied.suspect)) == (("in",), {"middle", "out"})
        assert _states(hand, "in", "middle", "out") == [DIRTY, SUSPECT, SUSPECT]
        assert [due.lease.key for due in hand.take()] == ["in"]

    def test_an_equal_commit_settles_all_the_way_out(self, hand: ByHand) -> None:
        """The inner value came out equal: everybody outside is fresh again, without a rebuild."""
        names = [f"level {number}" for number in range(12)]
        _chain(hand, *names)
        versions = [hand.entry(name).version for name in names]
        hand.touch(A)

        hand.build(names[0], 1, A)

        assert _states(hand, *names) == [FRESH] * 12
        assert [hand.entry(name).version for name in names] == versions
        assert hand.take() == []

    def test_a_settled_entry_has_its_record(self, hand: ByHand) -> None:
        """Followers are told that the mark is gone, but of no change."""
        _chain(hand, "in", "out")
        hand.touch(A)
        position = hand.position()

        hand.build("in", 1, A)

        assert [(record.key, record.kind) for record in hand.feed(position)] == [
            ("in", Kind.FRESH),
            ("out", Kind.FRESH),
        ]
        assert hand.entry("out").reason == ""

    def test_a_changed_commit_touches_its_neighbours_and_shakes_the_rest(self, hand: ByHand) -> None:
        """The next one out is built again; whether that matters further out is not known yet."""
        _chain(hand, "in", "middle", "out")
        hand.touch(A)

        hand.build("in", 2, A)

        assert _states(hand, "in", "middle", "out") == [FRESH, DIRTY, SUSPECT]
        assert [due.lease.key for due in hand.take()] == ["middle"]

    def test_a_change_stops_where_it_comes_out_equal(self, hand: ByHand) -> None:
        """The middle value is the same from the new inner value: who stands on it is settled."""
        _chain(hand, "in", "middle", "out")
        hand.touch(A)
        hand.build("in", 2, A)

        hand.build("middle", 1, seen={"in": 2})

        assert _states(hand, "in", "middle", "out") == [FRESH, FRESH, FRESH]

    def test_an_entry_on_two_is_settled_by_both(self, hand: ByHand) -> None:
        """One of two unsettled entries below came out equal: not enough, in either order."""
        hand.build("left", 1, A)
        hand.build("right", 1, A)
        hand.build("out", 1, seen={"left": 1, "right": 1})
        hand.touch(A)
        assert sorted(hand.load("out").unsettled) == ["left", "right"]

        hand.build("right", 1, A)
        assert hand.state("out") is SUSPECT
        assert hand.load("out").unsettled == ("left",)

        hand.build("left", 1, A)
        assert hand.state("out") is FRESH

    def test_a_diamond_is_settled_once_its_bottom_is(self, hand: ByHand) -> None:
        """Two ways lead down to one entry; both are settled by its equal commit."""
        _diamond(hand)
        hand.touch(A)
        assert _states(hand, "in", "left", "right", "out") == [DIRTY, SUSPECT, SUSPECT, SUSPECT]

        hand.build("in", 1, A)

        assert _states(hand, "in", "left", "right", "out") == [FRESH, FRESH, FRESH, FRESH]

    def test_a_diamond_waits_for_its_slower_side(self, hand: ByHand) -> None:
        """One side was rebuilt with an equal value; the other is still dirty."""
        _diamond(hand)
        hand.touch(A)
        hand.build("in", 2, A)

        hand.build("left", 1, seen={"in": 2})
        assert _states(hand, "left", "right", "out") == [FRESH, DIRTY, SUSPECT]

        hand.build("right", 2, seen={"in": 2})
        assert _states(hand, "left", "right", "out") == [FRESH, FRESH, DIRTY]

    def test_touched_directly_and_from_below_is_dirty(self, hand: ByHand) -> None:
        """An entry that the event touches itself is built again, whatever becomes of what is below it."""
        hand.build("in", 1, A)
        hand.build("out", 1, A, seen={"in": 1})

        hand.touch(A)
        assert _states(hand, "in", "out") == [DIRTY, DIRTY]

        hand.build("in", 1, A)
        assert hand.state("out") is DIRTY

    def test_a_second_event_shakes_what_was_settled_again(self, hand: ByHand) -> None:
        """Marks come and go with each event; none is left over and none is missing."""
        _chain(hand, "in", "middle", "out")
        for _ in range(3):
            hand.touch(A)
            assert _states(hand, "in", "middle", "out") == [DIRTY, SUSPECT, SUSPECT]
            hand.build("in", 1, A)
            assert _states(hand, "in", "middle", "out") == [FRESH, FRESH, FRESH]

    def test_an_outrun_equal_commit_settles_nobody(self, hand: ByHand) -> None:
        """An event came while the inner entry was built: it is dirty still, and those outside suspect still."""
        _chain(hand, "in", "out")
        hand.touch(A)
        lease = hand.lease("in", A)
        hand.touch(A)

        hand.commit(lease, 1, A)

        assert _states(hand, "in", "out") == [DIRTY, SUSPECT]

    def test_a_forced_build_that_is_outrun_shakes(self, hand: ByHand) -> None:
        """A fresh entry that leaves its own rebuild dirty is unsettled for those outside, though its value is equal."""
        _chain(hand, "in", "middle", "out")
        lease = hand.lease("in", A)
        hand.touch(B)

        hand.commit(lease, 1, A, B)

        assert _states(hand, "in", "middle", "out") == [DIRTY, SUSPECT, SUSPECT]

    @pytest.mark.parametrize("how", ["fail", "exhaust", "give up"])
    def test_an_event_below_a_forced_build_that_gave_nothing_shakes(self, hand: ByHand, how: str) -> None:
        """It is not lost to those above, though it came after the failure."""
        _chain(hand, "in", "middle", "out")
        lease = hand.lease("middle")
        if how == "give up":
            hand.store.carry_out(GiveUp(lease))
        else:
            hand.fail(lease, retry_in_s=None if how == "exhaust" else 1.0)

        hand.touch(A)

        assert _states(hand, "middle", "out") == [SUSPECT, SUSPECT]

    def test_an_event_during_a_forced_build_shakes_at_once(self, hand: ByHand) -> None:
        """Those outside are suspect from the event on, not from the commit on."""
        _chain(hand, "in", "out")
        hand.lease("in", A)
        assert hand.state("out") is FRESH

        hand.touch(A)

        assert hand.state("out") is SUSPECT

    def test_an_entry_being_built_is_shaken_too(self, hand: ByHand) -> None:
        """Whether its build read the old or the new inner value is settled by its commit."""
        _chain(hand, "in", "out")
        lease = hand.lease("out")
        hand.touch(A)
        assert hand.entry("out").stale_since is not None

        hand.build("in", 1, A)

        assert hand.commit(lease, 1, seen={"in": 1}).entry.state is FRESH

    def test_a_failed_inner_entry_keeps_those_outside_suspect(self, hand: ByHand) -> None:
        """Nobody knows its value, so nobody knows theirs."""
        _chain(hand, "in", "out")
        hand.touch(A)

        hand.fail(hand.lease("in"), retry_in_s=None)

        assert _states(hand, "in", "out") == [FAILED, SUSPECT]

    def test_a_failed_outer_entry_is_tried_again_when_what_is_below_it_is_well(self, hand: ByHand) -> None:
        """It may have failed for that alone, though the value came out equal."""
        hand.build("in", 1, A)
        hand.build("out", 1, B, seen={"in": 1})
        hand.touch(A, B)
        hand.fail(hand.lease("in"), retry_in_s=None)
        hand.fail(hand.lease("out"), retry_in_s=None)
        hand.touch(A)

        hand.build("in", 1, A)

        assert [due.lease.key for due in hand.take()] == ["out"]

    def test_a_touched_entry_that_drops_is_gone(self, hand: ByHand) -> None:
        """It is dropped in the step of the event, with a record, and nobody builds it before somebody asks."""
        hand.build("k", 1, A, on_change=OnChange.DROP)
        position = hand.position()

        assert hand.touch(A).touched == ("k",)

        assert hand.load("k").entry is None
        assert [(record.key, record.kind) for record in hand.feed(position)] == [("k", Kind.DROPPED)]
        assert hand.take() == []

    def test_those_built_from_a_dropped_entry_are_touched(self, hand: ByHand) -> None:
        """Nobody watches over its dependencies any more: the next one out is built again, the rest is suspect."""
        hand.build("in", 1, A, on_change=OnChange.DROP)
        hand.build("middle", 1, seen={"in": 1})
        hand.build("out", 1, seen={"middle": 1})

        applied = hand.touch(A)

        assert (set(applied.touched), applied.suspect) == ({"in", "middle"}, ("out",))
        assert _states(hand, "in", "middle", "out") == [None, DIRTY, SUSPECT]

    def test_drops_cascade(self, hand: ByHand) -> None:
        """A drop drops those that drop, one after another, up to the first that refreshes."""
        _chain(hand, "in", "second", "third", on_change=OnChange.DROP)
        hand.build("out", 1, seen={"third": 1})

        applied = hand.touch(A)

        assert set(applied.touched) == {"in", "second", "third", "out"}
        assert _states(hand, "in", "second", "third", "out") == [None, None, None, DIRTY]

    def test_a_dropped_entry_that_was_built_again_is_watched_again(self, hand: ByHand) -> None:
        """The outer entry is settled by its own rebuild, from the new life of the inner one."""
        hand.build("in", 1, A, on_change=OnChange.DROP)
        hand.build("out", 1, seen={"in": 1})
        hand.touch(A)
        hand.build("in", 1, A, on_change=OnChange.DROP)

        hand.build("out", 1, seen={"in": 1})

        assert _states(hand, "in", "out") == [FRESH, FRESH]
        assert set(hand.touch(A).touched) == {"in", "out"}

    def test_two_that_looked_at_each_other_may_both_go(self, hand: ByHand) -> None:
        """A commit drops who did without it, and with that one itself: its builder is answered all the same."""
        drops = OnChange.DROP
        hand.build("one", 1, seen={"other": NOT_THERE}, on_change=drops)

        assert hand.build("other", 1, seen={"one": 1}, on_change=drops).digest == digest_of(1)

        assert _states(hand, "one", "other") == [None, None]

    def test_a_build_of_a_dropped_entry_is_overtaken(self, hand: ByHand) -> None:
        """An entry dropped while it is rebuilt stays dropped, and its lease is gone with it."""
        hand.build("k", 1, A, on_change=OnChange.DROP)
        hand.lease("k", A)
        hand.touch(A)

        assert not hand.load("k").is_leased
        assert hand.build("k", 2, A).state is FRESH

    def test_who_found_no_value_is_not_unsettled_by_a_build_that_fails(self, hand: ByHand) -> None:
        """There was none before and there is none now; the first value that comes touches them."""
        hand.enqueue("in")
        lease = hand.take()[0].lease
        hand.build("out", 1, seen={"in": NOT_THERE})

        hand.fail(lease, retry_in_s=0.0)

        assert hand.state("out") is State.FRESH
        hand.commit(hand.take()[0].lease, 1)
        assert hand.state("out") is State.DIRTY


def _chain(hand: ByHand, *names: str, on_change: OnChange = OnChange.REFRESH) -> None:
    """Entries with the value 1, each built from the one before; the first depends on A."""
    hand.build(names[0], 1, A, on_change=on_change)
    for inner, outer in pairwise(names):
        hand.build(outer, 1, seen={inner: 1}, on_change=on_change)


def _diamond(hand: ByHand) -> None:
    hand.build("in", 1, A)
    hand.build("left", 1, seen={"in": 1})
    hand.build("right", 1, seen={"in": 1})
    hand.build("out", 1, seen={"left": 1, "right": 1})


def _states(hand: ByHand, *names: str) -> Sequence[State | None]:
    return [hand.state(name) for name in names]
