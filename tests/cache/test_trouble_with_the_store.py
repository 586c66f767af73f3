"""A store that does not answer, or was lost: nothing stale is served, nobody hangs, and all goes on afterwards."""

from datetime import timedelta

import pytest

from everfresh import Cache, Notice, StoreUnavailable, dep
from everfresh.refresh import Worker
from everfresh.testing.waiting import soon
from tests.cache.breaking import lose, out_of_order
from tests.cache.fixtures import OpenCache
from tests.cache.making import Colour, Gate, done, is_fresh
from tests.cache.upstreams import Upstream


@pytest.fixture
def cache(open_cache: OpenCache, sqlite_url: str) -> Cache:
    """A cache whose store can be broken from outside, and whose readers are told of it."""
    return open_cache(sqlite_url, on_store_failure="raise")


async def test_a_store_that_does_not_answer_is_an_error_and_no_build(
    colour: Colour, upstream: Upstream, sqlite_url: str
) -> None:
    """Building without it would let every reader ask the upstream."""

    @colour.cached()
    async def value() -> int:
        return upstream.read()

    with out_of_order(sqlite_url), pytest.raises(StoreUnavailable, match=r"cache\.db"):
        await done(value())

    assert upstream.n_read == 0


async def test_when_the_store_answers_again_all_is_well(colour: Colour, upstream: Upstream, sqlite_url: str) -> None:
    """Asking again is safe."""

    @colour.cached()
    async def value() -> int:
        return upstream.read()

    with out_of_order(sqlite_url), pytest.raises(StoreUnavailable):
        await done(value())

    assert await done(value()) == 1


async def test_an_event_that_could_not_be_applied_was_not(colour: Colour, upstream: Upstream, sqlite_url: str) -> None:
    """The publisher is told, and publishes it again."""

    @colour.cached(depends_on=[upstream.tag])
    async def value() -> int:
        return upstream.read()

    await done(value())
    with out_of_order(sqlite_url), pytest.raises(StoreUnavailable):
        await upstream.change(2)
    before = await done(value())
    await upstream.change(2)

    assert (before, await done(value())) == (1, 2)


async def test_a_worker_goes_on_when_its_store_answers_again(
    colour: Colour, upstream: Upstream, sqlite_url: str
) -> None:
    """Meanwhile it says what is wrong."""
    told: list[Notice] = []
    colour.cache.listen(told.append)

    @colour.cached(depends_on=[upstream.tag])
    async def value() -> int:
        return upstream.read()

    await done(value())
    async with Worker(colour.cache):
        with out_of_order(sqlite_url):
            await soon(lambda: any(notice.name == "worker.failed" for notice in told), what="the notice")
        await upstream.change(2)
        await soon(lambda: is_fresh(value), what="the refresh")

    assert "error" in next(notice.fields for notice in told if notice.name == "worker.failed")


async def test_a_build_that_cannot_be_stored_is_the_callers_error(
    colour: Colour, upstream: Upstream, sqlite_url: str, gate: Gate
) -> None:
    """The store broke while it was built; the function is not to blame, and nothing is stored."""

    @colour.cached()
    async def value() -> int:
        await gate.stop()
        return upstream.read()

    builder = colour.start(value)
    await gate.reached()
    with out_of_order(sqlite_url):
        gate.open()
        with pytest.raises(StoreUnavailable):
            await builder


async def test_a_lease_that_cannot_be_renewed_is_told_and_tried_again(
    open_cache: OpenCache, sqlite_url: str, gate: Gate
) -> None:
    """Two renewals may fail before a lease is lost; the build goes on."""
    told: list[str] = []
    colour = Colour(open_cache(sqlite_url, lease=timedelta(milliseconds=100)), is_async=True)
    colour.cache.listen(lambda notice: told.append(notice.name))

    @colour.cached()
    async def value() -> int:
        await gate.stop()
        return 1

    builder = colour.start(value)
    await gate.reached()
    with out_of_order(sqlite_url):
        await soon(lambda: "worker.failed" in told, what="the notice")
    gate.open()

    assert (await builder, await is_fresh(value)) == (1, True)


async def test_a_lost_store_leaves_nothing_at_hand(colour: Colour, upstream: Upstream, sqlite_url: str) -> None:
    """Promise 6: near caches empty themselves; what was built before is built again."""

    @colour.cached()
    async def value() -> int:
        return upstream.read()

    for _ in range(3):
        await done(value())
    upstream.value = 2
    lose(sqlite_url)

    assert await done(value()) == 2


async def test_events_are_felt_after_a_store_was_lost(colour: Colour, upstream: Upstream, sqlite_url: str) -> None:
    """The new one is told anew what to look for."""

    @colour.cached(depends_on=[upstream.tag, dep.Topic("bug.*", {"id": 1})])
    async def value() -> int:
        return upstream.read()

    await done(value())
    lose(sqlite_url)
    values = [await done(value())]
    await upstream.change(2)
    values.append(await done(value()))

    assert values == [1, 2]


async def test_a_follower_of_a_lost_store_starts_over(cache: Cache, sqlite_url: str) -> None:
    """It is told by a batch that says so."""
    async with cache.feed() as feed:
        await cache.put("a", 1)
        await anext(feed)
        lose(sqlite_url)
        await cache.put("b", 1)
        batch = await anext(feed)

    assert batch.is_reset
