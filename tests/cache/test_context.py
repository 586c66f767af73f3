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


async def test_the_error_says_what_to_do_about_the_variable(colour: Colour) -> None:
    """Conformance 27: it names the function and the variable, and both ways out."""
    user.set("ann")

    @colour.cached()
    async def greeting() -> str:
        return f"hello {user.get()}"

    with pytest.raises(LookupError) as raised:
        await done(greeting())

    (note,) = raised.value.__notes__
    assert note.startswith(
        f"everfresh: {greeting.name} is built for everybody, so it does not see the context variable 'user' "
    )
    assert note.endswith("take its value as an argument; if not, let it through: cached(inherit=(user,)).")


async def test_the_advice_is_that_of_the_function_that_reads_the_variable(colour: Colour) -> None:
    """Through an outer build the error comes by again; the outer function cannot mend it."""

    @colour.cached()
    async def inner() -> str:
        return user.get()

    @colour.cached()
    async def outer() -> str:
        return await done(inner())

    with pytest.raises(LookupError) as raised:
        await done(outer())

    (note,) = raised.value.__notes__
    assert note.startswith(f"everfresh: {inner.name} ")


async def test_a_variable_behind_the_error_of_a_framework_is_named_too(colour: Colour) -> None:
    """They wrap it: "working outside of request context", they say, and leave it at that."""

    @colour.cached()
    async def greeting() -> str:
        try:
            return user.get()
        except LookupError:
            raise RuntimeError("outside of a request") from None

    with pytest.raises(RuntimeError, match="outside of a request") as raised:
        await done(greeting())

    (note,) = raised.value.__notes__
    assert "context variable 'user'" in note


@pytest.mark.parametrize(
    "error",
    [LookupError("k"), LookupError(), KeyError(user), ValueError(user)],
    ids=["a lookup of something", "a lookup", "a key", "a value"],
)
async def test_other_errors_get_no_advice(colour: Colour, error: Exception) -> None:
    """A key that is not there has nothing to do with contexts."""

    @colour.cached()
    async def value() -> int:
        raise error

    with pytest.raises(type(error)) as raised:
        await done(value())

    assert not hasattr(raised.value, "__notes__")


async def test_nothing_leaks_through_a_variable_with_a_default(colour: Colour) -> None:
    """It reads the default, whoever asks; what everybody gets holds nobody's."""
    trace.set("ann's")

    @colour.cached()
    async def value() -> str:
        return trace.get()

    assert await done(value()) == "none"


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
