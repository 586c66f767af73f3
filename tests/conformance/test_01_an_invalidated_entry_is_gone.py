"""Conformance 1: entries that are put hang on what they are said to hang on."""

import pytest

from everfresh import NotInCache, dep
from tests.cache.by_hand import ByHand

ARTICLES = [{"id": 1}, {"id": 2}]


@pytest.fixture
async def articles(by_hand: ByHand) -> ByHand:
    """The list is in the cache."""
    await by_hand.put("articles-list", ARTICLES, dep.Id("article", 1), dep.Id("article", 2), expires=1000)
    return by_hand


async def test_what_was_put_is_got(articles: ByHand) -> None:
    """1: the value comes back equal, and `has` knows of it."""
    assert (await articles.get("articles-list"), await articles.has("articles-list")) == (ARTICLES, True)


async def test_invalidating_a_name_that_the_entry_does_not_hang_on_leaves_it(articles: ByHand) -> None:
    """1: another tag is another thing."""
    await articles.invalidate(dep.Tag("hop"))

    assert (await articles.get("articles-list"), await articles.has("articles-list")) == (ARTICLES, True)


@pytest.mark.parametrize("number", [1, 2])
async def test_invalidating_one_of_its_objects_takes_the_entry_away(articles: ByHand, number: int) -> None:
    """1: any one dependency is enough; then there is nothing, and `get` says so as a dictionary would."""
    await articles.invalidate(dep.Id("article", number))

    assert await articles.has("articles-list") is False
    with pytest.raises(NotInCache) as missing:
        await articles.get("articles-list")
    assert isinstance(missing.value, KeyError)
