"""What would become of entries, and why, of which a store tells step by step."""

from collections.abc import Mapping
from typing import Any

import pytest

from everfresh.matching.index import Generation, Shapes
from everfresh.matching.meeting import Met
from everfresh.matching.shapes import Group, Shape, bucket_of, grouped, predicate_shape, shape_and_values
from everfresh.model import dependency as dep
from everfresh.model.entry import PLAIN_TERMS, Key, OnChange, Recipe, State, Terms
from everfresh.model.event import Event
from everfresh.protocol.applying import Applied, Apply, Candidate, Candidates, Judge
from everfresh.protocol.foreseeing import Fate, Foreseen, Looked, foresee
from everfresh.protocol.inspecting import Explain, Explained, Listed
from everfresh.protocol.requests import Request
from tests.unit.protocol.making import NOW, at

EVENT = Event("order.paid", {"buyer": "ann"})
ANN = dep.Topic("order.*", {"buyer": "ann"})
ANY = dep.Topic("order.#")
PREDICATE = predicate_shape("order.*", "f")
BUCKET = bucket_of(PREDICATE.id, ())
ASKED = Group(PREDICATE, ((),))


def entry(
    key: str,
    *dependencies: dep.Dependency,
    outer: tuple[str, ...] = (),
    function: str = "f",
    version: int = 1,
    terms: Terms = PLAIN_TERMS,
    groups: tuple[Group, ...] = (),
) -> Explained:
    """What a store knows of an entry."""
    listed = Listed(
        key=Key(key),
        function=function,
        state=State.FRESH,
        version=version,
        built_at=NOW,
        read_at=NOW,
        stale_since=None,
        reason="",
        attempts=0,
        due=None,
        n_bytes=1,
    )
    return Explained(
        listed=listed,
        groups=(*grouped(map(shape_and_values, dependencies)), *groups),
        seen=(),
        unsettled=(),
        outer=tuple(map(Key, outer)),
        history=(),
        builder="",
        terms=terms,
        is_leased=False,
        expires_at=None,
        watched_until=0.0,
    )


class Told:
    """A store of these entries, of which an event touches some; predicates spare some of them."""

    def __init__(self, *entries: Explained, touches: tuple[str, ...], spares: tuple[str, ...] = ()) -> None:
        self.entries: Mapping[Key, Explained] = {one.listed.key: one for one in entries}
        self.touches = tuple(map(Key, touches))
        self.spares = spares
        self.requests: list[Request[Any]] = []
        self.looked = Looked()

    def foresee(self) -> list[Foreseen]:
        """What would become of them."""
        shapes = Shapes()
        learnt: dict[Shape, None] = {group.shape: None for one in self.entries.values() for group in one.groups}
        shapes.learn(Generation(at(0).epoch, 0), list(learnt))
        steps = foresee(EVENT, shapes, self.looked)
        try:
            request = next(steps)
            while True:
                self.requests.append(request)
                request = steps.send(self._answer(request))
        except StopIteration as stop:
            found: list[Foreseen] = stop.value
            return found

    def fates(self) -> list[tuple[str, Fate, tuple[str, ...]]]:
        """Of each the key, what becomes of it, and from what it was built."""
        return [(one.key, one.fate, one.inner) for one in self.foresee()]

    def _answer(self, request: Request[Any]) -> object:
        match request:
            case Apply(is_dry=True):
                return Applied(at(7), self.touches, ())
            case Explain(key):
                return self.entries.get(key)
            case Candidates(buckets):
                assert buckets == (BUCKET,)
                return tuple(Candidate(BUCKET, key, Recipe("f", b"")) for key in self.entries)
            case Judge(candidates):
                spared = frozenset(one.key for one in candidates if one.key in self.spares)
                return {BUCKET: spared | {Key("of somebody else")}}
            case _:
                raise AssertionError(f"not asked for: {request}")


