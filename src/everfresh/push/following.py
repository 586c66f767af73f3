"""Following: the fan-out that the open streams of a process share. It begins with the first and ends with the last."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from everfresh.push.fanout import Fanout, Followed

_log = logging.getLogger("everfresh.push")


@dataclass(slots=True)
class _Run:
    fanout: Fanout
    task: asyncio.Task[None]
    n_streams: int = 0


class Following:
    """Lends the one fan-out out, as long as anybody has it."""

    def __init__(self, cache: Followed) -> None:
        self._cache = cache
        self._run: _Run | None = None
        self._beginning = asyncio.Lock()

    @asynccontextmanager
    async def shared(self) -> AsyncGenerator[Fanout]:
        """The fan-out, which follows the feed.

        Raises:
            StoreError: the store does not say its position.
        """
        run = await self._joined()
        try:
            yield run.fanout
        finally:
            run.n_streams -= 1
            if run.n_streams == 0:
                await self._end(run)

    async def _joined(self) -> _Run:
        async with self._beginning:
            run = self._run
            if run is None or run.task.done():
                fanout = Fanout(self._cache, await self._cache.position())
                run = self._run = _Run(fanout, asyncio.create_task(_follow(fanout)))
            run.n_streams += 1
            return run

    async def _end(self, run: _Run) -> None:
        if self._run is run:
            self._run = None
        run.task.cancel()
        await asyncio.wait([run.task])


async def _follow(fanout: Fanout) -> None:
    try:
        await fanout.run()
    except Exception:  # noqa: BLE001 - whatever it was, those who watch can only come back
        # The streams were told goodbye; the first client that comes back begins a new fan-out.
        _log.exception("feed.failed")
