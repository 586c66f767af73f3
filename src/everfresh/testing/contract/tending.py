"""Tending: what is queued for its first build, tried again, known to be read, or no longer trusted."""
# ruff: noqa: S101 - these are tests, which happen to be shipped

from __future__ import annotations

from collections.abc import Sequence

import pytest

from everfresh.model.dependency import Tag
from everfresh.model.entry import FeedRecord, Key, Kind, Lease, OnChange, State, Terms
from everfresh.model.position import Position
from everfresh.protocol.inspecting import Count
from everfresh.protocol.queueing import Distrust, Retry
from everfresh.protocol.requests import Busy, Extend, GiveUp, Overtaken, ReadFeed
from everfresh.protocol.scheduling import RECENT_S
from everfresh.testing.by_hand import LEASE_S, ByHand, begin_of, commit_of, recipe_of
from everfresh.testing.clock import FakeClock
from everfresh.testing.contract.fixtures import StoreFixtures

A, B = Tag("a"), Tag("b")
REASON = "the file was put back"


class TendContract(StoreFixtures):
    """Enqueue, Retry, Note, Distrust."""

    # ----------------------------------------------------------------------------------------------- first builds

    def test_a_first_build_is_queued(self, hand: ByHand, clock: FakeClock) -> None:
        """Nobody waits for it; there is nothing to serve, and a worker builds it."""
        assert hand.enqueue("k") == 1
        assert hand.load("k").entry is None
        assert not hand.load("k").is_leased
        assert hand.explain("k").listed.stale_since == clock()
        assert hand.explain("k").listed.reason == "not built yet"

        (due,) = hand.take()

        assert (due.lease.key, due.lease.attempts, due.recipe) == ("k", 0, recipe_of("k"))
        assert hand.commit(due.lease, 1, A).entry.state is State.FRESH
        assert hand.take() == []

    def test_queueing_wakes_workers(self, hand: ByHand) -> None:
        """It is told like an entry that became stale."""
        position = hand.position()

        hand.enqueue("k")

        assert [(record.key, record.kind) for record in hand.feed(position)] == [("k", Kind.STALE)]

    def test_what_is_there_is_not_queued(self, hand: ByHand) -> None:
        """Built, being built, put or queued already; each key counts for itself."""
        hand.build("built", 1)
        hand.lease("building")
        hand.put("put", 1)
        hand.enqueue("queued")
        position = hand.position()

        assert hand.enqueue("built", "building", "put", "queued", "new") == 1

        assert hand.state("built") is State.FRESH
        assert [record.key for record in hand.feed(position)] == ["new"]
        assert sorted(due.lease.key for due in hand.take()) == ["new", "queued"]

    def test_a_reader_may_begin_what_is_queued(self, hand: ByHand) -> None:
        """It does not wait for a worker, and no worker builds it once more."""
        hand.enqueue("k")

        lease = hand.store.carry_out(begin_of("k", good_from=0))

        assert isinstance(lease, Lease)
        assert hand.take() == []
        hand.commit(lease, 1)
        assert hand.take() == []

    def test_a_queued_first_build_has_terms(self, hand: ByHand, clock: FakeClock) -> None:
        """Its priority and the end of its job are its function's."""
        hand.enqueue("low")
        hand.enqueue("high", terms=Terms(priority=1, job_expires_s=60.0))
        assert [due.lease.key for due in hand.take(1)] == ["high"]
        hand.enqueue("late", terms=Terms(job_expires_s=60.0))
        clock.advance(61.0)

        assert hand.took().expired == ("late",)

    def test_a_queued_first_build_waits_as_long_as_need_be(self, hand: ByHand, clock: FakeClock) -> None:
        """Nobody's lease has run out: it is not cleared away like a builder's that died."""
        hand.enqueue("k")
        clock.advance(100 * LEASE_S)

        assert [due.lease.key for due in hand.take()] == ["k"]

    def test_a_queued_first_build_that_is_given_up_is_queued_again(self, hand: ByHand) -> None:
        """Somebody wants it still, and no try is counted."""
        hand.enqueue("k")

        hand.store.carry_out(GiveUp(hand.take()[0].lease))

        assert [due.lease.attempts for due in hand.take()] == [0]

    def test_a_queued_first_build_that_fails_is_tried_again(self, hand: ByHand, clock: FakeClock) -> None:
        """Like a refresh; there is still nothing to serve."""
        hand.enqueue("k")

        assert hand.fail(hand.take()[0].lease, retry_in_s=5.0, reason="down").entry is None

        assert hand.explain("k").listed.reason == "down"
        assert hand.take() == []
        clock.advance(5.0)
        assert [due.lease.attempts for due in hand.take()] == [1]

    def test_a_queued_first_build_may_fail_for_good(self, hand: ByHand, clock: FakeClock) -> None:
        """It is listed as failed until a person retries it, or a reader builds it."""
        hand.enqueue("k", "other")
        for due in hand.take():
            hand.fail(due.lease, retry_in_s=None)
        clock.advance(1e6)
        assert hand.take() == []
        assert hand.explain("k").listed.state is State.FAILED

        assert _retry(hand, "k") == 1
        assert hand.build("other", 1).state is State.FRESH

        assert [due.lease.key for due in hand.take()] == ["k"]

    def test_a_queued_first_build_whose_builder_died_is_somebodys_work(self, hand: ByHand, clock: FakeClock) -> None:
        """Unlike what only its dead builder wanted; a try is counted."""
        hand.enqueue("k")
        hand.take()
        clock.advance(LEASE_S)

        assert [(due.lease.key, due.lease.attempts) for due in hand.take()] == [("k", 1)]

    def test_once_it_is_built_it_is_an_entry_like_any_other(self, hand: ByHand) -> None:
        """Who built it is known, and when it is gone nobody wants it."""
        hand.enqueue("k")
        hand.store.carry_out(commit_of(hand.take()[0].lease, 1, builder="worker 1"))
        assert hand.explain("k").builder == "worker 1"
        hand.delete("k")

        hand.fail(hand.lease("k"))

        assert hand.load("k").entry is None
        assert hand.enqueue("k") == 1

    # ----------------------------------------------------------------------------------------------------- retries

    def test_a_person_retries_what_failed_for_good(self, hand: ByHand) -> None:
        """It is due at once, and its tries are counted anew."""
        _failed(hand, retry_in_s=None)
        position = hand.position()

        assert _retry(hand, "k") == 1

        assert [(record.key, record.kind) for record in hand.feed(position)] == [("k", Kind.STALE)]
        assert hand.state("k") is State.DIRTY
        assert [due.lease.attempts for due in hand.take()] == [0]

    def test_a_person_retries_what_waits(self, hand: ByHand) -> None:
        """Its pause is over."""
        _failed(hand, retry_in_s=300.0)

        assert _retry(hand, "k") == 1

        assert hand.entry("k").retry_at is None
        assert [due.lease.attempts for due in hand.take()] == [0]

    def test_there_is_nothing_to_retry_about_others(self, hand: ByHand) -> None:
        """What is fresh, merely dirty, being built, or not there."""
        hand.build("fresh", 1)
        hand.build("dirty", 1, A)
        hand.touch(A)
        _failed(hand, retry_in_s=300.0)
        lease = hand.lease("k")
        position = hand.position()

        assert _retry(hand, "fresh", "dirty", "k", "nowhere") == 0

        assert hand.feed(position) == []
        assert hand.state("fresh") is State.FRESH
        hand.commit(lease, 1, B)

    # ------------------------------------------------------------------------------------------------------- notes

    def test_reads_and_watchers_are_noted(self, hand: ByHand, clock: FakeClock) -> None:
        """By whichever process they come, the latest counts."""
        hand.build("k", 1)
        hand.note(reads={"k": clock() + 5.0}, watched={"k": clock() + 50.0})

        hand.note(reads={"k": clock() + 1.0}, watched={"k": clock() + 10.0})

        assert hand.explain("k").listed.read_at == clock() + 5.0
        assert hand.explain("k").watched_until == clock() + 50.0

    def test_only_what_is_there_is_noted(self, hand: ByHand, clock: FakeClock) -> None:
        """An entry that went meanwhile does not come back."""
        hand.build("k", 1)
        position = hand.position()

        hand.note(reads={"nowhere": clock() + 1.0, "k": clock() + 1.0}, watched={"nowhere": clock() + 1.0})

        assert hand.load("nowhere").entry is None
        assert hand.enqueue("nowhere") == 1
        assert hand.explain("k").listed.read_at == clock() + 1.0
        assert [record.key for record in hand.feed(position)] == ["nowhere"]

    def test_a_note_queues_nothing(self, hand: ByHand, clock: FakeClock) -> None:
        """Neither what is settled, nor what somebody builds, nor earlier than it is due."""
        hand.build("fresh", 1)
        hand.build("waits", 1, A, terms=Terms(debounce_s=5.0))
        hand.build("builds", 1, A)
        hand.lease("builds")
        hand.touch(A)

        hand.note(reads=dict.fromkeys(("fresh", "waits", "builds"), clock()))

        assert hand.take() == []
        clock.advance(5.0)
        assert [due.lease.key for due in hand.take()] == ["waits"]

    # ---------------------------------------------------------------------------------------------------- distrust

    def test_distrust_begins_a_new_life(self, hand: ByHand) -> None:
        """Followers start over, whatever they knew; positions go on growing."""
        hand.build("k", 1, A)
        before = hand.position()
        told: list[Sequence[FeedRecord]] = []
        hand.store.listen(told.append)

        assert _distrust(hand) == 1

        after = hand.position()
        assert after.epoch != before.epoch
        assert after.sequence > before.sequence
        # Of several shards each tells.
        assert [list(records) for records in told] == [[]] * len(after.parts())
        assert hand.store.carry_out(ReadFeed(before)).is_reset
        assert hand.store.carry_out(ReadFeed(Position(after.epoch, before.sequence))).is_reset
        assert not hand.store.carry_out(ReadFeed(after)).is_reset

    def test_what_was_built_before_is_dirty(self, hand: ByHand, clock: FakeClock) -> None:
        """It is kept, with the reason; nobody may take it as good as of any position; a worker builds it."""
        hand.touch(B)
        hand.build("k", "old", A)
        hand.build("out", 1, seen={"k": "old"})
        since = clock()

        _distrust(hand)

        entry = hand.entry("k")
        assert entry.position.sequence == 0
        assert (hand.value("k"), entry.state, entry.stale_since, entry.reason) == ("old", State.DIRTY, since, REASON)
        assert hand.state("out") is State.DIRTY
        assert isinstance(hand.store.carry_out(begin_of("k", good_from=1)), Lease)

    def test_since_when_it_is_stale_stays(self, hand: ByHand, clock: FakeClock) -> None:
        """What was stale before is as old as it was."""
        hand.build("k", 1, A)
        since = clock()
        hand.touch(A)
        clock.advance(5.0)

        _distrust(hand)

        assert hand.entry("k").stale_since == since

    def test_a_distrusted_entry_is_well_after_its_build(self, hand: ByHand) -> None:
        """With a newer version for another value, and its dependencies as ever."""
        old = hand.build("k", 1, A)
        _distrust(hand)

        new = hand.commit(hand.take()[0].lease, 2, A).entry

        assert (new.state, new.position.epoch) == (State.FRESH, hand.load("k").position.epoch)
        assert new.version > old.version
        assert hand.touch(A).touched == ("k",)

    def test_leases_are_void(self, hand: ByHand) -> None:
        """Whoever was building changes nothing, and the next may begin at once."""
        hand.build("k", "old", A)
        lease = hand.lease("k")
        first = hand.lease("first")

        _distrust(hand)

        assert isinstance(hand.store.carry_out(commit_of(lease, "late", A)), Overtaken)
        assert isinstance(hand.store.carry_out(commit_of(first, "late", A)), Overtaken)
        assert not hand.store.carry_out(Extend((lease,), 10.0))
        assert not isinstance(hand.store.carry_out(begin_of("k")), Busy)
        assert hand.load("first").entry is None
        assert hand.value("k") == "old"

    def test_what_was_never_built_is_gone(self, hand: ByHand) -> None:
        """Nothing of it is left; its builder's value would not be taken."""
        hand.lease("first")

        assert _distrust(hand) == 0

        assert hand.store.carry_out(Count()).n_known == 0
        assert hand.take() == []

    def test_a_build_that_was_under_way_is_no_failed_try(self, hand: ByHand) -> None:
        """Its builder lives; it was the store that began anew."""
        hand.build("k", 1, A)
        hand.lease("k")

        _distrust(hand)

        assert [due.lease.attempts for due in hand.take()] == [0]

    def test_what_nobody_builds_anew_is_gone(self, hand: ByHand) -> None:
        """Put values, and entries whose function drops."""
        hand.put("put", 1)
        hand.build("drops", 1, A, on_change=OnChange.DROP)

        assert _distrust(hand) == 0

        assert hand.load("put").entry is None
        assert hand.load("drops").entry is None

    def test_what_goes_may_take_others_with_it(self, hand: ByHand) -> None:
        """Each is dropped once, in whatever order they come up."""
        hand.put("in", 1)
        hand.build("out", 1, seen={"in": 1}, on_change=OnChange.DROP)
        hand.build("a", 1, seen={"out": 1})
        hand.build("z", 1, A)

        assert _distrust(hand) == 2  # noqa: PLR2004 - the two that refresh

        assert [hand.load(key).entry is None for key in ("in", "out", "a", "z")] == [True, True, False, False]

    def test_a_put_computed_before_is_refused(self, hand: ByHand) -> None:
        """Its fence is of another life."""
        fence = hand.position()
        _distrust(hand)

        assert not hand.put("k", 1, A, fence=fence)
        assert hand.put("k", 1, A, fence=hand.position())

    def test_they_fall_due_one_after_the_other(self, hand: ByHand, clock: FakeClock) -> None:
        """So many a second, so that the upstream is not asked for all at once; the most urgent first."""
        hand.build("other", 1)
        hand.build("high", 1, terms=Terms(priority=1))
        for key in ("read", "watched"):
            hand.build(key, 1)
        clock.advance(RECENT_S + 1.0)
        hand.note(reads={"read": clock()}, watched={"watched": clock() + 100.0})

        assert _distrust(hand, per_s=2.0) == 4  # noqa: PLR2004 - all of them

        order: list[list[str]] = []
        for _ in range(4):
            order.append([due.lease.key for due in hand.take()])
            assert hand.take() == []
            clock.advance(0.5)
        assert order == [["high"], ["watched"], ["read"], ["other"]]

    @pytest.mark.parametrize("retry_in_s", [300.0, None])
    def test_tries_are_counted_anew(self, hand: ByHand, retry_in_s: float | None) -> None:
        """What failed, or waits for its next try, is tried again: it may have failed for what is over."""
        _failed(hand, retry_in_s=retry_in_s)

        _distrust(hand)

        assert hand.entry("k").retry_at is None
        assert [due.lease.attempts for due in hand.take()] == [0]

    def test_shapes_are_known_in_the_new_life(self, hand: ByHand) -> None:
        """Events find what they found before."""
        hand.build("k", 1, A)
        _distrust(hand)
        hand.commit(hand.take()[0].lease, 1, A)

        assert hand.touch(A).touched == ("k",)

    @pytest.mark.parametrize("n_entries", [2_500])
    def test_all_of_many_are_distrusted(self, hand: ByHand, n_entries: int) -> None:
        """However many there are."""
        hand.enqueue(*(f"k{number}" for number in range(n_entries)))
        for due in hand.take(n_entries):
            hand.commit(due.lease, 1)

        assert _distrust(hand, per_s=1e6) == n_entries


def _failed(hand: ByHand, *, retry_in_s: float | None) -> None:
    """The entry k, whose refresh failed."""
    hand.build("k", 1, B)
    hand.touch(B)
    hand.fail(hand.lease("k"), retry_in_s=retry_in_s)


def _retry(hand: ByHand, *keys: str) -> int:
    return hand.store.carry_out(Retry(tuple(map(Key, keys))))


def _distrust(hand: ByHand, *, per_s: float = 100.0) -> int:
    return hand.store.carry_out(Distrust(REASON, per_s))
