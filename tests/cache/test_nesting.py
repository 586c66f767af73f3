"""Cached functions that call each other: the outer value depends on the inner ones, and no further than it must."""

import asyncio

import pytest

from everfresh import FOREVER, Cache, Kind, RecursiveBuild, State, dep, track
from everfresh.refresh import Worker
from everfresh.testing.waiting import soon
from tests.cache.fixtures import OpenCache
from tests.cache.making import Colour, done, entry_of, is_fresh
from tests.cache.upstreams import Broken, Upstream

pytestmark = pytest.mark.redis


async def test_the_outer_value_follows_the_inner_one(colour: Colour, upstream: Upstream) -> None:
    """Without a word: the call itself is the dependency."""

    @colour.cached(depends_on=[upstream.tag])
    async def inner() -> int:
        return upstream.read()

    @colour.cached()
    async def outer() -> int:
        return await done(inner()) * 10

    await done(outer())
    await upstream.change(2)

    assert await done(outer()) == 20


@pytest.mark.parametrize("n_hits", [0, 3], ids=["stored", "near"])
async def test_an_inner_value_that_was_there_before_is_a_dependency_too(
    colour: Colour, upstream: Upstream, n_hits: int
) -> None:
    """A hit is seen like a build, from the store and from the near cache."""

    @colour.cached(depends_on=[upstream.tag])
    async def inner() -> int:
        return upstream.read()

    @colour.cached()
    async def outer() -> int:
        return await done(inner()) * 10

    for _ in range(n_hits + 1):
        await done(inner())
    await done(outer())
    await upstream.change(2)

    assert await done(outer()) == 20


@pytest.mark.parametrize("way", ["fresh", "peek", "refresh"])
async def test_every_way_to_read_in_a_build_is_a_dependency(colour: Colour, upstream: Upstream, way: str) -> None:
    """Whatever was seen of the inner value, the outer one was built from it."""

    @colour.cached(depends_on=[upstream.tag])
    async def inner() -> int:
        return upstream.read()

    @colour.cached()
    async def outer() -> int:
        return (await done(getattr(inner, way)()) or 0) * 10

    await done(inner())
    await done(outer())
    await upstream.change(2)
    await done(inner())

    assert await done(outer()) == 20


async def test_inner_calls_that_run_at_once_are_all_dependencies(cache: Cache) -> None:
    """Tasks of a build belong to it: gather, task groups."""
    facts = {"a": 1, "b": 2}

    @cache.cached
    async def fact(name: str) -> int:
        track(dep.Id("fact", name))
        await asyncio.sleep(0)
        return facts[name]

    @cache.cached
    async def total() -> int:
        return sum(await asyncio.gather(*map(fact, facts)))

    totals = [await total()]
    for name in facts:
        facts[name] *= 10
        await cache.invalidate(dep.Id("fact", name))
        totals.append(await total())

    assert totals == [3, 12, 30]


async def test_an_equal_inner_value_builds_nothing_above_it(colour: Colour, upstream: Upstream) -> None:
    """The change ends where it makes no difference."""
    n_built = 0

    @colour.cached(depends_on=[upstream.tag])
    async def is_positive() -> bool:
        return upstream.read() > 0

    @colour.cached()
    async def outer() -> str:
        nonlocal n_built
        n_built += 1
        return "yes" if await done(is_positive()) else "no"

    await done(outer())
    await upstream.change(2)
    values = [await done(outer()) for _ in range(2)]

    assert (values, n_built, upstream.n_read) == (["yes", "yes"], 1, 2)


async def test_an_equal_inner_value_is_no_change_in_the_feed(colour: Colour, upstream: Upstream) -> None:
    """No browser redraws for it, neither the inner entry nor the outer one."""

    @colour.cached(depends_on=[upstream.tag])
    async def is_positive() -> bool:
        return upstream.read() > 0

    @colour.cached()
    async def outer() -> str:
        return "yes" if await done(is_positive()) else "no"

    await done(outer())
    async with Worker(colour.cache), colour.cache.feed() as feed:
        await upstream.change(2)
        kinds: set[Kind] = set()
        while Kind.FRESH not in kinds or not await is_fresh(outer):
            kinds |= {record.kind for record in (await anext(feed)).records}

    assert kinds == {Kind.STALE, Kind.FRESH}


