"""A build runs in an empty context: nothing of whoever asked first can leak into what everybody gets."""

from contextvars import ContextVar

import pytest

from everfresh.refresh import Worker
from everfresh.testing.waiting import soon
from tests.cache.making import Colour, done
from tests.cache.upstreams import Upstream

user: ContextVar[str] = ContextVar("user")
trace: ContextVar[str] = ContextVar("trace", default="none")


async def test_a_build_does_not_see_the_callers_user(colour: Colour) -> None:
    """A function that reads it without taking it as an argument fails at once, by its name, instead of leaking."""
    user.set("ann")

    @colour.cached()
    async def greeting() -> str:
        return f"hello {user.get()}"

    with pytest.raises(LookupError, match="user"):
        await done(greeting())


async def test_an_inherited_variable_is_seen(colour: Colour) -> None:
    """For what does not change the value: a trace, a deadline, a connection."""
    seen: list[str] = []
    trace.set("t-1")

    @colour.cached(inherit=(trace,))
    async def value() -> int:
        seen.append(trace.get())
        return 1

    await done(value())

    assert seen == ["t-1"]


async def test_only_the_inherited_variable_is_seen(colour: Colour) -> None:
    """One that is let through opens the door to no other."""
    user.set("ann")
    trace.set("t-1")

    @colour.cached(inherit=(trace,))
    async def value() -> str:
        return user.get("nobody")

    assert await done(value()) == "nobody"


async def test_an_inherited_variable_without_a_value_stays_without(colour: Colour) -> None:
    """Letting through makes nothing up."""

    @colour.cached(inherit=(user,))
    async def value() -> str:
        return user.get("nobody")

    assert await done(value()) == "nobody"


async def test_what_a_build_sets_is_not_seen_by_the_caller(colour: Colour) -> None:
    """Nothing leaks the other way either."""

    @colour.cached(inherit=(trace,))
    async def value() -> int:
        trace.set("from the build")
        return 1

    await done(value())

    assert trace.get() == "none"


async def test_a_nested_build_sees_only_what_it_inherits_itself(colour: Colour) -> None:
    """The outer function's permission is not the inner one's."""
    trace.set("t-1")

    @colour.cached()
    async def inner() -> str:
        return trace.get()

    @colour.cached(inherit=(trace,))
    async def outer() -> list[str]:
        return [trace.get(), await done(inner())]

    assert await done(outer()) == ["t-1", "none"]


async def test_a_worker_has_nothing_to_inherit(colour: Colour, upstream: Upstream) -> None:
    """It builds for nobody, whatever was set where it was started."""
    user.set("ann")

    @colour.cached(depends_on=[upstream.tag], inherit=(user,))
    async def value() -> tuple[str, int]:
        return (user.get("nobody"), upstream.read())

    await done(value())
    async with Worker(colour.cache):
        await upstream.change(2)

        await soon(lambda: _is_built_for_nobody(value), what="the worker's value")


async def _is_built_for_nobody(function: object) -> bool:
    return await done(function.peek()) == ("nobody", 2)  # type: ignore[attr-defined]
