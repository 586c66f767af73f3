"""Waiting for something real: polling with a deadline."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

T = TypeVar("T")

# Generous: it bounds a test that fails, never one that passes.
DEADLINE_S = 20.0
_PAUSE_S = 0.005


def until(probe: Callable[[], T], *, what: str, deadline_s: float = DEADLINE_S) -> T:
    """The first true answer of the probe.

    Raises:
        AssertionError: the deadline, in seconds, has passed; the message says `what` was awaited.
    """
    ends_at = time.monotonic() + deadline_s
    while not (answer := probe()):
        _check(ends_at, what, deadline_s)
        time.sleep(_PAUSE_S)
    return answer


async def soon(probe: Callable[[], Awaitable[T] | T], *, what: str, deadline_s: float = DEADLINE_S) -> T:
    """The same in an event loop, for a probe of either colour.

    Raises:
        AssertionError: the deadline, in seconds, has passed; the message says `what` was awaited.
    """
    ends_at = time.monotonic() + deadline_s
    while True:
        answer = probe()
        found: T = await _awaited(answer)
        if found:
            return found
        _check(ends_at, what, deadline_s)
        await asyncio.sleep(_PAUSE_S)


async def _awaited(answer: Any) -> Any:  # noqa: ANN401 - whether a T is awaitable, types cannot tell
    return await answer if inspect.isawaitable(answer) else answer


def _check(ends_at: float, what: str, deadline_s: float) -> None:
    if time.monotonic() >= ends_at:
        raise AssertionError(f"not within {deadline_s:g} s: {what}")