async def test_a_changed_inner_value_is_carried_outward_by_a_worker(colour: Colour, upstream: Upstream) -> None:
    """Through every level, before anybody asks."""

    @colour.cached(depends_on=[upstream.tag])
    async def inner() -> int:
        return upstream.read()

    @colour.cached()
    async def middle() -> int:
        return await done(inner()) + 1

    @colour.cached()
    async def outer() -> int:
        return await done(middle()) * 10

    await done(outer())
    async with Worker(colour.cache):
        await upstream.change(2)

        await soon(lambda: _gives(outer, 30), what="the new outer value")


async def _gives(function: object, value: object) -> bool:
    return await done(function.peek()) == value  # type: ignore[attr-defined]


async def test_what_may_have_changed_below_is_suspect_at_once(colour: Colour, upstream: Upstream) -> None:
    """From the moment `publish` returns nobody takes it for fresh."""

    @colour.cached(depends_on=[upstream.tag])
    async def inner() -> int:
        return upstream.read()

    @colour.cached()
    async def outer() -> int:
        return await done(inner()) * 10

    await done(outer())
    await upstream.announce()

    assert (await entry_of(outer)).state is State.SUSPECT


async def test_an_outer_function_with_bounds_serves_its_old_value_while_it_is_suspect(
    colour: Colour, upstream: Upstream
) -> None:
    """The bounds hold for what is old because of something below, too."""

    @colour.cached(depends_on=[upstream.tag])
    async def inner() -> int:
        return upstream.read()

    @colour.cached(stale_while_revalidate=FOREVER)
    async def outer() -> int:
        return await done(inner()) * 10

    await done(outer())
    await upstream.change(2)
    values = [await done(outer())]
    await soon(lambda: is_fresh(outer), what="the refresh in the background")
    values.append(await done(outer()))

    assert values == [10, 20]


async def test_within_a_build_no_old_value_is_used_that_could_be_refreshed(colour: Colour, upstream: Upstream) -> None:
    """Else the outer value would be out of date at its birth, whatever its own bounds say."""

    @colour.cached(depends_on=[upstream.tag], stale_while_revalidate=FOREVER)
    async def inner() -> int:
        return upstream.read()

    @colour.cached()
    async def outer() -> int:
        return await done(inner()) * 10

    await done(inner())
    await upstream.change(2)

    assert await done(outer()) == 20


async def test_an_outer_value_built_from_a_stand_in_is_not_fresh(colour: Colour, upstream: Upstream) -> None:
    """The inner value stands in for a build that failed; what is made of it is as old."""

    @colour.cached(depends_on=[upstream.tag], stale_if_error=FOREVER)
    async def inner() -> int:
        return upstream.read()

    @colour.cached()
    async def outer() -> int:
        return await done(inner()) * 10

    await done(inner())
    await upstream.break_down()
    value = await done(outer())

    assert (value, (await entry_of(outer)).state) == (10, State.SUSPECT)


async def test_an_inner_failure_fails_the_outer_build(colour: Colour, upstream: Upstream) -> None:
    """With the inner function's own error."""
    upstream.is_broken = True

    @colour.cached()
    async def inner() -> int:
        return upstream.read()

    @colour.cached()
    async def outer() -> int:
        return await done(inner()) * 10

    with pytest.raises(Broken):
        await done(outer())


async def test_an_outer_function_may_do_without_what_fails(colour: Colour, upstream: Upstream) -> None:
    """A page without one of its widgets is a value like any other."""
    upstream.is_broken = True

    @colour.cached(depends_on=[upstream.tag])
    async def inner() -> int:
        return upstream.read()

    @colour.cached()
    async def outer() -> str:
        try:
            return str(await done(inner()))
        except Broken:
            return "not today"

    assert await done(outer()) == "not today"


async def test_a_function_that_needs_itself_is_an_error_that_prints_the_cycle(colour: Colour) -> None:
    """Each key on the way, so that one sees where it turns back."""

    @colour.cached()
    async def one(n: int) -> int:
        return await done(two(n))

    @colour.cached()
    async def two(n: int) -> int:
        return await done(one(n))

    with pytest.raises(RecursiveBuild) as raised:
        await done(one(1))

    cycle = " -> ".join((one.key(1), two.key(1), one.key(1)))
    assert str(raised.value).startswith(f"recursion: {cycle}.")


