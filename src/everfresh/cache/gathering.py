"""Gathering: reading what is left of many calls side by side, a few at a time."""

from __future__ import annotations

import asyncio

from everfresh.cache.drivers import AsyncDriver
from everfresh.cache.reads import Found, Wanted
from everfresh.protocol.reading import read
from everfresh.protocol.requests import Bounds, Call

# What they build from is one database as a rule, whose pool is no larger.
MANY_AT_ONCE = 16


async def read_each(driver: AsyncDriver, found: Found, bounds: Bounds, wanted: Wanted) -> None:
    """Read what is left, and note it, or why it could not be had. Cancelled, it ends all that is under way."""
    room = asyncio.Semaphore(MANY_AT_ONCE)

    async def one(call: Call) -> None:
        async with room:
            try:
                wanted.entries[call.key] = await driver.run(read(call, bounds, good_from=found.good_from.get(call.key)))
            except Exception as error:  # noqa: BLE001 - raised once the others are done
                wanted.errors[call.key] = error

    async with asyncio.TaskGroup() as group:
        for call in found.left:
            group.create_task(one(call))
