"""Lanes: one takes due entries of async functions in an event loop, the other those of sync functions in threads.

They are apart because a synchronous reader may block the event loop while it waits for an entry. Whoever has taken the
lease of a sync function's entry must then be able to build and commit it without that loop.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from everfresh.cache.drivers import AsyncDriver, BlockingDriver, finished
from everfresh.cache.engine import Engine
from everfresh.cache.secrets import told_of
from everfresh.feed.bells import ringer
from everfresh.model.errors import ArgumentNotSupported, StoreClosed, UnknownFunction
from everfresh.protocol.queueing import Due, TakeDue, TookDue
from everfresh.protocol.reading import refresh
from everfresh.refresh.taking import Bell, pause_s, refusal, take_request, tell_dropped


class AsyncLane:
    """Refreshes entries of async functions as tasks, at most `n_max` at once."""

    def __init__(self, engine: Engine, driver: AsyncDriver, n_max: int) -> None:
        self._engine = engine
        self._driver = driver
        self._n_max = n_max

    async def run(self) -> None:
        """Take and refresh until cancelled, or until the cache is closed."""
        rung = asyncio.Event()
        remove = self._engine.follower.add(Bell(self._engine, ringer(rung)))
        try:
            async with asyncio.TaskGroup() as group:
                await self._take_for_ever(group, rung)
        except* StoreClosed:
            # The cache was closed before the worker's block ended; nothing is left to do.
            pass
        finally:
            remove()

    async def _take_for_ever(self, group: asyncio.TaskGroup, rung: asyncio.Event) -> None:
        building: set[asyncio.Task[None]] = set()

        def done(task: asyncio.Task[None]) -> None:
            building.discard(task)
            rung.set()

        while True:
            # Cleared before the queue is read: what falls due afterwards rings again.
            rung.clear()
            request = take_request(self._engine, self._n_max - len(building), is_async=True)
            took = await self._take(request)
            for due in took.due if took is not None else ():
                task = group.create_task(self._refresh(due))
                building.add(task)
                task.add_done_callback(done)
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s(request, took)):
                    await rung.wait()

    async def _take(self, request: TakeDue | None) -> TookDue | None:
        if request is None:
            return None
        try:
            await self._note_reads()
            took = await finished(self._engine.store, request)
        except StoreClosed:
            raise
        except Exception as error:  # noqa: BLE001 - a lane that ended would leave readers waiting for it
            self._engine.board.tell("worker.failed", error=told_of(error))
            return None
        tell_dropped(self._engine, took)
        return took

    async def _note_reads(self) -> None:
        """Tell the store who reads what, before it drops what nobody seems to read."""
        attention = self._engine.attention
        note = attention.due_note()
        if note is None:
            return
        try:
            await self._engine.store.carry_out_async(note)
        except BaseException:
            attention.give_back(note)
            raise

    async def _refresh(self, due: Due) -> None:
        try:
            await self._build(due)
        except StoreClosed:
            raise
        except Exception as error:  # noqa: BLE001 - the lease runs out and the entry is taken again; others go on
            self._engine.board.tell("worker.failed", error=told_of(error))

    async def _build(self, due: Due) -> None:
        try:
            call = self._engine.resolve(due.lease.key, due.recipe)
        except (UnknownFunction, ArgumentNotSupported) as error:
            await self._engine.store.carry_out_async(refusal(due, error))
        else:
            await self._driver.run(refresh(call, due.lease))


class ThreadLane:
    """Refreshes entries of sync functions in threads, at most `n_max` at once; needs no event loop."""

    def __init__(self, engine: Engine, driver: BlockingDriver, n_max: int) -> None:
        self._engine = engine
        self._driver = driver
        self._n_max = n_max
        self._n_building = 0
        self._lock = threading.Lock()
        self._rung = threading.Event()
        self._is_over = False
        self._taker = threading.Thread(target=self._take_for_ever, name="everfresh-worker", daemon=True)

    def start(self) -> None:
        """Begin to take."""
        self._taker.start()

    def stop(self) -> None:
        """Take nothing more, and wait for the builds under way, which cannot be cancelled."""
        self._is_over = True
        self._rung.set()
        self._taker.join()

    def _take_for_ever(self) -> None:
        remove = self._engine.follower.add(Bell(self._engine, self._rung.set))
        try:
            with ThreadPoolExecutor(self._n_max, thread_name_prefix="everfresh-build") as pool:
                while not self._is_over:
                    self._take_once(pool)
        except StoreClosed:
            # The cache was closed before the worker's block ended; nothing is left to do.
            return
        finally:
            remove()

    def _take_once(self, pool: ThreadPoolExecutor) -> None:
        # Cleared before the queue is read: what falls due afterwards rings again.
        self._rung.clear()
        request = take_request(self._engine, self._n_max - self._n_building, is_async=False)
        took = self._take(request)
        for due in took.due if took is not None else ():
            self._count(1)
            pool.submit(self._refresh, due)
        # `stop` may have rung before the bell was cleared.
        if not self._is_over:
            self._rung.wait(pause_s(request, took))

    def _take(self, request: TakeDue | None) -> TookDue | None:
        if request is None:
            return None
        try:
            # Before the store drops what nobody seems to read.
            self._engine.attention.flush_due()
            took = self._engine.store.carry_out(request)
        except StoreClosed:
            raise
        except Exception as error:  # noqa: BLE001 - as above
            self._engine.board.tell("worker.failed", error=told_of(error))
            return None
        tell_dropped(self._engine, took)
        return took

    def _refresh(self, due: Due) -> None:
        try:
            self._build(due)
        except StoreClosed:
            # The taker meets the same.
            return
        except Exception as error:  # noqa: BLE001 - the lease runs out and the entry is taken again; others go on
            self._engine.board.tell("worker.failed", error=told_of(error))
        finally:
            self._count(-1)
            self._rung.set()

    def _build(self, due: Due) -> None:
        try:
            call = self._engine.resolve(due.lease.key, due.recipe)
        except (UnknownFunction, ArgumentNotSupported) as error:
            self._engine.store.carry_out(refusal(due, error))
        else:
            self._driver.run(refresh(call, due.lease))

    def _count(self, change: int) -> None:
        with self._lock:
            self._n_building += change
