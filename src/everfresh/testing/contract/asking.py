"""Asking: several entries at once, lists of them, how many there are, and all that is known of one."""
# ruff: noqa: S101 - these are tests, which happen to be shipped

from __future__ import annotations

import pytest

from everfresh.model.dependency import Call, Id, Tag, Topic
from everfresh.model.entry import Key, OnChange, State, Terms
from everfresh.model.event import Event
from everfresh.protocol.inspecting import Count, Counted, Explain, ListEntries
from everfresh.protocol.requests import LoadMany
from everfresh.testing.by_hand import FINGERPRINT, FUNCTION, LEASE_S, ByHand, commit_of, groups_of
from everfresh.testing.clock import FakeClock
from everfresh.testing.contract.fixtures import StoreFixtures

A, B = Tag("a"), Tag("b")


class AskContract(StoreFixtures):
    """LoadMany, ListEntries, Count, Explain; none of them changes anything."""

    def test_several_are_loaded_in_order(self, hand: ByHand) -> None:
        """Each as `Load` gives it, there or not, as often as it was asked for."""
        hand.build("in", 1, A)
        hand.build("out", 2, seen={"in": 1})
        hand.touch(A)
        hand.lease("building")
        keys = ("out", "nowhere", "in", "building", "out")

        found = hand.store.carry_out(LoadMany(tuple(map(Key, keys))))

        assert found == tuple(hand.load(key) for key in keys)

    def test_several_are_loaded_by_fingerprint(self, hand: ByHand) -> None:
        """Values of other code are not there."""
        hand.build("k", 1)

        for fingerprint, is_there in ((FINGERPRINT, True), ("f2", False)):
            (found,) = hand.store.carry_out(LoadMany((Key("k"),), fingerprint))
            assert (found.entry is not None) is is_there

    def test_nothing_is_loaded_when_nothing_is_asked_for(self, hand: ByHand) -> None:
        """No keys, no answers."""
        assert hand.store.carry_out(LoadMany(())) == ()

    # ------------------------------------------------------------------------------------------------------- lists

    def test_entries_are_listed_by_key(self, hand: ByHand) -> None:
        """In order, page by page."""
        for key in ("c", "a", "d", "b"):
            hand.build(key, 1)

        assert _listed(hand, ListEntries()) == ["a", "b", "c", "d"]
        assert _listed(hand, ListEntries(n_max=2)) == ["a", "b"]
        assert _listed(hand, ListEntries(after=Key("b"), n_max=1)) == ["c"]
        assert _listed(hand, ListEntries(after=Key("d"))) == []

    def test_entries_are_listed_by_function_and_state(self, hand: ByHand) -> None:
        """Or by both; put values have no function."""
        hand.build("mine fresh", 1, B, function="mine")
        hand.build("mine dirty", 1, A, function="mine")
        hand.build("theirs dirty", 1, A, function="theirs")
        hand.put("put", 1)
        hand.touch(A)

        assert _listed(hand, ListEntries(function="mine")) == ["mine dirty", "mine fresh"]
        assert _listed(hand, ListEntries(state=State.DIRTY)) == ["mine dirty", "theirs dirty"]
        assert _listed(hand, ListEntries(function="mine", state=State.DIRTY)) == ["mine dirty"]
        assert _listed(hand, ListEntries(function="")) == ["put"]
        assert _listed(hand, ListEntries(state=State.DIRTY, after=Key("mine dirty"))) == ["theirs dirty"]
        assert _listed(hand, ListEntries(function="mine", n_max=1)) == ["mine dirty"]
        assert _listed(hand, ListEntries(function="nobody's")) == []

    @pytest.mark.parametrize("state", State)
    def test_each_state_is_listed_and_counted(self, hand: ByHand, state: State) -> None:
        """As it is when it is asked for."""
        hand.build("in", 1, A)
        hand.build("fresh", 1)
        for key in ("suspect", "building"):
            hand.build(key, 1, seen={"in": 1})
        hand.build("failed", 1, B)
        hand.touch(A, B)
        hand.fail(hand.lease("failed"), retry_in_s=None)
        hand.lease("building")
        expected = "in" if state is State.DIRTY else state.value

        assert _listed(hand, ListEntries(state=state)) == [expected]
        assert _counted(hand).n_by_state[state] == 1

    def test_what_is_listed_says_how_it_stands(self, hand: ByHand, clock: FakeClock) -> None:
        """Everything but the value."""
        hand.build("k", "value", A)
        built_at = clock()
        clock.advance(1.0)
        hand.note(reads={"k": clock()})
        hand.touch(A)
        hand.fail(hand.lease("k"), retry_in_s=5.0, reason="down")

        (listed,) = hand.store.carry_out(ListEntries())

        assert (listed.key, listed.function, listed.state, listed.version) == ("k", FUNCTION, State.DIRTY, 1)
        assert (listed.built_at, listed.read_at, listed.stale_since) == (built_at, clock(), clock())
        assert (listed.reason, listed.attempts, listed.due) == ("down", 1, clock() + 5.0)
        assert listed.n_bytes == len(hand.entry("k").value)

    def test_what_is_queued_or_built_for_the_first_time_is_listed(self, hand: ByHand, clock: FakeClock) -> None:
        """It is known, and has no version yet."""
        hand.lease("building")
        hand.enqueue("queued")

        listed = hand.store.carry_out(ListEntries())

        assert [(entry.key, entry.state, entry.version) for entry in listed] == [
            ("building", State.BUILDING, 0),
            ("queued", State.DIRTY, 0),
        ]
        assert [entry.due for entry in listed] == [clock() + LEASE_S, clock()]

    # ------------------------------------------------------------------------------------------------------ counts

    def test_nothing_is_counted_at_first(self, hand: ByHand) -> None:
        """There is nothing."""
        counted = _counted(hand)

        assert (counted.n_known, counted.n_built, counted.n_bytes) == (0, 0, 0)
        assert sum(counted.n_by_state.values()) == 0

    def test_entries_are_counted(self, hand: ByHand) -> None:
        """Those that are known, those that have a value, and the bytes of all values."""
        hand.build("k", "value", A, function="mine")
        hand.put("put", "another")
        hand.enqueue("queued", function="mine")
        hand.touch(A)
        n_bytes = {key: len(hand.entry(key).value) for key in ("k", "put")}

        everything, mine, none = _counted(hand), _counted(hand, "mine"), _counted(hand, "nobody's")

        assert (everything.n_known, everything.n_built) == (3, 2)
        assert everything.n_bytes == sum(n_bytes.values())
        assert {state: n for state, n in everything.n_by_state.items() if n} == {State.DIRTY: 2, State.FRESH: 1}
        assert (mine.n_known, mine.n_built, mine.n_bytes) == (2, 1, n_bytes["k"])
        assert {state: n for state, n in mine.n_by_state.items() if n} == {State.DIRTY: 2}
        assert (none.n_known, none.n_built, none.n_bytes) == (0, 0, 0)

    def test_what_is_gone_is_not_counted(self, hand: ByHand) -> None:
        """However it went; and a value that was replaced counts by its new size."""
        hand.build("dropped", "x" * 100, A, on_change=OnChange.DROP)
        hand.put("deleted", "x" * 100)
        hand.build("replaced", "x" * 100)
        hand.build("replaced", "x")
        hand.fail(hand.lease("failed first"))
        hand.touch(A)
        hand.delete("deleted")

        counted = _counted(hand)

        assert (counted.n_known, counted.n_built) == (1, 1)
        assert counted.n_bytes == len(hand.entry("replaced").value)

    # ---------------------------------------------------------------------------------------------- what is known

    def test_what_is_not_there_is_not_explained(self, hand: ByHand) -> None:
        """There is nothing to say."""
        assert hand.store.carry_out(Explain(Key("nowhere"))) is None

    def test_an_entry_is_explained(self, hand: ByHand, clock: FakeClock) -> None:
        """By what it depends on, what it was built from and by whom, what came, and what was built from it."""
        terms = Terms(expires_s=60.0, priority=2)
        hand.build("left", 1, B)
        hand.build("right", 1, A)
        lease = hand.lease("k", Topic("bug"), Id("article", 1))
        request = commit_of(
            lease, 1, Topic("bug"), Id("article", 1), seen={"left": 1, "right": 1}, terms=terms, builder="worker 1"
        )
        hand.store.carry_out(request)
        hand.build("out", 1, seen={"k": 1})
        hand.note(watched={"k": clock() + 9.0})
        hand.publish(Event("bug", id="e1"))
        hand.touch(A)
        hand.lease("k")

        known = hand.explain("k")

        assert known.groups == groups_of(Topic("bug"), Id("article", 1), Call("left"), Call("right"))
        assert (sorted(known.seen), known.unsettled, known.outer) == (["left", "right"], ("right",), ("out",))
        assert (known.history, known.builder, known.terms) == (("event bug e1",), "worker 1", terms)
        assert (known.is_leased, known.expires_at, known.watched_until) == (True, clock() + 60.0, clock() + 9.0)
        assert (known.listed,) == hand.store.carry_out(ListEntries(after=Key("a"), n_max=1))

    def test_a_lease_that_ran_out_is_none(self, hand: ByHand, clock: FakeClock) -> None:
        """Nobody builds it any more."""
        hand.build("k", 1)
        hand.lease("k")
        clock.advance(LEASE_S)

        assert not hand.explain("k").is_leased

    def test_asking_changes_nothing(self, hand: ByHand) -> None:
        """Not even when it was read."""
        hand.build("k", 1, A)
        hand.touch(A)
        before, position = hand.explain("k"), hand.position()

        hand.store.carry_out(LoadMany((Key("k"),)))
        hand.store.carry_out(ListEntries())
        hand.store.carry_out(Count())

        assert hand.explain("k") == before
        assert hand.position() == position


def _listed(hand: ByHand, request: ListEntries) -> list[str]:
    return [entry.key for entry in hand.store.carry_out(request)]


def _counted(hand: ByHand, function: str | None = None) -> Counted:
    return hand.store.carry_out(Count(function))
