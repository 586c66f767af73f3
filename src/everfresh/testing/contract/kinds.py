"""Kinds: values that are errors, and values that nobody but their builder may see."""
# ruff: noqa: S101 - these are tests, which happen to be shipped

from __future__ import annotations

from dataclasses import replace

from everfresh.model.dependency import Tag
from everfresh.model.entry import Kind, OnChange, State
from everfresh.protocol.requests import Committed
from everfresh.testing.by_hand import ByHand, commit_of
from everfresh.testing.clock import FakeClock
from everfresh.testing.contract.fixtures import StoreFixtures

A = Tag("a")


class KindContract(StoreFixtures):
    """What a commit says of its value: private, an error, makeshift."""

    def test_a_private_value_is_not_stored(self, hand: ByHand) -> None:
        """Its builder may use it; nobody else sees it, and whoever waits is told that the build ended."""
        position = hand.position()

        answer = self._commit(hand, "k", "secret", is_private=True)

        assert (answer.is_stored, answer.is_changed) == (False, False)
        assert answer.entry.value == commit_of(hand.lease("other"), "secret").built.value
        assert (answer.entry.state, answer.entry.version) == (State.DIRTY, 0)
        assert "event" not in answer.entry.reason
        assert hand.load("k").entry is None
        assert not hand.load("k").is_leased
        assert [(record.key, record.kind) for record in hand.feed(position)] == [("k", Kind.DROPPED)]

    def test_a_private_value_takes_the_last_one_with_it(self, hand: ByHand) -> None:
        """That one may have been as wrong; who was built from it is built again."""
        hand.build("k", 1, A)
        hand.build("out", 1, seen={"k": 1})

        self._commit(hand, "k", 2, is_private=True)

        assert hand.load("k").entry is None
        assert hand.state("out") is State.DIRTY
        assert hand.touch(A).touched == ()

    def test_an_error_is_known_as_one(self, hand: ByHand) -> None:
        """It is kept like a value, and a value takes its place."""
        assert self._commit(hand, "k", "boom", is_error=True).entry.is_error
        assert hand.entry("k").is_error
        assert hand.state("k") is State.FRESH

        hand.build("k", 1, A)

        assert not hand.entry("k").is_error

    def test_a_put_value_is_no_error(self, hand: ByHand) -> None:
        """Whatever was there before."""
        self._commit(hand, "k", "boom", is_error=True)

        hand.put("k", 1)

        assert not hand.entry("k").is_error

    def test_an_error_that_is_not_stored_is_known_as_one_too(self, hand: ByHand) -> None:
        """An event outran it, and its function drops: its builder is answered with an error all the same."""
        lease = hand.lease("k")
        hand.touch(A)
        request = commit_of(lease, "boom", A, on_change=OnChange.DROP)

        answer = hand.store.carry_out(replace(request, built=replace(request.built, is_error=True)))

        assert isinstance(answer, Committed)
        assert (answer.is_stored, answer.entry.is_error) == (False, True)

    def test_a_makeshift_value_is_tried_again(self, hand: ByHand, clock: FakeClock) -> None:
        """It is stored, is not believed, and a try is counted."""
        lease = hand.lease("k")

        answer = hand.store.carry_out(replace(commit_of(lease, 1, A), retry_in_s=5.0))

        assert isinstance(answer, Committed)
        assert (answer.is_stored, answer.entry.state) == (True, State.DIRTY)
        assert (answer.entry.retry_at, answer.entry.attempts) == (clock() + 5.0, 1)
        assert "failed" in answer.entry.reason
        assert hand.take() == []
        clock.advance(5.0)
        assert [due.lease.attempts for due in hand.take()] == [1]

    def _commit(
        self, hand: ByHand, key: str, value: object, *, is_private: bool = False, is_error: bool = False
    ) -> Committed:
        request = commit_of(hand.lease(key), value, A)
        built = replace(request.built, is_private=is_private, is_error=is_error)
        answer = hand.store.carry_out(replace(request, built=built))
        assert isinstance(answer, Committed)
        return answer
