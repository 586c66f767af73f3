"""Judging: entries whose functions look at events themselves are touched unless they were asked and said no."""
# ruff: noqa: S101 - these are tests, which happen to be shipped

from __future__ import annotations

from dataclasses import replace

from everfresh.matching.shapes import Group, predicate_shape
from everfresh.model.dependency import Tag
from everfresh.model.entry import Key, Lease, State
from everfresh.model.event import Event
from everfresh.protocol.applying import Applied, Apply, Candidate, Candidates, Judge
from everfresh.protocol.publishing import publish
from everfresh.protocol.requests import GiveUp
from everfresh.testing.by_hand import FUNCTION, ByHand, begin_of, put_of, recipe_of
from everfresh.testing.contract.fixtures import StoreFixtures

A = Tag("a")
WATCHED = (Group(predicate_shape("news.#", FUNCTION), ((),)),)
BUCKET = WATCHED[0].buckets()[0]
NEWS = Event("news.today")


class JudgeContract(StoreFixtures):
    """Candidates, what Apply spares, and the buckets in which builds stand from their beginning."""

    def test_an_entry_of_a_predicate_is_a_candidate(self, hand: ByHand) -> None:
        """With its recipe, so that the predicate can be given its arguments."""
        _build(hand, "k")
        hand.build("other", 1, A)

        found = hand.store.carry_out(Candidates((BUCKET,)))

        assert found == (Candidate(BUCKET, Key("k"), recipe_of("k")),)

    def test_a_candidate_that_is_not_spared_is_touched(self, hand: ByHand) -> None:
        """One for which the predicate says no is left as it is."""
        for key in ("yes", "no"):
            _build(hand, key)
        hand.spares = frozenset({"no"})

        assert hand.publish(NEWS).touched == ("yes",)
        assert (hand.state("yes"), hand.state("no")) == (State.DIRTY, State.FRESH)

    def test_another_topic_asks_nobody(self, hand: ByHand) -> None:
        """A predicate is asked only about the topics to which it subscribes."""
        _build(hand, "k")

        assert hand.publish(Event("weather.today")).touched == ()

    def test_an_entry_that_is_built_for_the_first_time_is_judged(self, hand: ByHand) -> None:
        """It stands in the bucket from its beginning, so that the event outruns its build."""
        lease = _lease(hand, "k")

        assert hand.publish(NEWS).touched == ("k",)

        assert hand.commit_groups(lease, WATCHED).state is State.DIRTY

    def test_an_entry_that_is_built_and_spared_is_fresh(self, hand: ByHand) -> None:
        """Its predicate was asked during the build, and said no."""
        lease = _lease(hand, "k")
        hand.spares = frozenset({"k"})

        assert hand.publish(NEWS).touched == ()

        assert hand.commit_groups(lease, WATCHED).state is State.FRESH

    def test_an_entry_that_came_between_is_touched(self, hand: ByHand) -> None:
        """Nobody has asked its predicate, and a needless rebuild costs little."""
        _build(hand, "early")
        _lease(hand, "declares nothing new")
        steps = publish([NEWS], hand.shapes)
        request = next(steps)
        answer: object = None
        while not isinstance(request, Judge):
            answer = hand.store.carry_out(request)
            request = steps.send(answer)
        assert sorted(candidate.key for candidate in request.candidates) == ["declares nothing new", "early"]
        late = _lease(hand, "late")

        last = steps.send({BUCKET: frozenset(candidate.key for candidate in request.candidates)})
        applied = hand.store.carry_out(last)

        assert isinstance(last, Apply)
        assert isinstance(applied, Applied)
        assert applied.touched == ("late",)
        assert hand.commit_groups(late, WATCHED).state is State.DIRTY

    def test_an_entry_of_older_code_is_judged_from_its_next_build_on(self, hand: ByHand) -> None:
        """An event during the first build by code that has a predicate outruns it, though it was not asked."""
        hand.build("k", 1)
        lease = _lease(hand, "k")
        hand.publish(NEWS)

        assert hand.commit_groups(lease, WATCHED).state is State.DIRTY

    def test_a_queued_first_build_is_judged(self, hand: ByHand) -> None:
        """A worker began it, who knows of no predicate before the commit; an event meanwhile outruns it."""
        _build(hand, "declares")
        hand.enqueue("k")
        lease = hand.take()[0].lease
        hand.publish(NEWS)

        assert hand.commit_groups(lease, WATCHED).state is State.DIRTY

    def test_a_commit_may_leave_a_predicates_bucket(self, hand: ByHand) -> None:
        """A build that does not stand in it any more is not asked any more."""
        lease = _lease(hand, "k")
        hand.commit_groups(lease, ())

        assert hand.store.carry_out(Candidates((BUCKET,))) == ()
        assert hand.publish(NEWS).touched == ()

    def test_a_first_build_that_was_given_up_is_no_candidate(self, hand: ByHand) -> None:
        """It leaves nothing, in no bucket either."""
        hand.store.carry_out(GiveUp(_lease(hand, "k")))

        assert hand.store.carry_out(Candidates((BUCKET,))) == ()

    def test_a_put_value_is_no_candidate(self, hand: ByHand) -> None:
        """It has no arguments that a predicate could be given; so it is touched."""
        _build(hand, "declares")
        hand.delete("declares")
        hand.store.carry_out(replace(put_of("k", 1), groups=WATCHED))

        assert hand.store.carry_out(Candidates((BUCKET,))) == ()
        assert hand.publish(NEWS).touched == ("k",)


def _lease(hand: ByHand, key: str) -> Lease:
    answer = hand.store.carry_out(begin_of(key, watched=WATCHED))
    assert isinstance(answer, Lease)
    return answer


def _build(hand: ByHand, key: str) -> None:
    hand.commit_groups(_lease(hand, key), WATCHED)
