"""Lasting: what a durable store holds is there after a restart, to the last step that was answered."""
# ruff: noqa: S101 - these are tests, which happen to be shipped

from __future__ import annotations

from dataclasses import replace

from everfresh.model.conditions import lt
from everfresh.model.dependency import Id, Tag, Topic
from everfresh.model.entry import OnChange, State, Terms
from everfresh.model.event import Event
from everfresh.model.message import Message
from everfresh.protocol.applying import ShapesMoved
from everfresh.protocol.inspecting import Count
from everfresh.protocol.publishing import publish, take_in
from everfresh.protocol.queueing import Distrust
from everfresh.protocol.requests import Busy, Limit, ReadFeed, Register
from everfresh.protocol.scheduling import BREAK_AFTER_FAILURES
from everfresh.protocol.sourcing import (
    Offset,
    Quarantine,
    ReadQuarantine,
    ReadSources,
    Report,
    Tell,
    Unreadable,
)
from everfresh.stores.store import Store
from everfresh.testing.by_hand import LEASE_S, ByHand, begin_of, commit_of, encoded, shapes_of
from everfresh.testing.clock import FakeClock
from everfresh.testing.contract.fixtures import OpenStore, StoreFixtures

A, B = Tag("a"), Tag("b")
BUG = Topic("bug.*")
BUG_CHANGED = Event("bug.update", {"bug": 7}, id="e1")