def met(*dependencies: dep.Dependency) -> tuple[Met, ...]:
    """These dependencies, met by their values."""
    return tuple(Met(*shape_and_values(dependency)) for dependency in dependencies)


def test_an_entry_is_told_with_what_it_meets() -> None:
    """And nothing else that it depends on."""
    (found,) = Told(entry("a", ANN, dep.Topic("other")), touches=("a",)).foresee()

    assert (found.key, found.fate, found.met, found.inner) == ("a", Fate.REFRESH, met(ANN), ())


@pytest.mark.parametrize(
    ("fields", "fate"),
    [
        ({}, Fate.REFRESH),
        ({"function": ""}, Fate.DROP),
        ({"terms": Terms(on_change=OnChange.DROP)}, Fate.DROP),
    ],
)
def test_a_touch_drops_what_is_not_built_again(fields: dict[str, Any], fate: Fate) -> None:
    """A value that was put, and one that is left to the next reader."""
    assert Told(entry("a", ANN, **fields), touches=("a",)).fates() == [("a", fate, ())]


def test_an_entry_that_went_meanwhile_is_told_without_a_reason() -> None:
    """Nobody knows it any more."""
    assert Told(touches=("a",)).foresee() == [Foreseen(Key("a"), Fate.DROP, None)]


def test_those_built_from_a_touched_one_are_suspect() -> None:
    """Directly or not, each once, with all that they were built from and that is unsettled."""
    told = Told(
        entry("a", ANN, outer=("b", "c")),
        entry("b", outer=("c",)),
        entry("c", outer=("a",)),
        touches=("a",),
    )

    assert told.fates() == [
        ("a", Fate.REFRESH, ()),
        ("b", Fate.SUSPECT, ("a",)),
        ("c", Fate.SUSPECT, ("a", "b")),
    ]


def test_what_has_no_value_yet_unsettles_nobody() -> None:
    """Who found none hears of the first one."""
    told = Told(entry("a", ANN, outer=("b",), version=0), entry("b"), touches=("a",))

    assert told.fates() == [("a", Fate.REFRESH, ())]


def test_those_built_from_a_dropped_one_are_touched_in_turn() -> None:
    """Nobody watches over its dependencies any more; that goes on as long as something is dropped."""
    told = Told(
        entry("a", ANN, outer=("b", "c"), function=""),
        entry("b", outer=("c", "d"), function=""),
        entry("c", outer=("e",)),
        entry("d"),
        entry("e"),
        touches=("a",),
    )

    assert told.fates() == [
        ("a", Fate.DROP, ()),
        ("b", Fate.DROP, ("a",)),
        ("c", Fate.REFRESH, ("a", "b")),
        ("d", Fate.REFRESH, ("b",)),
        ("e", Fate.SUSPECT, ("c",)),
    ]


def test_a_predicate_that_is_all_that_is_met_said_yes() -> None:
    """It is not asked once more."""
    told = Told(entry("a", groups=(ASKED,)), touches=("a",))
    (found,) = told.foresee()

    assert found.met == (Met(PREDICATE, ()),)
    assert [type(request) for request in told.requests] == [Candidates, Judge, Apply, Explain]


def test_a_predicate_that_said_no_is_not_why() -> None:
    """Another dependency is; of an entry for which it said yes, both are."""
    told = Told(entry("a", ANY, groups=(ASKED,)), entry("b", ANY, groups=(ASKED,)), touches=("a", "b"), spares=("b",))
    first, second = told.foresee()

    assert set(first.met) == {Met(PREDICATE, ()), *met(ANY)}
    assert second.met == met(ANY)


def test_an_entry_is_looked_at_once() -> None:
    """However many events are asked about."""
    told = Told(entry("a", ANN, outer=("b",)), entry("b"), touches=("a",))
    first = told.foresee()
    told.requests.clear()

    assert told.foresee() == first
    assert [type(request) for request in told.requests] == [Apply]
