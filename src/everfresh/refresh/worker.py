"""Worker: takes due entries from the queue in batches and refreshes them before anyone asks."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Generator
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import Context
from dataclasses import dataclass
from datetime import timedelta
from math import inf
from types import TracebackType
from typing import Self

from everfresh.cache.cache import Cache
from everfresh.cache.drivers import AsyncDriver, BlockingDriver
from everfresh.model.clock import seconds_of
from everfresh.model.options import whole_number
from everfresh.refresh.lanes import AsyncLane, ThreadLane


@dataclass(frozen=True, slots=True)
class _Lanes:
    """Both lanes, and the task of the one that has no threads."""

    tasks: AsyncLane
    running: asyncio.Task[None]
    threads: ThreadLane

    async def ended(self) -> None:
        """Wait until one of them has ended, and raise what ended it."""
        threads = asyncio.wrap_future(self.threads.ended)
        # Looked at in any case, so that asyncio does not miss somebody who does: the other may end first.
        threads.add_done_callback(lambda end: end.cancelled() or end.exception())
        done, _ = await asyncio.wait({self.running, threads}, return_when=asyncio.FIRST_COMPLETED)
        for end in done:
            if not end.cancelled():
                end.result()

    async def end(self, grace_s: float) -> None:
        """Stop both at once, and wait for them."""
        self.tasks.stop()
        self.threads.stop()
        joining = asyncio.create_task(asyncio.to_thread(self.threads.join, grace_s))
        try:
            await asyncio.wait([self.running], timeout=None if grace_s == inf else grace_s)
        finally:
            # Also when whoever ends the worker has no patience, and cancels this.
            self.running.cancel()
            await asyncio.gather(self.running, joining, return_exceptions=True)


class Worker:
    """Refreshes dirty entries of the cache's functions, at most `concurrency` async and as many sync ones at once.

    Async functions run in the event loop of the block, sync ones in threads. Use it as `async with Worker(cache):`, or
    as `with Worker(cache).in_thread():` in blocking code.

    At the end of the block nothing more is taken, and what is under way is finished. After `grace` what is left is
    given back, so that others begin it at once: async builds are cancelled; sync ones, which cannot be, are waited for,
    but what they make is not stored.

    Raises:
        InvalidOption: `concurrency` is below one, or `grace` is no duration.
    """

    def __init__(self, cache: Cache, *, concurrency: int = 8, grace: timedelta = timedelta(seconds=1)) -> None:
        self._n_max = whole_number(concurrency, option="concurrency", least=1)
        self._grace_s = seconds_of(grace, option="grace")
        self._background = cache.background
        self._engine = cache.engine
        self._lanes: _Lanes | None = None

    async def __aenter__(self) -> Self:
        revalidate = self._background.revalidate
        tasks = AsyncLane(self._engine, AsyncDriver(self._engine, revalidate, role="refresh"), self._n_max)
        threads = ThreadLane(self._engine, BlockingDriver(self._engine, revalidate, role="refresh"), self._n_max)
        self._engine.follower.poll()
        self._lanes = _Lanes(tasks, asyncio.create_task(tasks.run(), context=Context()), threads)
        threads.start()
        # From now on no reader sets off a refresh of its own beside the worker's.
        self._background.n_workers += 1
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._background.n_workers -= 1
        if self._lanes is not None:
            await self._lanes.end(self._grace_s)

    @property
    def quiet_s(self) -> float:
        """For how many seconds its loop, or the slower of both, has not gone round; a sound one turns every second.

        It takes longer only while the store does not answer, or while something else keeps the event loop.
        """
        if self._lanes is None:
            return 0.0
        return time.monotonic() - min(self._lanes.tasks.turned_at, self._lanes.threads.turned_at)

    async def supervise(self) -> None:
        """Within the block: wait until it takes nothing any more, and raise what ended it.

        That happens only when the cache is closed, or by an error that nobody expected; a store that does not answer
        for a while ends nothing.
        """
        if self._lanes is not None:
            await self._lanes.ended()

    @contextmanager
    def in_thread(self) -> Generator[None]:
        """Work in a thread with an event loop of its own while the block runs."""
        ready: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()

        async def main() -> None:
            stop = asyncio.Event()
            async with self:
                ready.set_result((asyncio.get_running_loop(), stop))
                await stop.wait()

        thread = threading.Thread(target=lambda: asyncio.run(main()), name="everfresh-worker-loop", daemon=True)
        thread.start()
        loop, stop = ready.result()
        try:
            yield
        finally:
            loop.call_soon_threadsafe(stop.set)
            thread.join()
