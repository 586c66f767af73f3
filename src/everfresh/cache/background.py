"""Background: refreshes that a reader set off and does not wait for, when no worker runs in this process."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context

from everfresh.cache.drivers import AsyncDriver, BlockingDriver
from everfresh.cache.engine import BoundCall, Engine
from everfresh.model.entry import Key
from everfresh.model.errors import StoreClosed
from everfresh.protocol.reading import read, reason_of
from everfresh.protocol.requests import STRICT

_MAX_THREADS = 4


class Background:
    """At most one refresh of a key at a time; all of them end with the cache."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._running: set[Key] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._pool: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()
        self.n_workers = 0
        """How many workers take the queue's entries in this process."""

    def revalidate(self, call: BoundCall) -> None:
        """See to it that the entry is refreshed."""
        if self.n_workers:
            return
        with self._lock:
            if call.key in self._running:
                return
            self._running.add(call.key)
        loop = _running_loop() if call.spec.is_async else None
        if loop is None:
            self._threads().submit(self._refresh_in_thread, call)
            return
        task = loop.create_task(self._refresh(call), context=Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def aclose(self) -> None:
        """Cancel what runs in this event loop and wait for the rest."""
        loop = asyncio.get_running_loop()
        tasks = [task for task in self._tasks if task.get_loop() is loop]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.to_thread(self.close)

    def close(self) -> None:
        """Wait for what runs in threads; nothing new begins."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def _threads(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(_MAX_THREADS, thread_name_prefix="everfresh-refresh")
            return self._pool

    async def _refresh(self, call: BoundCall) -> None:
        try:
            await AsyncDriver(self._engine, self.revalidate).run(read(call, STRICT))
        except Exception as error:  # noqa: BLE001 - nobody waits for it; the store lists the entry as failing
            self._failed(call, error)
        finally:
            self._running.discard(call.key)

    def _refresh_in_thread(self, call: BoundCall) -> None:
        try:
            BlockingDriver(self._engine, self.revalidate).run(read(call, STRICT))
        except Exception as error:  # noqa: BLE001 - as above
            self._failed(call, error)
        finally:
            self._running.discard(call.key)

    def _failed(self, call: BoundCall, error: Exception) -> None:
        if not isinstance(error, StoreClosed):
            self._engine.board.tell("revalidate.failed", key=call.key, error=reason_of(error))


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
