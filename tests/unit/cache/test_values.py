import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from random import Random
from typing import Annotated, Any, Literal, NamedTuple, TypedDict
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from everfresh.cache.values import LEFT_OUT, Codec, CodecOfOne, fingerprint_of, is_immutable, is_left_out
from everfresh.model.errors import InvalidOption, ValueNotSupported

NUMBERS = st.integers(-(2**63), 2**64 - 1)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | NUMBERS
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc"), inner, max_size=3),
    max_leaves=8,
)


class Color(Enum):
    RED = "red"


@dataclass
class Bug:
    id: int
    labels: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Page:
    number: int
    rows: tuple[int, ...] = ()


@dataclass(frozen=True)
class Shelf:
    books: list[int]


class Row(msgspec.Struct):
    id: int


@dataclass
class Counts:
    by: dict[int, frozenset[str]]
    rows: tuple[Row, ...]


class Cell(msgspec.Struct, frozen=True):
    text: str
    cells: tuple["Cell", ...] = ()


class Coordinates(NamedTuple):
    x: int
    y: int


class Named(TypedDict):
    name: str


class Model(BaseModel):
    id: int
    at: datetime | None = None


MOMENT = datetime(2024, 2, 29, 12, 30, tzinfo=UTC)


@given(JSON)
def test_plain_data_comes_back_equal_without_an_annotation(value: object) -> None:
    """An untyped function can be cached."""
    codec = Codec[Any](Any, "f")

    assert codec.decode(codec.encode(value)[0]) == value


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (None, None),
        (list[Bug], [Bug(1, ["a"]), Bug(2)]),
        (dict[int, Page], {7: Page(7, (1, 2))}),
        (set[str], {"a", "b"}),
        (frozenset[int], frozenset({1, 2})),
        (tuple[int, str], (1, "a")),
        (Bug | None, None),
        (Row, Row(1)),
        (Cell, Cell("a", (Cell("b"),))),
        (Coordinates, Coordinates(1, 2)),
        (Named, {"name": "a"}),
        (Color, Color.RED),
        (Literal["a", 7], 7),
        (bytes, b"\x00\xff"),
        (datetime, MOMENT),
        (date, date(2024, 2, 29)),
        (time, time(12, 30)),
        (timedelta, timedelta(days=1, microseconds=1)),
        (Decimal, Decimal("1.50")),
        (UUID, UUID(int=7)),
        (Annotated[int, msgspec.Meta(ge=0)], 7),
        (Model, Model(id=1, at=MOMENT)),
        (list[Model], [Model(id=1), Model(id=2)]),
        (dict[str, Model | None], {"a": Model(id=1), "b": None}),
    ],
    ids=lambda value: str(sorted(value) if isinstance(value, set) else value),
)
def test_a_value_comes_back_with_the_type_that_was_annotated(annotation: object, value: object) -> None:
    """The caller gets what the function returned, whoever built it."""
    codec = Codec[Any](annotation, "f")

    decoded = codec.decode(codec.encode(value)[0])

    assert decoded == value
    assert type(decoded) is type(value)


@pytest.mark.parametrize(
    ("annotation", "value"),
    [(list[Bug], [Bug(1)]), (Any, {"a": [1]}), (Model, Model(id=1))],
    ids=["bugs", "any", "model"],
)
def test_each_caller_gets_an_object_of_its_own(annotation: object, value: object) -> None:
    """What one changes, no other sees."""
    codec = Codec[Any](annotation, "f")
    data, _ = codec.encode(value)

    assert codec.decode(data) is not codec.decode(data)


@pytest.mark.parametrize(
    ("annotation", "value", "problem"),
    [
        (int, "7", "does not fit its annotation: Expected `int`, got `str`"),
        (list[Bug], [Row(1), {"id": "x"}], "does not fit its annotation"),
        (Any, object(), "a value of type object cannot be stored"),
        (Any, {"a": object(), "b": 1}, "a value of type dict of int, object cannot be stored"),
        (Any, [object()], "a value of type list of object cannot be stored"),
        (Any, [[object()]], "a value of type list of list cannot be stored"),
        (Any, 2**64, "a value of type int cannot be stored"),
        (Any, "\ud800", "a value of type str cannot be stored"),
        (Model, 7, "a value of type int cannot be stored"),
        (list[Model], [Model.model_construct(id="x")], r"cannot be stored: 0\.id: Input should be a valid integer"),
    ],
    ids=["type", "element", "object", "dict", "list", "nested", "number", "text", "model", "invalid-model"],
)
def test_a_value_that_cannot_be_stored_is_refused_whole(annotation: object, value: object, problem: str) -> None:
    """The message says of which function and what is wrong with it."""
    with pytest.raises(ValueNotSupported, match=rf"^f: .*{problem}"):
        Codec[Any](annotation, "f").encode(value)


