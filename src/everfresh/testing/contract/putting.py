"""Putting: values without a recipe, fenced against what changed while they were computed, gone when their time is."""
# ruff: noqa: S101 - these are tests, which happen to be shipped

from __future__ import annotations

import pytest

from everfresh.model.dependency import Call, Dependency, Id, Tag
from everfresh.model.entry import PLAIN_TERMS, Key, Kind, State, Terms
from everfresh.model.event import Event
from everfresh.model.position import Position
from everfresh.protocol.inspecting import ListEntries
from everfresh.protocol.publishing import invalidate, publish
from everfresh.protocol.requests import Delete, Overtaken
from everfresh.testing.by_hand import FINGERPRINT, ByHand, commit_of, put_of
from everfresh.testing.clock import FakeClock
from everfresh.testing.contract.fixtures import StoreFixtures

A, B = Tag("a"), Tag("b")


class PutContract(StoreFixtures):
    """Put and Delete."""

    def test_a_put_value_is_there(self, hand: ByHand) -> None:
        """It has no function, and is fresh."""
        assert hand.put("k", "value", A)

        entry = hand.entry("k")
        assert (hand.value("k"), entry.state, entry.function, entry.version) == ("value", State.FRESH, "", 1)
        assert hand.load("k").recipe is None

    def test_a_put_value_is_replaced(self, hand: ByHand) -> None:
        """The last put stands, with its own dependencies."""
        hand.put("k", 1, A)
        hand.put("k", 2, B)

        assert (hand.value("k"), hand.entry("k").version) == (2, 2)
        assert hand.touch(A).touched == ()

    def test_a_touched_put_value_is_gone(self, hand: ByHand) -> None:
        """Nobody could build it anew."""
        hand.put("k", 1, A)
        position = hand.position()

        assert hand.touch(A).touched == ("k",)

        assert hand.load("k").entry is None
        assert [record.kind for record in hand.feed(position)] == [Kind.DROPPED]
        assert hand.take() == []

    def test_a_put_without_a_fence_stands(self, hand: ByHand) -> None:
        """Who names no position vouches for the value."""
        hand.touch(A)

        assert hand.put("k", 1, A)

    def test_a_put_after_an_undisturbed_miss_stands(self, hand: ByHand) -> None:
        """Nothing that it depends on happened since the miss."""
        hand.touch(A)
        fence = hand.position()
        hand.touch(B)

        assert hand.put("k", 1, A, fence=fence)

    def test_a_put_that_an_event_outran_is_refused(self, hand: ByHand) -> None:
        """The value may have been computed before the event; then nothing is there, not even what was."""
        hand.put("k", "old", B)
        fence = hand.position()
        hand.touch(A)

        assert not hand.put("k", "computed before", A, fence=fence)

        assert hand.load("k").entry is None

    def test_a_put_to_come_shows_the_events_that_it_is_told_with(self, hand: ByHand) -> None:
        """In one transaction they are said first; nobody else's event is between, so it stands from them on."""
        request = put_of("k", "new", A, fence=hand.position())

        applied = hand.run(invalidate([A], hand.shapes, puts=(request,))).applied

        assert applied.outrun == frozenset()
        assert hand.load("k").entry is None
        assert hand.put("k", "new", A, fence=applied.position)
        assert hand.state("k") is State.FRESH

    @pytest.mark.parametrize("dependency", [A, Id("article", 1)], ids=["touched", "shape"])
    def test_a_put_to_come_that_others_outran_is_told(self, hand: ByHand, dependency: Dependency) -> None:
        """An earlier event touched it, or nobody knows what events its shape had; the others stand."""
        fence = hand.position()
        hand.touch(A)
        puts = (put_of("b", 1, B, fence=fence), put_of("k", 1, dependency, fence=fence))

        applied = hand.run(publish([Event("news")], hand.shapes, puts=puts)).applied

        assert applied.outrun == frozenset({1})

    def test_a_refused_put_leaves_what_was_put_after_its_miss(self, hand: ByHand) -> None:
        """Another has loaded the new value meanwhile, and that stands by its own dependencies."""
        fence = hand.position()
        hand.touch(A)
        assert hand.put("k", "new", A, fence=hand.position())

        hand.touch(B)
        assert hand.put("k", "newer", A)
        assert not hand.put("k", "old", A, fence=fence)

        assert hand.value("k") == "newer"
        hand.touch(A)
        assert hand.load("k").entry is None

    @pytest.mark.parametrize("is_there", [False, True], ids=["absent", "there"])
    def test_a_put_whose_key_was_deleted_since_is_refused(self, hand: ByHand, is_there: bool) -> None:  # noqa: FBT001
        """Whoever deleted it knew of something newer than what was loaded before, also where nothing was there."""
        before = hand.position()
        if is_there:
            hand.put("k", "old", A)
        hand.delete("k")

        assert not hand.put("k", "old", A, fence=before)
        assert hand.load("k").entry is None
        assert hand.put("k", "new", A, fence=hand.position())

    def test_a_delete_is_of_its_key_alone(self, hand: ByHand) -> None:
        """Another key's put stands, and what was put after the delete is not taken away by a refused one."""
        before = hand.position()
        hand.delete("k")

        assert hand.put("other", 1, A, fence=before)
        assert hand.put("k", "new", A)
        assert not hand.put("k", "old", A, fence=before)
        assert hand.value("k") == "new"

    def test_a_delete_of_nothing_is_of_no_key(self, hand: ByHand) -> None:
        """No put of anything is refused for it."""
        before = hand.position()

        assert hand.delete() == 0
        assert hand.put("k", 1, A, fence=before)

    def test_a_delete_that_outruns_nothing_only_removes(self, hand: ByHand) -> None:
        """So that who deletes in order to put does not refuse its own."""
        hand.put("k", "old", A)
        before = hand.position()

        assert hand.store.carry_out(Delete((Key("k"),), outruns=False)) == 1
        assert hand.load("k").entry is None
        assert hand.put("k", "new", A, fence=before)

    def test_a_put_with_a_fence_of_another_life_is_refused(self, hand: ByHand) -> None:
        """Its numbers say nothing here, however high they are."""
        assert not hand.put("k", "computed before", A, fence=Position("another life", 1_000_000))
        assert hand.load("k").entry is None

    def test_a_put_with_a_shape_younger_than_the_fence_is_refused(self, hand: ByHand) -> None:
        """The event came before anybody knew the shape."""
        fence = hand.position()
        hand.publish(Event.change("article", after={"id": 1}))

        assert not hand.put("k", 1, Id("article", 1), fence=fence)
        assert hand.put("k", 1, Id("article", 1), fence=hand.position())

    def test_a_put_built_from_an_entry_that_changed_is_refused(self, hand: ByHand) -> None:
        """It was computed from the value before."""
        hand.build("in", 1, A)
        fence = hand.position()
        hand.build("in", 2, A)

        assert not hand.put("k", "from 1", Call("in"), fence=fence)
        assert hand.put("k", "from 2", Call("in"), fence=hand.position())

    def test_a_put_built_from_an_unsettled_entry_is_refused(self, hand: ByHand) -> None:
        """Nobody knows whether it is up to date."""
        hand.build("in", 1, A)
        hand.touch(A)

        assert not hand.put("k", 1, Call("in"))

    def test_a_put_built_from_an_entry_that_is_gone_is_refused(self, hand: ByHand) -> None:
        """Nobody watches over its dependencies; a first build under way is not there yet."""
        hand.lease("building")

        assert not hand.put("k", 1, Call("nowhere"))
        assert not hand.put("k", 1, Call("building"))

    def test_a_put_value_is_shaken_and_settled(self, hand: ByHand) -> None:
        """By all the entries that it was computed from, like any other."""
        hand.build("left", 1, A)
        hand.build("right", 1, B)
        hand.put("k", 1, Call("left"), Call("right"))

        hand.touch(A, B)
        assert hand.state("k") is not State.FRESH
        hand.build("left", 1, A)
        assert hand.state("k") is not State.FRESH
        hand.build("right", 1, B)
        assert hand.state("k") is State.FRESH

    def test_a_put_value_goes_with_what_it_was_built_from(self, hand: ByHand) -> None:
        """The inner value is another one by now."""
        hand.build("in", 1, A)
        hand.put("k", 1, Call("in"))

        hand.build("in", 2, A)

        assert hand.load("k").entry is None

    def test_a_changed_put_value_touches_those_built_from_it(self, hand: ByHand) -> None:
        """An equal one does not."""
        hand.put("in", 1)
        hand.build("out", 1, seen={"in": 1})

        hand.put("in", 1)
        assert hand.state("out") is State.FRESH
        hand.put("in", 2)
        assert hand.state("out") is State.DIRTY

    def test_a_put_value_is_gone_when_its_time_is(self, hand: ByHand, clock: FakeClock) -> None:
        """To the second, and not before; there is nobody to build it anew."""
        hand.put("k", 1, expires_s=60.0)
        assert hand.entry("k").expires_at == clock() + 60.0

        clock.advance(59.9)
        assert hand.load("k").entry is not None
        clock.advance(0.1)
        assert hand.load("k").entry is None

    def test_an_expired_value_may_be_put_again(self, hand: ByHand, clock: FakeClock) -> None:
        """With or without an end, and with a newer version for another value."""
        hand.put("k", 1, expires_s=60.0)
        clock.advance(60.0)

        hand.put("k", 2)
        clock.advance(1_000.0)

        assert (hand.value("k"), hand.entry("k").version) == (2, 2)
        assert hand.entry("k").expires_at is None

    def test_expired_values_are_cleared_away_by_later_puts(self, hand: ByHand, clock: FakeClock) -> None:
        """Nobody else comes by; and they get fewer even while others are put."""
        for number in range(4):
            hand.put(f"old {number}", 1, expires_s=60.0)
        hand.put("out", 1, Call("old 0"))
        clock.advance(60.0)

        for number in range(2):
            hand.put(f"new {number}", 1, expires_s=60.0)

        assert [entry.key for entry in hand.store.carry_out(ListEntries())] == ["new 0", "new 1"]

    def test_the_same_value_put_over_an_expired_one_is_news(self, hand: ByHand, clock: FakeClock) -> None:
        """Whoever looked meanwhile found nothing."""
        hand.put("k", 1, expires_s=60.0)
        clock.advance(60.0)
        position = hand.position()

        hand.put("k", 1)

        assert (hand.value("k"), hand.entry("k").version) == (1, 2)
        assert [record.kind for record in hand.feed(position)] == [Kind.CHANGED]

    def test_the_same_value_put_over_one_in_doubt_is_news(self, hand: ByHand) -> None:
        """Nobody is served a put value while something that it was computed from is unsettled."""
        hand.build("in", 1, A)
        hand.put("k", 1, Call(Key("in")))
        hand.touch(A)
        position = hand.position()

        hand.put("k", 1)

        assert (hand.value("k"), hand.entry("k").version) == (1, 2)
        assert [record.kind for record in hand.feed(position)] == [Kind.CHANGED]

    def test_a_put_leaves_nothing_of_what_was_built(self, hand: ByHand, clock: FakeClock) -> None:
        """Its terms, its errors and its history were those of another value, even if that was equal."""
        hand.build("k", 1, A, terms=Terms(priority=2, expires_s=60.0))
        hand.touch(A)
        hand.fail(hand.lease("k"), reason="down")
        clock.advance(5.0)
        position = hand.load("k").position

        hand.put("k", 1)

        entry, known = hand.entry("k"), hand.explain("k")
        assert (entry.function, entry.version, entry.state, entry.stale_since) == ("", 2, State.FRESH, None)
        assert (entry.reason, entry.attempts, entry.retry_at, entry.expires_at) == ("", 0, None, None)
        assert (entry.position, entry.built_at, entry.build_s) == (position, clock(), 0.0)
        assert (known.terms, known.history, known.builder) == (PLAIN_TERMS, (), "")
        assert hand.load("k").recipe is None
        assert hand.load("k", FINGERPRINT).entry is None
        assert hand.take() == []

    def test_a_put_takes_the_place_of_a_build(self, hand: ByHand) -> None:
        """Who was building the entry is overtaken."""
        hand.build("k", "built", A)
        lease = hand.lease("k")

        hand.put("k", "put")

        assert not hand.load("k").is_leased
        hand.fail(lease)
        assert (hand.value("k"), hand.state("k")) == ("put", State.FRESH)

    def test_deleted_entries_are_gone(self, hand: ByHand) -> None:
        """Put or built, and counted."""
        hand.put("put", 1, A)
        hand.build("built", 1, A)

        assert hand.delete("put", "built", "nowhere") == 2  # noqa: PLR2004 - the two that are there
        assert hand.load("put").entry is None
        assert hand.load("built").entry is None
        assert hand.delete("put", "built") == 0

    def test_a_first_build_that_is_deleted_was_no_entry(self, hand: ByHand) -> None:
        """Its lease is gone, and there was nothing to count."""
        lease = hand.lease("k")

        assert hand.delete("k") == 0

        assert isinstance(hand.store.carry_out(commit_of(lease, 1)), Overtaken)

    def test_a_key_named_twice_is_deleted_once(self, hand: ByHand) -> None:
        """And has one record."""
        hand.put("k", 1)
        position = hand.position()

        assert hand.delete("k", "k") == 1
        assert [record.kind for record in hand.feed(position)] == [Kind.DROPPED]

    def test_a_deleted_entry_may_take_others_with_it(self, hand: ByHand) -> None:
        """One that was named too is dropped once."""
        hand.put("in", 1)
        hand.put("out", 1, Call("in"))
        position = hand.position()

        hand.delete("in", "out")

        assert sorted(record.key for record in hand.feed(position)) == ["in", "out"]

    def test_those_built_from_a_deleted_entry_are_touched(self, hand: ByHand) -> None:
        """Nobody watches over its dependencies any more."""
        hand.build("in", 1, A)
        hand.build("out", 1, seen={"in": 1})

        hand.delete("in")

        assert hand.state("out") is State.DIRTY

    def test_a_deleted_build_is_overtaken(self, hand: ByHand) -> None:
        """Whoever was building the entry changes nothing any more, and the next may begin at once."""
        hand.build("k", 1, A)
        lease = hand.lease("k")
        hand.delete("k")

        hand.fail(lease)

        assert hand.load("k").entry is None
        assert hand.build("k", 2).state is State.FRESH
