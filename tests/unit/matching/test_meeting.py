"""Which of an entry's dependencies an event meets."""

import pytest

from everfresh.matching.meeting import Dependencies, Met
from everfresh.matching.shapes import Group, grouped, predicate_shape, shape_and_values
from everfresh.matching.triage import touched_by_events
from everfresh.model import conditions as con
from everfresh.model import dependency as dep
from everfresh.model.dependency import Dependency
from everfresh.model.event import Event
from tests.unit.matching.books import NO_BEFORE
from tests.unit.matching.triaging import index_of

ANN = dep.Topic("order.*", {"buyer": "ann"})
BOB = dep.Topic("order.*", {"buyer": "bob"})
LARGE = dep.Topic("order.*", {"buyer": "ann", "total": con.gt(10)})
LARGER = dep.Topic("order.*", {"buyer": "ann", "total": con.gt(1000)})
NEW = dep.Scope("book", {"genre": "sf"})


def met(event: Event, *dependencies: Dependency) -> list[tuple[Dependency, str]]:
    """Those of the dependencies that the event meets, each with why it was widened."""
    groups = grouped(map(shape_and_values, dependencies))
    found = Dependencies(groups).met_by(touched_by_events([event], index_of(dependencies)))
    named = {shape_and_values(dependency): dependency for dependency in dependencies}
    return [(named[one.shape, one.values], one.widened) for one in found]


@pytest.mark.parametrize(
    ("dependencies", "expected"),
    [
        ((ANN, BOB, dep.Topic("other.#")), [ANN]),
        ((ANN, LARGE, LARGER), [ANN, LARGE]),
        ((BOB, dep.Id("order", 1)), []),
        ((dep.Tag("order"), dep.Call("order")), []),
    ],
    ids=["by value", "by a condition", "not at all", "by name alone"],
)
def test_those_are_found_that_the_event_meets(dependencies: tuple[Dependency, ...], expected: list[Dependency]) -> None:
    """By their values and their conditions; tags and calls are met by nobody but who names them."""
    event = Event("order.paid", {"buyer": "ann", "total": 100})

    assert met(event, *dependencies) == [(dependency, "") for dependency in expected]


def test_what_is_touched_as_a_whole_says_why() -> None:
    """All its values are met, whatever they are, and no other shape's."""
    event = Event.change("book", after={"id": 1, "genre": "sf"}, changed=("genre",))
    others = dep.Scope("book", {"genre": "crime"})

    assert met(event, NEW, others, dep.Scope("film", {"genre": "sf"})) == [(others, NO_BEFORE), (NEW, NO_BEFORE)]


def test_what_is_met_by_its_value_too_says_so_instead() -> None:
    """As when one of two ids is known: it touches that one in any case."""
    event = Event.change("book", after={"id": 1}, changed=("id",))

    assert met(event, dep.Id("book", 1), dep.Id("book", 2)) == [
        (dep.Id("book", 1), ""),
        (dep.Id("book", 2), "the event carries one of two ids"),
    ]


def test_a_predicate_is_found_where_it_is_asked() -> None:
    """What it says is not known here."""
    shape = predicate_shape("order.*", "shop.orders@1")
    index = index_of(())
    index.learn(0, [shape])
    dependencies = Dependencies([Group(shape, ((),))])

    (found,) = dependencies.met_by(touched_by_events([Event("order.paid")], index))

    assert (found, found.is_predicate) == (Met(shape, ()), True)
    assert dependencies.met_by(touched_by_events([Event("other")], index)) == ()


def test_what_is_touched_as_a_whole_elsewhere_is_nothing_to_an_entry() -> None:
    """It has no such dependency."""
    event = Event.change("book", after={"id": 1, "genre": "sf"}, changed=("genre",))
    touched = touched_by_events([event], index_of([NEW]))

    assert touched.shapes
    assert Dependencies(grouped([shape_and_values(dep.Scope("book", {"price": 1}))])).met_by(touched) == ()