@pytest.mark.parametrize(
    "value",
    [
        (1, 2),
        {1, 2},
        [date(2024, 2, 29)],
        {"a": Decimal(1)},
        [[(1,)]],
        Bug(1),
        {"a": [Color.RED]},
        Coordinates(1, 2),
        UUID(int=7),
    ],
    ids=repr,
)
def test_a_value_that_would_come_back_as_another_needs_an_annotation(value: object) -> None:
    """Without one, the second caller would get a list where the function gave a tuple."""
    with pytest.raises(ValueNotSupported, match=r"would come back as .* Annotate the result"):
        Codec[Any](Any, "f").encode(value)


@pytest.mark.parametrize("annotation", [Bug | Page, set[str] | list[str]], ids=str)
def test_an_annotation_that_cannot_be_read_back_is_refused(annotation: object) -> None:
    """Nobody could say which of them the bytes mean."""
    with pytest.raises(InvalidOption, match=r"^f: a value of .* cannot be read back"):
        Codec[Any](annotation, "f")


# ----------------------------------------------------------------------------------------------------------- digests


@given(st.dictionaries(st.text("abc") | NUMBERS, NUMBERS), st.randoms(use_true_random=False))
def test_the_order_in_which_a_value_was_made_does_not_matter(mapping: dict[str | int, int], random: Random) -> None:
    """A value that came out equal is no news, for readers, pushes and outer entries."""
    items = list(mapping.items())
    random.shuffle(items)

    codec = Codec[Any](dict[str | int, int], "f")

    assert codec.encode(dict(items))[1] == codec.encode(mapping)[1]


@given(JSON, JSON)
def test_values_that_differ_have_different_digests(one: object, other: object) -> None:
    """A change that had no new digest would reach nobody."""
    codec = Codec[Any](Any, "f")

    if one != other:
        assert codec.encode(one)[1] != codec.encode(other)[1]


def test_order_does_not_matter_deep_inside_either() -> None:
    """Neither that of numbers as keys, nor that within a class within a set."""
    codec = Codec[Any](list[Counts], "f")
    one = Counts({1: frozenset({"a"}), 2: frozenset()}, (Row(1),))
    other = Counts({2: frozenset(), 1: frozenset({"a"})}, (Row(1),))

    assert codec.encode([one])[1] == codec.encode([other])[1]
    assert codec.encode([one])[1] != codec.encode([Counts({1: frozenset({"b"}), 2: frozenset()}, (Row(1),))])[1]


DIGESTS = """
from dataclasses import dataclass
from typing import Any, Literal
import msgspec
from everfresh.cache.values import Codec, fingerprint_of

@dataclass
class Bug:
    id: int
    labels: set[str]
    ids: dict[int, frozenset[str]]
    kind: Literal["a", "b", "c"] | None = None

names = {"a", "b", "c", "d", "e"}
print(Codec(set[str], "f").encode(names)[1], Codec(frozenset[int], "f").encode(frozenset({1, 2, 2**60}))[1])
print(Codec(Any, "f").encode({name: {name: 1} for name in names})[1])
print(Codec(list[Bug], "f").encode([Bug(1, names, {len(name): frozenset(names) for name in names})])[1])
print(fingerprint_of(dict[str, list[Bug] | int], "f@1"), fingerprint_of(Any, "f@1"), fingerprint_of(object, "f@1"))
"""


def test_digests_and_fingerprints_are_equal_in_every_process() -> None:
    """A worker finds equal what another process built, whatever Python mixes into its hashes."""
    printed = {
        subprocess.run(
            [sys.executable, "-c", DIGESTS],
            check=True,
            capture_output=True,
            text=True,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
        ).stdout
        for seed in ("1", "2", "3")
    }

    assert len(printed) == 1