class LastingContract(StoreFixtures):
    """For stores that survive their process; two openings stand for a restart, or for two processes."""

    def test_entries_last(self, hand: ByHand, open_store: OpenStore, clock: FakeClock) -> None:
        """With all that is known of them."""
        hand.build("in", [1, "two", None], A)
        hand.build("out", 1, seen={"in": [1, "two", None]})
        hand.put("put", 1, B, expires_s=60.0)
        hand.touch(A)
        before = [hand.load(key) for key in ("in", "out", "put", "nowhere")]
        hand.store.close()

        again = _opened(open_store, clock)

        assert [again.load(key) for key in ("in", "out", "put", "nowhere")] == before
        again.store.close()

    def test_the_order_lasts(self, hand: ByHand, open_store: OpenStore, clock: FakeClock) -> None:
        """Positions, feed and versions go on where they were, in the same epoch."""
        begin = hand.position()
        old = hand.build("k", 1, A)
        hand.delete("k")
        records, position = hand.feed(begin), hand.position()
        hand.store.close()

        again = _opened(open_store, clock)

        assert again.position() == position
        assert again.feed(begin) == records
        assert again.build("k", 1, A).version > old.version
        again.store.close()

    def test_the_queue_lasts(self, hand: ByHand, open_store: OpenStore, clock: FakeClock) -> None:
        """What was due is due."""
        hand.build("k", 1, A)
        hand.touch(A)
        hand.store.close()

        again = _opened(open_store, clock)

        assert [due.lease.key for due in again.take()] == ["k"]
        again.store.close()

    def test_what_sources_left_lasts(self, hand: ByHand, open_store: OpenStore, clock: FakeClock) -> None:
        """How far they have come, how they fared, and what nobody could read."""
        hand.run(take_in([BUG_CHANGED], hand.shapes, offsets=(Offset("bus", "5"),)))
        report = Report(source="bus", consumer="host:1", is_connected=True, topics=("#",))
        message = Message(topic="bug.update", body=b"{")
        hand.store.carry_out(Tell(report))
        hand.store.carry_out(
            Quarantine((Unreadable(id="1", source="bus", format="fedora", reason="no JSON", message=message),))
        )
        sources, kept = hand.store.carry_out(ReadSources()), hand.store.carry_out(ReadQuarantine())
        hand.store.close()

        again = _opened(open_store, clock)

        assert again.store.carry_out(ReadSources()) == sources
        assert again.store.carry_out(ReadQuarantine()) == kept
        again.run(take_in([], again.shapes, offsets=(Offset("bus", "6"),)))
        assert [state.offset for state in again.store.carry_out(ReadSources()).states] == ["6"]
        again.store.close()

    def test_leases_last(self, hand: ByHand, open_store: OpenStore, clock: FakeClock) -> None:
        """Nobody knows whether their holder lives; they run out by themselves, and tokens are not given twice."""
        lease = hand.lease("k")
        hand.store.close()

        again = _opened(open_store, clock)

        assert isinstance(again.store.carry_out(begin_of("k")), Busy)
        clock.advance(LEASE_S)
        assert again.lease("k").token != lease.token
        again.store.close()

    def test_marks_last(self, hand: ByHand, open_store: OpenStore, clock: FakeClock) -> None:
        """An event during a build outruns it, though the store was closed and opened since."""
        lease = hand.lease("k")
        hand.touch(A)
        hand.store.close()

        again = _opened(open_store, clock)

        assert again.commit(lease, 1, A).entry.state is State.DIRTY
        again.store.close()

    def test_shapes_last(self, hand: ByHand, open_store: OpenStore, clock: FakeClock) -> None:
        """A publisher in a new process is told of them before its first event."""
        shapes = shapes_of(Id("article", 1))
        hand.store.carry_out(Register(shapes))
        hand.store.close()

        again = _opened(open_store, clock)

        answer = again.store.carry_out(next(publish([Event.unknown("article")], again.shapes)))
        assert isinstance(answer, ShapesMoved)
        assert answer.shapes == shapes
        again.store.close()

    def test_all_that_is_known_lasts(self, hand: ByHand, open_store: OpenStore, clock: FakeClock) -> None:
        """Terms, history, readers and watchers, builders and causes, the event to answer, and what was read."""
        terms = Terms(priority=3, expires_s=60.0, debounce_s=1.0, max_wait_s=9.0, settle_s=(2.0,), keeps_event=True)
        hand.build("in", 1, A)
        request = commit_of(hand.lease("k", BUG), 1, BUG, seen={"in": 1}, terms=terms, builder="worker 1")
        hand.store.carry_out(replace(request, built=replace(request.built, is_error=True)))
        hand.build("out", 1, seen={"k": 1})
        hand.note(reads={"k": clock() + 3.0}, watched={"k": clock() + 9.0})
        hand.publish(BUG_CHANGED, cause=("first", "second"))
        hand.enqueue("queued", terms=terms)
        hand.put("put", 1, B)
        keys = ("in", "k", "out", "queued", "put")
        before = [hand.explain(key) for key in keys], hand.store.carry_out(Count()), hand.entry("k")
        hand.store.close()

        again = _opened(open_store, clock)

        assert ([again.explain(key) for key in keys], again.store.carry_out(Count()), again.entry("k")) == before
        lease = again.lease("k")
        assert (lease.event, lease.cause) == (encoded(BUG_CHANGED), ("first", "second"))
        again.store.close()

    def test_a_look_for_a_late_change_lasts(self, hand: ByHand, open_store: OpenStore, clock: FakeClock) -> None:
        """The event that the value may not show yet is not forgotten."""
        terms = Terms(settle_s=(2.0, 30.0))
        hand.build("k", 1, A, terms=terms)
        hand.touch(A)
        hand.store.close()

        again = _opened(open_store, clock)

        again.commit(again.take()[0].lease, 1, A, terms=terms)
        assert again.took().next_due == clock() + 2.0
        again.store.close()

    def test_conditions_and_what_events_said_of_them_last(
        self, hand: ByHand, open_store: OpenStore, clock: FakeClock
    ) -> None:
        """For entries that are there, and for builds under way."""
        cheap, passed = Topic("book", {"price": lt(9)}), Event("book", {"price": 5})
        hand.build("there", 1, cheap)
        lease = hand.lease("building", cheap)
        hand.publish(passed)
        hand.store.close()

        again = _opened(open_store, clock)

        assert again.commit(lease, 1, cheap).entry.state is State.DIRTY
        assert set(again.publish(passed).touched) == {"there", "building"}
        assert again.publish(Event("book", {"price": 10})).touched == ()
        again.store.close()

    def test_the_pace_of_a_function_lasts(self, hand: ByHand, open_store: OpenStore, clock: FakeClock) -> None:
        """A restart neither ends a pause nor gives a new second's worth."""
        for number in range(BREAK_AFTER_FAILURES):
            hand.fail(hand.lease(f"k{number}"))
        for key in ("one", "two"):
            hand.build(key, 1, A, function="other")
        hand.touch(A)
        hand.took(1, function="other", limit=Limit(per_s=1.0))
        hand.enqueue("paused")
        hand.store.close()

        again = _opened(open_store, clock)

        assert again.took().due == ()
        assert again.took(function="other", limit=Limit(per_s=1.0)).due == ()
        assert again.commit(again.lease("k0"), 1).is_recovery
        again.store.close()

    def test_a_new_life_lasts(self, hand: ByHand, open_store: OpenStore, clock: FakeClock) -> None:
        """Whoever opens the store later is in it too; whoever has it open already learns of it."""
        other = _opened(open_store, clock)
        hand.build("k", 1, A)
        before = other.position()

        hand.store.carry_out(Distrust("put back"))

        for one in (other, _opened(open_store, clock)):
            assert one.position() == hand.position()
            assert one.store.carry_out(ReadFeed(before)).is_reset
            assert one.state("k") is State.DIRTY
            one.store.close()

    def test_two_openings_are_one_store(self, hand: ByHand, open_store: OpenStore, clock: FakeClock) -> None:
        """What one writes the other reads, in one order."""
        other = _opened(open_store, clock)
        begin = hand.position()

        hand.build("k", 1, A)
        other.touch(A)
        other.build("k", 2, A, on_change=OnChange.DROP)
        hand.touch(A)

        assert other.load("k").entry is None
        assert hand.feed(begin) == other.feed(begin)
        assert hand.position() == other.position()
        other.store.close()

    def test_a_lease_keeps_out_another_opening(self, hand: ByHand, open_store: OpenStore, clock: FakeClock) -> None:
        """One build at a time, over all processes."""
        other = _opened(open_store, clock)
        lease = hand.lease("k")

        assert isinstance(other.store.carry_out(begin_of("k")), Busy)

        other.commit(lease, 1)
        assert hand.value("k") == 1
        other.store.close()

    def test_the_version_tells_of_another_openings_steps(
        self, store: Store, open_store: OpenStore, clock: FakeClock
    ) -> None:
        """One look says whether anything was written since the last; reading alone changes nothing."""
        other = _opened(open_store, clock)
        before = store.version()
        other.store.carry_out(ReadFeed(None))
        other.load("k")
        assert store.version() == before

        other.build("k", 1)

        assert store.version() != before
        other.store.close()


def _opened(open_store: OpenStore, clock: FakeClock) -> ByHand:
    return ByHand(open_store(clock))
