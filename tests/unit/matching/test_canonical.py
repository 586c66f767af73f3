import decimal
import json
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from enum import Enum, IntEnum
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everfresh.matching.canonical import NULL, canonical_text
from everfresh.model.errors import InvalidDependency

OFFSETS = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
# A day from either end, so that each has a year in every offset.
MOMENTS = st.datetimes(datetime.fromisoformat("0001-01-03"), datetime.fromisoformat("9999-12-29"), timezones=OFFSETS)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.decimals() | st.text() | st.binary() | st.uuids(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
NEVER = "9999-12-31T23:59:59-05:00"


class Product(Enum):
    FEDORA = "Fedora"
    SEVEN = 7


class Priority(IntEnum):
    HIGH = 1


class Markup(str):
    """Text of a template engine, which shows itself in another way than it is."""

    __slots__ = ()

    def __str__(self) -> str:
        return "<b>"


class Unsaid(tzinfo):
    """A time zone that does not know its offset, which Python allows."""

    def utcoffset(self, dt: datetime | None) -> timedelta | None:
        return None


@pytest.mark.parametrize(
    ("text", "forms"),
    [
        ("7", [7, 7.0, "7", "007", "+7", "7.00", "7e0", Decimal(7), Decimal("7.00"), Product.SEVEN]),
        ("-0.5", [-0.5, "-0.50", "-.5", "-5e-1", Decimal("-0.5")]),
        ("0", [0, False, 0.0, -0.0, "-0", "0.000", "0e9", Decimal(0), Decimal("-0E+5")]),
        ("1", [1, True, "1", Priority.HIGH]),
        ("100", [100, 1e2, "1e2", Decimal("1E+2")]),
        ("Fedora", ["Fedora", Product.FEDORA]),
        ("<i>", ["<i>", Markup("<i>")]),
        (NULL, [None]),
        ("NaN", [float("nan"), Decimal("NaN")]),
        ("-Infinity", [float("-inf"), Decimal("-Infinity"), "-Infinity"]),
        ("2024-02-29", [date(2024, 2, 29), "2024-02-29"]),
        ("12:30:00", [time(12, 30), "12:30:00"]),
        ("90.5", [timedelta(seconds=90.5), 90.5, "90.5"]),
        ("2024-02-29T12:30:00", ["2024-02-29 12:30", "2024-02-29T12:30:00.000000", "2024-02-29T13:30:00+01:00"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_forms_of_one_thing_have_one_text(text: str, forms: list[object]) -> None:
    """Whatever two systems write for one value meets."""
    assert {canonical_text(form) for form in forms} == {text}


@given(st.integers() | st.integers(-(10**6000), 10**6000))
def test_an_integer_meets_its_digits(number: int) -> None:
    """An id is a number in one system and a text in the other, however long it is."""
    with decimal.localcontext(decimal.Context(prec=decimal.MAX_PREC)):
        digits = format(Decimal(number), "f")

    assert canonical_text(number) == canonical_text(digits) == canonical_text(Decimal(number))


@given(st.decimals(allow_nan=False))
def test_a_decimal_meets_its_text(number: Decimal) -> None:
    """Each digit counts, and how it is written does not."""
    assert canonical_text(number) == canonical_text(str(number))


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_meets_what_json_writes_for_it(number: float) -> None:
    """One system sends the number, the other kept it as text."""
    assert canonical_text(number) == canonical_text(json.dumps(number)) == canonical_text(str(number))


@given(st.decimals(allow_nan=False, allow_infinity=False), st.integers(0, 40))
def test_trailing_zeros_do_not_matter(number: Decimal, n_zeros: int) -> None:
    """A price of 7.5 is a price of 7.50."""
    digits = number.as_tuple()
    assert isinstance(digits.exponent, int)
    padded = Decimal((digits.sign, (*digits.digits, *[0] * n_zeros), digits.exponent - n_zeros))

    assert canonical_text(padded) == canonical_text(number)


@given(st.decimals(allow_nan=False), st.integers(1, 9))
def test_the_callers_decimal_context_does_not_matter(number: Decimal, precision: int) -> None:
    """Two threads, one of which calculates with four digits, mean the same value."""
    usual = canonical_text(number)

    with decimal.localcontext(decimal.Context(precision, capitals=0, traps=[decimal.Inexact, decimal.Rounded])):
        assert canonical_text(number) == canonical_text(str(number)) == usual


@given(st.integers(), st.integers())
def test_different_numbers_have_different_texts(one: int, other: int) -> None:
    """A text that met too much would rebuild what nobody changed."""
    assert (canonical_text(one) == canonical_text(other)) is (one == other)


@pytest.mark.parametrize("text", ["1e999999", "1e-999999"])
def test_a_huge_exponent_stays_an_exponent(text: str) -> None:
    """An event from outside cannot make a text of a megabyte out of eight bytes."""
    assert len(canonical_text(text)) < 12
    assert canonical_text(Decimal(text)) == canonical_text(text)


@given(st.uuids() | st.integers(0, 2**128 - 1).map(lambda number: UUID(int=number)))
def test_a_uuid_has_one_text_in_all_its_forms(value: UUID) -> None:
    """With dashes or without, in capitals or not."""
    forms = {str(value), str(value).upper(), value.hex, value.hex.upper()}

    assert {canonical_text(form) for form in forms} == {canonical_text(value)}


@pytest.mark.parametrize("digits", ["0" * 32, "12345678" * 4, "1" * 28 + "e123"], ids=["nil", "digits", "exponent"])
def test_a_uuid_that_looks_like_a_number_is_one_in_all_its_forms(digits: str) -> None:
    """Nobody can tell from the text which was meant, so all of them meet."""
    forms = [digits, UUID(digits), str(UUID(digits)), Decimal(digits)]

    assert len({canonical_text(form) for form in forms}) == 1


@given(MOMENTS, OFFSETS)
def test_a_moment_has_one_text_in_every_offset(moment: datetime, offset: timezone) -> None:
    """It is the same moment everywhere."""
    there = moment.astimezone(offset)

    forms = [there, there.isoformat(), there.isoformat(" "), moment.astimezone(UTC).isoformat().replace("+00:00", "Z")]

    assert {canonical_text(form) for form in forms} == {canonical_text(moment)}


def test_a_moment_without_an_offset_is_taken_as_utc() -> None:
    """What the machine's own time zone is must not matter."""
    unsaid = datetime(2024, 2, 29, 12, 30, tzinfo=Unsaid())

    assert canonical_text(unsaid) == canonical_text("2024-02-29T12:30") == canonical_text("2024-02-29T12:30Z")


@pytest.mark.parametrize("text", [NEVER, "0001-01-01T00:00:00+05:00"])
def test_a_moment_beyond_the_calendar_is_a_value_too(text: str) -> None:
    """Some systems write "never" so, and one such field must not stop an event."""
    assert canonical_text(text) == canonical_text(datetime.fromisoformat(text)) == text


@pytest.mark.parametrize("text", ["2024-02-30T12:30:00", "2024-02-29T12:30:60", "2024-02-29T12:30 or so"])
def test_what_only_looks_like_a_moment_is_text(text: str) -> None:
    """No message from outside is refused for a bad date."""
    assert canonical_text(text) == text


@pytest.mark.parametrize(
    "text", ["", " ", "Fedora", "é", " 7", "7 ", "1.2.3", "deadbeef", "a-b", "1e", ".", "+", "\u0667"]
)
def test_other_text_stands_for_itself(text: str) -> None:
    """Nothing is trimmed, folded or guessed."""
    assert canonical_text(text) == text


def test_bytes_are_told_apart_from_text() -> None:
    """Their hex form is text that somebody may mean."""
    assert canonical_text(b"\x07") == "\0bytes07"


@given(st.dictionaries(st.text() | st.integers(), st.integers() | st.text()))
def test_the_order_of_a_mapping_does_not_matter(mapping: dict[object, object]) -> None:
    """Two systems write the same object in another order."""
    assert canonical_text(dict(reversed(mapping.items()))) == canonical_text(mapping)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (["a", "b"], ["a,b"]),
        (["a", "b"], ['a", "b']),
        ([["a"], "b"], [["a", "b"]]),
        (["a"], "a"),
        (["a"], {"a": None}),
        ({"a": "b"}, {"b": "a"}),
        ([], {}),
        (None, "null"),
        (None, "None"),
        ("", None),
        (b"", ""),
    ],
    ids=repr,
)
def test_delimiters_never_alias(one: object, other: object) -> None:
    """What stands inside a value cannot make it look like another."""
    assert canonical_text(one) != canonical_text(other)


def test_a_list_holds_canonical_texts() -> None:
    """What is one thing alone is one thing inside."""
    assert canonical_text([7, (True,)]) == canonical_text(("7", ["1.0"]))


@given(VALUES)
def test_whatever_comes_in_an_event_has_a_text(value: object) -> None:
    """No message from outside may stop triage."""
    assert type(canonical_text(value)) is str


def test_half_a_surrogate_pair_has_a_text_too() -> None:
    """JSON can carry one, and no message from outside may stop triage."""
    assert canonical_text({"name": ["\ud800"]}) != canonical_text({"name": ["\ud801"]})


@pytest.mark.parametrize("wrap", [lambda value: [value], lambda value: {"x": value}], ids=["list", "mapping"])
def test_a_value_that_is_nested_too_deep_is_refused(wrap: Callable[[object], object]) -> None:
    """A field inside it can be matched on."""
    value: object = 7
    for _ in range(32):
        value = wrap(value)
    assert canonical_text(value)

    with pytest.raises(InvalidDependency, match="nested over 32 deep"):
        canonical_text(wrap(value))


@pytest.mark.parametrize(
    "value", [object(), {1, 2}, 1j, [object()], {"a": object()}, int], ids=lambda v: type(v).__name__
)
def test_an_object_without_a_canonical_text_is_refused(value: object) -> None:
    """Its repr may differ from process to process, so that it would never match."""
    with pytest.raises(InvalidDependency, match="has no canonical text"):
        canonical_text(value)
