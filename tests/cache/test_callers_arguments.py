"""The caller's own lists and dicts: a build runs with what they held when it was called, and does not change them."""

import asyncio
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from everfresh import FOREVER
from everfresh.testing.waiting import soon
from tests.cache.making import Colour, Gate, done, is_fresh
from tests.cache.upstreams import Upstream


@dataclass
class Choice:
    numbers: list[int]


class Frozen(msgspec.Struct, frozen=True):
    numbers: list[int]


def change_list(value: Any) -> None:  # noqa: ANN401 - arguments are of any type
    value.append(100)


def change_dict(value: Any) -> None:  # noqa: ANN401 - as above
    value["c"] = 100


def change_inside(value: Any) -> None:  # noqa: ANN401 - as above
    value.numbers.append(100)


def change_first(value: Any) -> None:  # noqa: ANN401 - as above
    value[0].append(100)


CHANGES = {
    "list": ([1, 2], list[int], change_list),
    "dict": ({"a": 1, "b": 2}, dict[str, int], change_dict),
    "dataclass": (Choice([1, 2]), Choice, change_inside),
    "struct": (Frozen([1, 2]), Frozen, change_inside),
    "tuple": (([1, 2],), tuple[list[int]], change_first),
}


@pytest.mark.parametrize("name", CHANGES)
async def test_a_refresh_runs_with_what_its_key_says(colour: Colour, upstream: Upstream, name: str) -> None:
    """Whatever the caller did with its argument since it was served the old value: its value is everybody's."""
    shared, annotation, change = CHANGES[name]
    argument = deepcopy(shared)
    seen: list[str] = []

    async def shown(value: object) -> str:
        upstream.read()
        seen.append(repr(value))
        return seen[-1]

    shown.__annotations__["value"] = annotation
    cached = colour.cached(depends_on=[upstream.tag], stale_while_revalidate=FOREVER)(shown)
    await done(cached(argument))
    key, as_called = cached.key(argument), repr(argument)
    await upstream.announce()
    await done(cached(argument))
    change(argument)
    await soon(lambda: upstream.n_read == 2, what="the refresh")

    assert (seen, repr(argument) == as_called) == ([as_called] * 2, False)
    assert cached.key(argument) != key


async def test_a_call_runs_with_what_it_was_called_with(colour: Colour, gate: Gate) -> None:
    """Even if it has to wait before it runs: here, for somebody else's build."""
    built: list[tuple[int, ...]] = []
    is_first = True

    @colour.cached()
    async def total(numbers: list[int]) -> int:
        nonlocal is_first
        if is_first:
            is_first = False
            await gate.stop()
            raise LookupError
        built.append(tuple(numbers))
        return sum(numbers)

    numbers = [1, 2]
    first = colour.start(total, [1, 2])
    await gate.reached()
    second = colour.start(total, numbers)
    await soon(lambda: colour.cache.engine.wakers._waiters, what="a second caller")  # noqa: SLF001 - nobody is told
    numbers.append(100)
    gate.open()
    await asyncio.gather(first, second, return_exceptions=True)
    value = await done(total([1, 2]))

    assert (value, built) == (3, [(1, 2)])


async def test_a_function_that_changes_its_argument_changes_its_own(colour: Colour, upstream: Upstream) -> None:
    """On a miss as on a hit: the caller's list stays as it is, and each build begins with what was passed."""

    @colour.cached(depends_on=[upstream.tag])
    async def largest(numbers: list[int]) -> int:
        upstream.read()
        return numbers.pop()

    numbers = [1, 2]
    values = [await done(largest(numbers)), await done(largest.refresh(numbers))]

    assert (values, numbers) == ([2, 2], [1, 2])


async def test_one_who_watches_is_given_values_of_what_was_asked_for(colour: Colour, upstream: Upstream) -> None:
    """Each build of its call begins with the argument as it was."""

    @colour.cached(depends_on=[upstream.tag])
    async def largest(numbers: list[int]) -> int:
        return upstream.read() * numbers.pop()

    async with colour.watching(largest, [1, 2]) as watch:
        values = [await watch.next()]
        await upstream.change(3)
        values.append(await watch.next())

    assert values == [2, 6]


async def test_a_default_that_a_function_changes_is_as_it_was_for_the_next(colour: Colour, upstream: Upstream) -> None:
    """The trap of Python's defaults ends here."""

    @colour.cached(depends_on=[upstream.tag])
    async def seen(numbers: list[int] = []) -> int:  # noqa: B006 - the trap
        numbers.append(1)
        return len(numbers)

    assert [await done(seen()), await done(seen.refresh())] == [1, 1]


async def test_an_ignored_argument_is_the_callers_own(colour: Colour) -> None:
    """A connection or a client is passed on as it is, beside a list that is not."""

    class Client:
        pass

    got: list[tuple[object, bool]] = []

    @colour.cached(ignore=("client",))
    async def total(numbers: list[int], client: Client | None = None) -> int:
        got.append((client, numbers is mine))
        return sum(numbers)

    client, mine = Client(), [1, 2]
    await done(total(mine, client))

    assert got == [(client, False)]


async def test_arguments_that_nobody_can_change_are_passed_as_they_are(colour: Colour) -> None:
    """Nothing is made anew for them."""
    text = str(b"ab", "ascii")
    got: list[object] = []

    @colour.cached()
    async def same(word: str, pair: tuple[str, int], **others: str) -> None:
        got.extend([word, pair, others["more"]])

    pair = (text, 1)
    await done(same(text, pair, more=text))

    assert [one is other for one, other in zip(got, [text, pair, text], strict=True)] == [True] * 3


async def test_further_names_with_lists_in_them_are_made_anew(colour: Colour) -> None:
    """What stands in `**others` is an argument like any other."""
    got: list[list[int]] = []

    @colour.cached()
    async def total(**others: list[int]) -> int:
        got.extend(others.values())
        return sum(others["more"])

    mine = [1, 2]
    await done(total(more=mine))

    assert (got, got[0] is mine) == ([[1, 2]], False)


async def test_further_arguments_of_a_function_of_many_ids_are_its_own(colour: Colour, upstream: Upstream) -> None:
    """For its refreshes too."""

    @colour.cached_many(depends_on=[upstream.tag], stale_while_revalidate=FOREVER)
    async def scaled(ids: list[int], scales: list[int]) -> dict[int, int]:
        upstream.read()
        return {id_: id_ * sum(scales) for id_ in ids}

    scales = [10]
    values = [await done(scaled([1, 2], scales))]
    await upstream.announce()
    await done(scaled([1, 2], scales))
    scales[0] = 1000
    for id_ in (1, 2):
        await soon(lambda id_=id_: is_fresh(scaled.one, id_, [10]), what="the refresh")
    values.append(await done(scaled([1, 2], [10])))

    assert values == [{1: 10, 2: 20}] * 2


async def test_a_secret_list_is_made_anew_too(colour: Colour) -> None:
    """It stands in the key as a hash, and in the recipe as it is."""
    got: list[list[str]] = []

    @colour.cached(secret=("tokens",))
    async def account(tokens: list[str]) -> int:
        got.append(tokens)
        return len(tokens)

    mine = ["a", "b"]
    await done(account(mine))

    assert (got, got[0] is mine) == ([["a", "b"]], False)
