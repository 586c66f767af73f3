"""Applying: which entries an event touches, in one step, once for all its dependencies."""
# ruff: noqa: S101 - these are tests, which happen to be shipped

from __future__ import annotations

from everfresh.model.dependency import Id, Tag, Topic
from everfresh.model.entry import Kind, State
from everfresh.model.event import Event
from everfresh.testing.by_hand import ByHand
from everfresh.testing.clock import FakeClock
from everfresh.testing.contract.fixtures import StoreFixtures

A, B = Tag("a"), Tag("b")


class ApplyContract(StoreFixtures):
    """Apply and Register."""

    def test_what_fired_before_fires_again(self, hand: ByHand) -> None:
        """The last time counts: of a build that began in between the first event is none, and the second is one."""
        hand.touch(A)
        between = hand.lease("k")
        hand.touch(A)
        after = hand.lease("other")

        assert hand.commit(between, 1, A).entry.state is State.DIRTY
        assert hand.commit(after, 1, A).entry.state is State.FRESH

    def test_an_event_touches_by_topic_and_fields(self, hand: ByHand) -> None:
        """Only those whose pattern and fields meet the event."""
        hand.build("seven", 1, Topic("bug.*", {"id": 7}))
        hand.build("eight", 1, Topic("bug.*", {"id": 8}))
        hand.build("all", 1, Topic("#"))

        touched = hand.publish(Event("bug.new", {"id": "7"})).touched

        assert set(touched) == {"seven", "all"}
        assert [hand.state(key) for key in ("seven", "eight", "all")] == [State.DIRTY, State.FRESH, State.DIRTY]

    def test_a_touched_entry_says_since_when_and_why(self, hand: ByHand, clock: FakeClock) -> None:
        """The first event that it misses counts; later ones do not make it younger."""
        hand.build("k", 1, Topic("bug.new"))
        clock.advance(1.0)
        touched_at = clock()
        hand.publish(Event("bug.new", id="e1"))
        clock.advance(1.0)
        hand.publish(Event("bug.new", id="e2"))

        assert hand.entry("k").stale_since == touched_at
        assert "bug.new" in hand.entry("k").reason

    def test_events_coalesce(self, hand: ByHand) -> None:
        """An entry is in the queue once, and tells its followers once."""
        hand.build("k", 1, A)
        position = hand.position()
        for _ in range(5):
            hand.touch(A)

        assert [record.kind for record in hand.feed(position)] == [Kind.STALE]
        assert len(hand.take()) == 1
        assert hand.take() == []

    def test_events_of_one_request_are_one_step(self, hand: ByHand) -> None:
        """Several events have one position, and an entry that both meet is touched once."""
        hand.build("k", 1, Topic("one"), Topic("two"))
        hand.build("other", 1, Topic("two"))
        before = hand.position().parts()

        applied = hand.publish(Event("one"), Event("two"))

        assert sorted(applied.touched) == ["k", "other"]
        # One step on each shard, if there are several, and a record of each entry on one of them.
        n_before, n_after = (sum(sequence for _, sequence in parts) for parts in (before, applied.position.parts()))
        assert n_after == n_before + len(before) + len(applied.touched)

    def test_each_event_has_a_position(self, hand: ByHand) -> None:
        """An event that touches nothing is applied all the same: a build under way may depend on it."""
        first = hand.touch(A).position

        second = hand.touch(A).position

        assert second.epoch == first.epoch
        assert second.sequence > first.sequence
        assert hand.load("k").applied == second.sequence

    def test_the_position_of_an_event_covers_its_marks(self, hand: ByHand) -> None:
        """Whoever has followed to the answer's position has seen every mark that the event left."""
        hand.build("in", 1, A)
        hand.build("out", 1, seen={"in": 1})

        applied = hand.touch(A)

        assert applied.position == hand.position()
        assert hand.load("in").applied <= applied.position.sequence

    def test_a_dry_event_changes_nothing(self, hand: ByHand) -> None:
        """It only says what it would touch."""
        dependency = Topic("bug.new")
        hand.build("k", 1, dependency)
        lease = hand.lease("building", dependency)
        before, position = hand.load("k"), hand.position()

        applied = hand.publish(Event("bug.new"), is_dry=True)

        assert applied.touched == ("k",)
        assert hand.load("k") == before
        assert hand.position() == position
        assert hand.commit(lease, 1, dependency).entry.state is State.FRESH

    def test_naming_an_object_touches_whatever_is_watched_of_it(self, hand: ByHand) -> None:
        """Who invalidates by name does not say which field changed."""
        hand.build("title", 1, Id("article", 1, watch=("title",)))
        hand.build("all", 1, Id("article", 1))
        hand.build("other", 1, Id("article", 2))

        assert set(hand.touch(Id("article", 1)).touched) == {"title", "all"}

    def test_a_watched_field_is_compared(self, hand: ByHand) -> None:
        """An update that leaves the watched fields as they are touches nobody who watches only those."""
        hand.build("title", 1, Id("article", 1, watch=("title",)))
        before = {"id": 1, "title": "x", "body": "y"}

        assert hand.publish(Event.change("article", before=before, after={**before, "body": "z"})).touched == ()
        assert hand.publish(Event.change("article", before=before, after={**before, "title": "z"})).touched == (
            "title",
        )

    def test_an_event_that_does_not_say_which_touches_all_of_the_type(self, hand: ByHand) -> None:
        """Widening: a needless rebuild costs little, a missed one is a bug."""
        for number in range(3):
            hand.build(f"article {number}", 1, Id("article", number))
        hand.build("person", 1, Id("person", 1))

        touched = hand.publish(Event.change("article", changed=["title"])).touched

        assert set(touched) == {"article 0", "article 1", "article 2"}

    def test_shapes_that_look_alike_are_apart(self, hand: ByHand) -> None:
        """A whole shape is touched, and not the one beside it."""
        hand.build("one", 1, Id("article", 1))
        hand.build("watching", 1, Id("article", 1, watch=("title",)))
        event = Event.change("article", before={"id": 2, "title": "x"}, after={"id": 2, "title": "x"})

        assert hand.publish(event).touched == ()
        assert hand.publish(Event.change("article", changed=["body"])).touched == ("one",)

    def test_dropped_dependencies_cost_nothing(self, hand: ByHand) -> None:
        """An entry that is gone is in no bucket."""
        hand.build("k", 1, A, B)
        hand.delete("k")

        assert hand.touch(A).touched == ()
