"""`stale_while_revalidate`: how long an old value may be served while its refresh is due or running."""

from contextvars import ContextVar
from datetime import timedelta

import pytest

from everfresh import FOREVER
from everfresh.refresh import Worker
from everfresh.testing.clock import FakeClock
from everfresh.testing.waiting import soon
from tests.cache.making import Colour, Gate, done, is_fresh
from tests.cache.upstreams import Upstream

pytestmark = pytest.mark.redis
BOUND = timedelta(seconds=30)


async def test_without_a_bound_nobody_is_served_an_old_value(colour: Colour, upstream: Upstream) -> None:
    """Zero unless said: the reader waits for the new value."""

    @colour.cached(depends_on=[upstream.tag])
    async def value() -> int:
        return upstream.read()

    await done(value())
    await upstream.change(2)

    assert await done(value()) == 2


@pytest.mark.parametrize(("after_s", "served"), [(0.0, 1), (29.9, 1), (30.0, 2), (1e6, 2)])
async def test_an_old_value_is_served_within_the_bound(
    colour: Colour, upstream: Upstream, clock: FakeClock, after_s: float, served: int
) -> None:
    """It counts from the event that made the value old, not from its build."""

    @colour.cached(depends_on=[upstream.tag], stale_while_revalidate=BOUND)
    async def value() -> int:
        return upstream.read()

    await done(value())
    clock.advance(1e6)
    await upstream.change(2)
    clock.advance(after_s)

    assert await done(value()) == served


async def test_forever_has_no_end(colour: Colour, upstream: Upstream, clock: FakeClock) -> None:
    """What a page of widgets wants: always instant."""

    @colour.cached(depends_on=[upstream.tag], stale_while_revalidate=FOREVER)
    async def value() -> int:
        return upstream.read()

    await done(value())
    await upstream.change(2)
    clock.advance(1e9)

    assert await done(value()) == 1


async def test_the_very_first_reader_waits_whatever_the_bound(colour: Colour, upstream: Upstream) -> None:
    """Where there is no value, none can be served."""

    @colour.cached(stale_while_revalidate=FOREVER)
    async def value() -> int:
        return upstream.read()

    assert await done(value()) == 1


async def test_without_a_worker_a_reader_sets_off_the_refresh(colour: Colour, upstream: Upstream) -> None:
    """It does not wait for it; the next readers get the new value."""

    @colour.cached(depends_on=[upstream.tag], stale_while_revalidate=FOREVER)
    async def value() -> int:
        return upstream.read()

    await done(value())
    await upstream.change(2)
    await done(value())

    await soon(lambda: is_fresh(value), what="the refresh in the background")
    assert await done(value()) == 2


async def test_many_readers_set_off_one_refresh(colour: Colour, upstream: Upstream, gate: Gate) -> None:
    """However many are served the old value meanwhile."""

    @colour.cached(depends_on=[upstream.tag], stale_while_revalidate=FOREVER)
    async def value() -> int:
        if upstream.n_read:
            await gate.stop()
        return upstream.read()

    await done(value())
    await upstream.change(2)
    values = [await done(value()) for _ in range(5)]
    await gate.reached()
    values += [await done(value()) for _ in range(5)]
    gate.open()
    await soon(lambda: is_fresh(value), what="the refresh in the background")

    assert (values, upstream.n_read) == ([1] * 10, 2)


async def test_with_a_worker_no_reader_sets_off_a_refresh(colour: Colour, upstream: Upstream) -> None:
    """The worker has the entry in its queue; two would build it twice."""
    told: list[str] = []
    colour.cache.listen(lambda notice: told.append(notice.name))

    @colour.cached(depends_on=[upstream.tag], stale_while_revalidate=FOREVER)
    async def value() -> int:
        return upstream.read()

    await done(value())
    told.clear()
    async with Worker(colour.cache):
        await upstream.change(2)
        await done(value())
        await soon(lambda: "refresh.done" in told, what="the worker's refresh")

    assert [name for name in told if name.endswith(".done")] == ["refresh.done"]


async def test_a_refresh_in_the_background_sees_nothing_of_the_reader(colour: Colour, upstream: Upstream) -> None:
    """It belongs to nobody, so it is built in an empty context like any other build."""
    user: ContextVar[str] = ContextVar("user")
    seen: list[str] = []

    @colour.cached(depends_on=[upstream.tag], stale_while_revalidate=FOREVER)
    async def value() -> int:
        seen.append(user.get("nobody"))
        return upstream.read()

    await done(value())
    await upstream.change(2)
    user.set("ann")
    await done(value())
    await soon(lambda: is_fresh(value), what="the refresh in the background")

    assert seen == ["nobody", "nobody"]


async def test_a_refresh_in_the_background_that_raises_is_told(colour: Colour, upstream: Upstream) -> None:
    """Nobody waits for it, so nobody else would learn of it."""
    told: list[str] = []
    colour.cache.listen(lambda notice: told.append(notice.name))

    @colour.cached(depends_on=[upstream.tag], stale_while_revalidate=FOREVER)
    async def value() -> int:
        return upstream.read()

    await done(value())
    await upstream.break_down()
    await done(value())

    await soon(lambda: "revalidate.failed" in told, what="the notice of the failure")
