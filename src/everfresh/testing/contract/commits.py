"""Commits: no event is lost that came while the value was built, wherever in the build it came."""
# ruff: noqa: S101 - these are tests, which happen to be shipped

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from everfresh.matching.index import Generation, Shapes
from everfresh.model.dependency import Call, Id, Tag, Topic
from everfresh.model.entry import Kind, Lease, OnChange, State
from everfresh.model.event import Event
from everfresh.protocol.applying import ShapesMoved
from everfresh.protocol.publishing import publish
from everfresh.protocol.requests import Committed, NotNeeded, Register
from everfresh.testing.by_hand import NOT_THERE, ByHand, begin_of, commit_of, digest_of, groups_of, shapes_of
from everfresh.testing.clock import FakeClock
from everfresh.testing.contract.fixtures import StoreFixtures

A, B = Tag("a"), Tag("b")
BUG_7 = Topic("bug.*", {"bug.id": 7})
BUG_7_CHANGED = Event("bug.update", {"bug": {"id": 7}})
ARTICLE_1 = Id("article", 1)
ARTICLE_1_CHANGED = Event.change("article", before={"id": 1}, after={"id": 1})


class CommitContract(StoreFixtures):
    """What a commit stores, and when it is outrun."""

    def test_a_commit_is_fresh(self, hand: ByHand, clock: FakeClock) -> None:
        """What was built undisturbed is there as it was given, good as of the beginning of its build."""
        lease = hand.lease("k", A)
        clock.advance(3.0)

        entry = hand.commit(lease, "value", A).entry

        assert hand.entry("k") == entry
        assert (entry.state, entry.version, entry.reason, entry.stale_since) == (State.FRESH, 1, "", None)
        assert msgspec.msgpack.decode(entry.value) == "value"
        assert entry.digest == digest_of("value")
        assert (entry.built_at, entry.build_s) == (clock(), 0.25)
        assert entry.position == lease.begun
        assert entry.changed_at == hand.load("k").position

    def test_a_commit_may_be_good_from_earlier(self, hand: ByHand) -> None:
        """When something older was read on the way, the value is only as good as that."""
        hand.touch(A)
        lease = hand.lease("k")
        request = commit_of(lease, 1)
        older = replace(request, built=replace(request.built, good_from=0))

        answer = hand.store.carry_out(older)

        assert isinstance(answer, Committed)
        assert answer.entry.position.sequence == 0

    def test_an_equal_value_keeps_its_version(self, hand: ByHand) -> None:
        """A rebuild that comes out equal is newer but not another: no version, no change in the feed."""
        first = hand.build("k", 1, A)
        hand.touch(A)
        position = hand.position()

        lease = hand.lease("k", A)
        second = hand.commit(lease, 1, A)

        assert not second.is_changed
        assert (second.entry.version, second.entry.changed_at) == (first.version, first.changed_at)
        assert second.entry.position == lease.begun
        assert [record.kind for record in hand.feed(position)] == [Kind.FRESH]

    def test_a_changed_value_has_the_next_version(self, hand: ByHand) -> None:
        """A rebuild that comes out different replaces the value."""
        first = hand.build("k", 1, A)

        second = hand.build("k", 2, A)

        assert second.version > first.version
        assert second.changed_at.covers(first.changed_at)
        assert hand.value("k") == 2  # noqa: PLR2004 - as built

    def test_the_dependencies_are_those_of_the_last_build(self, hand: ByHand) -> None:
        """A build that no longer needs something is not touched by it any more."""
        hand.build("k", 1, A)
        hand.build("k", 1, B)

        assert hand.touch(A).touched == ()
        assert hand.touch(B).touched == ("k",)

    def test_a_tag_touched_during_a_first_build_outruns_it(self, hand: ByHand) -> None:
        """An entry is in no bucket before its first commit; the bucket remembers that it fired."""
        lease = hand.lease("k")
        assert hand.touch(A).touched == ()

        entry = hand.commit(lease, "read before", A).entry

        assert entry.state is State.DIRTY
        assert entry.stale_since is not None
        assert [due.lease.key for due in hand.take()] == ["k"]

    def test_an_event_during_a_first_build_outruns_it(self, hand: ByHand) -> None:
        """The same for an event of a declared topic."""
        lease = hand.lease("k", BUG_7)
        hand.publish(BUG_7_CHANGED)

        assert hand.commit(lease, "read before", BUG_7).entry.state is State.DIRTY

    def test_an_event_before_a_build_does_not_outrun_it(self, hand: ByHand) -> None:
        """A build that begins after the event has seen what it says."""
        hand.build("other", 1, BUG_7)
        hand.publish(BUG_7_CHANGED)

        assert hand.build("k", "read after", BUG_7).state is State.FRESH

    def test_another_event_does_not_outrun_a_build(self, hand: ByHand) -> None:
        """An event of the same topic about something else is none of this entry's business."""
        lease = hand.lease("k", BUG_7)
        hand.publish(Event("bug.update", {"bug": {"id": 8}}))

        assert hand.commit(lease, 1, BUG_7).entry.state is State.FRESH

    def test_an_event_during_a_refresh_outruns_it(self, hand: ByHand) -> None:
        """The entry is dirty from the event on, its new value is stored, and it is built once more."""
        hand.build("k", "old", A)
        lease = hand.lease("k", A)
        hand.touch(A)
        assert hand.state("k") is State.DIRTY

        answer = hand.commit(lease, "new", A)

        assert answer.is_stored
        assert (answer.entry.state, hand.value("k")) == (State.DIRTY, "new")
        assert len(hand.take()) == 1

    def test_an_event_on_what_a_refresh_no_longer_needs(self, hand: ByHand) -> None:
        """An event on an old dependency may be the reason why the build now goes another way: built once more."""
        hand.build("k", "old", A)
        lease = hand.lease("k", B)
        hand.touch(A)

        assert hand.commit(lease, "new", B).entry.state is State.DIRTY

    def test_a_new_dependency_that_fired_outruns_a_refresh(self, hand: ByHand) -> None:
        """A dependency first seen in this build counts from the beginning of the build."""
        hand.build("k", "old", A)
        lease = hand.lease("k", A)
        hand.touch(B)

        assert hand.commit(lease, "new", A, B).entry.state is State.DIRTY

    def test_an_event_before_its_shape_was_known_outruns(self, hand: ByHand) -> None:
        """Nobody could mark the bucket of a shape that nobody had registered, so a younger shape counts as fired."""
        lease = hand.lease("k")
        hand.publish(ARTICLE_1_CHANGED)
        hand.store.carry_out(Register(shapes_of(ARTICLE_1)))

        assert hand.commit(lease, "read before", ARTICLE_1).entry.state is State.DIRTY

    def test_an_event_after_its_shape_was_registered_outruns(self, hand: ByHand) -> None:
        """From its registration on, the shape's buckets fire."""
        lease = hand.lease("k")
        hand.store.carry_out(Register(shapes_of(ARTICLE_1)))
        hand.publish(ARTICLE_1_CHANGED)

        assert hand.commit(lease, "read before", ARTICLE_1).entry.state is State.DIRTY

    def test_another_event_after_its_shape_was_registered_does_not_outrun(self, hand: ByHand) -> None:
        """From its registration on, it is known which of the shape's buckets fired."""
        lease = hand.lease("k")
        hand.store.carry_out(Register(shapes_of(ARTICLE_1)))
        hand.publish(Event.change("article", before={"id": 2}, after={"id": 2}))

        assert hand.commit(lease, 1, ARTICLE_1).entry.state is State.FRESH

    def test_a_commit_says_why_it_is_not_fresh(self, hand: ByHand) -> None:
        """An event that nobody could name outran it, or one that can be named, or what is below is unsettled."""
        first = hand.lease("first")
        hand.build("in", 1, B)
        hand.build("named", 1, BUG_7)
        named, above = hand.lease("named"), hand.lease("above")
        hand.touch(A, B)
        hand.publish(BUG_7_CHANGED)

        assert hand.commit(first, 1, A).entry.reason == "an event came while it was built"
        assert hand.commit(named, 2, BUG_7).entry.reason == "event bug.update"
        assert hand.commit(above, 1, seen={"in": 1}).entry.reason == "built from an unsettled entry"
        assert hand.build("named", 2, BUG_7).reason == ""

    def test_a_new_shape_alone_does_not_outrun(self, hand: ByHand) -> None:
        """Without any event since the build began, a shape that appears in it is in time."""
        lease = hand.lease("k")
        hand.build("other", 1, A)
        hand.store.carry_out(Register(shapes_of(ARTICLE_1)))

        assert hand.commit(lease, 1, ARTICLE_1).entry.state is State.FRESH

    def test_a_commit_may_bring_a_shape_of_its_own(self, hand: ByHand) -> None:
        """A shape that nobody registered is known from the commit on, and events during the build outrun it."""
        quiet = hand.lease("quiet")
        assert hand.commit(quiet, 1, BUG_7).entry.state is State.FRESH
        assert hand.publish(BUG_7_CHANGED).touched == ("quiet",)

        lease = hand.lease("k")
        hand.publish(ARTICLE_1_CHANGED)
        assert hand.commit(lease, 1, ARTICLE_1).entry.state is State.DIRTY

    def test_a_whole_shape_that_fired_outruns(self, hand: ByHand) -> None:
        """An event that cannot say which objects it means touches all of the type, those being built too."""
        stored = hand.build("stored", 1, ARTICLE_1)
        lease = hand.lease("k", Id("article", 2))

        assert hand.publish(Event.unknown("article")).touched == (stored.key,)

        assert hand.commit(lease, 1, Id("article", 2)).entry.state is State.DIRTY

    def test_an_outrun_value_of_a_function_that_drops_is_not_stored(self, hand: ByHand) -> None:
        """Its builder may use it; nobody else ever sees it, and waiters are told that the lease ended."""
        position = hand.position()
        lease = hand.lease("k")
        hand.touch(A)

        answer = hand.commit(lease, "read before", A, on_change=OnChange.DROP)

        assert not answer.is_stored
        assert msgspec.msgpack.decode(answer.entry.value) == "read before"
        assert answer.entry.state is not State.FRESH
        assert "event" in answer.entry.reason
        assert hand.load("k").entry is None
        assert not hand.load("k").is_leased
        assert [record.kind for record in hand.feed(position)] == [Kind.DROPPED]

    def test_what_was_seen_and_changed_outruns(self, hand: ByHand) -> None:
        """An inner value that changed between its reading and the commit: the outer one was built from the old."""
        hand.build("inner", "old", A)
        lease = hand.lease("outer")
        hand.build("inner", "new", A)

        assert hand.commit(lease, "from old", seen={"inner": "old"}).entry.state is State.DIRTY

    def test_what_was_seen_and_changed_there_and_back_is_current(self, hand: ByHand) -> None:
        """Digests are compared, not versions: an equal value is the same value."""
        hand.build("inner", "old", A)
        lease = hand.lease("outer")
        hand.build("inner", "new", A)
        hand.build("inner", "old", A)

        assert hand.commit(lease, "from old", seen={"inner": "old"}).entry.state is State.FRESH

    def test_what_was_seen_and_dropped_outruns(self, hand: ByHand) -> None:
        """Nobody watches over the dependencies of an entry that is gone."""
        hand.build("inner", 1, A, on_change=OnChange.DROP)
        lease = hand.lease("outer")
        hand.touch(A)

        assert hand.commit(lease, 1, seen={"inner": 1}).entry.state is State.DIRTY

    def test_what_was_seen_and_is_unsettled_makes_suspect(self, hand: ByHand) -> None:
        """An event on the inner entry during the outer build: whether it matters is known when the inner is rebuilt."""
        hand.build("inner", 1, A)
        lease = hand.lease("outer")
        hand.touch(A)

        assert hand.commit(lease, 1, seen={"inner": 1}).entry.state is State.SUSPECT
        assert hand.load("outer").unsettled == ("inner",)

    def test_an_inner_build_within_the_outer_does_not_outrun_it(self, hand: ByHand) -> None:
        """An outer refresh that itself brings about, and sees, the new inner value is up to date."""
        hand.build("inner", 1, A)
        hand.build("outer", 1, seen={"inner": 1})
        hand.touch(A)
        lease = hand.lease("outer")
        hand.build("inner", 2, A)

        assert hand.commit(lease, 2, seen={"inner": 2}).entry.state is State.FRESH

    def test_an_invalidation_by_call_outruns(self, hand: ByHand) -> None:
        """Whoever touches those built from an entry means also those that are being built from it."""
        hand.build("inner", 1, A)
        lease = hand.lease("outer")
        hand.touch(Call("inner"))

        assert hand.commit(lease, 1, seen={"inner": 1}).entry.state is State.DIRTY

    def test_what_was_not_there_and_appeared_outruns(self, hand: ByHand) -> None:
        """A build that did without an entry hangs on its absence."""
        lease = hand.lease("outer")
        hand.build("inner", 1, A)

        assert hand.commit(lease, "without", seen={"inner": NOT_THERE}).entry.state is State.DIRTY

    def test_what_was_not_there_and_is_not_is_current(self, hand: ByHand) -> None:
        """Until it appears, when the outer entry is built again."""
        outer = hand.build("outer", "without", seen={"inner": NOT_THERE})
        assert outer.state is State.FRESH

        hand.build("inner", 1, A)

        assert hand.state("outer") is State.DIRTY

    def test_what_was_not_to_be_had_and_is_again_outruns(self, hand: ByHand) -> None:
        """A put value is gone while it is suspect; the outer entry that did without it is built again."""
        hand.build("in", 1, A)
        hand.put("put", 1, Call("in"))
        hand.touch(A)
        assert hand.build("outer", "without", seen={"put": NOT_THERE}).stale_since is not None

        hand.build("in", 1, A)

        assert hand.state("put") is State.FRESH
        assert [due.lease.key for due in hand.take()] == ["outer"]

    def test_a_value_ends_with_what_it_was_built_from(self, hand: ByHand, clock: FakeClock) -> None:
        """Its time is noted, and when it is over a reader may build it."""
        lease = hand.lease("k")
        hand.store.carry_out(commit_of(lease, 1, expires_at=clock() + 60.0))
        assert hand.entry("k").expires_at == clock() + 60.0
        position = hand.position().sequence
        assert isinstance(hand.store.carry_out(begin_of("k", good_from=position)), NotNeeded)

        clock.advance(60.0)

        assert isinstance(hand.store.carry_out(begin_of("k", good_from=position)), Lease)

    def test_a_value_whose_time_is_over_is_due(self, hand: ByHand, clock: FakeClock) -> None:
        """A worker builds it anew, as after an event."""
        lease = hand.lease("k")
        hand.store.carry_out(commit_of(lease, 1, expires_at=clock() + 60.0))

        clock.advance(59.0)
        assert hand.take() == []
        clock.advance(1.0)
        assert [due.lease.key for due in hand.take()] == ["k"]

    def test_publishers_learn_of_new_shapes(self, hand: ByHand) -> None:
        """An event is not applied by whoever knows fewer shapes than the store; nothing changes until they do."""
        early = ByHand(hand.store)
        hand.build("k", 1, BUG_7)
        position = hand.position()

        answer = hand.store.carry_out(next(publish([BUG_7_CHANGED], early.shapes)))

        assert isinstance(answer, ShapesMoved)
        assert (answer.after.n_shapes, answer.shapes) == (0, shapes_of(BUG_7))
        assert hand.position() == position
        assert hand.state("k") is State.FRESH
        assert early.publish(BUG_7_CHANGED).touched == ("k",)

    def test_publishers_learn_of_shapes_that_came_since(self, hand: ByHand) -> None:
        """Those alone: the list may be long, and is the same up to there."""
        hand.build("k", 1, BUG_7)
        hand.publish(BUG_7_CHANGED)
        hand.build("other", 1, Id("article", 1))

        answer = hand.store.carry_out(next(publish([BUG_7_CHANGED], hand.shapes)))

        assert isinstance(answer, ShapesMoved)
        assert (answer.after.n_shapes, answer.shapes) == (1, shapes_of(Id("article", 1)))

    def test_publishers_learn_that_the_list_is_another_one(self, hand: ByHand) -> None:
        """However many shapes they know of another life of the store, all of this one are new to them."""
        hand.build("k", 1, BUG_7)
        shapes = Shapes()
        shapes.learn(Generation("another life", 0), shapes_of(Id("article", 1), Id("author", 1)))

        answer = hand.store.carry_out(next(publish([BUG_7_CHANGED], shapes)))

        assert isinstance(answer, ShapesMoved)
        assert (answer.after.n_shapes, answer.shapes) == (0, shapes_of(BUG_7))
        assert answer.after.epoch != "another life"

    def test_groups_hold_many_values(self, hand: ByHand) -> None:
        """One shape with many values is one group, and each value is matched."""
        many = [Id("article", number) for number in range(200)]
        hand.build("k", 1, *many)

        assert len(groups_of(*many)) == 1
        assert hand.publish(Event.change("article", after={"id": 199})).touched == ("k",)
        assert hand.publish(Event.change("article", after={"id": 200})).touched == ()

    @pytest.mark.parametrize("text", ["", "a\0b", "caf\u00e9 \N{SNOWMAN}", "x" * 5_000, "quote ' \" ; --", "50%_*#."])
    def test_any_text_is_a_key_and_a_name(self, hand: ByHand, text: str) -> None:
        """Keys, reasons and values of dependencies are texts without a meaning of their own."""
        hand.build("k" + text, text, Id("article", "id" + text))

        assert hand.value("k" + text) == text
        assert hand.publish(Event.change("article", after={"id": "id" + text})).touched == ("k" + text,)
        lease = hand.lease("k" + text)
        hand.fail(lease, reason=text)
        assert hand.entry("k" + text).reason == text

    def test_a_large_value_comes_back_whole(self, hand: ByHand) -> None:
        """A value of some megabytes is a value."""
        value = ["row " * 100] * 10_000

        hand.build("k", value)

        assert hand.value("k") == value
