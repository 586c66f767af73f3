"""What a caller sees of a cached function: it is called as before, and executed once for equal arguments."""
# ruff: noqa: ANN401 - values of any type are what is tested

import inspect
from typing import Any

import pytest

from everfresh import Cache
from tests.cache.making import Colour, done


async def test_called_twice_is_executed_once(colour: Colour) -> None:
    """The second caller gets the stored value."""
    executed: list[int] = []

    @colour.cached()
    async def double(n: int) -> int:
        executed.append(n)
        return 2 * n

    values = [await done(double(21)), await done(double(21))]

    assert (values, executed) == ([42, 42], [21])


async def test_other_arguments_are_another_entry(colour: Colour) -> None:
    """A result stands for the arguments that it was built with."""

    @colour.cached()
    async def double(n: int) -> int:
        return 2 * n

    values = [await done(double(n)) for n in (1, 2, 1, 2, 1, 2)]

    assert values == [2, 4, 2, 4, 2, 4]


async def test_however_a_call_is_spelled_it_is_one_call(colour: Colour) -> None:
    """Defaults are filled in, and neither the order of keywords nor their use matters."""
    executed: list[str] = []

    @colour.cached()
    async def page(number: int, size: int = 10, *, order: str = "asc") -> str:
        executed.append("page")
        return f"{number}/{size}/{order}"

    values = {
        await done(page(1)),
        await done(page(1, 10)),
        await done(page(number=1)),
        await done(page(size=10, number=1)),
        await done(page(1, order="asc", size=10)),
    }

    assert (values, executed) == ({"1/10/asc"}, ["page"])


@pytest.mark.parametrize("first", [1, True, 1.0, "1"], ids=repr)
async def test_arguments_that_only_compare_equal_are_different_calls(colour: Colour, first: object) -> None:
    """1, True, 1.0 and "1" are told apart, also by the near cache when one of them is in it."""

    @colour.cached()
    async def name_of(value: Any) -> str:
        return repr(value)

    for _ in range(3):
        await done(name_of(first))
    names = [await done(name_of(value)) for value in (1, True, 1.0, "1") for _ in range(3)]

    assert names == [repr(value) for value in (1, True, 1.0, "1") for _ in range(3)]


async def test_arguments_that_cannot_be_hashed_are_as_good_as_others(colour: Colour) -> None:
    """A list or a dict is told apart by what is in it."""
    executed: list[object] = []

    @colour.cached()
    async def total(numbers: list[int], weights: dict[str, int]) -> int:
        executed.append(numbers)
        return sum(numbers) * weights["w"]

    values = [
        await done(total([1, 2], {"w": 2})),
        await done(total([1, 2], {"w": 2})),
        await done(total([2], {"w": 2})),
    ]

    assert (values, executed) == ([6, 6, 4], [[1, 2], [2]])


async def test_a_call_that_does_not_fit_the_signature_raises_type_error(colour: Colour) -> None:
    """As it did without the cache."""

    @colour.cached()
    async def double(n: int) -> int:
        return 2 * n

    with pytest.raises(TypeError, match="too many positional arguments"):
        await done(double(1, 2))  # type: ignore[call-arg]  # the mistake is the test


async def test_what_the_function_raises_is_raised(colour: Colour) -> None:
    """A failure is the caller's to handle, the very error, as without the cache."""
    error = ConnectionError("the upstream is down")

    @colour.cached()
    async def ask() -> int:
        raise error

    with pytest.raises(ConnectionError) as raised:
        await done(ask())

    assert raised.value is error


async def test_a_failure_is_not_cached(colour: Colour) -> None:
    """The next caller tries again."""
    answers = iter([ConnectionError("down"), 7])

    @colour.cached()
    async def ask() -> int:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    with pytest.raises(ConnectionError):
        await done(ask())

    assert await done(ask()) == 7


def test_a_cached_function_looks_like_the_function(cache: Cache) -> None:
    """Name, documentation and signature are the function's own."""

    @cache.cached
    def cached(n: int = 1) -> int:
        """Twice as much."""
        return 2 * n

    double: Any = cached
    seen = (double.__name__, double.__doc__, str(inspect.signature(double)))

    assert seen == ("cached", "Twice as much.", "(n: int = 1) -> int")


def test_a_static_method_is_called_on_the_class_and_on_its_objects(cache: Cache) -> None:
    """It needs no object, so it can be cached."""

    class Tea:
        @staticmethod
        @cache.cached
        def name(kind: str) -> str:
            return f"{kind} tea"

    assert (Tea.name("mint"), Tea().name("mint")) == ("mint tea", "mint tea")


def test_the_functions_of_a_cache_are_listed_by_name(cache: Cache) -> None:
    """Tools find a function by the name that stands in keys."""

    @cache.cached
    def double(n: int) -> int:
        return 2 * n

    assert dict(cache.functions) == {double.name: double}
