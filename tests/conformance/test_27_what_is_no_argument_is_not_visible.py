"""Conformance 27: a function that reads the current user without taking it as an argument."""

from contextvars import ContextVar

import pytest

from everfresh import dep
from everfresh.testing.plugin import Drain
from tests.cache.making import Colour, done

current_user: ContextVar[str] = ContextVar("current_user")


async def test_it_fails_with_an_error_that_names_the_variable_and_leaks_nothing(colour: Colour) -> None:
    """27: for whoever asks first, and for whoever asks next; nothing is stored."""

    @colour.cached()
    async def inbox() -> str:
        return f"mail of {current_user.get()}"

    for name in ("ann", "bob"):
        current_user.set(name)
        with pytest.raises(LookupError, match="current_user") as raised:
            await done(inbox())
        (note,) = raised.value.__notes__
        assert inbox.name in note
        assert "take its value as an argument" in note
        assert "ann" not in f"{raised.value} {note}"

    assert await done(inbox.peek()) is None


async def test_it_fails_through_an_inner_function_too(colour: Colour) -> None:
    """27: the advice is that of the one that reads."""

    @colour.cached()
    async def inner() -> str:
        return current_user.get()

    @colour.cached()
    async def outer() -> str:
        return await done(inner())

    current_user.set("ann")
    with pytest.raises(LookupError, match="current_user") as raised:
        await done(outer())

    assert [inner.name in note for note in raised.value.__notes__] == [True]


async def test_a_refresh_does_not_see_the_user_who_published_either(colour: Colour, drain: Drain) -> None:
    """27: nor whoever happens to work."""
    seen: list[str] = []

    @colour.cached(depends_on=[dep.Tag("t")])
    async def value() -> int:
        seen.append(current_user.get("nobody"))
        return len(seen)

    current_user.set("ann")
    await done(value())
    await colour.cache.invalidate(dep.Tag("t"))
    await drain()

    assert seen == ["nobody", "nobody"]


async def test_as_an_argument_the_user_is_told_apart(colour: Colour) -> None:
    """27: what the advice leads to."""

    @colour.cached()
    async def inbox(user: str) -> str:
        return f"mail of {user}"

    values: list[str] = []
    for name in ("ann", "bob"):
        current_user.set(name)
        values.append(await done(inbox(current_user.get())))

    assert values == ["mail of ann", "mail of bob"]
