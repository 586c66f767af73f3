"""Functions that two processes of a test declare alike; in a worker's, their builds wait for a line of input."""

import asyncio
import sys
from datetime import timedelta

from everfresh import AsyncFunction, Cache, SyncFunction

HOUR = timedelta(hours=1)

Declared = tuple[AsyncFunction[[], str], SyncFunction[[], str]]


def declare(cache: Cache, *, waits: bool) -> Declared:
    """The functions, for both processes; only a worker's builds wait."""

    @cache.cached
    async def awaited() -> str:
        if waits:
            say("building")
            return (await asyncio.to_thread(sys.stdin.readline)).strip()
        return "by a reader"

    @cache.cached
    def blocking() -> str:
        if waits:
            say("building")
            return sys.stdin.readline().strip()
        return "by a reader"

    return awaited, blocking


def say(word: str) -> None:
    """Tell the test."""
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()
