"""Bells: wake somebody in an event loop from any thread, also when that loop has ended meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol


class Bell(Protocol):
    """An event, or something like it."""

    def set(self) -> None:
        """Wake whoever waits."""
        ...


def ringer(event: Bell) -> Callable[[], None]:
    """A function for any thread that sets the event in the running loop; after the loop's end it does nothing."""
    loop = asyncio.get_running_loop()

    def ring() -> None:
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(event.set)

    return ring
