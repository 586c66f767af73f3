import subprocess
import sys
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from enum import Enum, Flag, IntFlag
from io import BytesIO
from typing import NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict

from everfresh.cache.canonical_arguments import argument_text
from everfresh.model.errors import ArgumentNotSupported
from tests.unit.cache import elsewhere
from tests.unit.cache.arguments import ARGUMENTS, exactly

BERLIN = ZoneInfo("Europe/Berlin")
HERE = __name__


class Color(Enum):
    RED = "red"
    BLUE = "blue"


class Access(Flag):
    READ = 1
    WRITE = 2


class Bits(IntFlag):
    ONE = 1


@dataclass(frozen=True)
class Point:
    x: int
    y: int


class Shouted(str):
    """Shows itself as what it is not."""

    __slots__ = ()

    def __str__(self) -> str:
        return "A"


class Span(msgspec.Struct):
    start: Point
    stop: Point


class Filter(BaseModel):
    model_config = ConfigDict(extra="allow")

    product: str


class Coordinates(NamedTuple):
    x: int
    y: int


class Local(tzinfo):
    """A zone of nobody's."""


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (7, "7"),
        (7.0, "7.0"),
        ("7", '"7"'),
        ('"', '"\\""'),
        ("ä", '"ä"'),
        (b"\x07", "bytes(07)"),
        (Decimal("7.0"), "Decimal(7.0)"),
        (UUID(int=7), "UUID(00000000-0000-0000-0000-000000000007)"),
        (date(2024, 2, 29), "date(2024-02-29)"),
        (datetime(2024, 2, 29, tzinfo=UTC), "datetime(2024-02-29T00:00:00+00:00[])"),
        (datetime(2024, 2, 29, tzinfo=BERLIN), "datetime(2024-02-29T00:00:00[Europe/Berlin])"),
        (time(12, 30), "time(12:30:00[])"),
        (timedelta(days=1, seconds=2), "timedelta(1d2s0us)"),
        ([1, [2]], "[1, [2]]"),
        ((1,), "(1,)"),
        ({"b": 1, "a": 2}, '{"a": 2, "b": 1}'),
        ({2, 1}, "set(1, 2)"),
        (frozenset({2, 1}), "frozenset(1, 2)"),
        (Color.RED, f"{HERE}.Color.RED"),
        (Access.READ | Access.WRITE, f"{HERE}.Access.READ|WRITE"),
        (Bits(8), f"{HERE}.Bits(8)"),
        (Point(1, 2), f"{HERE}.Point(x=1, y=2)"),
        (Span(Point(1, 2), Point(3, 4)), f"{HERE}.Span(start={HERE}.Point(x=1, y=2), stop={HERE}.Point(x=3, y=4))"),
        (Filter(product="a"), f'{HERE}.Filter(product="a")'),
        (Coordinates(1, 2), f"{HERE}.Coordinates(x=1, y=2)"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else ascii(value),
)
def test_an_argument_is_written_so(value: object, text: str) -> None:
    """Keys stand in stores and logs, so the text of a value stays as it is."""
    assert argument_text(value) == text


@given(ARGUMENTS, ARGUMENTS)
@example(1, True)
@example([1], (1,))
@example({1: 2}, {"1": 2})
@example(0.0, -0.0)
@example(Decimal("7.0"), Decimal(7))
@example(["a, b"], ["a", "b"])
@example(["a", "b"], ['a", "b'])
@example({1}, frozenset({1}))
@example("null", None)
@example((), [])
def test_two_arguments_have_one_text_only_if_no_function_can_tell_them_apart(one: object, other: object) -> None:
    """Else one caller would get what was built for another."""
    assert (argument_text(one) == argument_text(other)) is (exactly(one) == exactly(other))


@given(ARGUMENTS)
def test_the_text_of_an_argument_can_be_stored(value: object) -> None:
    """A key is written as UTF-8."""
    assert argument_text(value).encode().decode() == argument_text(value)


