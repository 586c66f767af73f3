"""Word that values are out of date waits for the values."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from everfresh.model.entry import FeedRecord, Key, Kind
from everfresh.protocol.requests import FeedBatch
from everfresh.push.gathering import can_wait, gathered, joined
from everfresh.testing.waiting import DEADLINE_S
from tests.push.making import at


def batch(*kinds: Kind, sequence: int = 1, is_reset: bool = False) -> FeedBatch:
    """One with records of these kinds, the last at that place."""
    first = sequence - len(kinds) + 1
    records = tuple(FeedRecord(first + n, Key("a"), kind, 1, "d") for n, kind in enumerate(kinds))
    return FeedBatch(records, at(sequence), is_reset=is_reset)


class Feed:
    """Gives what the test puts in; ends with None, and raises what is an error."""

    def __init__(self, *batches: FeedBatch | Exception | None) -> None:
        self.queue = asyncio.Queue[FeedBatch | Exception | None]()
        self.is_over = False
        for one in batches:
            self.queue.put_nowait(one)

    async def __aiter__(self) -> AsyncGenerator[FeedBatch]:
        try:
            while (one := await self.queue.get()) is not None:
                if isinstance(one, Exception):
                    raise one
                yield one
        finally:
            self.is_over = True


STALE = batch(Kind.STALE)
CHANGED = batch(Kind.CHANGED, sequence=2)


async def all_of(feed: Feed) -> list[FeedBatch]:
    """What comes until the end."""
    async with asyncio.timeout(DEADLINE_S), aclosing(gathered(feed)) as batches:
        return [one async for one in batches]


async def test_word_comes_together_with_the_value() -> None:
    """In one batch, whose position is that of the value."""
    assert await all_of(Feed(STALE, CHANGED, None)) == [batch(Kind.STALE, Kind.CHANGED, sequence=2)]


async def test_word_that_no_value_follows_is_told() -> None:
    """A moment later."""
    feed = Feed(STALE)
    async with asyncio.timeout(DEADLINE_S), aclosing(gathered(feed)) as batches:
        told = [await anext(batches)]
        feed.queue.put_nowait(CHANGED)
        told.append(await anext(batches))

    assert told == [STALE, CHANGED]


async def test_word_at_the_end_is_told() -> None:
    """Nothing is lost."""
    assert await all_of(Feed(CHANGED, STALE, None)) == [CHANGED, STALE]


async def test_what_went_before_a_reset_is_nothing() -> None:
    """Whole states follow."""
    reset = batch(is_reset=True, sequence=7)

    assert await all_of(Feed(STALE, reset, CHANGED, None)) == [reset, CHANGED]


async def test_an_error_of_the_feed_is_raised() -> None:
    """Whoever follows it has to know."""
    with pytest.raises(OSError, match="gone"):
        await all_of(Feed(STALE, OSError("gone")))


async def test_at_the_end_nobody_reads_on() -> None:
    """A reader that is left behind would take what others wait for."""
    feed = Feed(CHANGED, STALE)
    async with aclosing(gathered(feed)) as batches:
        await anext(batches)
        await anext(batches)
        reading = asyncio.create_task(asyncio.wait_for(anext(batches), DEADLINE_S))
        await asyncio.sleep(0)
        reading.cancel()
        await asyncio.wait([reading])

    assert feed.is_over


@pytest.mark.parametrize("kind", list(Kind))
def test_only_word_that_values_are_out_of_date_can_wait(kind: Kind) -> None:
    """A failure, a drop, a new value and a value that stood the test are told at once."""
    assert can_wait(batch(Kind.STALE, kind, sequence=2)) == (kind is Kind.STALE)
    assert not can_wait(batch(kind, is_reset=True))


def test_joined_they_stand_in_order() -> None:
    """Up to the later position."""
    assert joined(STALE, CHANGED) == batch(Kind.STALE, Kind.CHANGED, sequence=2)
    assert joined(None, CHANGED) is CHANGED
