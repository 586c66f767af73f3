"""Following: the fan-out that the open streams of a process share. It begins with the first and ends with the last."""

from __future__ import annotations

import asyncio
import logging
from contextvars import Context
from dataclasses import dataclass

from everfresh.push.fanout import Fanout
from everfresh.push.owing import Followed
from everfresh.push.pulse import Pace, Pulse
from everfresh.push.showing import Showcase
from everfresh.push.tally import Tally

_log = logging.getLogger("everfresh.push")


@dataclass(slots=True, eq=False)
class Run:
    """One time of following: its fan-out, the pulse of its streams, and how many these are."""

    fanout: Fanout
    pulse: Pulse
    task: asyncio.Task[None]
    n_streams: int = 0


class Following:
    """Lends the one fan-out out, as long as anybody has it."""

    def __init__(self, cache: Followed, pace: Pace, tally: Tally) -> None:
        self._cache = cache
        self._pace = pace
        self._tally = tally
        self._run: Run | None = None
        self._beginning = asyncio.Lock()

    @property
    def showcase(self) -> Showcase | None:
        """What streams were shown last; None while there are none."""
        return None if self._run is None else self._run.fanout.showcase

    async def join(self) -> Run:
        """The fan-out, which follows the feed, until `leave` was called as often.

        Raises:
            StoreError: the store does not say its position.
        """
        async with self._beginning:
            run = self._run
            if run is None or run.fanout.is_over:
                fanout = Fanout(self._cache, await self._cache.position(), tally=self._tally)
                # In no context: what is done there is done for all, not for whoever came first.
                pulse = Pulse(self._pace, lambda: fanout.position)
                task = asyncio.create_task(self._follow(fanout, pulse), context=Context())
                run = self._run = Run(fanout, pulse, task)
            run.n_streams += 1
            return run

    async def leave(self, run: Run) -> None:
        """One stream less; the last one ends the following."""
        run.n_streams -= 1
        if run.n_streams:
            return
        if self._run is run:
            self._run = None
        run.task.cancel()
        await asyncio.wait([run.task])

    async def _follow(self, fanout: Fanout, pulse: Pulse) -> None:
        # The pulse beats on when the feed has ended: it cuts those who do not read the goodbye.
        async with asyncio.TaskGroup() as group:
            group.create_task(pulse.run())
            group.create_task(self._hand_out(fanout))

    async def _hand_out(self, fanout: Fanout) -> None:
        try:
            await fanout.run()
        except Exception:  # noqa: BLE001 - whatever it was, those who watch can only come back
            # The streams were told goodbye; the first client that comes back begins a new fan-out.
            self._tally.n_feed_failures += 1
            _log.exception("feed.failed")
