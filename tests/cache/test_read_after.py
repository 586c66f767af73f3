"""`f.read(after=position)` and `f.fresh`: nothing that misses what was published, nested calls included."""

from datetime import timedelta

import pytest

from everfresh import FOREVER, InvalidPosition, Position, State, dep
from everfresh.testing.clock import FakeClock
from tests.cache.fixtures import OpenCache
from tests.cache.making import CachedFunction, Colour, Gate, done, entry_of, waited_for
from tests.cache.upstreams import Broken, Upstream

pytestmark = pytest.mark.redis


async def test_the_value_does_not_miss_what_was_published(colour: Colour, upstream: Upstream) -> None:
    """Though the function would serve its old value for ever."""

    @colour.cached(depends_on=[upstream.tag], stale_while_revalidate=FOREVER, stale_if_error=FOREVER)
    async def value() -> int:
        return upstream.read()

    await done(value())
    position = await upstream.change(2)

    assert (await done(value.read(after=position)()), await done(value())) == (2, 2)


async def test_nothing_stands_in_while_the_source_fails(colour: Colour, upstream: Upstream) -> None:
    """The old value misses it."""

    @colour.cached(depends_on=[upstream.tag], stale_if_error=FOREVER)
    async def value() -> int:
        return upstream.read()

    await done(value())
    position = await upstream.break_down()

    with pytest.raises(Broken):
        await done(value.read(after=position)())


async def test_it_takes_the_parameters_of_the_function(colour: Colour) -> None:
    """By position and by name."""

    @colour.cached()
    async def text(number: int, unit: str = "s") -> str:
        return f"{number} {unit}"

    position = await colour.cache.position()

    assert await done(text.read(after=position)(1, unit="h")) == "1 h"


async def test_what_is_good_as_of_the_position_is_served(colour: Colour, upstream: Upstream) -> None:
    """A later event does not matter to who only wants to see its own."""

    @colour.cached(depends_on=[upstream.tag])
    async def value() -> int:
        return upstream.read()

    await done(value())
    position = await upstream.change(2)
    await done(value())
    await upstream.change(3)

    assert (await done(value.read(after=position)()), upstream.n_read) == (2, 2)


async def test_what_nothing_touched_is_served(colour: Colour, upstream: Upstream) -> None:
    """However long before the position it was built."""

    @colour.cached(depends_on=[upstream.tag])
    async def value() -> int:
        return upstream.read()

    for _ in range(2):
        await done(value())
    position = await colour.cache.invalidate(dep.Tag("another"))

    assert (await done(value.read(after=position)()), upstream.n_read) == (1, 1)


async def test_a_position_of_another_store_means_now(open_cache: OpenCache, colour: Colour, upstream: Upstream) -> None:
    """It says nothing of this one, so nothing is good that is known to be out of date."""
    elsewhere = await open_cache().position()

    @colour.cached(depends_on=[upstream.tag], stale_while_revalidate=FOREVER)
    async def value() -> int:
        return upstream.read()

    await done(value())
    await upstream.change(2)

    assert await done(value.read(after=elsewhere)()) == 2


async def test_a_position_that_the_store_has_not_come_to_means_now(colour: Colour, upstream: Upstream) -> None:
    """As after a file was replaced by an older copy: who waited for it would wait for ever."""

    @colour.cached(depends_on=[upstream.tag], stale_while_revalidate=FOREVER)
    async def value() -> int:
        return upstream.read()

    await done(value())
    now = await upstream.change(2)

    assert await done(value.read(after=Position(now.epoch, now.sequence + 1_000))()) == 2


@pytest.mark.parametrize("after", [None, 7, "e1.7"], ids=repr)
def test_what_is_no_position_is_refused(colour: Colour, after: object) -> None:
    """At once, before anything is read."""

    @colour.cached()
    async def value() -> int:
        return 1

    with pytest.raises(InvalidPosition, match="after is"):
        value.read(after=after)  # type: ignore[arg-type]  # the mistake is the test


async def test_who_comes_after_the_event_does_not_get_a_build_from_before_it(
    colour: Colour, upstream: Upstream, gate: Gate
) -> None:
    """It waits for that build, and then for its own."""

    @colour.cached(depends_on=[upstream.tag], stale_while_revalidate=FOREVER)
    async def value() -> int:
        seen = upstream.read()
        if seen == 1:
            await gate.stop()
        return seen

    builder = colour.start(value)
    await gate.reached()
    position = await upstream.change(2)
    reader = colour.start(value.read(after=position))
    await waited_for(colour.cache, value.key(), 1)
    gate.open()

    assert (await reader, await builder) == (2, 1)


