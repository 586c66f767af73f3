"""What outlives the build that started it: a consumer, a pool, a background task. It is part of no build any more."""
# ruff: noqa: ANN401 - values of any type are what is tested

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import Context, copy_context
from typing import Any

import pytest

from everfresh import FOREVER, Cache, dep, propagate
from tests.cache.fixtures import OpenCache
from tests.cache.making import Colour, done
from tests.cache.upstreams import Broken, Upstream

pytestmark = pytest.mark.redis


async def later(colour: Colour, context: Context, method: Callable[..., Any], *args: Any) -> Any:
    """What a call gives to a task, or a thread, that a build has started and that lives on."""
    if not colour.is_async:
        return await asyncio.to_thread(context.run, method, *args)

    async def call() -> Any:
        return await method(*args)

    return await asyncio.get_running_loop().create_task(call(), context=context)


async def test_what_outlives_a_build_may_need_what_was_built(colour: Colour, upstream: Upstream) -> None:
    """Nobody is building it any more."""
    contexts: list[Context] = []

    @colour.cached(depends_on=[upstream.tag])
    async def value() -> int:
        contexts.append(copy_context())
        return upstream.read()

    await done(value())
    await upstream.change(2)

    assert await later(colour, contexts[0], value) == 2


async def test_so_may_what_outlives_a_build_that_failed(colour: Colour, upstream: Upstream) -> None:
    """However it ended, it has ended."""
    contexts: list[Context] = []

    @colour.cached(depends_on=[upstream.tag])
    async def value() -> int:
        contexts.append(copy_context())
        return upstream.read()

    upstream.is_broken = True
    with pytest.raises(Broken):
        await done(value())
    upstream.is_broken = False

    assert await later(colour, contexts[0], value) == 1


async def test_so_may_what_outlives_a_build_that_was_cancelled(cache: Cache) -> None:
    """However it ended, it has ended."""
    contexts: list[Context] = []
    is_begun = asyncio.Event()

    @cache.cached
    async def value() -> int:
        contexts.append(copy_context())
        is_begun.set()
        if len(contexts) == 1:
            await asyncio.Event().wait()
        return 1

    first = asyncio.create_task(value())
    await is_begun.wait()
    first.cancel()
    with suppress(asyncio.CancelledError):
        await first

    assert await later(Colour(cache, is_async=True), contexts[0], value) == 1


async def test_what_is_built_for_it_is_nested_in_nothing(colour: Colour, upstream: Upstream) -> None:
    """The chain of a build begins with whoever asked for it outside of builds."""
    contexts: list[Context] = []

    @colour.cached(depends_on=[upstream.tag])
    async def inner() -> int:
        contexts.append(copy_context())
        return upstream.read()

    @colour.cached()
    async def outer() -> int:
        return 10 * (inner() if not colour.is_async else await inner())  # type: ignore[operator, misc]  # either colour

    await done(inner())
    await upstream.change(2)

    assert await later(colour, contexts[0], outer) == 20


@pytest.mark.parametrize("is_strict", [True, False])
async def test_what_outlives_a_build_is_served_within_the_bounds(
    colour: Colour, upstream: Upstream, is_strict: bool
) -> None:
    """What it makes of the value is stored nowhere, so it may be as old as for any other reader."""
    contexts: list[Context] = []

    @colour.cached()
    async def builder() -> int:
        contexts.append(copy_context())
        return 1

    @colour.cached(depends_on=[upstream.tag], stale_while_revalidate=FOREVER)
    async def value() -> int:
        return upstream.read()

    await done(builder.fresh() if is_strict else builder())
    await done(value())
    await upstream.change(2)

    assert await later(colour, contexts[0], value) == 1


async def test_events_that_come_after_a_build_are_of_no_generation(open_cache: OpenCache, url: str) -> None:
    """A consumer that a build has started tells of changes of the world as long as the process lives."""
    cache = open_cache(url, max_generations=1)
    colour = Colour(cache, is_async=True)
    contexts: list[Context] = []

    @cache.cached(depends_on=[dep.Tag("t")])
    async def value() -> int:
        contexts.append(copy_context())
        return len(contexts)

    for _ in range(3):
        await value()
        await later(colour, contexts[-1], cache.invalidate, dep.Tag("t"))

    assert await value() == 4


async def test_a_propagated_function_that_outlives_its_build_is_part_of_none(cache: Cache, upstream: Upstream) -> None:
    """As what a pool of threads goes on with."""
    late: list[Callable[[], int]] = []

    @cache.cached(depends_on=[upstream.tag])
    def value() -> int:
        late.append(propagate(value))
        return upstream.read()

    value()
    await upstream.change(2)

    assert await asyncio.to_thread(late[0]) == 2


async def test_a_hit_in_what_outlives_a_build_leaves_the_later_builds_alone(cache: Cache) -> None:
    """It belongs to neither."""
    contexts: list[Context] = []

    @cache.cached(depends_on=[dep.Tag("inner")])
    async def inner() -> int:
        return 1

    @cache.cached(depends_on=[dep.Tag("outer")])
    async def outer() -> int:
        contexts.append(copy_context())
        return len(contexts)

    async def hits() -> list[int]:
        return [await inner(), await inner()]

    await inner()
    await outer()
    in_task: Callable[[], Coroutine[Any, Any, list[int]]] = hits
    seen = await later(Colour(cache, is_async=True), contexts[0], in_task)
    await cache.invalidate(dep.Tag("inner"))

    assert (seen, await outer()) == ([1, 1], 1)
