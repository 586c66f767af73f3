"""What a near hit must not pass over, however fast it is."""

import pytest

from everfresh import FOREVER, Cache, dep
from everfresh.testing.clock import FakeClock
from tests.cache.fixtures import OpenCache
from tests.cache.making import Colour, done
from tests.cache.upstreams import Upstream

pytestmark = pytest.mark.redis


async def test_a_value_that_another_process_has_invalidated_is_not_served(
    open_cache: OpenCache, sqlite_url: str
) -> None:
    """From the moment that the invalidation was answered, by no reader of any colour."""
    ours, theirs = open_cache(sqlite_url), open_cache(sqlite_url)
    truth = {"price": 0}

    @ours.cached(depends_on=[dep.Tag("price")])
    def price() -> int:
        return truth["price"]

    @ours.cached(depends_on=[dep.Tag("price")])
    async def doubled(factor: int) -> int:
        return truth["price"] * factor

    for number in range(1, 10):
        assert [(price(), await doubled(2)) for _ in range(3)] == [(number - 1, 2 * number - 2)] * 3
        truth["price"] = number
        await theirs.invalidate(dep.Tag("price"))


async def test_many_at_once_are_confirmed_too(open_cache: OpenCache, sqlite_url: str) -> None:
    """One look for all of them, and a look there is."""
    ours, theirs = open_cache(sqlite_url), open_cache(sqlite_url)
    truth = {"price": 0}

    @ours.cached(depends_on=[dep.Tag("price")])
    def price(factor: int) -> int:
        return truth["price"] * factor

    for number in range(1, 5):
        assert price.many([1, 2]) == [number - 1, 2 * number - 2]
        truth["price"] = number
        await theirs.invalidate(dep.Tag("price"))


async def test_a_value_that_only_stands_in_is_not_held(colour: Colour, upstream: Upstream) -> None:
    """Who wants nothing old asks the store, and has it built, whoever was content with it before."""

    @colour.cached(depends_on=[upstream.tag], stale_if_error=FOREVER)
    async def value() -> int:
        return upstream.read()

    await done(value())
    await upstream.break_down()
    assert [await done(value()) for _ in range(3)] == [1, 1, 1]
    upstream.is_broken, upstream.value = False, 2

    assert await done(value.fresh()) == 2


@pytest.mark.parametrize("n_arguments", [1, 2])
async def test_equal_arguments_of_other_types_are_other_calls(colour: Colour, n_arguments: int) -> None:
    """Python finds `True` where `1` was put, and a cached function does not."""

    @colour.cached()
    async def shown(*values: object) -> str:
        return repr(values)

    for _ in range(3):
        for value in (1, True, 1.0):
            values = (value,) * n_arguments
            assert await done(shown(*values)) == repr(values)


async def test_two_functions_of_one_key_do_not_get_each_others_values(cache: Cache) -> None:
    """Keys that were named by hand may meet; what was found under one is a miss for the other."""

    @cache.cached(key="n{number}")
    def one(number: int) -> int:
        return number

    @cache.cached(key="{name}")
    def other(name: str) -> int:
        return len(name)

    assert one.key(1) == other.key("n1")
    assert [one(1) for _ in range(3)] == [1, 1, 1]
    assert [other("n1") for _ in range(3)] == [2, 2, 2]


async def test_a_value_is_not_held_beyond_its_lifetime(colour: Colour, clock: FakeClock) -> None:
    """Nobody tells the near cache that it has ended."""
    n_built = 0

    @colour.cached(expires=60)
    async def value(_number: int) -> int:
        nonlocal n_built
        n_built += 1
        return n_built

    assert [await done(value(1)) for _ in range(3)] == [1, 1, 1]
    clock.advance(59.0)
    assert await done(value(1)) == 1
    clock.advance(1.0)

    assert [await done(value(1)), await done(value(_number=1))] == [2, 2]


async def test_a_build_that_uses_a_held_value_hangs_on_it(colour: Colour, upstream: Upstream) -> None:
    """However the value was had, its change is the outer one's too."""

    @colour.cached(depends_on=[upstream.tag])
    async def inner() -> int:
        return upstream.read()

    @colour.cached()
    async def outer() -> int:
        return await done(inner()) * 10

    assert [await done(inner()) for _ in range(3)] == [1, 1, 1]
    assert await done(outer()) == 10
    await upstream.change(2)

    assert await done(outer()) == 20
