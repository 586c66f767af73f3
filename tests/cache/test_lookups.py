"""Looking at entries without building: what is no value is none, and a build that looks hangs on what it saw."""

from collections.abc import Callable
from typing import Any

import pytest

from everfresh import Cache, Entry, NotInCache
from tests.cache.by_hand import ByHand
from tests.cache.making import CachedFunction, Colour, done
from tests.cache.upstreams import Upstream

pytestmark = pytest.mark.redis


Inner = CachedFunction[[int], int]


@pytest.fixture(params=["blocking", "asyncio"])
def both(request: pytest.FixtureRequest, cache: Cache) -> tuple[Colour, ByHand]:
    """Functions and operations of one colour."""
    is_async = request.param == "asyncio"
    return Colour(cache, is_async=is_async), ByHand(cache, is_async=is_async)


async def test_an_error_that_is_cached_is_no_value(both: tuple[Colour, ByHand]) -> None:
    """`get` and `has` are about values; the bytes of an error are none."""
    colour, by_hand = both

    @colour.cached(cache_errors=(LookupError,))
    async def broken(number: int) -> int:
        raise LookupError(number)

    with pytest.raises(LookupError):
        await done(broken(1))

    assert await by_hand.has(broken.key(1)) is False
    with pytest.raises(NotInCache):
        await by_hand.get(broken.key(1))


async def test_an_id_that_was_left_out_is_no_value(both: tuple[Colour, ByHand]) -> None:
    """It is known that there is none, which is nothing to be given."""
    colour, by_hand = both

    @colour.cached_many()
    async def names(ids: list[int]) -> dict[int, str]:
        return {id_: "ann" for id_ in ids if id_ == 1}

    await done(names([1, 2]))

    assert [await by_hand.has(names.one.key(id_)) for id_ in (1, 2)] == [True, False]
    with pytest.raises(NotInCache):
        await by_hand.get(names.one.key(2))


async def test_a_build_hangs_on_the_error_that_it_looked_at(both: tuple[Colour, ByHand], upstream: Upstream) -> None:
    """When there is a value in its place, what was built without one is out of date."""
    colour, by_hand = both
    upstream.is_broken = True

    @colour.cached(depends_on=[upstream.tag], cache_errors=(Exception,))
    async def inner() -> int:
        return upstream.read()

    @colour.cached()
    async def outer() -> bool:
        return await by_hand.has(inner.key())

    with pytest.raises(Exception, match="down"):
        await done(inner())
    before = await done(outer())
    upstream.is_broken = False
    await upstream.announce()
    await done(inner())

    assert (before, await done(outer())) == (False, True)


def looks(cache: Cache, inner: Inner, *, is_async: bool) -> dict[str, Callable[[], Any]]:
    """The ways to look at an entry and its value."""
    return {
        "entry": lambda: inner.entry(1),
        "stored": lambda: (cache if is_async else cache.blocking).stored(inner.key(1)),
    }


@pytest.mark.parametrize("way", ["entry", "stored"])
async def test_a_build_that_loads_an_entry_hangs_on_it(colour: Colour, upstream: Upstream, way: str) -> None:
    """However it came by the value: `load` takes what `entry` and `stored` give."""

    @colour.cached(depends_on=[upstream.tag])
    async def inner(number: int) -> int:
        return number * upstream.read()

    look = looks(colour.cache, inner, is_async=colour.is_async)[way]

    @colour.cached()
    async def outer() -> int:
        entry: Entry | None = await done(look())
        return -1 if entry is None else inner.load(entry)

    values = [await done(outer())]
    await done(inner(1))
    values.append(await done(outer()))
    await upstream.change(2)
    await done(inner(1))
    values.append(await done(outer()))

    assert values == [-1, 1, 2]
