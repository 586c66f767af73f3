"""A caller may change what it got without changing what others get; what cannot be changed is shared."""
# ruff: noqa: ANN401 - values of any type are what is tested

from typing import Any

import pytest

from everfresh import dep
from everfresh.refresh import Worker
from tests.cache.fixtures import OpenCache
from tests.cache.making import Colour, done
from tests.cache.shapes_of_values import Count, Folder, Issue, Label, Person


async def test_changing_a_value_changes_nobody_elses(colour: Colour) -> None:
    """Not the first caller's, who had it built; not the second's, from the store; not those of the near cache."""

    @colour.cached()
    async def labels() -> dict[str, list[str]]:
        return {"kitchen": ["tea"]}

    seen: list[dict[str, list[str]]] = []
    for _ in range(5):
        value = await done(labels())
        seen.append({name: list(inner) for name, inner in value.items()})
        value["kitchen"].append("changed")
        value["changed"] = []

    assert seen == [{"kitchen": ["tea"]}] * 5


async def test_the_function_keeps_its_own_object_to_itself(colour: Colour) -> None:
    """Who had it built gets a copy, so changing it does not reach the function's own data either."""
    own = ["tea"]

    @colour.cached()
    async def labels() -> list[str]:
        return own

    (await done(labels())).append("changed")

    assert own == ["tea"]


async def test_changing_an_inner_value_in_a_build_changes_nobody_elses(colour: Colour) -> None:
    """A function that sorts what another gave it does not sort it for all."""

    @colour.cached()
    async def numbers() -> list[int]:
        return [3, 1, 2]

    @colour.cached()
    async def smallest() -> int:
        values = await done(numbers())
        values.sort()
        return values[0]

    for _ in range(3):
        await done(numbers())
    await done(smallest())

    assert await done(numbers()) == [3, 1, 2]


async def test_who_watches_may_change_what_comes(colour: Colour) -> None:
    """Each watcher's values are its own."""

    @colour.cached()
    async def labels() -> list[str]:
        return ["tea"]

    async with colour.watching(labels) as one, colour.watching(labels) as other:
        (await one.next()).append("changed")

        assert await other.next() == ["tea"]


async def test_changing_a_peeked_value_changes_nobody_elses(colour: Colour) -> None:
    """`peek` gives a copy too."""

    @colour.cached()
    async def labels() -> list[str]:
        return ["tea"]

    await done(labels())
    peeked = await done(labels.peek())
    assert peeked is not None
    peeked.append("changed")

    assert await done(labels.peek()) == ["tea"]


def given_by(colour: Colour, annotation: Any, value: Any) -> Any:
    """A cached function of that annotation that gives the value."""

    async def given() -> Any:
        return value

    given.__annotations__["return"] = annotation
    return colour.cached()(given)


IMMUTABLE: list[tuple[Any, object]] = [
    (str, "tea" * 99),
    (int, 10**18),
    (tuple[int, tuple[str]], (1, ("a",))),
    (frozenset[int], frozenset({1})),
    (Count, Count(1)),
    (Label, Label("a", ("b",))),
]
MUTABLE: list[tuple[Any, object]] = [
    (list[int], [1]),
    (dict[str, int], {"a": 1}),
    (set[int], {1}),
    (Issue, Issue("a", [])),
    (Person, Person(name="a")),
    (Folder, Folder([])),
    (tuple[list[int]], ([1],)),
]


@pytest.mark.parametrize(("annotation", "value"), IMMUTABLE, ids=str)
async def test_a_value_that_nobody_can_change_is_shared(colour: Colour, annotation: Any, value: object) -> None:
    """Near hits of immutable values give one object and decode nothing."""
    given = given_by(colour, annotation, value)
    for _ in range(2):
        await done(given())

    assert await done(given()) is await done(given())


@pytest.mark.parametrize(("annotation", "value"), MUTABLE, ids=str)
async def test_a_value_that_can_be_changed_is_not_shared(colour: Colour, annotation: Any, value: object) -> None:
    """Nor is one that is frozen outside and not inside."""
    given = given_by(colour, annotation, value)
    for _ in range(2):
        await done(given())

    assert await done(given()) is not await done(given())


def test_a_value_put_by_hand_is_not_shared(open_cache: OpenCache, url: str) -> None:
    """Neither with who put it nor among those who get it."""
    cache, value = open_cache(url).blocking, ["tea"]
    cache.put("labels", value)
    value.append("changed by who put it")
    cache.get("labels").append("changed by who got it")

    assert cache.get("labels") == ["tea"]


async def test_a_refresh_does_not_change_what_a_caller_holds(colour: Colour) -> None:
    """A value in hand stays as it was, whatever becomes of its entry."""
    labels = ["tea"]

    @colour.cached(depends_on=[dep.Tag("t")])
    async def listed() -> list[str]:
        return labels

    held = await done(listed())
    async with Worker(colour.cache):
        labels.append("rice")
        await colour.cache.invalidate(dep.Tag("t"))
        newer = await colour.start(listed)

    assert (held, newer) == (["tea"], ["tea", "rice"])
