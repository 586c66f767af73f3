"""Ending: what becomes of values whose lifetime is over."""
# ruff: noqa: S101 - these are tests, which happen to be shipped

from __future__ import annotations

from math import inf

import pytest

from everfresh.model.entry import OnChange, State, Terms
from everfresh.protocol.inspecting import Count
from everfresh.testing.by_hand import ByHand, commit_of
from everfresh.testing.clock import FakeClock
from everfresh.testing.contract.fixtures import StoreFixtures

MOMENT_S = 0.001


class EndContract(StoreFixtures):
    """Refreshed by time, or dropped by time when their function leaves the building to readers."""

    def test_a_lifetime_begins_with_the_commit(self, hand: ByHand, clock: FakeClock) -> None:
        """Then a worker builds the entry anew, and it has another."""
        lease = hand.lease("k")
        clock.advance(3.0)
        entry = hand.commit(lease, 1, terms=Terms(expires_s=60.0)).entry
        assert entry.expires_at == clock() + 60.0

        clock.advance(60.0 - MOMENT_S)
        assert hand.take() == []
        clock.advance(MOMENT_S)
        due = hand.take()[0]

        assert hand.commit(due.lease, 1, terms=Terms(expires_s=60.0)).entry.expires_at == clock() + 60.0

    @pytest.mark.parametrize(("own_s", "inner_s"), [(60.0, 30.0), (30.0, 60.0)])
    def test_the_shorter_of_two_lifetimes_counts(
        self, hand: ByHand, clock: FakeClock, own_s: float, inner_s: float
    ) -> None:
        """Its own, and that of what it was built from."""
        lease = hand.lease("k")
        request = commit_of(lease, 1, expires_at=clock() + inner_s, terms=Terms(expires_s=own_s))
        hand.store.carry_out(request)

        assert hand.entry("k").expires_at == clock() + 30.0

    def test_what_drops_on_change_is_dropped_when_it_may_not_be_served_any_more(
        self, hand: ByHand, clock: FakeClock
    ) -> None:
        """No worker builds what nobody asks for; until it goes it may stand in."""
        hand.build("k", 1, terms=Terms(on_change=OnChange.DROP, expires_s=60.0, linger_s=30.0))
        clock.advance(90.0 - MOMENT_S)

        took = hand.took()
        assert took.due == ()
        assert took.next_due == pytest.approx(clock() + MOMENT_S)
        assert hand.state("k") is State.DIRTY
        clock.advance(MOMENT_S)

        assert hand.take() == []
        assert hand.load("k").entry is None

    def test_what_may_always_stand_in_is_never_dropped_by_time(self, hand: ByHand, clock: FakeClock) -> None:
        """Its function says so."""
        hand.build("k", 1, terms=Terms(on_change=OnChange.DROP, expires_s=60.0, linger_s=inf))
        clock.advance(1e9)

        took = hand.took()

        assert (took.due, took.next_due) == ((), None)
        assert hand.state("k") is State.DIRTY

    def test_what_is_built_anew_when_its_time_comes_is_not_dropped(self, hand: ByHand, clock: FakeClock) -> None:
        """A reader came first: neither a build under way nor the new value goes with the old one."""
        terms = Terms(on_change=OnChange.DROP, expires_s=60.0)
        hand.build("k", 1, terms=terms)
        clock.advance(60.0)

        lease = hand.lease("k")
        assert hand.take() == []
        hand.commit(lease, 2, terms=terms)
        assert hand.take() == []

        assert hand.value("k") == 2  # noqa: PLR2004 - what was built

    def test_commits_clear_away_what_is_over(self, hand: ByHand, clock: FakeClock) -> None:
        """There may be no worker; a store of short-lived values does not grow for ever."""
        terms = Terms(on_change=OnChange.DROP, expires_s=60.0)
        for key in ("k0", "k1", "k2", "k3"):
            hand.build(key, 1, terms=terms)
        clock.advance(60.0)

        hand.build("k4", 1, terms=terms)
        hand.build("k5", 1, terms=terms)

        assert [hand.load(f"k{number}").entry is None for number in range(6)] == [True] * 4 + [False] * 2

    def test_what_is_over_is_cleared_away_whoever_stands_before_it(self, hand: ByHand, clock: FakeClock) -> None:
        """First builds whose builders died, and entries that failed for good, go as well."""
        terms = Terms(on_change=OnChange.DROP, expires_s=60.0)
        for number in range(4):
            hand.lease(f"dead{number}")
        hand.build("failed", 1, terms=terms)
        hand.fail(hand.lease("failed"), retry_in_s=None)
        clock.advance(60.0)
        hand.fail(hand.lease("failed"), retry_in_s=None)

        for number in range(4):
            hand.build(f"k{number}", 1, terms=terms)

        assert hand.store.carry_out(Count()).n_known == 4  # noqa: PLR2004 - those that were built just now
