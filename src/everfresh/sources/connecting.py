"""Connecting: what is asked of drivers, in tasks of their own, bounded in time.

A driver may swallow the cancellation that ends it, and answer as if nothing had been; or cancel its own futures when a
connection breaks, so that whoever awaits one seems to be cancelled. So whoever asks awaits no driver, but only the end
of a task: when that raises CancelledError, it is oneself who is cancelled; when the task was cancelled, it is not.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager
from contextvars import Context
from typing import Any, NamedTuple, TypeVar

from everfresh.sources.addresses import told
from everfresh.sources.reports import logger
from everfresh.sources.source import Adapter, SourceUnavailable, Start, Stream

T = TypeVar("T")

ANSWER_S = 30.0
"""Whoever takes longer to answer does not."""
# Whoever ends a process gives it half a minute or less for all.
_CLOSES_WITHIN_S = 10.0
# Some swallow one cancellation, and wait on; whoever heeds none of these is left behind.
_N_CANCELLATIONS = 3
_HEEDS_WITHIN_S = 1.0


class Unanswered(SourceUnavailable):
    """A driver gave no answer within the time, or gave up by itself."""


class Open(NamedTuple):
    """A connection that stands: `ends` is done as soon as it does not, whatever its stream says."""

    stream: Stream
    ends: asyncio.Task[None]


@asynccontextmanager
async def opened(adapter: Adapter, start: Start) -> AsyncGenerator[Open]:
    """A connection, opened and closed in one task; neither takes for ever.

    Raises:
        Unanswered: it did not open.
    """
    standing: asyncio.Future[Stream] = asyncio.get_running_loop().create_future()
    is_over = asyncio.Event()

    async def stand() -> None:
        async with adapter.open(start) as stream:
            standing.set_result(stream)
            await is_over.wait()

    connection = begun(stand())
    either: set[asyncio.Future[Any]] = {connection, standing}
    try:
        await asyncio.wait(either, timeout=ANSWER_S, return_when=asyncio.FIRST_COMPLETED)
        if not standing.done():
            _answer_of(connection, ANSWER_S)
        yield Open(standing.result(), connection)
    finally:
        is_over.set()
        if not standing.done():
            await ended(connection)
        else:
            try:
                await answer(connection, _CLOSES_WITHIN_S)
            except Exception as error:  # noqa: BLE001 - it is over in any case; what ended it is what counts
                logger.debug("source.close_failed %s", {"source": adapter.name, "error": told(error)})


def begun(asked: Coroutine[object, object, T]) -> asyncio.Task[T]:
    """A task that is nobody's part: with no context of whoever asks."""
    return asyncio.create_task(asked, context=Context())


async def answer(
    asked: Coroutine[object, object, T] | asyncio.Task[T], most_s: float | None, ends: asyncio.Task[None] | None = None
) -> T:
    """What is answered within the time, None for any; then, or when this is cancelled, nobody is at work on it.

    Raises:
        Unanswered: nothing is, or the connection `ends` before that.
        Exception: what ended the connection.
    """
    task = asked if isinstance(asked, asyncio.Task) else begun(asked)
    either: set[asyncio.Task[Any]] = {task} if ends is None else {task, ends}
    try:
        await asyncio.wait(either, timeout=most_s, return_when=asyncio.FIRST_COMPLETED)
        if ends is not None and ends.done():
            _answer_of(ends, most_s)
            raise Unanswered("its connection ended")
        return _answer_of(task, most_s)
    finally:
        await ended(task)


def _answer_of(task: asyncio.Task[T], most_s: float | None) -> T:
    if not task.done():
        raise Unanswered(f"it did not answer within {most_s:g} s")
    if task.cancelled():
        raise Unanswered("its driver gave up")
    return task.result()


async def ended(task: asyncio.Task[T]) -> None:
    """Have it end, whatever it makes of that; what it raises then is nobody's."""
    task.add_done_callback(_looked_at)
    for _ in range(_N_CANCELLATIONS):
        if task.done():
            break
        task.cancel()
        await asyncio.wait({task}, timeout=_HEEDS_WITHIN_S)


def _looked_at(task: asyncio.Task[T]) -> None:
    if not task.cancelled():
        task.exception()
