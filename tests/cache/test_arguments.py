"""What may be passed to a cached function, and what is refused with a message that says what to do."""
# ruff: noqa: ANN401 - values of any type are what is tested

import functools
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import datetime, time, timedelta, tzinfo
from typing import Any

import pytest

from everfresh import ArgumentNotSupported, Cache, InvalidOption
from tests.cache.declared import CALLS, Call, Colour, Filter, Point, Query, declare


def _name_of(call: Call) -> str:
    return f"{call[0]}{call[1]}{call[2] or ''}"


@pytest.mark.parametrize("call", CALLS, ids=_name_of)
def test_arguments_of_many_types_make_a_key(cache: Cache, call: Call) -> None:
    """Plain data, Enums, dataclasses, Structs and Pydantic models, in every kind of parameter."""
    name, args, kwargs = call
    function = declare(cache)[name]

    function(*args, **kwargs)

    assert function.entry(*args, **kwargs) is not None


def test_no_two_of_these_calls_are_one(cache: Cache) -> None:
    """What differs in type or content differs in its key."""
    functions = declare(cache)

    keys = {functions[name].key(*args, **kwargs) for name, args, kwargs in CALLS}

    assert len(keys) == len(CALLS)


@pytest.mark.parametrize("value", [Colour.RED, Point(1, 2), Filter("tea"), Query(word="tea")], ids=repr)
def test_an_equal_object_is_the_same_argument(cache: Cache, value: Any) -> None:
    """Objects count by what is in them, not by which object they are."""

    @cache.cached(ignore=())
    def shown(value: Colour | Point | Filter | Query) -> str:
        return repr(value)

    again = value if isinstance(value, Colour) else type(value)(**vars_of(value))

    assert shown.key(value) == shown.key(again)


def vars_of(value: Any) -> dict[str, Any]:
    """The fields of an object."""
    if isinstance(value, Query):
        return value.model_dump(by_alias=True)
    return {name: getattr(value, name) for name in type(value).__annotations__}


class Unknown:
    """No data type at all."""


@dataclass
class Holder:
    inner: object


@pytest.mark.parametrize(
    "value",
    [Unknown(), [Unknown()], {"a": Unknown()}, Holder(Unknown()), (x for x in ()), print, Unknown, object()],
    ids=["object", "in a list", "in a dict", "in a dataclass", "generator", "function", "class", "plain object"],
)
def test_an_argument_without_a_canonical_form_is_refused(cache: Cache, value: object) -> None:
    """The message names the function, the argument, the type, and what to do."""
    kind = "Unknown" if "Unknown object" in repr(value) else type(value).__qualname__

    @cache.cached
    def shown(thing: Any) -> str:
        return repr(thing)

    with pytest.raises(
        ArgumentNotSupported, match=rf"shown@1, argument thing: .*{kind}.*has no canonical form.*ignore="
    ):
        shown(value)


def test_an_argument_that_a_worker_could_not_make_again_is_refused(cache: Cache) -> None:
    """Without the annotation nobody else knows that the data was a Point."""

    @cache.cached
    def shown(point) -> str:  # noqa: ANN001 - the missing annotation is the test
        return repr(point)

    with pytest.raises(ArgumentNotSupported, match=r"argument point: .*Annotate the parameter"):
        shown(Point(1, 2))


def test_an_argument_that_would_come_back_as_another_type_is_refused(cache: Cache) -> None:
    """A worker would build with something else than the caller passed."""

    @cache.cached
    def shown(value: Filter) -> str:
        return repr(value)

    with pytest.raises(ArgumentNotSupported, match="argument value: "):
        shown(Query(word="tea"))  # type: ignore[arg-type]  # the mistake is the test


class OddZone(tzinfo):
    """A zone that only its author knows."""

    def utcoffset(self, dt: datetime | None) -> timedelta:
        return timedelta(hours=1)


def _holding_itself() -> list[object]:
    values: list[object] = []
    values.append(values)
    return values


