"""Announcing changes: the outbox is emptied into the webhook, in order, each row until it is taken."""

from __future__ import annotations

import asyncio
import random

import httpx2

from everfresh.demo.output import complain
from everfresh.demo.tracker.model import Announcement
from everfresh.demo.tracker.storage import Storage

FIRST_WAIT_S = 0.1
LONGEST_WAIT_S = 5.0
POST_TIMEOUT_S = 10.0
CLOUD_EVENT = {"content-type": "application/cloudevents+json"}


def wait_after(n_failures: int, *, rng: random.Random) -> float:
    """Seconds to wait after so many failures in a row: doubling, at most 5 s, anywhere in the upper half."""
    longest_s = min(FIRST_WAIT_S * 2 ** min(n_failures - 1, 10), LONGEST_WAIT_S)
    return rng.uniform(longest_s / 2, longest_s)


class Announcer:
    """Posts each change to the webhook, oldest first, until it is taken.

    A row leaves the outbox after the webhook answered 2xx, so a change is announced at least once; whoever takes it
    tells repeats by the event's id. Any other answer is a failure and the same row is tried again: nothing overtakes.
    """

    def __init__(self, storage: Storage, webhook: str, *, rng: random.Random) -> None:
        self._storage = storage
        self._webhook = webhook
        self._rng = rng
        self._written = asyncio.Event()

    def wake(self) -> None:
        """Say that something was written to the outbox."""
        self._written.set()

    async def run(self) -> None:
        """Empty the outbox, and go on doing so until cancelled."""
        async with httpx2.AsyncClient(timeout=POST_TIMEOUT_S, headers=CLOUD_EVENT) as client:
            while True:
                self._written.clear()  # before looking: what is written from here on wakes us again
                while (announcement := self._storage.first_in_outbox()) is not None:
                    await self._announce(client, announcement)
                    self._storage.forget(announcement)
                await self._written.wait()

    async def _announce(self, client: httpx2.AsyncClient, announcement: Announcement) -> None:
        n_failures = 0
        while (problem := await _problem_with(client, self._webhook, announcement)) is not None:
            n_failures += 1
            wait_s = wait_after(n_failures, rng=self._rng)
            complain(f"{announcement.type} not taken: {problem}; again in {wait_s:.1f} s", who="tracker")
            await asyncio.sleep(wait_s)


async def _problem_with(client: httpx2.AsyncClient, url: str, announcement: Announcement) -> str | None:
    try:
        answer = await client.post(url, content=announcement.body)
    except httpx2.TransportError as exc:
        return f"{type(exc).__name__} {exc}".strip()
    return None if answer.is_success else f"{answer.status_code} {answer.text[:200]}"
