"""The assertions of the pytest plugin on a cache in which nothing was built: they would hold of any event."""

import asyncio

import pytest

from everfresh import Cache, Event, dep
from everfresh.testing.plugin import AssertTouches, AssertUntouched, Drain
from tests.cache.fixtures import cache, clock, colour, open_cache, sqlite_url, upstream, url
from tests.cache.making import Colour, done, entry_of
from tests.cache.upstreams import Upstream

__all__ = ["cache", "clock", "colour", "open_cache", "sqlite_url", "upstream", "url"]


def test_nothing_is_untouched_in_an_empty_cache(cache: Cache) -> None:
    """The test has to build first what the event should leave alone, and is told so."""
    with pytest.raises(AssertionError, match="hold of any event"):
        AssertUntouched(cache)(Event("anything"))


def test_that_nothing_is_touched_in_an_empty_cache_says_nothing(cache: Cache) -> None:
    """The same by the other assertion."""
    with pytest.raises(AssertionError, match="hold of any event"):
        AssertTouches(cache)(Event("anything"), [])


def test_an_entry_that_waits_for_its_first_build_is_nothing_yet(cache: Cache) -> None:
    """It has no dependencies that anything could touch."""

    @cache.cached(depends_on=[dep.Tag("t")])
    def value() -> int:
        return 1

    value.warm([()])

    with pytest.raises(AssertionError, match="hold of any event"):
        AssertUntouched(cache)(Event("anything"))


async def test_both_hold_once_something_is_there(cache: Cache) -> None:
    """One value is enough."""
    await cache.put("key", 1, dep.Tag("t"))

    AssertUntouched(cache)(Event("anything"))
    AssertTouches(cache)(Event("anything"), [])


@pytest.mark.parametrize("colour", ["asyncio"], indirect=True)
async def test_drain_goes_on_after_a_build_that_is_cancelled_from_within(colour: Colour, upstream: Upstream) -> None:
    """What a build waited for was cancelled, and not the test: the build has failed, and the others are done."""
    is_cancelling = False

    @colour.cached(depends_on=[upstream.tag], priority=1)
    async def cancelled() -> int:
        if is_cancelling:
            raise asyncio.CancelledError
        return 1

    @colour.cached(depends_on=[upstream.tag])
    async def value() -> int:
        return upstream.read()

    await done(cancelled())
    await done(value())
    with Drain.of(colour.cache) as drain:
        is_cancelling = True
        await upstream.change(2)
        drained = await drain()

    assert (list(drained.failed), drained.refreshed) == ([cancelled.key()], [value.key()])
    assert value.load(await entry_of(value)) == 2
