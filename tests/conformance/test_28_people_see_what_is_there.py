"""Conformance 28: how much is built, what there is, and how to be rid of it."""

from typing import Any

import pytest

from everfresh import State, dep
from tests.cache.making import Colour, done


async def test_95_of_107_known_entries_are_a_coverage_of_88_79_percent(colour: Colour) -> None:
    """28: the others are queued for their first build."""

    @colour.cached()
    async def widget(number: int) -> int:
        return number

    n_new = await done(widget.warm(range(107)))
    for number in range(95):
        await done(widget(number))
    coverage = await colour.cache.coverage()

    assert (n_new, coverage.n_known, coverage.n_built, coverage.percent) == (107, 107, 95, 88.79)
    assert str(coverage) == "95 of 107 entries built: 88.79 %"


async def test_coverage_counts_one_function_or_all(colour: Colour) -> None:
    """28: each has its own."""

    @colour.cached()
    async def built(number: int) -> int:
        return number

    @colour.cached()
    async def waiting(number: int) -> int:
        return number

    await done(built(1))
    await done(waiting.warm([1, 2, 3]))
    percents = [(await colour.cache.coverage(of)).percent for of in (built, waiting, None)]

    assert percents == [100.0, 0.0, 25.0]


@pytest.fixture
async def shop(colour: Colour) -> Any:  # noqa: ANN401 - of either colour
    """Entries of two functions, and one that was put; one of them is out of date."""

    @colour.cached(depends_on=[dep.Id("article", dep.arg("number"))], key="price:{number}")
    async def price(number: int) -> int:
        return number

    @colour.cached(key="stock:{number}")
    async def stock(number: int) -> int:
        return number

    for number in (1, 2):
        await done(price(number))
        await done(stock(number))
    await colour.cache.put("homepage", "text")
    await colour.cache.invalidate(dep.Id("article", 2))
    return price


async def keys(colour: Colour, **which: Any) -> list[str]:  # noqa: ANN401 - options
    return [one.key for one in await colour.cache.entries(**which)]


async def test_entries_can_be_listed(colour: Colour, shop: Any) -> None:  # noqa: ANN401 - as above
    """28: all of them, or by function, state or pattern, each with what is known of it."""
    listed = {str(one.key): one for one in await colour.cache.entries()}

    assert list(listed) == ["homepage", "price:1", "price:2", "stock:1", "stock:2"]
    assert [listed[key].state for key in ("price:1", "price:2")] == [State.FRESH, State.DIRTY]
    assert (listed["price:1"].function, listed["homepage"].function) == (shop.name, "")
    assert await keys(colour, function=shop) == ["price:1", "price:2"]
    assert await keys(colour, state=State.DIRTY) == ["price:2"]
    assert await keys(colour, pattern="*:1") == ["price:1", "stock:1"]


async def test_entries_can_be_dropped_by_name(colour: Colour, shop: Any) -> None:  # noqa: ANN401 - as above
    """28: those that are named."""
    n_dropped = await colour.cache.delete("price:1", "homepage", "nothing")

    assert (n_dropped, await keys(colour)) == (2, ["price:2", "stock:1", "stock:2"])


async def test_entries_can_be_dropped_by_function(colour: Colour, shop: Any) -> None:  # noqa: ANN401 - as above
    """28: all of its entries and no other; the next reader builds."""
    n_dropped = await colour.cache.drop(function=shop)

    assert (n_dropped, await keys(colour)) == (2, ["homepage", "stock:1", "stock:2"])
    assert await done(shop(1)) == 1


async def test_entries_can_be_dropped_by_pattern(colour: Colour, shop: Any) -> None:  # noqa: ANN401 - as above
    """28: whatever their function."""
    n_dropped = await colour.cache.drop(pattern="*:2")

    assert (n_dropped, await keys(colour)) == (2, ["homepage", "price:1", "stock:1"])
