"""The feed: every change in order, resumed from anywhere, and an honest answer when some are lost."""
# ruff: noqa: S101 - these are tests, which happen to be shipped

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from everfresh.model.dependency import Tag
from everfresh.model.entry import FeedRecord, Kind, OnChange
from everfresh.model.position import Position
from everfresh.protocol.requests import ReadFeed
from everfresh.testing.by_hand import ByHand, digest_of
from everfresh.testing.contract.fixtures import StoreFixtures

A = Tag("a")


class FeedContract(StoreFixtures):
    """ReadFeed, and what is written to the feed."""

    n_feed_records: ClassVar[int] = 30_000
    """More records than the store keeps."""

    def test_records_are_in_order(self, hand: ByHand) -> None:
        """Each has its own sequence, above all before it, and the position of the end covers them all.

        Of several shards each has an order of its own, in which all records of an entry stand.
        """
        begin = hand.position()
        _make_history(hand)

        batch = hand.store.carry_out(ReadFeed(begin))

        for records in _by_order(batch.records, begin):
            sequences = [record.sequence for record in records]
            assert sequences == sorted(set(sequences))
            if not begin.others:
                assert begin.sequence < sequences[0] <= sequences[-1] <= batch.position.sequence
        assert batch.position == hand.position()
        assert not batch.is_reset

    def test_a_record_says_what_became_of_an_entry(self, hand: ByHand) -> None:
        """Its kind, and the version and digest that the entry has from then on."""
        begin = hand.position()
        hand.build("k", "one", A)
        hand.touch(A)
        hand.build("k", "two", A)
        hand.delete("k")

        expected = [
            (Kind.CHANGED, 1, "one"),
            (Kind.STALE, 1, "one"),
            (Kind.CHANGED, 2, "two"),
            (Kind.DROPPED, 2, "two"),
        ]
        found = [(record.kind, record.version, record.digest) for record in hand.feed(begin)]
        assert found == [(kind, version, digest_of(value)) for kind, version, value in expected]

    def test_the_feed_resumes_from_any_position(self, hand: ByHand) -> None:
        """Whoever stops after any record and comes back misses none and sees none twice."""
        begin = hand.position()
        _make_history(hand)
        records = hand.feed(begin)

        after = begin
        for number, record in enumerate(records):
            batch = hand.store.carry_out(ReadFeed(after, 1))
            after = batch.position
            assert list(batch.records) == [record]
            assert after.others or after == Position(begin.epoch, record.sequence)
            assert hand.feed(after) == records[number + 1 :]

    def test_the_feed_is_read_in_batches(self, hand: ByHand) -> None:
        """A batch ends with the position after it; the next goes on from there, until one is empty."""
        begin = hand.position()
        _make_history(hand)

        for n_max in (1, 2, 3, 1_000):
            found, all_at_once = _in_batches(hand, begin, n_max), hand.feed(begin)
            assert _by_order(found, begin) == _by_order(all_at_once, begin)

    def test_nothing_new_is_an_empty_batch(self, hand: ByHand) -> None:
        """At the end of the feed there is nothing to read and nothing to start over."""
        _make_history(hand)

        batch = hand.store.carry_out(ReadFeed(hand.position()))

        assert (batch.records, batch.is_reset) == ((), False)
        assert batch.position == hand.position()

    def test_no_position_asks_where_the_feed_ends(self, hand: ByHand) -> None:
        """From there on one follows."""
        _make_history(hand)

        batch = hand.store.carry_out(ReadFeed(None))

        assert (batch.records, batch.is_reset) == ((), False)

    def test_a_position_of_another_life_starts_over(self, hand: ByHand) -> None:
        """The store lost its memory since: whatever was known of it is in doubt."""
        _make_history(hand)

        batch = hand.store.carry_out(ReadFeed(Position("another", 1)))

        assert batch.is_reset
        assert batch.position == hand.position()

    def test_a_position_from_the_future_starts_over(self, hand: ByHand) -> None:
        """The store was put back to an earlier state."""
        _make_history(hand)
        end = hand.position()

        assert hand.store.carry_out(ReadFeed(Position(end.epoch, end.sequence + 1))).is_reset

    def test_a_position_before_what_is_kept_starts_over(self, hand: ByHand) -> None:
        """The feed is trimmed; what is gone is said to be gone, and what is there is whole."""
        begin = hand.position()
        _fill_feed(hand, self.n_feed_records)

        batch = hand.store.carry_out(ReadFeed(begin))

        assert batch.is_reset
        assert batch.position == hand.position()
        recent = Position(begin.epoch, batch.position.sequence - 1_000)
        assert not hand.store.carry_out(ReadFeed(recent)).is_reset
        assert len(_in_batches(hand, recent, 300)) == len(hand.feed(recent))

    def test_versions_only_grow(self, hand: ByHand) -> None:
        """Over drops, failures and new lives, with equal values and with others: no older version after a newer."""
        begin = hand.position()
        for value in (1, 1, 2, 1):
            hand.build("k", value, A)
            hand.touch(A)
            hand.fail(hand.lease("k"))
            hand.build("other", value, A, on_change=OnChange.DROP)
            hand.touch(A)
            hand.fail(hand.lease("other"))
            hand.delete("k")

        _check_versions(hand.feed(begin))

    def test_a_new_life_has_a_new_version(self, hand: ByHand) -> None:
        """An entry that was dropped and built again is not mistaken for what it was, though the value is equal."""
        old = hand.build("k", 1, A)
        hand.delete("k")

        assert hand.build("k", 1, A).version > old.version


def _make_history(hand: ByHand) -> None:
    hand.build("in", 1, A)
    hand.build("out", 1, seen={"in": 1})
    hand.touch(A)
    hand.build("in", 2, A)
    hand.build("out", 2, seen={"in": 2})
    hand.fail(hand.lease("out"))
    hand.delete("in")


def _fill_feed(hand: ByHand, n_records: int) -> None:
    """Write so many records in few steps: one entry below many."""
    hand.build("in", 1, A)
    n_outer = 1_000
    for number in range(n_outer):
        hand.build(f"out {number}", 1, seen={"in": 1})
    for _ in range(0, n_records, 2 * n_outer):
        hand.touch(A)
        hand.build("in", 1, A)


def _by_order(records: Sequence[FeedRecord], position: Position) -> list[list[FeedRecord]]:
    """The records whose order is told: all of them, or those of each entry where there are several shards."""
    if not position.others:
        return [list(records)]
    keys = sorted({record.key for record in records})
    return [[record for record in records if record.key == key] for key in keys]


def _in_batches(hand: ByHand, after: Position, n_max: int) -> list[FeedRecord]:
    found: list[FeedRecord] = []
    while (batch := hand.store.carry_out(ReadFeed(after, n_max))).records:
        assert len(batch.records) <= n_max
        found.extend(batch.records)
        after = batch.position
    return found


def _check_versions(records: list[FeedRecord]) -> None:
    newest: dict[str, int] = {}
    for record in records:
        assert record.version >= newest.get(record.key, 0), record
        newest[record.key] = record.version
