from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import pytest

from everfresh.cache.signatures import CallSignature, SignatureOfOne
from everfresh.model.errors import InvalidOption


def users(ids: list[int], locale: str = "en") -> dict[int, str]:
    return {}


def several(ids: Sequence[str]) -> Mapping[str, float]:
    return {}


def collected(ids: Collection[bytes]) -> dict[bytes, list[int]]:
    return {}


def any_of(ids: Iterable[int]) -> dict[int, None]:
    return {}


def bare(ids: list) -> dict:
    return {}


def unsaid(ids, /):  # noqa: ANN001, ANN201 - that is the point
    return {}


def one_id(ids: int) -> dict[int, str]:
    return {}


def pairs(ids: list[int]) -> list[tuple[int, str]]:
    return []


def signature(
    function: Callable[..., Any], *, ignore: tuple[str, ...] = (), template: str | None = None
) -> SignatureOfOne:
    return SignatureOfOne(function, name="f@1", ignore=ignore, template=template)


@pytest.mark.parametrize(
    ("function", "element", "value"),
    [
        (users, int, str),
        (several, str, float),
        (collected, bytes, list[int]),
        (any_of, int, None),
        (bare, Any, Any),
        (unsaid, Any, Any),
    ],
)
def test_an_id_and_its_value_are_what_the_annotations_hold(
    function: Callable[..., Any], element: object, value: object
) -> None:
    """A list of them, and a dict of values by them."""
    found = signature(function)

    assert (found.ids, found.annotation("ids"), found.annotation("return")) == ("ids", element, value)


@pytest.mark.parametrize("function", [one_id, pairs])
def test_other_annotations_are_refused(function: Callable[..., Any]) -> None:
    """The message says what to write."""
    with pytest.raises(InvalidOption, match=r"f@1: it takes a list of ids and gives a dict"):
        signature(function).annotation("return")


def test_a_call_of_one_id_has_the_key_of_the_id() -> None:
    """Further arguments are in it too."""
    found = signature(users)

    assert found.key(found.bind((7,), {})) == 'f@1(ids=7, locale="en")'


def test_a_key_named_by_hand_holds_the_id() -> None:
    """As a number stands in any key."""
    found = signature(users, template="user:{ids}:{locale}")

    assert found.key(found.bind((7, "de"), {})) == "user:7:de"


def test_a_recipe_holds_the_id() -> None:
    """So that a worker loads that one."""
    found = signature(users)

    assert found.decode(found.encode(found.bind((7,), {}))) == {"ids": 7, "locale": "en"}


def none() -> int:
    return 0


def one(number: int) -> int:
    return number


def one_and_session(number: int, session: object = None) -> int:
    return number


def positional(number: int, /) -> int:
    return number


def two(number: int, unit: str = "s") -> int:
    return number


def named(*, number: int) -> int:
    return number


def some(*numbers: int) -> int:
    return len(numbers)


@pytest.mark.parametrize(
    ("function", "ignore", "takes_one"),
    [
        (none, (), False),
        (one, (), True),
        (positional, (), True),
        (one_and_session, ("session",), True),
        (one_and_session, (), False),
        (two, (), False),
        (named, (), False),
        (some, (), False),
    ],
)
def test_some_functions_take_one_argument(
    function: Callable[..., Any], ignore: tuple[str, ...], takes_one: bool
) -> None:
    """The others are given tuples, when many calls are asked for at once."""
    assert CallSignature(function, name="f@1", ignore=ignore, template=None).takes_one is takes_one