@pytest.mark.parametrize("text", ["\ud800", "ä\ud800", ["\udfff"]], ids=ascii)
def test_half_a_surrogate_pair_has_a_text_that_can_be_stored(text: object) -> None:
    """The name of a file may hold one."""
    assert argument_text(text).encode().decode() == argument_text(text)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Color.RED, elsewhere.Color.RED),
        (Point(1, 2), elsewhere.Point(1, 2)),
        (Color.RED, Color.BLUE),
        (Color.RED, "red"),
        (Bits(8), Bits(16)),
        (Bits(8), 8),
        (Bits(0), Bits(8)),
        (Access.READ, Access.READ | Access.WRITE),
        (Access(0), Access.READ),
        (Filter(product="a", extra=1), Filter(product="a", extra=2)),  # type: ignore[call-arg]
        (Filter(product="a", extra=1), Filter(product="a")),  # type: ignore[call-arg]
    ],
    ids=str,
)
def test_objects_that_differ_have_different_texts(one: object, other: object) -> None:
    """Whatever a function can see of them is in their text."""
    assert argument_text(one) != argument_text(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (datetime(2024, 1, 1, tzinfo=BERLIN), datetime(2024, 1, 1, tzinfo=timezone(timedelta(hours=1)))),
        (datetime(2024, 10, 27, 2, 30, tzinfo=BERLIN), datetime(2024, 10, 27, 2, 30, tzinfo=BERLIN, fold=1)),
        (time(12, tzinfo=BERLIN), time(12, tzinfo=ZoneInfo("Europe/Paris"))),
    ],
    ids=["zone-and-offset", "hour-that-is-there-twice", "zones-that-agree-today"],
)
def test_a_zone_is_part_of_a_time(one: object, other: object) -> None:
    """The day after, the two may differ."""
    assert argument_text(one) != argument_text(other)


@given(st.lists(st.text(), unique=True, min_size=2), st.randoms(use_true_random=False))
def test_order_does_not_matter_where_python_has_none(names: list[str], random: object) -> None:
    """Two dicts that compare equal are one argument."""
    backwards = names[::-1]

    assert argument_text(dict.fromkeys(names)) == argument_text(dict.fromkeys(backwards))
    assert argument_text(set(names)) == argument_text(set(backwards))


def test_texts_are_equal_in_every_process() -> None:
    """A worker in another process finds the entry, whatever Python mixes into its hashes."""
    program = (
        "from everfresh.cache.canonical_arguments import argument_text\n"
        "print(argument_text({'set': {'a', 'b', 'c'}, 'frozen': frozenset(range(9)), 'dict': {'x': 1, 'y': 2}}))"
    )

    printed = {
        subprocess.run(
            [sys.executable, "-c", program],
            check=True,
            capture_output=True,
            text=True,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
        ).stdout
        for seed in ("1", "2", "3")
    }

    assert len(printed) == 1


@pytest.mark.parametrize(
    "value",
    [
        object(),
        Point,
        Color,
        len,
        lambda: None,
        iter([]),
        BytesIO(),
        bytearray(),
        1j,
        OrderedDict(),
        Shouted("a"),
        (object(),),
        [[{"b": object()}]],
        {object(): 1},
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_argument_without_a_canonical_form_is_refused(value: object) -> None:
    """Its repr would make a key that no other call meets."""
    with pytest.raises(ArgumentNotSupported, match=r"has no canonical form\. Pass plain data.*ignore="):
        argument_text(value)


def test_a_zone_without_a_name_is_refused() -> None:
    """Nobody could make it anew in another process."""
    with pytest.raises(ArgumentNotSupported, match=r"a time with Local .* Use zoneinfo\.ZoneInfo"):
        argument_text(time(12, tzinfo=Local()))


def test_an_argument_that_holds_itself_is_refused() -> None:
    """It has no end to write."""
    endless: list[object] = []
    endless.append(endless)

    with pytest.raises(ArgumentNotSupported, match="recursion"):
        argument_text(endless)


def test_a_number_that_python_does_not_write_is_refused() -> None:
    """Python has a limit for the digits of a text, against overload."""
    with pytest.raises(ArgumentNotSupported, match="4300 digits"):
        argument_text(10**5_000)
