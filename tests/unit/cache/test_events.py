from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from types import MappingProxyType
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everfresh.cache.events import decode_event, encode_event
from everfresh.model.event import Event, Row

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
    max_leaves=10,
)
BODIES = st.dictionaries(st.text(), PLAIN, max_size=4)


class Kind(Enum):
    NEW = "new"


@given(body=BODIES, headers=BODIES, id_=st.none() | st.text())
def test_an_event_comes_back_equal(body: dict[str, Any], headers: dict[str, Any], id_: str | None) -> None:
    """Whatever plain data it holds, tuples and large numbers too."""
    event = Event("shop.order.paid", body, id_, headers)

    assert _typed(decode_event(encode_event(event))) == _typed(event)


@given(before=st.none() | BODIES, after=BODIES, changed=st.none() | st.frozensets(st.text()))
def test_a_row_event_comes_back_equal(
    before: dict[str, Any] | None, after: dict[str, Any], changed: frozenset[str] | None
) -> None:
    """With its images."""
    event = Event.change("article", before=before, after=after, changed=changed)

    assert _typed(decode_event(encode_event(event))) == _typed(event)


@pytest.mark.parametrize(
    "value",
    [
        datetime(2024, 2, 29, 12, tzinfo=UTC),
        datetime(2024, 2, 29, 12),  # noqa: DTZ001 - a moment without a zone is a value too
        date(2024, 2, 29),
        Decimal("1.10"),
        UUID("12345678-1234-5678-1234-567812345678"),
        {1, 2},
        (1, (2,)),
        {1: "a"},
        2**70,
    ],
    ids=repr,
)
def test_builtin_values_keep_their_types(value: object) -> None:
    """`settled` compares them with those of the value."""
    event = Event.change("article", after={"value": value})

    assert _typed(decode_event(encode_event(event))) == _typed(event)


def test_an_unknown_row_comes_back_equal() -> None:
    """It has no images."""
    event = Event.unknown("article")

    assert decode_event(encode_event(event)) == event


def test_any_mapping_will_do_for_a_body() -> None:
    """It comes back as a dict."""
    event = Event("a", MappingProxyType({"b": (1,)}))

    assert decode_event(encode_event(event)) == Event("a", {"b": (1,)})


def test_objects_come_back_as_plain_data() -> None:
    """No type is ever named by what a store says."""
    event = Event.change("a", after={"kind": [Kind.NEW, (1,)]}, changed=["kind"])
    decoded = decode_event(encode_event(event))

    assert decoded.row == Row("a", None, {"kind": ["new", [1]]}, frozenset({"kind"}))


def test_what_cannot_be_written_is_empty() -> None:
    """Then nobody asks for it."""
    assert encode_event(Event("a", {"b": object()})) == b""


def _typed(value: object) -> object:
    """The value with the types of what is in it, as 1, 1.0 and True are equal."""
    match value:
        case Event():
            row = value.row
            images = None if row is None else [row.type, row.before, row.after, row.changed, row.unknown]
            return [value.topic, _typed(value.body), value.id, _typed(value.headers), _typed(images)]
        case Mapping():
            return [(_typed(name), _typed(inner)) for name, inner in value.items()]
        case list() | tuple():
            return type(value), [_typed(inner) for inner in value]
        case _:
            return type(value), value
