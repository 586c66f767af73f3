"""Who is cancelled while it builds or waits harms nobody: the lease is given up at once, and another goes on.

The clock of these tests stands still, so no lease ever runs out; whoever goes on was let.
"""

import asyncio
import threading

import pytest

from everfresh import Cache, State
from tests.cache.making import Colour, Gate, done, entry_of, waited_for
from tests.cache.upstreams import Upstream

pytestmark = pytest.mark.redis


@pytest.fixture
def asynchronous(cache: Cache) -> Colour:
    """Only a task can be cancelled."""
    return Colour(cache, is_async=True)


async def test_when_the_builder_is_cancelled_a_waiter_goes_on(
    asynchronous: Colour, upstream: Upstream, gate: Gate
) -> None:
    """At once, and not when a lease has run out."""

    @asynchronous.cached()
    async def value() -> int:
        if upstream.read():
            await gate.stop()
        return upstream.n_read

    builder = asynchronous.start(value)
    await gate.reached()
    waiter = asynchronous.start(value)
    await waited_for(asynchronous.cache, value.key(), 1)
    builder.cancel()
    await gate.reached()
    gate.open()

    assert await waiter == 2
    with pytest.raises(asyncio.CancelledError):
        await builder


async def test_a_cancelled_first_build_leaves_nothing(asynchronous: Colour, gate: Gate) -> None:
    """The next caller begins anew."""

    @asynchronous.cached()
    async def value() -> int:
        await gate.stop()
        return 1

    builder = asynchronous.start(value)
    await gate.reached()
    builder.cancel()
    await asyncio.gather(builder, return_exceptions=True)

    assert await done(value.entry()) is None


async def test_a_cancelled_rebuild_keeps_the_old_value_due(
    asynchronous: Colour, upstream: Upstream, gate: Gate
) -> None:
    """It is as it was before the build began."""

    @asynchronous.cached(depends_on=[upstream.tag])
    async def value() -> int:
        if upstream.n_read:
            await gate.stop()
        return upstream.read()

    await done(value())
    await upstream.change(2)
    builder = asynchronous.start(value)
    await gate.reached()
    builder.cancel()
    await asyncio.gather(builder, return_exceptions=True)
    entry = await entry_of(value)

    assert (entry.state, entry.attempts, value.load(entry)) == (State.DIRTY, 0, 1)


async def test_a_timeout_is_a_cancellation(asynchronous: Colour, gate: Gate) -> None:
    """A caller that has no more time leaves the entry free for others."""

    @asynchronous.cached()
    async def value() -> int:
        await gate.stop()
        return 1

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await done(value())
    gate.open()

    assert await done(value()) == 1


async def test_the_function_is_told_of_the_cancellation(asynchronous: Colour, gate: Gate) -> None:
    """So that it can tidy up."""
    told: list[str] = []

    @asynchronous.cached()
    async def value() -> int:
        try:
            await gate.stop()
        except asyncio.CancelledError:
            told.append("cancelled")
            raise
        return 1

    builder = asynchronous.start(value)
    await gate.reached()
    builder.cancel()
    await asyncio.gather(builder, return_exceptions=True)

    assert told == ["cancelled"]


async def test_a_cancelled_waiter_harms_nobody(asynchronous: Colour, upstream: Upstream, gate: Gate) -> None:
    """Neither the build nor those who wait on."""

    @asynchronous.cached()
    async def value() -> int:
        await gate.stop()
        return upstream.read()

    callers = [asynchronous.start(value) for _ in range(4)]
    await gate.reached()
    await waited_for(asynchronous.cache, value.key(), 3)
    callers[2].cancel()
    await asyncio.gather(callers[2], return_exceptions=True)
    gate.open()
    values = await asyncio.gather(callers[0], callers[1], callers[3])

    assert (values, upstream.n_read) == ([1, 1, 1], 1)


async def test_cancelling_all_callers_but_one_leaves_it_its_value(asynchronous: Colour, gate: Gate) -> None:
    """Builder and waiters go one after the other; the last one gets what it asked for."""

    @asynchronous.cached()
    async def value() -> int:
        await gate.stop()
        return 1

    callers = [asynchronous.start(value) for _ in range(5)]
    await gate.reached()
    for caller in callers[:-1]:
        caller.cancel()
        await asyncio.gather(caller, return_exceptions=True)
    await gate.reached()
    gate.open()

    assert await callers[-1] == 1


async def test_an_outer_build_that_is_cancelled_gives_up_the_inner_one_too(asynchronous: Colour, gate: Gate) -> None:
    """The whole chain is free for others."""

    @asynchronous.cached()
    async def inner() -> int:
        await gate.stop()
        return 1

    @asynchronous.cached()
    async def outer() -> int:
        return await done(inner()) * 10

    builder = asynchronous.start(outer)
    await gate.reached()
    builder.cancel()
    await asyncio.gather(builder, return_exceptions=True)
    gate.open()

    assert (await done(inner()), await done(outer())) == (1, 10)


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
def test_an_interrupted_blocking_build_gives_its_lease_up(cache: Cache, interrupt: type[BaseException]) -> None:
    """Ctrl-C in the middle of a build: the next call builds, it does not wait for a lease."""
    interrupts = [interrupt()]

    @cache.cached
    def value() -> int:
        if interrupts:
            raise interrupts.pop()
        return 1

    with pytest.raises(interrupt):
        value()

    assert value() == 1


def test_when_a_blocking_builder_is_interrupted_a_waiter_goes_on(cache: Cache) -> None:
    """In another thread, at once."""
    inside, go_on = threading.Event(), threading.Event()
    executed: list[str] = []
    ended: list[object] = []

    @cache.cached
    def value() -> int:
        executed.append("value")
        if len(executed) == 1:
            inside.set()
            assert go_on.wait(20)
            raise KeyboardInterrupt
        return len(executed)

    def build() -> None:
        try:
            value()
        except KeyboardInterrupt:
            ended.append("interrupted")

    threads = [threading.Thread(target=build), threading.Thread(target=lambda: ended.append(value()))]
    threads[0].start()
    assert inside.wait(20)
    threads[1].start()
    go_on.set()
    for thread in threads:
        thread.join(20)

    assert sorted(map(str, ended)) == ["2", "interrupted"]
