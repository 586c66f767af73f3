"""Conformance 2: an entry goes by hand, or when its time is over."""

from datetime import timedelta

import pytest

from everfresh import InvalidOption
from everfresh.testing.clock import FakeClock
from tests.cache.by_hand import ByHand


async def test_a_deleted_entry_is_gone(by_hand: ByHand) -> None:
    """2: and no other with it."""
    await by_hand.put("k", 1)
    await by_hand.put("other", 2)
    await by_hand.delete("k")

    assert (await by_hand.has("k"), await by_hand.get("other")) == (False, 2)


async def test_invalidating_nothing_is_no_error(by_hand: ByHand) -> None:
    """2: a list of names may be empty; then nothing goes."""
    await by_hand.put("k", 1)
    await by_hand.invalidate()

    assert await by_hand.get("k") == 1


@pytest.mark.parametrize("expires", [60, 60.0, timedelta(minutes=1)], ids=["int", "float", "timedelta"])
async def test_an_entry_ends_with_its_time(by_hand: ByHand, clock: FakeClock, expires: timedelta | float) -> None:
    """2: seconds, or a timedelta; until then it is there, from then on it is not."""
    await by_hand.put("k", 1, expires=expires)
    clock.advance(59.5)
    before = await by_hand.has("k")
    clock.advance(0.5)

    assert (before, await by_hand.has("k")) == (True, False)


@pytest.mark.parametrize("expires", [0, -1, timedelta(0), timedelta(seconds=-1)], ids=str)
async def test_a_time_that_leaves_nothing_is_an_error(by_hand: ByHand, expires: timedelta | float) -> None:
    """2: zero and negative; nothing is stored."""
    with pytest.raises(InvalidOption):
        await by_hand.put("k", 1, expires=expires)

    assert await by_hand.has("k") is False
