"""Lasting: what a durable store holds is there after a restart, to the last step that was answered."""
# ruff: noqa: S101 - these are tests, which happen to be shipped

from __future__ import annotations

from everfresh.model.dependency import Id, Tag
from everfresh.model.entry import OnChange, State
from everfresh.model.event import Event
from everfresh.protocol.publishing import publish
from everfresh.protocol.requests import Busy, ReadFeed, Register, ShapesMoved
from everfresh.stores.store import Store
from everfresh.testing.by_hand import LEASE_S, ByHand, begin_of, shapes_of
from everfresh.testing.clock import FakeClock
from everfresh.testing.contract.fixtures import OpenStore, StoreFixtures

A, B = Tag("a"), Tag("b")


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

        answer = again.store.carry_out(next(publish([Event.unknown("article")], again.index)))
        assert answer == ShapesMoved(shapes)
        again.store.close()

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
