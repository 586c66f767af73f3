"""Connecting: what is asked of an adapter, bounded in time; and telling whether it is oneself who is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager
from typing import TypeVar

from everfresh.sources.addresses import told
from everfresh.sources.reports import logger
from everfresh.sources.source import Adapter, SourceUnavailable, Start, Stream

T = TypeVar("T")

ANSWER_S = 30.0
"""Whoever takes longer to answer does not."""


@asynccontextmanager
async def opened(adapter: Adapter, start: Start) -> AsyncGenerator[Stream]:
    """A connection; neither its opening nor its end takes for ever."""
    opening = adapter.open(start)
    stream = await answer(opening.__aenter__(), ANSWER_S)
    try:
        yield stream
    finally:
        try:
            await answer(opening.__aexit__(None, None, None), ANSWER_S)
        except Exception as error:  # noqa: BLE001 - it is over in any case; what ended it is what counts
            logger.debug("source.close_failed %s", {"source": adapter.name, "error": told(error)})


async def answer(asked: Coroutine[object, object, T] | asyncio.Task[T], most_s: float) -> T:
    """What is answered within the time.

    Raises:
        SourceUnavailable: nothing is.
    """
    limit = asyncio.timeout(most_s)
    try:
        async with limit:
            return await asked
    except TimeoutError as error:
        if not limit.expired():
            # Somebody else's, who says more.
            raise
        raise SourceUnavailable(f"it did not answer within {most_s:g} s") from error


def is_cancelled() -> bool:
    """Whether somebody cancels this task.

    Drivers cancel their own futures when a connection breaks, and whoever awaits one of these seems to be cancelled.
    """
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
