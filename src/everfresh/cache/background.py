"""Background: refreshes that a reader set off and does not wait for, when no worker runs in this process.

Rules
- At most one refresh of a key at a time; all of them end with the cache.
- That of an async function runs in the event loop of the reader, so that it may use what belongs to the loop. When the
  loop ends first, as with `asyncio.run` for each call, the refresh is given back and begins anew in a thread.
- A loop that stands still holds no refresh up: the next reader sets off another.
- It is nobody's: arguments that are ignored are what their defaults say, as in a worker.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import Context
from dataclasses import replace

from everfresh.cache.drivers import AsyncDriver, BlockingDriver
from everfresh.cache.engine import BoundCall, Engine
from everfresh.cache.keeper import running_loop
from everfresh.cache.secrets import told_of
from everfresh.model.entry import Key
from everfresh.model.errors import StoreClosed
from everfresh.protocol.reading import read
from everfresh.protocol.requests import NOTHING_OLD

_MAX_THREADS = 4


class _Run:
    """One refresh under way, in an event loop or in a thread."""

    __slots__ = ("call", "loop")

    def __init__(self, call: BoundCall, loop: asyncio.AbstractEventLoop | None) -> None:
        self.call = call
        self.loop = loop

    def is_alive(self) -> bool:
        """Whether it goes on by itself."""
        return self.loop is None or self.loop.is_running()


class Background:
    """At most one refresh of a key at a time; all of them end with the cache."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._runs: dict[Key, _Run] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._pool: ThreadPoolExecutor | None = None
        self._is_closed = False
        self._lock = threading.Lock()
        self.n_workers = 0
        """How many workers take the queue's entries in this process."""

    def revalidate(self, call: BoundCall) -> None:
        """See to it that the entry is refreshed."""
        if self.n_workers:
            return
        run = _Run(call, running_loop() if call.spec.is_async else None)
        with self._lock:
            before = self._runs.get(call.key)
            if before is not None and before.is_alive():
                return
            self._runs[call.key] = run
        if run.loop is None:
            self._go_on_in_thread(run)
        else:
            self._go_on_in_loop(run, run.loop)

    async def aclose(self) -> None:
        """Cancel what runs in this event loop and wait for the rest."""
        self._is_closed = True
        loop = asyncio.get_running_loop()
        tasks = [task for task in self._tasks if task.get_loop() is loop]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.to_thread(self.close)

    def close(self) -> None:
        """Wait for what runs in threads; nothing new begins."""
        with self._lock:
            self._is_closed = True
            pool = self._pool
        if pool is not None:
            pool.shutdown(wait=True, cancel_futures=True)

    def _go_on_in_loop(self, run: _Run, loop: asyncio.AbstractEventLoop) -> None:
        def ended(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            if task.cancelled() and self._runs.get(run.call.key) is run:
                # Its loop ends. The lease is given back by now, if it came to one.
                run.loop = None
                self._go_on_in_thread(run)
            else:
                self._end(run)

        task = loop.create_task(self._refresh(run.call), context=Context())
        self._tasks.add(task)
        task.add_done_callback(ended)

    def _go_on_in_thread(self, run: _Run) -> None:
        with self._lock:
            if self._pool is None and not self._is_closed:
                self._pool = ThreadPoolExecutor(_MAX_THREADS, thread_name_prefix="everfresh-refresh")
            pool = None if self._is_closed else self._pool
        # When the cache is closed, or the program is about to end, the entry stays in the queue.
        with suppress(RuntimeError):
            if pool is not None:
                pool.submit(self._refresh_in_thread, run)
                return
        self._end(run)

    def _end(self, run: _Run) -> None:
        with self._lock:
            if self._runs.get(run.call.key) is run:
                del self._runs[run.call.key]

    async def _refresh(self, call: BoundCall) -> None:
        try:
            await AsyncDriver(self._engine, self.revalidate).run(read(_as_of_nobody(call), NOTHING_OLD))
        except Exception as error:  # noqa: BLE001 - nobody waits for it; the store lists the entry as failing
            self._failed(call, error)

    def _refresh_in_thread(self, run: _Run) -> None:
        try:
            BlockingDriver(self._engine, self.revalidate).run(read(_as_of_nobody(run.call), NOTHING_OLD))
        except Exception as error:  # noqa: BLE001 - as above
            self._failed(run.call, error)
        finally:
            self._end(run)

    def _failed(self, call: BoundCall, error: Exception) -> None:
        if not isinstance(error, StoreClosed):
            self._engine.board.tell("revalidate.failed", key=call.key, error=told_of(error))


def _as_of_nobody(call: BoundCall) -> BoundCall:
    """The call as a worker would make it: what the reader gave beside the key, a session say, ends with the reader.

    Raises:
        ArgumentNotSupported: an argument cannot be made again.
    """
    return replace(call, arguments=call.spec.signature.decode(call.recipe.arguments))
