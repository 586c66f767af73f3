"""A list that nobody described: an error in development; in production a warning, and nothing is kept."""

from typing import Any

import pytest

from everfresh import Cache, InvalidDependency, InvalidOption, NotInCache, dep, track
from tests.cache.by_hand import ByHand
from tests.cache.fixtures import OpenCache
from tests.cache.making import Colour, done

UNDESCRIBED = dep.Undescribed("book", ("author", "year"))


@pytest.fixture
def production(open_cache: OpenCache, url: str) -> Cache:
    """A cache where a mistake in a declaration must not stop anything."""
    return open_cache(url, production_mode=True)


@pytest.fixture(params=[True, False], ids=["asyncio", "blocking"])
def colour_in_production(request: pytest.FixtureRequest, production: Cache) -> Colour:
    """Both colours of function."""
    return Colour(production, is_async=request.param)


@pytest.fixture
def warnings(production: Cache) -> list[Any]:
    """What the production cache warned of."""
    told: list[Any] = []
    production.listen(lambda notice: told.append(notice.fields) if notice.name == "scope.undescribed" else None)
    return told


async def test_in_development_it_is_an_error_that_names_the_list(colour: Colour) -> None:
    """With what is to be written."""

    @colour.cached()
    async def books() -> list[str]:
        track(UNDESCRIBED)
        return ["Emma"]

    with pytest.raises(InvalidDependency, match=r"scope of 'book' by \(author, year\).*@scopes\.describes"):
        await done(books())


async def test_in_production_the_value_is_its_callers_alone(colour_in_production: Colour, warnings: list[Any]) -> None:
    """Everybody gets one that was built for them."""
    colour, n_built = colour_in_production, 0

    @colour.cached(key="books")
    async def books() -> int:
        nonlocal n_built
        n_built += 1
        track(UNDESCRIBED)
        return n_built

    values = [await done(books()) for _ in range(3)]

    assert (values, await done(books.peek())) == ([1, 2, 3], None)
    assert warnings == [{"key": "books", "type": "book", "names": ("author", "year")}] * 3


async def test_in_production_what_was_kept_before_goes(colour_in_production: Colour) -> None:
    """It would never hear of a book that enters."""
    colour, is_described = colour_in_production, True

    @colour.cached(depends_on=[dep.Tag("t")])
    async def books() -> list[str]:
        if not is_described:
            track(UNDESCRIBED)
        return ["Emma"]

    await done(books())
    is_described = False
    await colour.cache.invalidate(dep.Tag("t"))
    await done(books())

    assert await done(books.peek()) is None


async def test_in_production_what_is_made_of_such_a_value_is_not_kept_either(colour_in_production: Colour) -> None:
    """An outer value knows no more of that list than the inner one."""
    colour, n_built = colour_in_production, 0

    @colour.cached()
    async def books() -> list[str]:
        track(UNDESCRIBED)
        return ["Emma"]

    @colour.cached()
    async def page() -> int:
        nonlocal n_built
        await done(books())
        n_built += 1
        return n_built

    values = [await done(page()) for _ in range(2)]

    assert (values, await done(page.peek())) == ([1, 2], None)


async def test_in_development_such_a_value_cannot_be_put(by_hand: ByHand) -> None:
    """Nothing is stored."""
    with pytest.raises(InvalidDependency, match="'book'"):
        await by_hand.put("books", ["Emma"], UNDESCRIBED)

    assert not await by_hand.has("books")


@pytest.mark.parametrize("is_async", [True, False], ids=["asyncio", "blocking"])
async def test_in_production_such_a_value_is_not_stored(production: Cache, warnings: list[Any], is_async: bool) -> None:
    """And what it was to replace goes."""
    by_hand = ByHand(production, is_async=is_async)
    await by_hand.put("books", ["Emma"], dep.Tag("t"))
    await by_hand.put("books", ["Emma", "Persuasion"], UNDESCRIBED)

    with pytest.raises(NotInCache):
        await by_hand.get("books")
    assert warnings == [{"key": "books", "type": "book", "names": ("author", "year")}]


@pytest.mark.parametrize("is_production", [True, False])
async def test_a_cache_says_which_mode_it_is_in(open_cache: OpenCache, is_production: bool) -> None:
    """`Scopes.invalidate_for` asks for it, of either colour."""
    cache = open_cache(production_mode=is_production)

    assert (cache.production_mode, cache.blocking.production_mode) == (is_production, is_production)


@pytest.mark.parametrize("mode", ["yes", 1, None], ids=repr)
def test_the_mode_is_on_or_off(open_cache: OpenCache, mode: object) -> None:
    """`"no"` from the environment would be on."""
    with pytest.raises(InvalidOption, match=f"production_mode: {mode!r} is neither True nor False"):
        open_cache(production_mode=mode)
