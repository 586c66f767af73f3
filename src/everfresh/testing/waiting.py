"""Waiting for something real: polling with a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

# Generous: it bounds a test that fails, never one that passes.
DEADLINE_S = 20.0
_PAUSE_S = 0.005


def until(probe: Callable[[], T], *, what: str, deadline_s: float = DEADLINE_S) -> T:
    """The first true answer of the probe.

    Raises:
        AssertionError: the deadline has passed; the message says `what` was awaited.
    """
    ends_at = time.monotonic() + deadline_s
    while not (answer := probe()):
        if time.monotonic() >= ends_at:
            msg = f"not within {deadline_s:g} s: {what}"
            raise AssertionError(msg)
        time.sleep(_PAUSE_S)
    return answer
