from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from pydantic import BaseModel

from everfresh.cache.recipes import pack_argument, unpack_argument
from everfresh.model.errors import ArgumentNotSupported
from tests.unit.cache.arguments import ARGUMENTS, exactly


class Color(Enum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True)
class Point:
    x: int
    at: datetime
    prices: tuple[Decimal, ...] = ()


class Span(msgspec.Struct, frozen=True):
    start: Point
    color: Color
    id: UUID


class Filter(BaseModel):
    product: str
    since: date | None = None


class Named(str):
    """A subclass of a builtin type, which nobody but its own process knows."""

    __slots__ = ()


class Inexact(Enum):
    HALF = 0.5


POINT = Point(1, datetime(2024, 2, 29, tzinfo=UTC), (Decimal("1.50"),))
SPAN = Span(POINT, Color.BLUE, UUID(int=7))
FILTER = Filter(product="Fedora", since=date(2024, 2, 29))


@given(ARGUMENTS)
def test_a_builtin_value_comes_back_as_it_was_without_any_annotation(value: object) -> None:
    """A tuple stays a tuple, a moment keeps its zone, True is not 1."""
    assert exactly(unpack_argument(pack_argument(value), Any)) == exactly(value)


@pytest.mark.parametrize("number", [2**64, -(2**63) - 1, 10**100], ids=["above", "below", "huge"])
def test_an_integer_may_be_of_any_size(number: int) -> None:
    """The format holds 64 bits, Python any number."""
    assert unpack_argument(pack_argument(number), Any) == number


@pytest.mark.parametrize(
    ("value", "annotation"),
    [
        (Color.RED, Color),
        (Color.RED, Color | None),
        ([Color.RED], list[Color]),
        ((Color.RED, 7), tuple[Color, int]),
        (frozenset({Color.RED}), frozenset[Color]),
        ({"a": Color.RED}, dict[str, Color]),
        ({Color.RED: 1}, dict[Color, int]),
        (POINT, Point),
        ([POINT], list[Point]),
        (SPAN, Span),
        (SPAN, Span | None),
        (FILTER, Filter),
        (FILTER, Filter | None),
        ([FILTER], list[Filter]),
        ({"a": FILTER}, dict[str, Filter]),
    ],
    ids=str,
)
def test_an_object_is_made_anew_by_the_annotation(value: object, annotation: object) -> None:
    """The bytes hold plain data alone, so that no class is ever named by them."""
    assert unpack_argument(pack_argument(value), annotation) == value


def test_bytes_name_no_type() -> None:
    """Who can write to the store cannot choose what a worker makes."""
    packed = pack_argument(SPAN)

    assert b"Span" not in packed
    assert b"Point" not in packed


@pytest.mark.parametrize(
    ("value", "annotation"),
    [
        (Color.RED, int),
        (POINT, Color),
        ([POINT], list[int]),
        (FILTER, int),
        ({POINT: 1}, dict[Point, int]),
        (Inexact.HALF, Inexact),
    ],
    ids=["enum", "dataclass", "list", "model", "key", "float-enum"],
)
def test_an_annotation_that_does_not_make_the_object_is_named(value: object, annotation: object) -> None:
    """Whoever reads the error sees what to change."""
    packed = pack_argument(value)

    with pytest.raises(ArgumentNotSupported, match=r"cannot be made anew from annotation .* Annotate the parameter"):
        unpack_argument(packed, annotation)


@pytest.mark.parametrize(
    "value",
    [object(), Named("x"), 10**5_000, [object()], {object(): 1}, "\ud800"],
    ids=lambda value: type(value).__name__,
)
def test_what_cannot_be_sent_to_a_worker_is_refused(value: object) -> None:
    """It is refused at the call, not when a worker finds the recipe."""
    with pytest.raises(ArgumentNotSupported, match="cannot be sent to a worker"):
        pack_argument(value)
