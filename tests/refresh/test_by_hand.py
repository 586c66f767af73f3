"""What a person does about the queue: list what failed, retry it, warm what will be wanted."""

from typing import Any

from everfresh import State
from everfresh.refresh import Worker
from everfresh.testing.clock import FakeClock
from everfresh.testing.waiting import soon
from tests.cache.making import Colour, done, entry_of, is_fresh
from tests.cache.upstreams import Upstream


async def failed(colour: Colour, upstream: Upstream) -> Any:  # noqa: ANN401 - of either colour
    """A function whose entry was given up."""

    @colour.cached(depends_on=[upstream.tag], max_attempts=1)
    async def value() -> int:
        return upstream.read()

    await done(value())
    async with Worker(colour.cache):
        await upstream.break_down()
        await soon(lambda: _is_given_up(value), what="the only try")
    return value


async def test_what_was_given_up_is_listed(colour: Colour, upstream: Upstream) -> None:
    """With the reason, so that somebody can do something about it."""
    value = await failed(colour, upstream)

    (listed,) = await colour.cache.failed()

    assert (listed.key, listed.state, listed.reason) == (value.key(), State.FAILED, "Broken: the upstream is down")


async def test_a_person_retries_it(colour: Colour, upstream: Upstream) -> None:
    """At once, and with all its attempts again."""
    value = await failed(colour, upstream)
    upstream.is_broken, upstream.value = False, 2

    async with Worker(colour.cache):
        n_queued = await colour.cache.retry(value.key())
        await soon(lambda: is_fresh(value), what="the refresh")

    assert (n_queued, await done(value.peek())) == (1, 2)
    assert await colour.cache.failed() == []


async def test_what_waits_for_its_next_try_need_not_wait(colour: Colour, upstream: Upstream, clock: FakeClock) -> None:
    """The clock stands still: only the person's word lets it begin."""

    @colour.cached(depends_on=[upstream.tag])
    async def value() -> int:
        return upstream.read()

    await done(value())
    async with Worker(colour.cache):
        await upstream.break_down()
        await soon(lambda: _was_tried(value), what="the first try")
        upstream.is_broken, upstream.value = False, 2
        n_queued = await colour.cache.retry(value.key())
        await soon(lambda: is_fresh(value), what="the refresh")

    assert (n_queued, await done(value.peek())) == (1, 2)


async def test_what_is_well_is_not_retried(colour: Colour, upstream: Upstream) -> None:
    """Nor is what is not there."""

    @colour.cached(depends_on=[upstream.tag])
    async def value() -> int:
        return upstream.read()

    await done(value())

    assert await colour.cache.retry(value.key(), "nothing") == 0


async def test_entries_are_warmed_before_anybody_asks(colour: Colour) -> None:
    """A worker builds them; nobody waits, and the first reader is served."""
    n_built = [0]

    @colour.cached()
    async def value(number: int) -> int:
        n_built[0] += 1
        return number

    async with Worker(colour.cache):
        n_queued = await done(value.warm([1, 2, 3]))
        for number in (1, 2, 3):
            await soon(lambda number=number: is_fresh(value, number), what=f"entry {number}")

    assert (n_queued, n_built, await done(value(2))) == (3, [3], 2)


async def _is_given_up(value: Any) -> bool:  # noqa: ANN401 - of either colour
    return (await entry_of(value)).state is State.FAILED


async def _was_tried(value: Any) -> bool:  # noqa: ANN401 - of either colour
    return (await entry_of(value)).attempts == 1
