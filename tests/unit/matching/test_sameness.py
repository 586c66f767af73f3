"""Whether a value is still the very same."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from types import MappingProxyType
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everfresh.matching.canonical import NULL
from everfresh.matching.sameness import are_same, is_same, texts_in_doubt


class Genre(Enum):
    FICTION = "fiction"


NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(0, 2) | st.sampled_from([0.0, 1.0, -0.0, "1", "1.0", Decimal(1)]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=4,
)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("1.1", "1.10"),
        ("007", "7"),
        ("+49", "49"),
        ("AB", "ab"),
        (True, 1),
        (1, 1.0),
        (0.0, -0.0),
        (7, "7"),
        (Decimal("1.1"), Decimal("1.10")),
        ([1], [True]),
        ([1], (1,)),
        ({"a": 1}, {"a": 1.0}),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ({"a": 1}, MappingProxyType({"a": 1})),
        (NOON, NOON.astimezone(timezone(timedelta(hours=2)))),
        (UUID(int=1), str(UUID(int=1))),
        (Genre.FICTION, "fiction"),
        (None, 0),
    ],
    ids=repr,
)
def test_what_can_be_told_apart_is_not_the_same(old: object, new: object) -> None:
    """Some page shows the difference, even where both meet the same dependency."""
    assert not is_same(old, new)


@given(VALUES, VALUES)
def test_the_same_is_written_the_same(old: object, new: object) -> None:
    """For values as they come in events."""
    assert is_same(old, new) is (type(old) is type(new) and repr(old) == repr(new))


@given(st.lists(VALUES, max_size=3), st.lists(VALUES, max_size=3))
def test_rows_are_the_same_when_all_their_values_are(old: list[object], new: list[object]) -> None:
    """And none is missing."""
    assert are_same(old, new) is (repr(old) == repr(new))


def test_what_is_compared_by_its_own_rules_is_the_same_only_if_it_says_so() -> None:
    """A class may be written the same whatever it holds."""

    class Opaque:
        def __init__(self, value: int) -> None:
            self.value = value

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Opaque) and other.value == self.value

        def __hash__(self) -> int:
            return hash(self.value)

        def __repr__(self) -> str:
            return "Opaque"

    one = Opaque(1)

    assert is_same(one, one)
    assert is_same(one, Opaque(1))
    assert not is_same(one, Opaque(2))


@pytest.mark.parametrize(
    ("old", "new", "texts"),
    [
        (["1.1"], ["1.10"], {"1.1"}),
        (["1.1", "a"], ["a", "1.1"], set()),
        (["1.1", "2"], ["1.10", "3"], {"1.1"}),
        (["1.1"], ["1.1", "1.10"], {"1.1"}),
        ([1], [2], set()),
        ([1, 1], [1], set()),
        ([1], [True], {"1"}),
        ([], [None], {NULL}),
        ([None], [], {NULL}),
        ([], [], set()),
        ([], [1], set()),
    ],
    ids=repr,
)
def test_a_text_is_in_doubt_when_its_values_are_others(old: list[object], new: list[object], texts: set[str]) -> None:
    """What only one side has is no doubt but news."""
    assert texts_in_doubt(old, new) == texts
