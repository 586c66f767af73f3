"""Waiting for something real: polling with a deadline. The only place of these tests that sleeps."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")
# Generous: it bounds a test that fails, never one that passes.
DEADLINE_S = 20.0
PAUSE_S = 0.01


def until(probe: Callable[[], T], *, what: str, deadline_s: float = DEADLINE_S) -> T:
    """The first true answer of `probe`; fails, saying `what` was awaited, when the deadline has passed."""
    ends_at = time.monotonic() + deadline_s
    while not (answer := probe()):
        assert time.monotonic() < ends_at, f"not within {deadline_s:g} s: {what}"
        time.sleep(PAUSE_S)
    return answer


async def soon(probe: Callable[[], Awaitable[T]], *, what: str, deadline_s: float = DEADLINE_S) -> T:
    """Like `until`, for a probe that is awaited."""
    ends_at = time.monotonic() + deadline_s
    while not (answer := await probe()):
        assert time.monotonic() < ends_at, f"not within {deadline_s:g} s: {what}"
        await asyncio.sleep(PAUSE_S)
    return answer
