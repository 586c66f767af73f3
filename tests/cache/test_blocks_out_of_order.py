"""Transactions that end out of order, as those do which generators hold open: each keeps its own to its own end."""
# ruff: noqa: PT012 - blocks that raise are what is tested

from contextlib import AsyncExitStack

import pytest

from everfresh import dep
from tests.cache.by_hand import ByHand

pytestmark = pytest.mark.redis
TAG = dep.Tag("t")


class RolledBack(Exception):
    """The block did not end well."""


async def test_a_block_goes_on_when_one_that_was_opened_before_it_ends(by_hand: ByHand) -> None:
    """What is said in it waits for its own end."""
    await by_hand.put("a", 1, TAG)
    earlier = AsyncExitStack()
    await earlier.enter_async_context(by_hand.block())

    async with by_hand.block():
        await earlier.aclose()
        await by_hand.invalidate(TAG)
        is_there_within = await by_hand.has("a")

    assert (is_there_within, await by_hand.has("a")) == (True, False)


async def test_a_block_that_raises_drops_its_own_after_an_earlier_one_has_ended(by_hand: ByHand) -> None:
    """It did not happen."""
    await by_hand.put("a", 1, TAG)
    earlier = AsyncExitStack()
    await earlier.enter_async_context(by_hand.block())

    with pytest.raises(RolledBack):
        async with by_hand.block():
            await earlier.aclose()
            await by_hand.invalidate(TAG)
            raise RolledBack

    assert await by_hand.has("a")


async def test_what_was_said_in_a_block_happens_at_its_end_though_a_later_one_is_open(by_hand: ByHand) -> None:
    """The later one has nothing to say about it, and may raise."""
    await by_hand.put("a", 1, TAG)
    earlier = AsyncExitStack()
    await earlier.enter_async_context(by_hand.block())
    await by_hand.invalidate(TAG)

    with pytest.raises(RolledBack):
        async with by_hand.block():
            await earlier.aclose()
            raise RolledBack

    assert not await by_hand.has("a")


async def test_after_blocks_that_ended_out_of_order_nothing_is_held_back(by_hand: ByHand) -> None:
    """Once all have ended, what is said happens at once."""
    await by_hand.put("a", 1, TAG)
    earlier = AsyncExitStack()
    await earlier.enter_async_context(by_hand.block())
    async with by_hand.block():
        await earlier.aclose()

    await by_hand.invalidate(TAG)

    assert not await by_hand.has("a")


async def test_an_inner_block_hands_what_it_held_to_the_one_around_it(by_hand: ByHand) -> None:
    """Also when a third, opened after it, is still open."""
    await by_hand.put("a", 1, TAG)
    inner = AsyncExitStack()

    with pytest.raises(RolledBack):
        async with by_hand.block():
            await inner.enter_async_context(by_hand.block())
            await by_hand.invalidate(TAG)
            async with by_hand.block():
                await inner.aclose()
            raise RolledBack

    assert await by_hand.has("a")