async def test_a_function_that_needs_itself_of_other_arguments_is_no_recursion(colour: Colour) -> None:
    """Each call is an entry of its own."""
    n_built = 0

    @colour.cached()
    async def fibonacci(n: int) -> int:
        nonlocal n_built
        n_built += 1
        return n if n < 2 else await done(fibonacci(n - 1)) + await done(fibonacci(n - 2))

    assert (await done(fibonacci(20)), n_built) == (6765, 21)


async def test_a_function_may_peek_at_its_own_last_value(colour: Colour, upstream: Upstream) -> None:
    """It builds on what it had, and does not depend on itself for that."""

    @colour.cached(depends_on=[upstream.tag])
    async def seen() -> list[int]:
        return [*(await done(seen.peek()) or []), upstream.read()]

    await done(seen())
    await upstream.change(2)
    await done(seen())

    assert ((await entry_of(seen)).state, await done(seen())) == (State.FRESH, [1, 2])


async def test_a_blocking_function_may_be_built_from_an_asynchronous_one(cache: Cache, upstream: Upstream) -> None:
    """By `dep.Call`; whoever reads the outer value settles the inner one first, whatever its colour."""

    @cache.cached(depends_on=[upstream.tag])
    async def inner() -> int:
        return upstream.read()

    @cache.cached(depends_on=[dep.Call(inner.key())])
    def outer() -> int:
        return cache.blocking.get(inner.key()) * 10

    await inner()
    outer()
    await upstream.change(2)

    assert await asyncio.to_thread(outer) == 20


async def test_a_blocking_reader_in_an_event_loop_settles_an_asynchronous_inner_value(
    cache: Cache, upstream: Upstream
) -> None:
    """Its loop cannot run meanwhile, so the inner function gets one of its own."""

    @cache.cached(depends_on=[upstream.tag])
    async def inner() -> int:
        return upstream.read()

    @cache.cached(depends_on=[dep.Call(inner.key())])
    def outer() -> int:
        return cache.blocking.get(inner.key()) * 10

    await inner()
    outer()
    await upstream.change(2)

    assert outer() == 20


async def test_an_inner_value_that_changes_during_the_outer_build_outruns_it(
    colour: Colour, upstream: Upstream
) -> None:
    """Built from two values of one entry, the outer one is right for neither."""

    @colour.cached(depends_on=[upstream.tag])
    async def inner() -> int:
        return upstream.read()

    @colour.cached()
    async def outer() -> list[int]:
        first = await done(inner())
        if first == 1:
            upstream.value = 2
            colour.cache.blocking.invalidate(upstream.tag)
        return [first, await done(inner())]

    await done(outer())

    assert await done(outer()) == [2, 2]


def test_an_inner_function_that_this_process_does_not_have_is_done_without(
    open_cache: OpenCache, sqlite_url: str
) -> None:
    """Who cannot settle what is below builds anew; here the newer code no longer needs it."""
    older, newer, tag = open_cache(sqlite_url), open_cache(sqlite_url), dep.Tag("t")

    @older.cached(depends_on=[tag])
    def inner() -> int:
        return 1

    def outer() -> int:
        return inner() * 10

    def newer_outer() -> int:
        return 7

    newer_outer.__qualname__ = outer.__qualname__
    outer_of_older, outer_of_newer = older.cached(outer), newer.cached(newer_outer)
    outer_of_older()
    before = outer_of_newer()
    older.blocking.invalidate(tag)

    assert (before, outer_of_newer()) == (10, 7)


async def test_an_asynchronous_function_calls_a_blocking_one(cache: Cache, upstream: Upstream) -> None:
    """As it may without a cache; the value follows."""

    @cache.cached(depends_on=[upstream.tag])
    def inner() -> int:
        return upstream.read()

    @cache.cached
    async def outer() -> int:
        return inner() * 10

    await outer()
    await upstream.change(2)

    assert await outer() == 20