class Nest:
    """A function in a function; the inner one would serve anything."""

    def __init__(self, colour: Colour, upstream: Upstream) -> None:
        @colour.cached(depends_on=[upstream.tag], stale_while_revalidate=FOREVER, stale_if_error=FOREVER)
        async def inner() -> int:
            return upstream.read()

        @colour.cached(stale_while_revalidate=FOREVER, stale_if_error=FOREVER, depends_on=[dep.Tag("outer")])
        async def outer() -> int:
            return await done(inner()) * 10

        self.inner: CachedFunction[[], int] = inner
        self.outer: CachedFunction[[], int] = outer


@pytest.fixture
def nest(colour: Colour, upstream: Upstream) -> Nest:
    """A function in a function."""
    return Nest(colour, upstream)


async def test_nested_values_do_not_miss_it_either(nest: Nest, upstream: Upstream) -> None:
    """The outer entry was suspect only."""
    await done(nest.outer())
    position = await upstream.change(2)

    assert await done(nest.outer.read(after=position)()) == 20


@pytest.mark.parametrize("way", ["read", "fresh"])
async def test_nothing_stands_in_for_a_nested_value(nest: Nest, upstream: Upstream, way: str) -> None:
    """Its failure is raised, where an ordinary build would go on with the last good value."""
    await done(nest.outer())
    position = await upstream.break_down()
    ordinary = await done(nest.outer())
    strict = nest.outer.fresh if way == "fresh" else nest.outer.read(after=position)

    with pytest.raises(Broken):
        await done(strict())
    assert ordinary == 10


async def test_within_an_ordinary_build_a_nested_value_may_stand_in(colour: Colour, upstream: Upstream) -> None:
    """Only strict readers are strict all the way down; the outer function has no bounds here."""

    @colour.cached(depends_on=[upstream.tag], stale_if_error=FOREVER)
    async def inner() -> int:
        return upstream.read()

    @colour.cached(depends_on=[dep.Tag("outer")])
    async def outer() -> int:
        return await done(inner()) * 10

    await done(outer())
    await upstream.break_down()

    assert await done(outer()) == 10


async def test_strictness_goes_through_many(colour: Colour, upstream: Upstream) -> None:
    """And through functions of many ids."""

    @colour.cached(depends_on=[upstream.tag], stale_if_error=FOREVER)
    async def one(number: int) -> int:
        return upstream.read()

    @colour.cached_many(depends_on=[upstream.tag], stale_if_error=FOREVER)
    async def more(ids: list[int]) -> dict[int, int]:
        return {id_: upstream.read() for id_ in ids}

    @colour.cached(depends_on=[upstream.tag])
    async def by_many() -> int:
        return sum(await done(one.many([1, 2])))

    @colour.cached(depends_on=[upstream.tag])
    async def by_ids() -> int:
        return sum((await done(more([1, 2]))).values())

    values = [await done(by_many()), await done(by_ids())]
    await upstream.break_down()

    assert values == [2, 2]
    for function in (by_many, by_ids):
        with pytest.raises(Broken):
            await done(function.fresh())


async def test_a_function_of_many_ids_can_be_read_after_a_position(colour: Colour, upstream: Upstream) -> None:
    """The same promise for each id."""

    @colour.cached_many(depends_on=[upstream.tag], stale_while_revalidate=FOREVER)
    async def values(ids: list[int]) -> dict[int, int]:
        seen = upstream.read()
        return dict.fromkeys(ids, seen)

    await done(values([1, 2]))
    position = await upstream.change(2)
    after = await done(values.read(after=position)([1, 2]))
    await upstream.change(3)

    assert (after, await done(values.fresh([1, 2]))) == ({1: 2, 2: 2}, {1: 3, 2: 3})


async def test_a_near_value_is_served_only_if_it_is_of_after_the_position(
    colour: Colour, upstream: Upstream, clock: FakeClock
) -> None:
    """Else the store is asked, and serves it if it is settled."""

    @colour.cached(depends_on=[upstream.tag])
    async def value() -> int:
        return upstream.read()

    for _ in range(2):
        await done(value())
    position = await colour.cache.invalidate(dep.Tag("another"))
    clock.advance(timedelta(days=1).total_seconds())
    values = [await done(value.read(after=position)()), await done(value())]

    assert (values, (await entry_of(value)).state, upstream.n_read) == ([1, 1], State.FRESH, 1)
