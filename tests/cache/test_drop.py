"""`on_change="drop"`: a touched value is dropped, and the next reader builds it."""

import pytest

from everfresh import FOREVER, Cache, InvalidOption, State
from everfresh.refresh import Worker
from everfresh.testing.waiting import soon
from tests.cache.making import Colour, Gate, done, is_fresh
from tests.cache.upstreams import Upstream

pytestmark = pytest.mark.redis


async def test_a_touched_value_is_dropped(colour: Colour, upstream: Upstream) -> None:
    """Not even `peek` finds it."""

    @colour.cached(depends_on=[upstream.tag], on_change="drop", stale_while_revalidate=FOREVER)
    async def value() -> int:
        return upstream.read()

    await done(value())
    await upstream.announce()

    assert await done(value.entry()) is None


async def test_the_next_reader_builds_a_dropped_value(colour: Colour, upstream: Upstream) -> None:
    """And gets the new one."""

    @colour.cached(depends_on=[upstream.tag], on_change="drop", stale_while_revalidate=FOREVER)
    async def value() -> int:
        return upstream.read()

    for _ in range(3):
        await done(value())
    await upstream.change(2)

    assert await done(value()) == 2


async def test_no_worker_builds_what_is_dropped(colour: Colour, upstream: Upstream) -> None:
    """It is for values that are dear to build and seldom read."""

    @colour.cached(depends_on=[upstream.tag], on_change="drop")
    async def dropped() -> int:
        return upstream.read()

    @colour.cached(depends_on=[upstream.tag])
    async def refreshed() -> int:
        return upstream.value

    await done(dropped())
    await done(refreshed())
    async with Worker(colour.cache):
        await upstream.change(2)
        await soon(lambda: is_fresh(refreshed), what="the refresh of the other entry")

    assert upstream.n_read == 1


async def test_a_dropped_value_does_not_begin_again_at_version_one(colour: Colour, upstream: Upstream) -> None:
    """Versions of an entry only grow, so that no browser takes the newer value for an older one."""

    @colour.cached(depends_on=[upstream.tag], on_change="drop")
    async def value() -> int:
        return upstream.read()

    versions: list[int] = []
    for number in (1, 2, 3):
        await upstream.change(number)
        await done(value())
        entry = await done(value.entry())
        versions.append(entry.version if entry is not None else 0)

    assert versions == sorted(set(versions))


async def test_a_build_that_an_event_outran_is_not_stored(colour: Colour, upstream: Upstream, gate: Gate) -> None:
    """It may hold what was before the event; only who asked for it before the event is given it."""

    @colour.cached(depends_on=[upstream.tag], on_change="drop")
    async def value() -> int:
        number = upstream.read()
        await gate.stop()
        return number

    reader = colour.start(value)
    await gate.reached()
    await upstream.change(2)
    gate.open()

    assert (await reader, await done(value.entry())) == (1, None)


async def test_who_was_built_from_a_dropped_value_is_built_again(colour: Colour, upstream: Upstream) -> None:
    """What is gone cannot be known to be equal."""

    @colour.cached(depends_on=[upstream.tag], on_change="drop")
    async def inner() -> int:
        return upstream.read()

    @colour.cached()
    async def outer() -> int:
        return await done(inner()) * 10

    await done(outer())
    await upstream.change(2)

    assert (await done(outer.entry())).state is State.DIRTY
    assert await done(outer()) == 20


def test_another_word_is_refused(cache: Cache) -> None:
    """The message names both words that there are."""
    with pytest.raises(InvalidOption, match=r"on_change: 'ignore'.*'refresh'.*'drop'"):
        cache.cached(on_change="ignore")  # type: ignore[call-overload]  # the mistake is the test
