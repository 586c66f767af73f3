"""Arguments of every supported builtin type, and how to tell apart what Python takes for equal."""

from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=5) | st.sampled_from(["null", "1", '", "', "true"])
ZONES = st.sampled_from([None, UTC, timezone(timedelta(hours=1)), ZoneInfo("Europe/Berlin"), ZoneInfo("UTC")])
FOLDS = st.booleans()
MOMENTS = st.datetimes(timezones=ZONES, allow_imaginary=False)
HASHABLE = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | TEXTS
    | st.binary(max_size=5)
    | st.dates()
    | MOMENTS
    | st.times(timezones=ZONES)
    | st.timedeltas()
    | st.decimals(allow_nan=False)
    | st.uuids()
)
ARGUMENTS = st.recursive(
    HASHABLE,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(HASHABLE, inner, max_size=3)
        | st.sets(HASHABLE, max_size=3)
        | st.frozensets(HASHABLE, max_size=3)
    ),
    max_leaves=6,
)


def exactly(value: object) -> Any:  # noqa: ANN401 - tuples within tuples, of any depth
    """The value with its types: equal only for values that no function can tell apart."""
    kind = type(value).__name__
    match value:
        case datetime() | time():
            return kind, value.replace(tzinfo=None).isoformat(), repr(value.tzinfo), value.fold
        case None | bool() | int() | float() | str() | bytes() | date() | timedelta() | Decimal() | UUID():
            return kind, repr(value)
        case dict():
            return kind, frozenset((exactly(name), exactly(inner)) for name, inner in value.items())
        case set() | frozenset():
            return kind, frozenset(map(exactly, value))
        case list() | tuple():
            return kind, tuple(map(exactly, value))
        case _:
            raise AssertionError(kind)
