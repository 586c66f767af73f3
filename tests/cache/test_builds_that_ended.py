"""A build that was begun by another one, which has ended since: it may need what that one makes, as anybody may."""

import asyncio
from contextvars import Context, copy_context
from typing import Any

from tests.cache.making import Body, CachedFunction, Colour, Gate, done
from tests.cache.upstreams import Upstream


def begun_in(colour: Colour, context: Context, function: CachedFunction[[], int]) -> asyncio.Task[Any]:
    """Call it in the context, and do not wait for it."""
    if not colour.is_async:
        return asyncio.create_task(asyncio.to_thread(context.run, function))

    async def call() -> int:
        found: int = await done(function())
        return found

    return asyncio.get_running_loop().create_task(call(), context=context)


async def test_a_build_may_need_the_build_that_began_it_and_has_ended(colour: Colour, upstream: Upstream) -> None:
    """Nothing recurses; and it depends on what it got."""
    contexts: list[Context] = []
    in_first, in_second = Gate(), Gate()

    @colour.cached(depends_on=[upstream.tag])
    async def first() -> int:
        contexts.append(copy_context())
        await in_first.stop()
        return upstream.read()

    async def body() -> int:
        await in_second.stop()
        found: int = await done(first())
        return 10 + found

    declared: Body[[], int] = body
    second = colour.cached()(declared)
    outer = colour.start(first)
    await in_first.reached()
    inner = begun_in(colour, contexts[0], second)
    await in_second.reached()
    in_first.open()
    await outer
    in_second.open()

    assert await inner == 11
    await upstream.change(2)
    assert await done(second()) == 12
