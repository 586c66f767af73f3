"""Joining: what comes while a step is under way is published together, in the next one.

A store is busy with one step at a time, and a step of many events costs little more than a step of one. Whoever comes
first publishes for all who wait; nobody waits for company.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from contextvars import Context
from dataclasses import dataclass
from typing import Protocol

from everfresh.model.errors import StoreError
from everfresh.model.event import Event
from everfresh.model.position import Position

# A step of more holds up others for longer than it saves.
_MAX_EVENTS = 1_000


class Publisher(Protocol):
    """What a source needs of a cache."""

    async def publish(self, *events: Event) -> Position:
        """Apply the events in one step."""
        ...


@dataclass(slots=True, eq=False)
class _Waiting:
    """The events of one who waits, and what became of them."""

    events: Sequence[Event]
    outcome: Position | Exception | None = None
    is_gone: bool = False


class Joining:
    """Publishes to a cache for many requests; each one's events are applied in one step."""

    def __init__(self, cache: Publisher) -> None:
        self._cache = cache
        self._waiting: deque[_Waiting] = deque()
        self._turn = asyncio.Lock()

    async def publish(self, events: Sequence[Event]) -> Position:
        """Apply the events; gives a position that covers them.

        Who is cancelled here may have published, and takes nobody with it. What the cache raises is raised again; an
        error of the store for all whose events were in the step.
        """
        mine = _Waiting(events)
        self._waiting.append(mine)
        try:
            async with self._turn:
                while mine.outcome is None:
                    await self._publish_waiting()
        except BaseException:
            mine.is_gone = True
            raise
        if isinstance(mine.outcome, Exception):
            raise mine.outcome
        return mine.outcome

    async def _publish_waiting(self) -> None:
        taken = self._take()
        try:
            outcome = await self._outcome(taken)
            if len(taken) > 1 and isinstance(outcome, Exception) and not isinstance(outcome, StoreError):
                # Something in it cannot be published; only whose it is should hear of it.
                for waiting in taken:
                    waiting.outcome = await self._outcome([waiting])
                return
        except BaseException:
            # Not known whether it was applied: the next of them does it once more, which does no harm.
            self._waiting.extendleft(waiting for waiting in reversed(taken) if waiting.outcome is None)
            raise
        for waiting in taken:
            waiting.outcome = outcome

    async def _outcome(self, taken: Sequence[_Waiting]) -> Position | Exception:
        # In no context: a transaction that is open around one request would hold back what others sent.
        publishing = asyncio.get_running_loop().create_task(self._publish(taken), context=Context())
        try:
            return await publishing
        except Exception as error:  # noqa: BLE001 - whose events they were raises it
            return error

    async def _publish(self, taken: Sequence[_Waiting]) -> Position:
        return await self._cache.publish(*(event for waiting in taken for event in waiting.events))

    def _take(self) -> list[_Waiting]:
        """Those that are first in line, with no more events together than a step should have."""
        taken: list[_Waiting] = []
        n_events = 0
        while self._waiting:
            n_events += len(self._waiting[0].events)
            if taken and n_events > _MAX_EVENTS:
                break
            waiting = self._waiting.popleft()
            if not waiting.is_gone:
                taken.append(waiting)
        return taken
