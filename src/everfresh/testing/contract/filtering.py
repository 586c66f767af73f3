"""Filtering: dependencies with conditions beyond equality, whose candidates are decided one by one."""
# ruff: noqa: S101 - these are tests, which happen to be shipped

from __future__ import annotations

import pytest

from everfresh.model.conditions import Condition, between, ge, gt, is_null, lt, not_, one_of, startswith
from everfresh.model.dependency import Scope, Topic
from everfresh.model.entry import State
from everfresh.model.event import Event
from everfresh.testing.by_hand import ByHand
from everfresh.testing.contract.fixtures import StoreFixtures

CHEAP = Scope("book", {"genre": "sf", "price": lt(9)})
DEAR = Scope("book", {"genre": "sf", "price": ge(9)})
CHEAP_CRIME = Scope("book", {"genre": "crime", "price": lt(9)})
CHEAPER = Event.change("book", before={"genre": "sf", "price": 20}, after={"genre": "sf", "price": 5})
STAYS_CHEAP = Event.change("book", before={"genre": "sf", "price": 5}, after={"genre": "sf", "price": 6})


class FilterContract(StoreFixtures):
    """Conditions kept with their buckets, and probes kept for builds under way."""

    def test_a_condition_decides(self, hand: ByHand) -> None:
        """What must be equal finds the candidates, and each is touched only if its own condition says so."""
        hand.build("cheap", 1, CHEAP)
        hand.build("cheap crime", 1, CHEAP_CRIME)
        hand.build("very cheap", 1, Scope("book", {"genre": "sf", "price": lt(2)}))

        assert hand.publish(CHEAPER).touched == ("cheap",)
        assert hand.state("very cheap") is State.FRESH

    @pytest.mark.parametrize(
        ("condition", "value", "is_met"),
        [
            (gt(5), 6, True),
            (gt(5), 5, False),
            (between(2, 4), 3, True),
            (between(2, 4), 5, False),
            (one_of("x", "y"), "y", True),
            (one_of("x", "y"), "z", False),
            (startswith("ab"), "abc", True),
            (startswith("ab"), "ac", False),
            (is_null(), None, True),
            (is_null(), 0, False),
            (not_("x"), "y", True),
            (not_("x"), "x", False),
        ],
        ids=repr,
    )
    def test_every_condition_reaches_the_store_and_back(
        self,
        hand: ByHand,
        condition: Condition,
        value: object,
        is_met: bool,  # noqa: FBT001 - a column of the table above
    ) -> None:
        """Its operand is kept as it was given, for entries that are there and for builds under way."""
        dependency = Topic("bug.*", {"field": condition})
        hand.build("there", 1, dependency)
        lease = hand.lease("building", dependency)

        assert hand.publish(Event("bug.new", {"field": value})).touched == (("there",) if is_met else ())

        expected = State.DIRTY if is_met else State.FRESH
        assert hand.commit(lease, 1, dependency).entry.state is expected

    def test_an_event_that_passes_the_filter_outruns_a_build(self, hand: ByHand) -> None:
        """The build is in no bucket yet, so what the event said is kept for it."""
        lease = hand.lease("k", CHEAP)
        hand.publish(CHEAPER)

        assert hand.commit(lease, 1, CHEAP).entry.state is State.DIRTY

    def test_an_event_that_does_not_pass_the_filter_does_not_outrun_a_build(self, hand: ByHand) -> None:
        """It changes nothing for this condition: the list has the same members."""
        lease = hand.lease("k", CHEAP)
        hand.publish(STAYS_CHEAP)

        assert hand.commit(lease, 1, CHEAP).entry.state is State.FRESH

    def test_one_of_several_events_outruns_a_build(self, hand: ByHand) -> None:
        """Whichever it is; each is kept."""
        first, last = hand.lease("first", CHEAP), hand.lease("last", DEAR)
        hand.publish(CHEAPER, STAYS_CHEAP)
        hand.publish(STAYS_CHEAP)

        assert hand.commit(first, 1, CHEAP).entry.state is State.DIRTY
        assert hand.commit(last, 1, DEAR).entry.state is State.DIRTY

    def test_an_event_before_the_build_does_not_outrun_it(self, hand: ByHand) -> None:
        """What was said before a build began is nothing to it, though it is kept."""
        early = hand.lease("early", CHEAP)
        hand.publish(CHEAPER)
        late = hand.lease("late", CHEAP)

        assert hand.commit(late, 1, CHEAP).entry.state is State.FRESH
        assert hand.commit(early, 1, CHEAP).entry.state is State.DIRTY

    def test_an_event_about_another_stem_does_not_outrun_a_build(self, hand: ByHand) -> None:
        """What must be equal is not."""
        lease = hand.lease("k", CHEAP_CRIME)
        hand.publish(CHEAPER)

        assert hand.commit(lease, 1, CHEAP_CRIME).entry.state is State.FRESH

    def test_naming_a_filtered_list_touches_it(self, hand: ByHand) -> None:
        """Whether it is there or being built, and no other list."""
        hand.build("cheap", 1, CHEAP)
        hand.build("dear", 1, DEAR)
        lease = hand.lease("building", CHEAP)

        assert hand.touch(CHEAP).touched == ("cheap",)

        assert hand.commit(lease, 1, CHEAP).entry.state is State.DIRTY

    def test_an_event_that_cannot_say_touches_all_filtered_lists_of_the_type(self, hand: ByHand) -> None:
        """Whole shapes are touched, those with filters too, and the builds under way."""
        hand.build("cheap", 1, CHEAP)
        lease = hand.lease("building", DEAR)

        assert hand.publish(Event.unknown("book")).touched == ("cheap",)

        assert hand.commit(lease, 1, DEAR).entry.state is State.DIRTY

    def test_a_condition_stays_until_its_last_member_goes(self, hand: ByHand) -> None:
        """And comes back with the next."""
        hand.build("one", 1, CHEAP)
        hand.build("two", 1, CHEAP)

        hand.delete("one")
        assert hand.publish(CHEAPER).touched == ("two",)
        hand.build("two", 1)
        assert hand.publish(CHEAPER).touched == ()
        hand.build("three", 1, CHEAP)
        assert hand.publish(CHEAPER).touched == ("three",)

    def test_a_build_may_take_another_condition(self, hand: ByHand) -> None:
        """It is touched by what it depends on now, not by what it depended on before."""
        hand.build("k", 1, CHEAP)
        hand.build("k", 1, Scope("book", {"genre": "sf", "price": lt(2)}))

        assert hand.publish(CHEAPER).touched == ()

    def test_an_entry_may_have_several_conditions(self, hand: ByHand) -> None:
        """Any of them touches it, once."""
        hand.build("k", 1, CHEAP, DEAR)

        assert hand.publish(CHEAPER).touched == ("k",)
