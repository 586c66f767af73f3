"""Conformance 3: what is false is a value all the same."""

from collections import Counter

import pytest

from tests.cache.by_hand import ByHand
from tests.cache.making import Colour, done

EMPTY = [None, "", 0, False, []]


@pytest.mark.parametrize("value", EMPTY, ids=repr)
async def test_an_empty_value_that_was_put_is_there(by_hand: ByHand, value: object) -> None:
    """3: told apart from a miss, and one from the other."""
    await by_hand.put("k", value)
    got = await by_hand.get("k")

    assert (got, type(got), await by_hand.has("k"), await by_hand.has("missing")) == (value, type(value), True, False)


@pytest.mark.parametrize("value", EMPTY, ids=repr)
async def test_an_empty_result_is_not_built_again(colour: Colour, value: object) -> None:
    """3: a function that returns nothing much has returned."""
    n_built: Counter[str] = Counter()

    @colour.cached()
    async def function() -> object:
        n_built["function"] += 1
        return value

    results = [await done(function()), await done(function()), await done(function.peek())]

    assert (results, n_built["function"]) == ([value] * 3, 1)
