"""Waiting for something real: polling with a deadline. The only place of these tests that sleeps."""
# ruff: noqa: ANN401 - values of any type are what is tested

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

T = TypeVar("T")
# Generous: it bounds a test that fails, never one that passes.
DEADLINE_S = 20.0
PAUSE_S = 0.005


def until(probe: Callable[[], T], *, what: str, deadline_s: float = DEADLINE_S) -> T:
    """The first true answer of `probe`; fails, saying `what` was awaited, when the deadline has passed."""
    ends_at = time.monotonic() + deadline_s
    while not (answer := probe()):
        assert time.monotonic() < ends_at, f"not within {deadline_s:g} s: {what}"
        time.sleep(PAUSE_S)
    return answer


async def soon(probe: Callable[[], Any], *, what: str, deadline_s: float = DEADLINE_S) -> Any:
    """Like `until`, in an event loop, for a probe of either colour."""
    ends_at = time.monotonic() + deadline_s
    while True:
        answer = probe()
        found = await answer if isinstance(answer, Awaitable) else answer
        if found:
            return found
        assert time.monotonic() < ends_at, f"not within {deadline_s:g} s: {what}"
        await asyncio.sleep(PAUSE_S)
