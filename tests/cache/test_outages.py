"""A store that does not answer: by default functions are called for their readers, and nothing of it is kept."""

from datetime import timedelta

import pytest

from everfresh import Cache, StoreUnavailable, dep
from tests.cache.breaking import out_of_order
from tests.cache.fixtures import OpenCache
from tests.cache.making import Colour, Gate, done
from tests.cache.upstreams import Upstream


@pytest.fixture
def cache(open_cache: OpenCache, sqlite_url: str) -> Cache:
    """A cache whose store can be broken from outside."""
    return open_cache(sqlite_url)


async def test_a_function_is_called_for_its_reader(colour: Colour, upstream: Upstream, sqlite_url: str) -> None:
    """Each reader has what it gives now; none is kept, so the store hears of the next one."""

    @colour.cached(depends_on=[upstream.tag])
    async def value() -> int:
        return upstream.read()

    with out_of_order(sqlite_url):
        first = await done(value())
        upstream.value = 2
        assert (first, await done(value())) == (1, 2)

    assert await done(value.entry()) is None
    assert (await done(value()), upstream.n_read) == (2, 3)


async def test_who_asked_to_be_told_is_told(colour: Colour, upstream: Upstream, sqlite_url: str) -> None:
    """A function that may not be called by every reader says so for itself."""

    @colour.cached(on_store_failure="raise")
    async def value() -> int:
        return upstream.read()

    with out_of_order(sqlite_url), pytest.raises(StoreUnavailable):
        await done(value())

    assert upstream.n_read == 0


async def test_what_was_built_when_the_store_broke_is_its_readers(
    colour: Colour, upstream: Upstream, sqlite_url: str, gate: Gate
) -> None:
    """The function is not called again for an answer that is there."""

    @colour.cached()
    async def value() -> int:
        await gate.stop()
        return upstream.read()

    builder = colour.start(value)
    await gate.reached()
    with out_of_order(sqlite_url):
        gate.open()
        assert await builder == 1

    assert upstream.n_read == 1


async def test_an_error_of_the_function_is_raised_as_it_is(colour: Colour, sqlite_url: str) -> None:
    """Not that the store could not be told of it; and it is raised by one call."""
    n_called = 0

    @colour.cached()
    async def value() -> int:
        nonlocal n_called
        n_called += 1
        raise LookupError("no such thing")

    with out_of_order(sqlite_url), pytest.raises(LookupError, match="no such thing"):
        await done(value())

    assert n_called == 1


async def test_a_store_error_of_the_function_itself_is_its_own(colour: Colour, sqlite_url: str) -> None:
    """Another cache that it uses may be out of order: that is no reason to call it twice."""
    n_called = 0

    @colour.cached()
    async def value() -> int:
        nonlocal n_called
        n_called += 1
        raise StoreUnavailable("another one")

    with pytest.raises(StoreUnavailable, match="another one"):
        await done(value())

    assert n_called == 1


async def test_nested_calls_are_called_too(colour: Colour, upstream: Upstream, sqlite_url: str) -> None:
    """And what is tracked on the way troubles nobody."""

    @colour.cached(depends_on=[upstream.tag])
    async def inner() -> int:
        return upstream.read()

    @colour.cached(depends_on=[dep.Tag("outer")])
    async def outer() -> int:
        return 10 * await done(inner())

    with out_of_order(sqlite_url):
        assert await done(outer()) == 10

    assert await done(outer.entry()) is None


async def test_many_are_called_too(colour: Colour, upstream: Upstream, sqlite_url: str) -> None:
    """One by one, as their function is."""

    @colour.cached()
    async def value(factor: int) -> int:
        return factor * upstream.read()

    with out_of_order(sqlite_url):
        assert await done(value.many([1, 2, 1])) == [1, 2, 1]

    assert upstream.n_read == 2


async def test_a_function_of_many_ids_is_called_once(open_cache: OpenCache, sqlite_url: str) -> None:
    """For all that are wanted, and for who asks alone."""
    asked: list[list[int]] = []
    cache = open_cache(sqlite_url)

    @cache.cached_many
    def users(ids: list[int]) -> dict[int, str]:
        asked.append(ids)
        return {id_: f"user {id_}" for id_ in ids if id_ != 3}

    with out_of_order(sqlite_url):
        assert users([1, 2, 3]) == {1: "user 1", 2: "user 2"}

    assert asked == [[1, 2, 3]]
    assert users.one.entry(1) is None


async def test_a_build_that_went_on_without_the_store_is_not_kept_as_good(
    open_cache: OpenCache, sqlite_url: str, gate: Gate
) -> None:
    """Nobody watches over what it was built from: it is stored as makeshift, and built again."""
    cache = open_cache(sqlite_url)
    colour = Colour(cache, is_async=True)
    truth = {"price": 1}

    @colour.cached(depends_on=[dep.Tag("price")])
    async def inner() -> int:
        return truth["price"]

    @colour.cached()
    async def outer() -> int:
        await gate.stop()
        with out_of_order(sqlite_url):
            price = await done(inner())
        return 10 * price

    builder = colour.start(outer)
    await gate.reached()
    gate.open()
    assert await builder == 10
    truth["price"] = 2
    await cache.invalidate(dep.Tag("price"))

    entry = await done(outer.entry())
    assert entry is not None
    assert entry.stale_since is not None


def test_another_word_is_refused(open_cache: OpenCache) -> None:
    """It says which there are."""
    with pytest.raises(ValueError, match="'call'"):
        open_cache("memory:", on_store_failure="ignore")
    cache = open_cache("memory:", wait_timeout=timedelta(seconds=1))
    with pytest.raises(ValueError, match="'raise'"):
        cache.cached(on_store_failure="wait")  # type: ignore[call-overload]
