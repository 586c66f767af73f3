"""Conformance 6: what cannot cross the store is refused as a whole."""

import pytest

from everfresh import ValueNotSupported, dep
from tests.cache.by_hand import ByHand
from tests.cache.making import Colour, done


class Connection:
    """Nothing that could be stored."""


async def test_a_value_that_cannot_be_encoded_is_refused_by_its_type(by_hand: ByHand) -> None:
    """6: the error names the type, and neither the entry nor its dependencies are there."""
    with pytest.raises(ValueNotSupported, match="Connection"):
        await by_hand.put("k", {"rows": [1, Connection()]}, dep.Tag("t"))

    assert (await by_hand.has("k"), await by_hand.stored("k"), await by_hand.entries()) == (False, None, [])


async def test_the_value_that_was_there_stays(by_hand: ByHand) -> None:
    """6: a refused put has not happened."""
    await by_hand.put("k", "old", dep.Tag("old"))
    with pytest.raises(ValueNotSupported):
        await by_hand.put("k", Connection(), dep.Tag("new"))
    await by_hand.invalidate(dep.Tag("new"))
    kept = await by_hand.get("k")
    await by_hand.invalidate(dep.Tag("old"))

    assert (kept, await by_hand.has("k")) == ("old", False)


async def test_a_result_that_cannot_be_encoded_leaves_no_value(colour: Colour) -> None:
    """6: the same of a function: nobody is served what could not be stored."""

    @colour.cached()
    async def function() -> object:
        return Connection()

    with pytest.raises(ValueNotSupported, match="Connection"):
        await done(function())

    assert await done(function.peek()) is None
