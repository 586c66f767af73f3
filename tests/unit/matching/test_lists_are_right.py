"""Triage of rows against a brute force that looks at each row as a whole, in every way in which that can be read."""

import math
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from itertools import product
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from everfresh.matching.canonical import NULL, canonical_text
from everfresh.model import conditions as con
from everfresh.model import dependency as dep
from everfresh.model.conditions import Condition
from everfresh.model.event import Event
from tests.searching import n_searched
from tests.unit.matching.triaging import touches, widens

pytestmark = pytest.mark.searching


class Reading(NamedTuple):
    """What two systems answer differently."""

    null_differs: bool = False
    """Whether null differs from a value."""
    empty_is_null: bool = False
    """Whether a list without elements counts as null."""
    is_text: bool = False
    """Whether '1.1' and '1.10' are two texts, and not one number."""
    negates_all: bool = False
    """Whether a list meets a negation only when none of its elements meets what is negated."""
    joins: bool = False
    """Whether one element of a list has to meet all the conditions on its parts."""


READINGS = [Reading(*answers) for answers in product((False, True), repeat=5)]
FIELDS = ("a", "b", "c.d", "c.e", "items.x", "items.y")
ORDER: dict[str, Callable[[Decimal, Decimal], bool]] = {
    "lt": lambda one, other: one < other,
    "le": lambda one, other: one <= other,
    "gt": lambda one, other: one > other,
    "ge": lambda one, other: one >= other,
}

NUMBERS = st.integers(0, 3)
# In each family all have one text, so that a dependency on one of them is a dependency on all.
FAMILIES: tuple[tuple[Any, ...], ...] = (
    ("1.1", "1.10", 1.1, Decimal("1.1"), Decimal("1.10")),
    (1, True, 1.0, "1", "01", "+1"),
    (2, "2", "2.0", "2e0"),
    ("AB" * 16, "ab" * 16, UUID("ab" * 16)),
    ("2024-01-01T12:00:00+02:00", "2024-01-01T10:00:00Z", datetime(2024, 1, 1, 10, tzinfo=UTC)),
    ("a",),
)
FORMS = st.sampled_from([form for family in FAMILIES for form in family])
PLAIN = st.none() | NUMBERS
LEAVES = PLAIN | FORMS