@pytest.mark.parametrize(
    "value",
    [_holding_itself(), 10**5000, datetime(2024, 1, 1, tzinfo=OddZone()), time(12, tzinfo=OddZone())],
    ids=["holds itself", "too many digits", "moment in an odd zone", "time in an odd zone"],
)
def test_an_argument_that_cannot_be_written_is_refused(cache: Cache, value: object) -> None:
    """By its own error, never by one from deep inside."""

    @cache.cached
    def shown(thing: Any) -> str:
        return repr(thing)

    with pytest.raises(ArgumentNotSupported, match=r"argument thing: .*no canonical form"):
        shown(value)


def test_an_object_passed_for_plain_data_is_refused(cache: Cache) -> None:
    """A worker would be given the text, not the member."""

    @cache.cached
    def shown(value: str) -> str:
        return repr(value)

    with pytest.raises(ArgumentNotSupported, match=r"argument value: .*Annotate the parameter"):
        shown(Colour.RED)  # type: ignore[arg-type]  # the mistake is the test


def test_an_object_that_is_nothing_like_its_annotation_is_refused(cache: Cache) -> None:
    """It could not even be read back."""

    @cache.cached
    def shown(value: int) -> str:
        return repr(value)

    with pytest.raises(ArgumentNotSupported, match=r"argument value: it cannot be made anew"):
        shown(Point(1, 2))  # type: ignore[arg-type]  # the mistake is the test


def test_a_text_that_cannot_be_written_is_refused(cache: Cache) -> None:
    """Half a surrogate pair has no UTF-8, so no store could hold it."""

    @cache.cached
    def shown(value: str) -> str:
        return "shown"

    with pytest.raises(ArgumentNotSupported, match=r"argument value: .*cannot be sent to a worker"):
        shown("\ud800")


def test_nothing_is_stored_for_a_call_that_is_refused(cache: Cache) -> None:
    """A refused call leaves no trace."""

    @cache.cached
    def shown(thing: Any) -> str:
        return repr(thing)

    before = cache.blocking.position()
    with pytest.raises(ArgumentNotSupported):
        shown(Unknown())

    assert cache.blocking.position() == before


def test_a_method_is_refused(cache: Cache) -> None:
    """A worker does not have the object."""

    def title(self: Any, number: int) -> str:
        return f"{self} {number}"

    with pytest.raises(InvalidOption, match="a method needs its object"):
        cache.cached(title)


def test_a_generator_is_refused(cache: Cache) -> None:
    """A stream has no value to store."""

    def numbers() -> Iterator[int]:
        yield 1

    with pytest.raises(InvalidOption, match="Return a list"):
        cache.cached(numbers)


def test_an_asynchronous_generator_is_refused(cache: Cache) -> None:
    """As a generator is."""

    async def numbers() -> AsyncIterator[int]:
        yield 1

    with pytest.raises(InvalidOption, match="Return a list"):
        cache.cached(numbers)


@pytest.mark.parametrize(
    "nameless", [lambda: 1, functools.partial(int, "7"), functools.partial(max, 1, 2)], ids=["lambda", "partial", "max"]
)
def test_what_has_no_name_of_its_own_is_refused(cache: Cache, nameless: Any) -> None:
    """Two lambdas would share their keys."""
    with pytest.raises(InvalidOption, match=r"no name of its own.*`def`"):
        cache.cached(nameless)


@pytest.mark.parametrize("thing", [5, "f", None, max, int], ids=repr)
def test_what_is_no_function_is_refused(cache: Cache, thing: Any) -> None:
    """`cached` takes functions with a signature; the message says so."""
    decorator = cache.cached()

    with pytest.raises(InvalidOption, match="function"):
        decorator(thing)


def test_a_function_within_a_function_cannot_be_cached_twice(cache: Cache) -> None:
    """Two closures of one name would be served each other's values."""

    def declare_one(n: int) -> None:
        @cache.cached
        def closure() -> int:
            return n

    declare_one(1)

    with pytest.raises(InvalidOption, match="cached twice"):
        declare_one(2)


def test_an_annotation_that_nobody_can_read_is_an_error_that_names_the_function(cache: Cache) -> None:
    """Found at the first call, since it may name what is defined further down."""

    @cache.cached
    def shown(value: "Nowhere") -> str:  # type: ignore[name-defined]  # noqa: F821 - the mistake is the test
        return repr(value)

    with pytest.raises(InvalidOption, match="shown@1: an annotation cannot be read"):
        shown(1)
