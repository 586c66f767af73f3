"""Errors that let nobody write into them, such as frozen dataclasses: they come out as any other."""

import asyncio
from contextvars import ContextVar
from dataclasses import dataclass

import pytest

from everfresh.cache.caching_errors import own_error
from tests.cache.making import Colour, Gate, done, entry_of, waited_for

TENANT: ContextVar[str] = ContextVar("tenant")


@dataclass(frozen=True)
class NotFound(Exception):
    """Says which."""

    number: object


async def test_a_frozen_error_comes_out_as_it_was_raised(colour: Colour) -> None:
    """Nothing in between writes into it."""

    @colour.cached()
    async def article(number: int) -> int:
        raise NotFound(number)

    with pytest.raises(NotFound) as caught:
        await done(article(7))

    assert caught.value == NotFound(7)
    assert any(entry.name == "article" for entry in caught.traceback)


async def test_so_it_does_where_it_cannot_take_our_advice(colour: Colour) -> None:
    """About a context variable that is not set."""

    @colour.cached()
    async def article() -> int:
        try:
            return len(TENANT.get())
        except LookupError as error:
            raise NotFound(1) from error

    with pytest.raises(NotFound):
        await done(article())


async def test_it_is_cached_when_its_function_names_it(colour: Colour) -> None:
    """And made again with all that it holds."""
    numbers: list[int] = []

    @colour.cached(cache_errors=(NotFound,))
    async def article(number: int) -> int:
        numbers.append(number)
        raise NotFound(number)

    found: list[Exception] = []
    for _ in range(3):
        with pytest.raises(NotFound) as caught:
            await done(article(7))
        found.append(caught.value)

    assert (found, numbers) == ([NotFound(7)] * 3, [7])
    assert (await entry_of(article, 7)).is_error


async def test_one_that_cannot_be_cached_comes_out_too(colour: Colour) -> None:
    """Though it takes no note that says why."""
    what = object()

    @colour.cached(cache_errors=(NotFound,))
    async def article() -> int:
        raise NotFound(what)

    with pytest.raises(NotFound) as caught:
        await done(article())

    assert caught.value.number is what


async def test_each_who_waits_gets_one(colour: Colour, gate: Gate) -> None:
    """An object of its own, as of any error."""

    @colour.cached()
    async def article() -> int:
        await gate.stop()
        raise NotFound(7)

    builder = colour.start(article)
    await gate.reached()
    waiter = colour.start(article)
    await waited_for(colour.cache, article.key(), 1)
    gate.open()
    found = tuple(await asyncio.gather(builder, waiter, return_exceptions=True))

    assert found == (NotFound(7), NotFound(7))
    assert found[0] is not found[1]


def test_its_like_has_its_cause() -> None:
    """Which is written into it, too."""
    error = NotFound(7)
    object.__setattr__(error, "__cause__", KeyError("why"))

    own = own_error(error)

    assert own is not error
    assert own.__cause__ is error.__cause__