def conditions(leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[Condition]:
    plain = st.one_of(
        st.lists(leaves, min_size=1, max_size=3).map(lambda values: con.one_of(*values)),
        st.builds(con.lt, NUMBERS),
        st.builds(con.le, NUMBERS),
        st.builds(con.gt, NUMBERS),
        st.builds(con.ge, NUMBERS),
        st.builds(con.between, NUMBERS, NUMBERS),
        st.just(con.is_null()),
    )
    return plain | st.builds(con.not_, plain | leaves)


def scopes(fields: tuple[str, ...], leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[dep.Scope]:
    wheres = st.dictionaries(st.sampled_from(fields), leaves | conditions(leaves), max_size=3)
    watches = st.sampled_from([(), ("t",), ("a", "t"), ("c.d",), ("items.x",), ("items",)])
    return st.builds(dep.Scope, st.just("row"), wheres, watches) | st.builds(
        dep.Scope, st.just("row"), wheres, mode=st.just("any")
    )


def rows(leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    values = leaves | st.lists(leaves, max_size=2)
    # An empty list beside others counts for nothing; only a field without any value may count as null.
    parts = leaves | st.lists(leaves, min_size=1, max_size=2)
    items = st.fixed_dictionaries({"x": parts, "y": parts})
    return st.fixed_dictionaries(
        {
            "a": values,
            "b": values,
            "c": st.fixed_dictionaries({"d": values, "e": values}),
            "items": items | st.lists(items, max_size=2),
            "t": leaves,
            "u": leaves,
        }
    )


# Rows are large, and on a busy machine they take their time.
WITH_PATIENCE = settings(max_examples=n_searched(200), suppress_health_check=[HealthCheck.too_slow])
PLAIN_ROWS, ROWS = rows(PLAIN), rows(LEAVES)


# ------------------------------------------------------------------------------------------------------- brute force


def written(value: object, reading: Reading) -> str:
    """What the value is compared by."""
    return value if reading.is_text and isinstance(value, str) else canonical_text(value)


def number_of(value: object) -> Decimal:
    """The value as a number, if it is one."""
    text = canonical_text(value)
    return Decimal(text) if text.replace(".", "", 1).isdecimal() else Decimal(math.nan)


def holds(condition: object, value: object, reading: Reading) -> bool:
    """Whether one value meets a condition that is not negated."""
    if not isinstance(condition, Condition):
        return written(condition, reading) == written(value, reading)
    operator, operand = condition.operator, condition.operand
    if operator == "is_null":
        return value is None
    if operator == "one_of":
        return any(holds(one, value, reading) for one in operand)
    number = number_of(value)
    if value is None or number.is_nan():
        return False
    return operand[0] <= number <= operand[1] if operator == "between" else ORDER[operator](number, Decimal(operand))


def fails(condition: object, value: object, reading: Reading) -> bool:
    """Whether one value meets the negation of the condition."""
    if value is None and not holds(condition, None, reading) and condition != con.is_null():
        return reading.null_differs
    return not holds(condition, value, reading)


def meets(condition: object, values: list[Any], reading: Reading) -> bool:
    """Whether a field with these values meets the condition."""
    values = values or ([None] if reading.empty_is_null else [])
    if isinstance(condition, Condition) and condition.operator == "not":
        every = all if reading.negates_all else any
        return every(fails(condition.operand, value, reading) for value in values)
    return any(holds(condition, value, reading) for value in values)


def elements(value: object) -> list[Any]:
    return value if isinstance(value, list) else [value]


def values_in(parts: list[dict[str, Any]], name: str) -> list[Any]:
    return [value for part in parts for value in elements(part[name])]


def is_member(row: dict[str, Any] | None, scope: dep.Scope, reading: Reading) -> bool:
    """Whether the row stands in the list."""
    if row is None:
        return False
    items = elements(row["items"])
    ways = [[item] for item in items] if reading.joins else [items]
    if reading.joins and not items:
        ways = [[{"x": [], "y": []}]] if reading.empty_is_null else []
    on_items = {field[6:]: condition for field, condition in scope.where.items() if field.startswith("items.")}
    others = {field: condition for field, condition in scope.where.items() if not field.startswith("items.")}
    if on_items and not any(
        all(meets(condition, values_in(way, name), reading) for name, condition in on_items.items()) for way in ways
    ):
        return False
    return all(meets(condition, elements(value_of(row, field)), reading) for field, condition in others.items())


def value_of(row: dict[str, Any], field: str) -> object:
    """The whole of a field."""
    name, _, part = field.partition(".")
    if name == "items" and part:
        items = row["items"]
        return [item[part] for item in items] if isinstance(items, list) else items[part]
    return row[name][part] if part else row[name]


def differs(before: dict[str, Any], after: dict[str, Any], field: str) -> bool:
    """Whether a page that shows the field shows something else."""
    return repr(value_of(before, field)) != repr(value_of(after, field))


def is_news(before: dict[str, Any] | None, after: dict[str, Any] | None, scope: dep.Scope, reading: Reading) -> bool:
    """Whether the change from one row to the other is news for who shows the list."""
    was, is_ = is_member(before, scope, reading), is_member(after, scope, reading)
    if scope.mode == "any":
        return was or is_
    if before is None or after is None or differs(before, after, "id"):
        return was or is_
    return was != is_ or (any(differs(before, after, field) for field in scope.watch) and (was or is_))


def is_disputed(row: dict[str, Any] | None, scope: dep.Scope) -> bool:
    """Whether two systems may disagree about some field, where no field says for certain that the row is no member."""
    if row is None:
        return False
    answers = [
        {meets(condition, elements(value_of(row, field)), reading) for reading in READINGS}
        for field, condition in scope.where.items()
    ]
    return {False} not in answers and {False, True} in answers


# ------------------------------------------------------------------------------------------------------------ events


def differing(before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    """The fields that changed, named as finely as can be."""
    return {field for field in (*FIELDS, "id", "t", "u") if differs(before, after, field)}


Change = tuple[dict[str, Any] | None, dict[str, Any] | None]


@st.composite
def changes(draw: st.DrawFn, any_row: st.SearchStrategy[dict[str, Any]]) -> Change:
    """A row as it was and as it is; often nearly the same."""
    before, other = {"id": 7, **draw(any_row)}, draw(any_row)
    after = {name: draw(st.sampled_from([value, other.get(name, value)])) for name, value in before.items()}
    after["id"] = draw(st.sampled_from([7, 7, 7, 7, "7", 8]))
    return draw(st.sampled_from([(before, after), (before, after), (before, after), (None, after), (before, None)]))


def similar(draw: st.DrawFn, value: object) -> object:
    """The value, or one that has the same text, with lists in another order."""
    if isinstance(value, dict):
        return {name: similar(draw, part) for name, part in value.items()}
    if isinstance(value, list):
        return draw(st.permutations([similar(draw, part) for part in value]))
    return draw(st.sampled_from([value, *(form for family in FAMILIES if value in family for form in family)]))


@st.composite
def subtle_changes(draw: st.DrawFn) -> Change:
    """A row of which a field or two keep their texts, or lists lose an element, or make other pairs of their parts."""
    before = {"id": 7, **draw(ROWS)}
    after = dict(before)
    for name in draw(st.lists(st.sampled_from(["a", "b", "c", "items", "t"]), min_size=1, max_size=2)):
        after[name] = similar(draw, before[name])
    items = after["items"]
    if isinstance(items, list) and len(items) == 2 and draw(st.booleans()):
        after["items"] = [{**items[0], "y": items[1]["y"]}, {**items[1], "y": items[0]["y"]}]
    if isinstance(after["a"], list):
        after["a"] = after["a"][draw(st.integers(0, 1)) :]
    return before, after


@st.composite
def telling_scopes(draw: st.DrawFn, change: Change) -> dep.Scope:
    """A list that asks for values that the row has, or has in another form."""
    rows_of = [image for image in change if image is not None]
    where: dict[str, Any] = {}
    for field in draw(st.sampled_from([("a",), ("a",), ("b", "c.d"), ("items.x", "items.y"), ("items.y",)])):
        values = [value for row in rows_of for value in flat(value_of(row, field))] or [None]
        one, other = (similar(draw, draw(st.sampled_from(values))) for _ in range(2))
        where[field] = draw(
            st.sampled_from([one, one, con.one_of(one, other), con.not_(one), con.not_(con.one_of(one, other))])
        )
    return dep.Scope("row", where, draw(st.sampled_from([(), (), ("t",)])))


def flat(value: object) -> list[Any]:
    """The values in lists of lists."""
    return [inner for part in value for inner in flat(part)] if isinstance(value, list) else [value]


def partial(draw: st.DrawFn, image: dict[str, Any], kept_names: set[str]) -> dict[str, Any]:
    kept = {name: value for name, value in image.items() if name in kept_names or draw(st.booleans())}
    if "c" in kept and draw(st.booleans()):
        kept["c"] = {name: value for name, value in kept["c"].items() if draw(st.booleans())}
    if "items" in kept and isinstance(kept["items"], list) and draw(st.booleans()):
        kept["items"] = [{name: item[name] for name in item if draw(st.booleans())} for item in kept["items"]]
    return kept


@st.composite
def events_of(draw: st.DrawFn, before: dict[str, Any] | None, after: dict[str, Any] | None) -> Event:
    """An event that says less than all of the change, and nothing wrong; an object that gets another id has both."""
    if before is None or after is None:
        images = {"before": before, "after": after}
        return Event.change("row", **{name: image and partial(draw, image, set()) for name, image in images.items()})
    names = differing(before, after)
    changed = None
    if draw(st.booleans()):
        changed = names | draw(st.sets(st.sampled_from(["a", "b", "c", "items.x", "t", "u"]), max_size=2))
    said: list[dict[str, Any] | None] = [partial(draw, image, names & {"id"}) for image in (before, after)]
    if changed is not None:
        said = [image if draw(st.booleans()) else None for image in said]
    return Event.change("row", before=said[0], after=said[1], changed=changed)


# ------------------------------------------------------------------------------------------------------------- rules


@WITH_PATIENCE
@given(st.data(), changes(PLAIN_ROWS) | changes(ROWS) | subtle_changes(), scopes(FIELDS, LEAVES))
def test_no_news_is_missed_whatever_an_event_leaves_out(data: st.DataObject, change: Change, scope: dep.Scope) -> None:
    """In every reading: a needless rebuild costs little, a missed one is a bug."""
    event = data.draw(events_of(*change))

    if any(is_news(*change, scope, reading) for reading in READINGS):
        assert touches(event, scope)


@WITH_PATIENCE
@given(st.data(), subtle_changes() | changes(ROWS))
def test_no_news_is_missed_that_texts_hide(data: st.DataObject, change: Change) -> None:
    """'1.10' becomes '1.1', two elements swap a part, a list loses the one element that was not wanted."""
    scope = data.draw(telling_scopes(change))
    event = Event.change("row", before=change[0], after=change[1])

    if any(is_news(*change, scope, reading) for reading in READINGS):
        assert touches(event, scope)


EMPTY_ROW: dict[str, Any] = {"id": 7, "a": [], "b": 0, "c": {"d": 0, "e": 0}, "items": [], "t": 0, "u": 0}
PAIRS = st.lists(st.fixed_dictionaries({"x": NUMBERS, "y": NUMBERS}), min_size=2, max_size=2)


@WITH_PATIENCE
@given(PAIRS, NUMBERS, NUMBERS | st.builds(con.lt, NUMBERS) | st.builds(con.not_, NUMBERS))
def test_no_pair_of_conditions_on_one_list_is_missed(items: list[dict[str, int]], one: int, other: object) -> None:
    """Two elements swap a part, and one of them then meets both conditions, or none does any more."""
    before = {**EMPTY_ROW, "items": items}
    after = {**EMPTY_ROW, "items": [{**items[0], "y": items[1]["y"]}, {**items[1], "y": items[0]["y"]}]}
    scope = dep.Scope("row", {"items.x": one, "items.y": other})

    if any(is_news(before, after, scope, reading) for reading in READINGS):
        assert touches(Event.change("row", before=before, after=after), scope)


@WITH_PATIENCE
@given(st.lists(LEAVES, max_size=3), st.lists(LEAVES, max_size=3), st.builds(con.not_, LEAVES | conditions(NUMBERS)))
def test_no_list_that_loses_what_is_excluded_is_missed(
    old: list[object], kept: list[object], condition: Condition
) -> None:
    """Whether one element, or each, has to differ."""
    before, after = {**EMPTY_ROW, "a": old + kept}, {**EMPTY_ROW, "a": kept}
    scope = dep.Scope("row", {"a": condition})

    for change in ((before, after), (after, before)):
        if any(is_news(*change, scope, reading) for reading in READINGS):
            assert touches(Event.change("row", before=change[0], after=change[1]), scope)


@WITH_PATIENCE
@given(changes(PLAIN_ROWS), scopes(("a", "b", "c.d", "c.e"), PLAIN), st.booleans())
def test_full_images_touch_nothing_but_what_there_is_news_for(
    change: Change, scope: dep.Scope, says_changed: bool
) -> None:
    """Where all systems agree about who is a member, and no two values look alike, the answer is exact."""
    before, after = change
    # A list of objects that becomes one object is another thing, though each field reads the same.
    assume(before is None or after is None or type(before["items"]) is type(after["items"]))
    changed = differing(before, after) if says_changed and before is not None and after is not None else None
    event = Event.change("row", before=before, after=after, changed=changed)

    assert not widens(event, scope)
    if not is_disputed(before, scope) and not is_disputed(after, scope):
        assert touches(event, scope) is is_news(before, after, scope, READINGS[0])


@settings(WITH_PATIENCE, max_examples=n_searched(100))
@given(
    st.data(),
    changes(ROWS) | subtle_changes(),
    st.builds(dep.Id, st.just("row"), st.sampled_from([7, "7", 8]), st.sampled_from([(), ("a",), ("t", "items.y")])),
)
def test_no_news_of_an_object_is_missed(data: st.DataObject, change: Change, dependency: dep.Id) -> None:
    """An object is news when it comes, goes, or has another value in a field that somebody watches."""
    before, after = change
    ids = {canonical_text(image["id"]) for image in change if image is not None}
    is_another = before is None or after is None or differs(before, after, "id")
    is_watched = before is None or after is None or any(differs(before, after, field) for field in dependency.watch)

    event = data.draw(events_of(*change))

    if canonical_text(dependency.id) in ids and (is_another or is_watched or not dependency.watch):
        assert touches(event, dependency)


@settings(WITH_PATIENCE, max_examples=n_searched(100))
@given(changes(ROWS), st.sampled_from(FIELDS), LEAVES | conditions(LEAVES), st.data())
def test_no_message_is_missed(change: Change, field: str, condition: object, data: st.DataObject) -> None:
    """Who asks by topic for a value that the row has, or had, is touched in every reading, whatever is left out."""
    event = data.draw(events_of(*change))
    which, image = data.draw(st.sampled_from([("before", change[0]), ("after", change[1])]))
    scope = dep.Scope("row", {field: condition})

    if any(is_member(image, scope, reading) for reading in READINGS):
        assert touches(event, dep.Topic("row.*", {f"{which}.{field}": condition}))


def test_the_families_have_one_text_each() -> None:
    """Else the brute force would try nothing."""
    for family in FAMILIES:
        assert len({canonical_text(form) for form in family}) == 1
        assert NULL not in map(canonical_text, family)
