"""Conditions beyond equality, of lists and of topics."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from everfresh.matching.comparing import operand_text
from everfresh.matching.probes import Probe
from everfresh.matching.shapes import Bucket
from everfresh.matching.triage import MAX_PRODUCT, touched_by_events
from everfresh.model import conditions as con
from everfresh.model import dependency as dep
from everfresh.model.event import Event, Row
from tests.unit.matching.books import CHEAP, book, update
from tests.unit.matching.triaging import index_of, is_in, touches, widens

# --------------------------------------------------------------------------------------------------------- conditions


@pytest.mark.parametrize(
    ("before", "after", "is_touched"),
    [
        (None, book(), True),
        (None, book(price=10), False),
        (None, book(category="poetry"), False),
        (book(), None, True),
        (book(price=10), book(price=9), True),
        (book(price=9), book(price=10), True),
        (book(price=5), book(price=6), False),
        (book(price=11), book(price=12), False),
        (book(price="cheap"), book(price=5), True),
        (book(price="cheap"), book(price="cheap", title="y"), False),
        (book(category="poetry"), book(), True),
        (book(category="poetry"), book(price=10), False),
        (book(category="poetry"), book(price="cheap"), True),
        ({"id": 7, "category": "scifi"}, book(), True),
        ({"id": 7, "category": "scifi"}, {"id": 7, "category": "scifi"}, True),
        ({"id": 7, "category": "poetry"}, book(price=11), False),
    ],
    ids=[
        "enters",
        "enters-too-dear",
        "enters-elsewhere",
        "leaves",
        "becomes-cheap",
        "becomes-dear",
        "stays-cheap",
        "stays-dear",
        "no-number",
        "still-no-number",
        "moves-in",
        "moves-in-too-dear",
        "moves-in-without-a-number",
        "unknown-price",
        "unknown-prices",
        "unknown-elsewhere",
    ],
)
def test_a_condition_decides_among_the_lists_of_equal_fields(
    before: dict[str, Any] | None, after: dict[str, Any] | None, is_touched: bool
) -> None:
    """What must be equal is looked up, the rest filters the candidates, and the unanswerable counts as touched."""
    event = Event.change("book", before=before, after=after)

    assert touches(event, CHEAP) is is_touched
    assert not widens(event, CHEAP)


def test_candidates_with_other_operands_are_told_apart() -> None:
    """All of them stand in one stem, and each is asked."""
    event = update(book(price=5), book(price=15))
    limits = [3, 5, 6, 10, 15, 16, "x"]

    touched = [touches(event, dep.Scope("book", {"category": "scifi", "price": con.lt(limit)})) for limit in limits]

    assert touched == [False, False, True, True, True, False, True]


def test_several_conditions_must_all_hold() -> None:
    """One that certainly fails outweighs one that nobody can tell."""
    scope = dep.Scope("book", {"price": con.between(1, 9), "title": con.startswith("a"), "category": con.not_("drama")})

    assert touches(Event.change("book", after=book(title="ab")), scope)
    assert not touches(Event.change("book", after=book(title="b")), scope)
    assert touches(Event.change("book", after={"id": 7, "title": "ab", "price": 2}), scope)
    assert not touches(Event.change("book", after={"id": 7, "title": "b", "price": 2}), scope)


def test_a_watched_field_touches_those_that_the_member_meets() -> None:
    """With conditions as without."""
    scope = dep.Scope("book", {"category": "scifi", "price": con.lt(10)}, ("title",))

    assert touches(update(book(), book(title="y")), scope)
    assert touches(update(book(), book(title="y", price=11)), scope)
    assert not touches(update(book(price=11), book(title="y", price=12)), scope)


@pytest.mark.parametrize(
    ("condition", "body", "is_touched"),
    [
        (con.lt(10), {"price": 5}, True),
        (con.lt(10), {"price": 15}, False),
        (con.lt(10), {"price": [15, 5]}, True),
        (con.lt(10), {"price": "dear"}, True),
        (con.lt(10), {}, False),
        (con.one_of(1, 2), {}, False),
        (con.is_null(), {}, True),
        (con.is_null(), {"price": None}, True),
        (con.is_null(), {"price": 1}, False),
        (con.not_(7), {}, True),
        (con.not_(7), {"price": 7}, False),
        (con.lt(10), {"price": {1}}, True),
        (con.lt(10), {"price": list(range(20, 20 + MAX_PRODUCT + 1))}, True),
    ],
    ids=[
        "meets",
        "does-not",
        "an-element",
        "no-number",
        "absent",
        "absent-of",
        "absent-null",
        "null",
        "no-null",
        "absent-not",
        "not",
        "strange",
        "many",
    ],
)
def test_a_topic_takes_conditions_too(condition: con.Condition, body: dict[str, Any], is_touched: bool) -> None:
    """A field that a message does not have meets nothing, but it may count as null."""
    assert touches(
        Event("shop.book", {"kind": "new", **body}), dep.Topic("shop.*", {"price": condition, "kind": "new"})
    ) is (is_touched)
    assert not touches(
        Event("shop.book", {"kind": "old", **body}), dep.Topic("shop.*", {"price": condition, "kind": "new"})
    )


@pytest.mark.parametrize(
    "price",
    [[*range(20, 121)], ["x" * 10_001], ["\ud800"], float("nan")],
    ids=["elements", "characters", "surrogate", "nan"],
)
def test_a_field_that_cannot_be_kept_for_comparing_counts_as_unknown(price: object) -> None:
    """Stores hold what events said for a while, and an event must cost no more than a build."""
    touched = touched_by_events([Event.change("book", after=book(price=price))], index_of([CHEAP]))

    assert is_in(CHEAP, touched)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(touched.probes), type=tuple[Probe, ...]) == touched.probes


def test_a_probe_can_be_kept() -> None:
    """A store compares it with the dependencies of builds that are still under way."""
    (probe,) = touched_by_events([update(book(price=5), book(price=15))], index_of([CHEAP])).probes

    kept = msgspec.msgpack.decode(msgspec.msgpack.encode(probe), type=Probe)

    assert kept == probe
    assert kept.touches(("10",))
    assert not kept.touches(("20",))


# ------------------------------------------------------------------------------------------------------------ hostile

ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["\ud800", "1e999999", "9" * 99]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("xyz"), inner, max_size=3),
    max_leaves=8,
)
IMAGES = st.none() | st.fixed_dictionaries({}, optional={"x": ANYTHING, "y": ANYTHING, "z": ANYTHING})
CONDITIONS = st.sampled_from(
    [
        con.lt(5),
        con.not_("a"),
        con.between(1, "b"),
        con.startswith("1"),
        con.is_null(),
        con.one_of(1, None),
        con.gt("x"),
    ]
)


@given(IMAGES, IMAGES, st.none() | st.sets(st.sampled_from("xyz")), CONDITIONS)
def test_no_row_stops_triage(
    before: dict[str, Any] | None, after: dict[str, Any] | None, changed: set[str] | None, condition: con.Condition
) -> None:
    """Rows come from outside too, and what they say can always be kept and compared."""
    row = Row("a", before, after, None if changed is None else frozenset(changed))
    dependencies = [
        dep.Scope("a", {"x": 1, "y.z": condition}, ("z",)),
        dep.Scope("a", {"x": condition}, mode="any"),
        dep.Topic("a", {"x.y": condition, "x.z": 1}),
    ]

    touched = touched_by_events([Event("a", {"x": before}, row=row)], index_of(dependencies))

    kept = msgspec.msgpack.decode(msgspec.msgpack.encode(touched.probes), type=tuple[Probe, ...])
    for probe in kept:
        assert probe.touches((operand_text(condition),)) in (True, False)
    assert all(type(bucket) is bytes for bucket in touched.buckets)


def test_a_probe_that_says_nothing_touches_nothing() -> None:
    """Before and after, the row was elsewhere."""
    assert not Probe(Bucket(b""), 0, ("lt",), None, None, is_any=True).touches(("5",))
