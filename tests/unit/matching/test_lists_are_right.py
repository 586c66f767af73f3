"""Triage of rows against a brute force that looks at each row as a whole, in every way in which that can be read."""

from collections.abc import Callable
from itertools import product
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from everfresh.model import conditions as con
from everfresh.model import dependency as dep
from everfresh.model.conditions import Condition
from everfresh.model.event import Event
from tests.unit.matching.triaging import touches, widens

# What two systems answer differently: whether null differs from a value, and whether a list without elements does.
Reading = tuple[bool, bool]
READINGS: list[Reading] = list(product((False, True), (False, True)))
FIELDS = ("a", "b", "c.d")
ORDER: dict[str, Callable[[int, int], bool]] = {
    "lt": lambda one, other: one < other,
    "le": lambda one, other: one <= other,
    "gt": lambda one, other: one > other,
    "ge": lambda one, other: one >= other,
}

NUMBERS = st.integers(0, 3)
LEAVES = st.none() | NUMBERS
VALUES = LEAVES | st.lists(LEAVES, max_size=2)
PLAIN_CONDITIONS = st.one_of(
    st.builds(con.one_of, LEAVES, LEAVES),
    st.builds(con.lt, NUMBERS),
    st.builds(con.le, NUMBERS),
    st.builds(con.gt, NUMBERS),
    st.builds(con.ge, NUMBERS),
    st.builds(con.between, NUMBERS, NUMBERS),
    st.just(con.is_null()),
)
CONDITIONS = PLAIN_CONDITIONS | st.builds(con.not_, PLAIN_CONDITIONS | LEAVES)
WHERES = st.dictionaries(st.sampled_from(FIELDS), LEAVES | CONDITIONS, max_size=3)
ROWS = st.fixed_dictionaries(
    {"a": VALUES, "b": VALUES, "c": st.fixed_dictionaries({"d": VALUES}), "t": NUMBERS, "u": NUMBERS}
)
SCOPES = st.builds(dep.Scope, st.just("row"), WHERES, st.sampled_from([(), ("t",), ("a", "t")])) | st.builds(
    dep.Scope, st.just("row"), WHERES, mode=st.just("any")
)


def holds(condition: object, value: int | None, reading: Reading) -> bool:
    """Whether one element meets a condition."""
    if not isinstance(condition, Condition):
        return condition == value
    operator, operand = condition.operator, condition.operand
    if operator == "not":
        if value is None and not holds(operand, None, reading) and operand != con.is_null():
            return reading[0]
        return not holds(operand, value, reading)
    if operator == "is_null":
        return value is None
    if operator == "one_of":
        return value in operand
    if value is None:
        return False
    return operand[0] <= value <= operand[1] if operator == "between" else ORDER[operator](value, operand)


def is_negative(condition: object) -> bool:
    return isinstance(condition, Condition) and condition.operator in ("not", "is_null")


def value_of(row: dict[str, Any], field: str) -> object:
    return row["c"]["d"] if field == "c.d" else row[field]


def elements(value: object) -> list[Any]:
    return value if isinstance(value, list) else [value]


def is_member(row: dict[str, Any] | None, scope: dep.Scope, reading: Reading) -> bool:
    """Whether the row stands in the list."""
    if row is None:
        return False
    for field, condition in scope.where.items():
        found = elements(value_of(row, field))
        if not found and is_negative(condition):
            if not reading[1]:
                return False
        elif not any(holds(condition, element, reading) for element in found):
            return False
    return True


def is_news(before: dict[str, Any] | None, after: dict[str, Any] | None, scope: dep.Scope, reading: Reading) -> bool:
    """Whether the change from one row to the other is news for who shows the list."""
    was, is_ = is_member(before, scope, reading), is_member(after, scope, reading)
    if scope.mode == "any":
        return was or is_
    is_watched = before is None or after is None or any(before[name] != after[name] for name in scope.watch)
    return was != is_ or (is_watched and (was or is_))


def is_disputed(row: dict[str, Any] | None, scope: dep.Scope) -> bool:
    """Whether two systems may disagree about who is a member."""
    return row is not None and len({is_member(row, scope, reading) for reading in READINGS}) > 1


def differing(before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    return {name for name in before if before[name] != after[name]}


@st.composite
def changes(draw: st.DrawFn) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """A row as it was and as it is; often nearly the same."""
    before = draw(ROWS)
    after = draw(ROWS)
    after = {name: draw(st.sampled_from([before[name], after[name]])) for name in before}
    return draw(st.sampled_from([(before, after), (before, after), (before, after), (None, after), (before, None)]))


def partial(draw: st.DrawFn, image: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in image.items() if draw(st.booleans())}
    if "c" in kept and draw(st.booleans()):
        kept["c"] = {}
    return kept


@st.composite
def events_of(draw: st.DrawFn, before: dict[str, Any] | None, after: dict[str, Any] | None) -> Event:
    """An event that says less than all of the change, and nothing wrong."""
    if before is None or after is None:
        images = {"before": before, "after": after}
        return Event.change("row", **{name: image and partial(draw, image) for name, image in images.items()})
    changed = None
    if draw(st.booleans()):
        changed = differing(before, after) | draw(st.sets(st.sampled_from(["a", "b", "c", "t", "u"]), max_size=2))
    said = [partial(draw, image) for image in (before, after)]
    if changed is not None:
        said = [image if draw(st.booleans()) else None for image in said]
    return Event.change("row", before=said[0], after=said[1], changed=changed)


@settings(max_examples=1_000)
@given(st.data(), changes(), SCOPES)
def test_no_news_is_missed_whatever_an_event_leaves_out(
    data: st.DataObject, change: tuple[dict[str, Any] | None, dict[str, Any] | None], scope: dep.Scope
) -> None:
    """In every reading: a needless rebuild costs little, a missed one is a bug."""
    event = data.draw(events_of(*change))

    if any(is_news(*change, scope, reading) for reading in READINGS):
        assert touches(event, scope)


@settings(max_examples=1_000)
@given(changes(), SCOPES, st.booleans())
def test_full_images_touch_nothing_but_what_there_is_news_for(
    change: tuple[dict[str, Any] | None, dict[str, Any] | None], scope: dep.Scope, says_changed: bool
) -> None:
    """Where all systems agree about who is a member, the answer is exact."""
    before, after = change
    changed = differing(before, after) if says_changed and before is not None and after is not None else None
    event = Event.change("row", before=before, after=after, changed=changed)

    assert not widens(event, scope)
    if not is_disputed(before, scope) and not is_disputed(after, scope):
        assert touches(event, scope) is is_news(before, after, scope, READINGS[0])
