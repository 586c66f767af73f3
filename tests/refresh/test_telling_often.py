"""Who keeps entries warm for a short time has the store told as often as that needs."""

import asyncio

from everfresh import Key
from everfresh.cache.attention import Attention
from everfresh.cache.near import NearCache
from everfresh.cache.notices import NoticeBoard
from everfresh.testing.clock import FakeClock
from everfresh.testing.waiting import soon
from tests.refresh.test_attention import Notes

N_TIMES = 8
DEADLINE_S = 20.0


async def test_the_store_is_told_within_the_time_that_entries_are_kept_warm(clock: FakeClock) -> None:
    """However seldom it was told before somebody came who needs it."""
    notes = Notes(clock)
    attention = Attention(notes, NearCache(10), NoticeBoard(), clock)
    attention.need()

    attention.need(keep_warm_s=0.04)
    try:
        # Every few seconds would be too seldom for all of them.
        async with asyncio.timeout(DEADLINE_S):
            for number in range(N_TIMES):
                clock.advance(1)
                attention.read(Key(f"{number}"))
                await soon(lambda n=number: len(notes.told) > n, what="the telling")
    finally:
        attention.close()


async def test_a_watcher_who_comes_does_not_slow_it_down(clock: FakeClock) -> None:
    """Nor does a function that keeps its entries warm for longer."""
    notes = Notes(clock)
    attention = Attention(notes, NearCache(10), NoticeBoard(), clock)

    attention.need(keep_warm_s=0.04)
    attention.need(keep_warm_s=3600.0)
    attention.need()
    try:
        async with asyncio.timeout(DEADLINE_S):
            for number in range(N_TIMES):
                clock.advance(1)
                attention.read(Key(f"{number}"))
                await soon(lambda n=number: len(notes.told) > n, what="the telling")
    finally:
        attention.close()
