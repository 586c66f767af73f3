"""Pacing: how many refreshes of a function run at once, how often, and none at all while its upstream is down."""
# ruff: noqa: S101 - these are tests, which happen to be shipped

from __future__ import annotations

import pytest

from everfresh.model.dependency import Tag
from everfresh.model.entry import State
from everfresh.protocol.queueing import TakeDue
from everfresh.protocol.requests import UNLIMITED, Fail, Limit
from everfresh.protocol.scheduling import BREAK_AFTER_FAILURES, BREAK_AFTER_KEYS, FIRST_PAUSE_S
from everfresh.testing.by_hand import FUNCTION, LEASE_S, ByHand
from everfresh.testing.clock import FakeClock
from everfresh.testing.contract.fixtures import StoreFixtures

A = Tag("a")
KEYS = tuple(f"k{number}" for number in range(BREAK_AFTER_FAILURES))


class PaceContract(StoreFixtures):
    """TakeDue within limits, and what failures do to a function."""

    def test_no_more_than_so_many_are_built_at_once(self, hand: ByHand) -> None:
        """Over all who take; when one ends, the next may begin."""
        _touched(hand, KEYS[:4])
        limit = Limit(n_at_once=2)

        first = hand.took(limit=limit)
        assert len(first.due) == 2  # noqa: PLR2004 - the limit
        assert first.next_due is None
        assert hand.took(limit=limit).due == ()
        hand.commit(first.due[0].lease, 1, A)

        assert len(hand.took(limit=limit).due) == 1

    def test_a_readers_build_counts(self, hand: ByHand) -> None:
        """The upstream does not care who asks."""
        _touched(hand, KEYS[:3])
        hand.lease("new")

        assert len(hand.took(limit=Limit(n_at_once=2)).due) == 1

    def test_a_dead_builder_does_not_count(self, hand: ByHand, clock: FakeClock) -> None:
        """Its lease is over."""
        _touched(hand, KEYS[:2])
        hand.took(1, limit=Limit(n_at_once=1))
        clock.advance(LEASE_S)

        assert len(hand.took(limit=Limit(n_at_once=1)).due) == 1

    def test_each_function_has_its_own_limit(self, hand: ByHand) -> None:
        """A slow one holds up nobody else, and what it holds back is nobody's next work."""
        _touched(hand, KEYS[:2], function="slow")
        _touched(hand, ("other",))
        request = TakeDue({"slow": Limit(n_at_once=1), FUNCTION: UNLIMITED}, 10, LEASE_S)

        took = hand.store.carry_out(request)

        # Both slow ones are as urgent.
        slow, other = sorted(due.lease.key for due in took.due)
        assert slow in KEYS[:2]
        assert other == "other"
        assert hand.store.carry_out(request).due == ()

    def test_a_rate_allows_so_many_a_second(self, hand: ByHand, clock: FakeClock) -> None:
        """A second's worth at once, and then one after the other; a worker is told when to ask again."""
        _touched(hand, KEYS[:4])
        limit = Limit(per_s=2.0)

        assert len(hand.took(limit=limit).due) == 2  # noqa: PLR2004 - a second's worth
        took = hand.took(limit=limit)
        assert not took.due
        assert took.next_due == pytest.approx(clock() + 0.5)
        clock.advance(0.5)

        assert len(hand.took(limit=limit).due) == 1
        assert hand.took(limit=limit).due == ()

    def test_a_rate_below_one_a_second_allows_one(self, hand: ByHand, clock: FakeClock) -> None:
        """And the next when its time has come."""
        _touched(hand, KEYS[:2])
        limit = Limit(per_s=0.1)

        assert len(hand.took(limit=limit).due) == 1
        clock.advance(9.9)
        assert hand.took(limit=limit).due == ()
        clock.advance(0.1)
        assert len(hand.took(limit=limit).due) == 1

    def test_a_rate_counts_what_began(self, hand: ByHand) -> None:
        """Asking when nothing is due uses nothing up."""
        limit = Limit(per_s=2.0)
        for _ in range(5):
            hand.took(limit=limit)
        _touched(hand, KEYS[:3])

        assert len(hand.took(limit=limit).due) == 2  # noqa: PLR2004 - a second's worth

    # ------------------------------------------------------------------------------------------------- the breaker

    def test_failures_of_several_entries_pause_their_function(self, hand: ByHand, clock: FakeClock) -> None:
        """The last of them says so, and for how long; nothing is taken meanwhile, and it is said until when."""
        _touched(hand, KEYS)
        answers = [hand.fail(due.lease, retry_in_s=0.1).broken for due in hand.take()]

        assert answers == [None] * (BREAK_AFTER_FAILURES - 1) + [(FUNCTION, FIRST_PAUSE_S)]
        clock.advance(FIRST_PAUSE_S - 0.5)
        took = hand.took()
        assert not took.due
        assert took.next_due == pytest.approx(clock() + 0.5)

    def test_the_pause_is_spread_by_the_roll(self, hand: ByHand) -> None:
        """Processes that failed together do not come back together."""
        _touched(hand, KEYS)

        answers = [hand.fail(due.lease, retry_in_s=0.1, roll=0.0).broken for due in hand.take()]

        assert answers[-1] == (FUNCTION, FIRST_PAUSE_S / 2)

    def test_one_entry_that_fails_pauses_nobody(self, hand: ByHand) -> None:
        """It is broken by itself; so are two."""
        keys = KEYS[: BREAK_AFTER_KEYS - 1]
        _touched(hand, keys)
        for _ in range(BREAK_AFTER_FAILURES):
            for key in keys:
                assert hand.fail(hand.lease(key), retry_in_s=0.0).broken is None

        assert len(hand.take()) == len(keys)

    def test_a_success_between_begins_the_count_anew(self, hand: ByHand) -> None:
        """The upstream answers, at least at times."""
        _touched(hand, KEYS)
        leases = [due.lease for due in hand.take()]
        for lease in leases[:-1]:
            hand.fail(lease)
        hand.commit(leases[-1], 1, A)

        assert [hand.fail(hand.lease(key)).broken for key in KEYS[:-1]] == [None] * (len(KEYS) - 1)

    def test_after_the_pause_one_tries(self, hand: ByHand, clock: FakeClock) -> None:
        """Whoever asks, and however many are due; the others wait for what comes of it."""
        _broken(hand)
        clock.advance(FIRST_PAUSE_S)

        assert len(hand.take()) == 1
        assert hand.take() == []

    def test_the_others_follow_when_it_succeeds(self, hand: ByHand, clock: FakeClock) -> None:
        """The commit says that the function is well again; the next commits have nothing to tell."""
        _broken(hand)
        clock.advance(FIRST_PAUSE_S)

        assert hand.commit(hand.take()[0].lease, 1, A).is_recovery

        rest = hand.take()
        assert len(rest) == len(KEYS) - 1
        assert not hand.commit(rest[0].lease, 1, A).is_recovery

    def test_each_further_pause_is_longer(self, hand: ByHand, clock: FakeClock) -> None:
        """The one that tried has failed too."""
        _broken(hand)
        clock.advance(FIRST_PAUSE_S)

        answer = hand.fail(hand.take()[0].lease, retry_in_s=0.1)

        assert answer.broken == (FUNCTION, 2 * FIRST_PAUSE_S)
        clock.advance(2 * FIRST_PAUSE_S - 0.001)
        assert hand.take() == []

    def test_what_was_under_way_says_nothing_new(self, hand: ByHand) -> None:
        """Builds that began before the pause and fail within it do not make it longer."""
        _touched(hand, (*KEYS, "last"))
        leases = [due.lease for due in hand.take()]
        for lease in leases[:-1]:
            hand.fail(lease, retry_in_s=0.1)

        assert hand.fail(leases[-1], retry_in_s=0.1).broken is None

    def test_a_pause_burns_no_tries(self, hand: ByHand, clock: FakeClock) -> None:
        """However often the one that tries fails, no entry comes nearer to being given up."""
        _broken(hand)
        before = [hand.entry(key).attempts for key in KEYS]
        for _ in range(5):
            clock.advance(100.0)
            due = hand.take()[0]
            # Its function would give it up now.
            hand.fail(due.lease, retry_in_s=None)

        assert [hand.entry(key).attempts for key in KEYS] == before
        assert {hand.state(key) for key in KEYS} == {State.DIRTY}

    def test_a_failure_that_may_be_another_entrys_is_no_attempt_and_pauses_nobody(self, hand: ByHand) -> None:
        """However many a run was for. Each waits for its next try, and is stale as if it had failed by itself."""
        _touched(hand, KEYS)
        answers = [
            hand.store.carry_out(
                Fail(lease=due.lease, fingerprint=None, reason="it broke", retry_in_s=1.0, is_shared=True)
            )
            for due in hand.take()
        ]

        assert [answer.broken for answer in answers] == [None] * len(KEYS)
        assert {hand.state(key) for key in KEYS} == {State.DIRTY}
        assert {hand.entry(key).attempts for key in KEYS} == {0}
        assert {hand.entry(key).reason for key in KEYS} == {"it broke"}
        assert hand.take() == []

    def test_what_failed_waits_at_least_for_the_end_of_the_pause(self, hand: ByHand, clock: FakeClock) -> None:
        """Its own wait counts when that is longer."""
        _touched(hand, KEYS)
        leases = [due.lease for due in hand.take()]
        for lease in leases[:-2]:
            hand.fail(lease, retry_in_s=0.1)
        hand.fail(leases[-2], retry_in_s=0.1)
        short = hand.fail(leases[-1], retry_in_s=0.1).entry
        assert short is not None
        assert short.retry_at == clock() + FIRST_PAUSE_S

        clock.advance(FIRST_PAUSE_S)
        long = hand.fail(hand.take()[0].lease, retry_in_s=77.0).entry
        assert long is not None
        assert long.retry_at == clock() + 77.0

    def test_a_pause_stops_no_reader(self, hand: ByHand) -> None:
        """Who needs the value now may try; success ends the pause for all."""
        _broken(hand)

        lease = hand.lease("k0")
        assert hand.commit(lease, 1, A).is_recovery

        assert len(hand.take()) == 0
        assert not hand.commit(hand.lease("k1"), 1, A).is_recovery

    def test_an_event_while_paused_is_not_tried_before_the_pause_ends(self, hand: ByHand, clock: FakeClock) -> None:
        """That the data changed does not bring the upstream back."""
        _broken(hand)
        hand.touch(A)

        took = hand.took()
        assert not took.due
        assert took.next_due == pytest.approx(clock() + FIRST_PAUSE_S)

    def test_a_function_that_is_paused_holds_up_nobody_else(self, hand: ByHand) -> None:
        """Another upstream is well."""
        _broken(hand)
        _touched(hand, ("other",), function="well")

        assert len(hand.take(function="well")) == 1

    def test_a_late_failure_pauses_nobody(self, hand: ByHand, clock: FakeClock) -> None:
        """Who lost the lease has no say."""
        _touched(hand, KEYS)
        leases = [due.lease for due in hand.take()]
        clock.advance(LEASE_S)

        assert [hand.fail(lease).broken for lease in leases] == [None] * len(leases)
        assert len(hand.take()) == len(KEYS)

    def test_failed_first_builds_count(self, hand: ByHand) -> None:
        """They leave nothing but the news that the upstream is down."""
        answers = [hand.fail(hand.lease(key)).broken for key in KEYS]

        assert answers[-1] == (FUNCTION, FIRST_PAUSE_S)


def _touched(hand: ByHand, keys: tuple[str, ...], *, function: str = FUNCTION) -> None:
    for key in keys:
        hand.build(key, 1, A, function=function)
    hand.touch(A)


def _broken(hand: ByHand) -> None:
    """A function whose refreshes are paused; all its entries are due by the end of the pause."""
    _touched(hand, KEYS)
    for due in hand.take():
        hand.fail(due.lease, retry_in_s=0.1)
