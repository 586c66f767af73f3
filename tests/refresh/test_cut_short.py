"""Builds that end with something other than an `Exception`: what was meant for nobody is a failure like any other.

A build that is given back is due again at once. A function that always ends so would be built for ever, thousands of
times a second, and nobody would be told.
"""

import asyncio
from collections.abc import Callable

import pytest

from everfresh import BuildError, Cache, State
from everfresh.refresh import Worker
from everfresh.testing.waiting import soon, until
from tests.cache.fixtures import OpenCache
from tests.cache.making import CachedFunction, Colour, done, entry_of
from tests.cache.upstreams import Upstream


class Beyond(BaseException):
    """An error that is none, as the timeouts of some libraries are."""


async def _is_given_up(value: CachedFunction[[], int]) -> bool:
    return (await entry_of(value)).state is State.FAILED


def _ending(colour: Colour, upstream: Upstream, end: Callable[[], BaseException]) -> CachedFunction[[], int]:
    """A function that ends so once its upstream has changed; it has one try."""

    @colour.cached(depends_on=[upstream.tag], max_attempts=1)
    async def value() -> int:
        if upstream.read() != 1:
            raise end()
        return 1

    return value


@pytest.mark.parametrize("end", [asyncio.CancelledError, Beyond])
async def test_a_worker_counts_it_as_a_failed_try(
    colour: Colour, upstream: Upstream, end: Callable[[], BaseException]
) -> None:
    """Nobody cancelled the worker, and nobody has called it."""
    value = _ending(colour, upstream, end)

    await done(value())
    async with Worker(colour.cache):
        await upstream.change(2)
        await soon(lambda: _is_given_up(value), what="the only try")

    (listed,) = await colour.cache.failed()
    assert listed.reason.startswith(f"BuildError: {value.name}: ")


def test_so_it_does_with_a_call_for_the_end_of_the_program(colour: Colour, upstream: Upstream) -> None:
    """In a thread that is no end of it, and no signal comes there."""
    cache = colour.cache
    value = _ending(colour, upstream, SystemExit)
    asyncio.run(_warm(value))

    with Worker(cache).in_thread():
        upstream.value = 2
        cache.blocking.invalidate(upstream.tag)
        (listed,) = until(cache.blocking.failed, what="the only try")

    assert listed.reason.startswith(f"BuildError: {value.name}: it ended with SystemExit")


async def _warm(value: CachedFunction[[], int]) -> None:
    await done(value())


async def test_a_worker_goes_on_after_it(colour: Colour, upstream: Upstream) -> None:
    """Other entries, and this one when it is well again."""
    value = _ending(colour, upstream, Beyond)

    await done(value())
    async with Worker(colour.cache):
        await upstream.change(2)
        await soon(lambda: _is_given_up(value), what="the only try")
        await upstream.change(1)
        await soon(lambda: _is_well(value), what="the refresh")

    assert await colour.cache.failed() == []


async def _is_well(value: CachedFunction[[], int]) -> bool:
    return (await entry_of(value)).state is State.FRESH


async def test_what_a_build_waits_for_may_be_cancelled_without_it(cache: Cache) -> None:
    """As a task of a client that closes its connection: whoever asked is told of a failure, and is not cancelled."""

    @cache.cached
    async def value() -> int:
        request = asyncio.get_running_loop().create_future()
        request.cancel()
        await request
        return 1

    with pytest.raises(BuildError, match="something that it waited for was cancelled") as raised:
        await value()

    assert isinstance(raised.value.__cause__, asyncio.CancelledError)


async def test_a_build_that_cancels_itself_has_failed(cache: Cache) -> None:
    """It has a task of its own, and whoever asked is not that."""

    @cache.cached
    async def value() -> int:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)
        return 1

    with pytest.raises(BuildError, match="something that it waited for was cancelled"):
        await value()


async def test_of_many_the_others_are_built(cache: Cache) -> None:
    """The error of the one is told, and not that its key is missing."""

    @cache.cached
    async def value(number: int) -> int:
        if number == 2:
            raise asyncio.CancelledError
        return number

    with pytest.raises(BuildError, match="something that it waited for was cancelled"):
        await value.many([1, 2, 3])

    assert [await value.peek(number) for number in (1, 2, 3)] == [1, None, 3]


@pytest.mark.parametrize("end", [Beyond, KeyboardInterrupt, SystemExit])
def test_whoever_called_gets_what_is_meant_for_them(
    cache: Cache, upstream: Upstream, end: Callable[[], BaseException]
) -> None:
    """A timeout of theirs, or the end of their program; nothing was wrong with the build."""
    value = _ending(Colour(cache, is_async=False), upstream, end)
    value()
    upstream.value = 2
    cache.blocking.invalidate(upstream.tag)

    with pytest.raises(end):  # type: ignore[call-overload]  # each is a class
        value()

    (listed,) = cache.blocking.entries()
    assert (listed.state, listed.attempts) == (State.DIRTY, 0)


async def test_so_does_who_awaits_it(cache: Cache, upstream: Upstream) -> None:
    """What is no `Exception` and no cancellation is for whoever set it up."""
    value = _ending(Colour(cache, is_async=True), upstream, Beyond)
    await done(value())
    await upstream.change(2)

    with pytest.raises(Beyond):
        await done(value())

    assert (await entry_of(value)).attempts == 0


async def test_a_function_that_raises_what_closes_generators_has_failed(colour: Colour) -> None:
    """Nobody closed anything of ours; the entry is free at once for the next try."""
    n_built = [0]

    @colour.cached()
    async def value() -> int:
        n_built[0] += 1
        if n_built[0] == 1:
            raise GeneratorExit
        return 1

    with pytest.raises(BuildError, match="it ended with GeneratorExit"):
        await done(value())

    assert await done(value()) == 1


def test_a_coroutine_that_is_closed_in_a_build_ends_without_a_word(open_cache: OpenCache) -> None:
    """Its event loop is gone; nobody is left to be told."""
    cache = open_cache()

    @cache.cached
    async def value() -> int:
        await asyncio.get_running_loop().create_future()
        return 1

    async def begin() -> None:
        begun.append(asyncio.get_running_loop().create_task(coroutine))
        for _ in range(10):
            await asyncio.sleep(0)

    begun: list[asyncio.Task[int]] = []
    coroutine, told = value(), list[str]()
    cache.listen(lambda notice: told.append(notice.name))
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda _, context: None)
    loop.run_until_complete(begin())
    loop.close()
    coroutine.close()

    assert (told, begun[0].done()) == ([], False)


async def test_a_function_that_raises_the_end_of_an_iteration_is_told_of_as_a_coroutine_is(cache: Cache) -> None:
    """`next` of something empty is a common slip; Python itself makes a RuntimeError of it in coroutines."""

    @cache.cached
    def value() -> int:
        return next(iter(()))

    with pytest.raises(RuntimeError, match=f"{value.name}: the function raised StopIteration") as raised:
        value()

    assert isinstance(raised.value.__cause__, StopIteration)
