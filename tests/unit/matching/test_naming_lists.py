"""What is counted and told of lists; lists of derived values, and lists that are touched by name."""

from collections.abc import Callable
from typing import Any

import pytest

from everfresh.matching.index import ShapeIndex
from everfresh.matching.shapes import bucket_of, predicate_shape
from everfresh.matching.triage import touched_by_events, touched_by_name
from everfresh.model import conditions as con
from everfresh.model import dependency as dep
from everfresh.model.event import Event, Row
from tests.unit.matching.books import CHEAP, SCIFI, book, update
from tests.unit.matching.triaging import index_of, is_in, touches, widens

# ------------------------------------------------------------------------------------------------------------ numbers


def test_each_bucket_knows_the_last_event_that_touched_it() -> None:
    """So that each entry can say which one it was."""
    events = [Event.change("book", after=book()), Event("a"), Event.change("book", after=book()), Event("b")]
    index = index_of([SCIFI, dep.Id("book", 7), dep.Topic("a"), CHEAP])

    touched = touched_by_events(events, index)

    assert sorted(touched.buckets.values()) == [1, 2, 2]
    assert [probe.event for probe in touched.probes] == [0, 2]


def test_a_predicate_is_asked_about_each_event_with_its_topic() -> None:
    """Any of them may be the one that it waits for. Of an event that says nothing none is asked: all are touched."""
    shape = predicate_shape("book.update", "f")
    index = ShapeIndex()
    index.learn(0, [shape, predicate_shape("film.*", "f")])
    events = [Event.unknown("book"), Event("a"), update(book(), book()), Event("book.update"), Event("book.x")]

    touched = touched_by_events(events, index)

    assert touched.predicates == {bucket_of(shape.id, ()): (2, 3)}
    assert touched.shapes == {shape.id: 0}
    assert [widening.shape for widening in touched.widened] == ["topic book.update if should_refresh of f says so"]


class Broken(dict[str, Any]):
    """A body that cannot be read."""

    def __getitem__(self, key: str) -> object:
        raise OSError(key)

    def __contains__(self, key: object) -> bool:
        raise OSError(key)

    def get(self, *_args: object) -> object:
        raise OSError


def test_a_body_that_raises_touches_all_that_asked_it() -> None:
    """And stops nothing else in the batch."""
    events = [Event("book.a", Broken(x=1)), Event.change("book", after=Broken(x=1)), Event("b")]
    asking = [dep.Topic("book.a", {"x": 1}), SCIFI, dep.Id("book", 7)]

    touched = touched_by_events(events, index_of([*asking, dep.Topic("b")]))

    assert [widening.reason for widening in touched.widened] == ["reading the event raised OSError"] * 3
    assert is_in(dep.Topic("b"), touched)


# ----------------------------------------------------------------------------------------------------- derived values


def described(*names: str, after: dict[str, Any]) -> Event:
    return Event("book.lists", row=Row("book", after=after, described=frozenset(names)))


def test_derived_values_speak_to_the_lists_with_conditions_on_them() -> None:
    """They are no row: nobody else may read them as one."""
    event = described("category", "published", after={"category": "scifi", "published": True})

    assert touches(event, SCIFI)
    assert touches(event, dep.Scope("book"))
    assert touches(event, dep.Scope("book", {"category": "scifi", "published": con.not_(False)}))
    assert not touches(event, CHEAP)
    assert not touches(event, dep.Id("book", 7))
    assert not touches(event, dep.Topic("book.*"))


def test_unknown_derived_values_speak_to_all_lists_of_the_type() -> None:
    """Whatever their conditions are on."""
    event = Event("book.lists", row=Row("book", unknown=True, described=frozenset()))

    assert widens(event, SCIFI)
    assert widens(event, CHEAP)
    assert not touches(event, dep.Id("book", 7))
    assert not touches(event, dep.Topic("book.*"))
    assert not touches(event, dep.Scope("film"))


# ------------------------------------------------------------------------------------------------------------ by name


@pytest.mark.parametrize(
    "make", [lambda where: where, lambda where: {**where, "price": con.lt(10)}], ids=["equal", "lt"]
)
def test_a_list_that_is_named_is_touched_whatever_is_watched_in_it(
    make: Callable[[dict[str, Any]], dict[str, Any]],
) -> None:
    """Who invalidates a list does not say how it is used."""
    named = dep.Scope("book", make({"category": "scifi"}))
    same = [
        dep.Scope("book", make({"category": "scifi"}), ("title",)),
        dep.Scope("book", make({"category": "scifi"}), mode="any"),
    ]
    others = [
        dep.Scope("book", make({"category": "poetry"})),
        dep.Scope("film", make({"category": "scifi"})),
        dep.Scope("book"),
        dep.Scope("book", {"price": con.lt(10)}),
        dep.Id("book", "scifi"),
    ]

    touched = touched_by_name([dep.Tag("x"), named], index_of([*same, *others]))

    assert is_in(named, touched_by_name([named], ShapeIndex()))
    assert all(is_in(scope, touched) for scope in same)
    assert not any(is_in(scope, touched) for scope in others)
    assert {*touched.buckets.values()} == {0, 1}


@pytest.mark.parametrize(
    ("named", "same"),
    [
        (dep.Scope("book", {"version": con.one_of("1.10")}), dep.Scope("book", {"version": con.one_of(1.1)})),
        (
            dep.Scope("book", {"version": con.one_of(1.1)}),
            dep.Scope("book", {"version": con.one_of("1.10")}, ("title",)),
        ),
        (dep.Topic("book.*", {"version": con.not_("1.1")}), dep.Topic("book.*", {"version": con.not_("1.10")})),
    ],
    ids=["scope", "watching", "topic"],
)
def test_what_is_named_is_touched_however_its_values_are_written(named: dep.Dependency, same: dep.Dependency) -> None:
    """Forms of one thing are one thing."""
    assert is_in(same, touched_by_name([named], index_of([same])))


def test_to_name_a_list_that_nobody_described_touches_all_lists_of_the_type() -> None:
    """Nobody can tell which of them is meant."""
    dependency = dep.Undescribed("book", ("mood",))

    touched = touched_by_name([dependency], index_of([SCIFI, CHEAP, dep.Id("book", 7), dep.Scope("film")]))

    assert is_in(dependency, touched)
    assert [widening.shape.split(" where")[0] for widening in touched.widened] == ["scope book", "scope book"]
    assert is_in(SCIFI, touched)
    assert is_in(CHEAP, touched)
    assert not is_in(dep.Id("book", 7), touched)
    assert not is_in(dep.Scope("film"), touched)


def test_who_depends_on_a_list_that_nobody_described_is_touched_by_every_row() -> None:
    """Nobody can tell which row enters it."""
    dependency = dep.Undescribed("book", ("mood",))

    assert touches(update(book(), book(title="y")), dependency)
    assert touches(described("category", after={"category": "x"}), dependency)
    assert not touches(Event.change("film", after={"id": 1}), dependency)