# ------------------------------------------------------------------------------------------------------ fingerprints


def versions_of_bug() -> list[Callable[[], object]]:
    def one() -> object:
        @dataclass
        class Bug:
            id: int

        return Bug

    def more() -> object:
        @dataclass
        class Bug:
            id: int
            title: str

        return Bug

    def other() -> object:
        @dataclass
        class Bug:
            id: str

        return Bug

    return [one, more, other]


@pytest.mark.parametrize("changed", versions_of_bug()[1:], ids=["field-added", "type-changed"])
def test_a_value_of_another_shape_is_a_miss(changed: Callable[[], object]) -> None:
    """After a deploy that changes a class, nobody decodes what the old code wrote."""
    before = versions_of_bug()[0]

    assert fingerprint_of(list[before()], "f@1") != fingerprint_of(list[changed()], "f@1")


def test_a_value_of_the_same_shape_is_found_again() -> None:
    """A restart loses nothing."""
    one = versions_of_bug()[0]

    assert fingerprint_of(one(), "f@1") == fingerprint_of(one(), "f@1")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((int, "f@1"), (int, "f@2")),
        ((int, "f@1"), (int, "g@1")),
        ((int, "f@1"), (str, "f@1")),
        ((Model, "f"), (Bug, "f")),
    ],
    ids=["version", "function", "type", "model"],
)
def test_a_fingerprint_tells_functions_versions_and_schemas_apart(one: tuple[Any, str], other: tuple[Any, str]) -> None:
    """None of them reads what another wrote."""
    assert fingerprint_of(*one) != fingerprint_of(*other)


def test_a_type_without_a_schema_has_a_fingerprint_by_its_name() -> None:
    """Such a value may still be stored, as far as it can be encoded."""
    assert fingerprint_of(object, "f@1") == fingerprint_of(object, "f@1")
    assert fingerprint_of(object, "f@1") != fingerprint_of(complex, "f@1")


# --------------------------------------------------------------------------------------------------------- immutable


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        7,
        7.5,
        "a",
        b"a",
        MOMENT,
        date(2024, 2, 29),
        time(12),
        timedelta(1),
        Decimal("7.50"),
        UUID(int=7),
        Color.RED,
        (1, ("a", None)),
        frozenset({1, 2}),
        Coordinates(1, 2),
        Page(1, (2, 3)),
        Cell("a", (Cell("b"),)),
    ],
    ids=repr,
)
def test_what_nobody_can_change_is_shared(value: object) -> None:
    """A near hit of it costs a look-up."""
    assert is_immutable(value)


@pytest.mark.parametrize(
    "value",
    [[], {}, set[int](), bytearray(), Bug(1), Row(1), Model(id=1), Shelf([]), Page, ([],), (Row(1),), object()],
    ids=lambda value: type(value).__name__ + str(value)[:3],
)
def test_what_somebody_could_change_is_not_shared(value: object) -> None:
    """Not even a frozen value that holds a list."""
    assert not is_immutable(value)


# --------------------------------------------------------------------------------------------------- values of one id


def test_a_value_that_was_left_out_is_stored_as_such() -> None:
    """It reads as None, and is told apart from a value that is None."""
    codec = CodecOfOne(int | None, "f")
    left_out, none = codec.encode(LEFT_OUT), codec.encode(None)

    assert [codec.decode(left_out[0]), codec.decode(none[0])] == [None, None]
    assert [is_left_out(left_out[0]), is_left_out(none[0])] == [True, False]
    assert left_out[1] != none[1]


def test_other_values_are_stored_as_ever() -> None:
    """With the same digests, whichever way they were loaded."""
    assert CodecOfOne(int, "f").encode(7) == Codec(int, "f").encode(7)


@pytest.mark.parametrize("value", [b"", b"\x00", [], {}, ""], ids=repr)
def test_no_value_is_taken_for_one_that_was_left_out(value: object) -> None:
    """However empty it is."""
    assert not is_left_out(CodecOfOne(type(value), "f").encode(value)[0])
