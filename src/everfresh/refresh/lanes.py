"""Lanes: one takes due entries of async functions in an event loop, the other those of sync functions in threads.

They are apart because a synchronous reader may block the event loop while it waits for an entry. Whoever has taken the
lease of a sync function's entry must then be able to build and commit it without that loop.

A lane that is stopped takes nothing more and finishes what it has begun. What it cannot finish in time it gives back,
so that another worker or reader begins it at once.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress

from everfresh.cache.drivers import AsyncDriver, BlockingDriver
from everfresh.cache.engine import Engine
from everfresh.cache.finishing import finished
from everfresh.cache.secrets import told_of
from everfresh.feed.bells import ringer
from everfresh.model.entry import Lease
from everfresh.model.errors import StoreClosed, StoreUnavailable
from everfresh.protocol.queueing import Due, TakeDue, TookDue
from everfresh.protocol.requests import GiveUp
from everfresh.refresh.taking import Bell, calls_of, more_of, pause_s, runs_of, steps_of, take_request, tell_dropped

# All that was due was taken, and what falls due rings: so the end of a build tells of little that is new. Those who
# wait for its value go first.
_LATER_S = 0.002


class AsyncLane:
    """Refreshes entries of async functions as tasks, at most `n_max` at once."""

    def __init__(self, engine: Engine, driver: AsyncDriver, n_max: int) -> None:
        self._engine = engine
        self._driver = driver
        self._n_max = n_max
        self._rung = asyncio.Event()
        self._is_over = False
        self.turned_at = time.monotonic()
        """When it last began a round, by the monotonic clock."""

    def stop(self) -> None:
        """Take nothing more; `run` ends with the builds under way. Cancelled, it gives them back."""
        self._is_over = True
        self._rung.set()

    async def run(self) -> None:
        """Take and refresh until stopped or cancelled, or until the cache is closed."""
        remove = self._engine.follower.add(Bell(self._engine, ringer(self._rung), is_async=True))
        try:
            async with asyncio.TaskGroup() as group:
                await self._take_until_over(group)
        except* StoreClosed:
            # The cache was closed before the worker's block ended; nothing is left to do.
            pass
        finally:
            remove()

    async def _take_until_over(self, group: asyncio.TaskGroup) -> None:
        building: set[asyncio.Task[None]] = set()

        loop = asyncio.get_running_loop()
        is_more = False

        def done(task: asyncio.Task[None]) -> None:
            building.discard(task)
            if is_more:
                self._rung.set()
            else:
                loop.call_later(_LATER_S, self._rung.set)

        while not self._is_over:
            self.turned_at = time.monotonic()
            # Cleared before the queue is read: what falls due afterwards rings again.
            self._rung.clear()
            request = take_request(self._engine, self._n_max - len(building), is_async=True)
            took = await self._take(request)
            runs = runs_of(self._engine, await self._with_more(request, took))
            n_begun = 0 if self._is_over else self._n_max - len(building)
            for run in runs[:n_begun]:
                task = group.create_task(self._refresh(run))
                building.add(task)
                task.add_done_callback(done)
            for run in runs[n_begun:]:
                await self._give_back(run)
            left_s = pause_s(request, took)
            is_more = request is None or not left_s
            with suppress(TimeoutError):
                async with asyncio.timeout(left_s):
                    await self._rung.wait()

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

    async def _with_more(self, request: TakeDue | None, took: TookDue | None) -> list[Due]:
        """What was taken, and more that can be built in the same runs."""
        if request is None or took is None:
            return []
        due = list(took.due)
        try:
            for more in more_of(self._engine, request, took):
                found = await self._take(more)
                due += found.due if found is not None else ()
        except BaseException:
            await self._give_back(due)
            raise
        return due

    async def _give_back(self, run: Sequence[Due]) -> None:
        for due in run:
            try:
                await finished(self._engine.store, GiveUp(due.lease))
            except StoreUnavailable as error:
                # The lease runs out, then.
                self._engine.board.tell("worker.failed", error=told_of(error))

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

    async def _refresh(self, run: Sequence[Due]) -> None:
        try:
            await self._build(run)
        except StoreClosed:
            raise
        except Exception as error:  # noqa: BLE001 - the lease runs out and the entry is taken again; others go on
            self._engine.board.tell("worker.failed", error=told_of(error))

    async def _build(self, run: Sequence[Due]) -> None:
        calls, leases, refusals = calls_of(self._engine, run)
        for refused in refusals:
            await self._engine.store.carry_out_async(refused)
        if calls:
            await self._driver.run(steps_of(self._engine, calls, leases))


class ThreadLane:
    """Refreshes entries of sync functions in threads, at most `n_max` at once; needs no event loop."""

    def __init__(self, engine: Engine, driver: BlockingDriver, n_max: int) -> None:
        self._engine = engine
        self._driver = driver
        self._n_max = n_max
        self._building: dict[int, list[Lease]] = {}
        self._lock = threading.Lock()
        self._rung = threading.Event()
        self._is_over = False
        self.turned_at = time.monotonic()
        """When it last began a round, by the monotonic clock."""
        self.ended: Future[None] = Future()
        """Done when nothing is taken any more; with the error, if one ended it."""
        self._taker = threading.Thread(target=self._take_to_the_end, name="everfresh-worker", daemon=True)

    def start(self) -> None:
        """Begin to take."""
        self._taker.start()

    def stop(self) -> None:
        """Take nothing more."""
        self._is_over = True
        self._rung.set()

    def join(self, grace_s: float) -> None:
        """Once it is stopped: wait for the builds under way, as threads cannot be cancelled.

        After `grace_s` seconds their leases are given back: others begin anew, and what is built here is not stored.
        """
        self._taker.join(min(grace_s, threading.TIMEOUT_MAX))
        if self._taker.is_alive():
            with self._lock:
                runs = list(self._building.values())
            for leases in runs:
                self._give_back(leases)
            self._taker.join()

    def _take_to_the_end(self) -> None:
        try:
            self._take_for_ever()
        except BaseException as error:
            self.ended.set_exception(error)
            raise
        self.ended.set_result(None)

    def _take_for_ever(self) -> None:
        remove = self._engine.follower.add(Bell(self._engine, self._rung.set, is_async=False))
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
        self.turned_at = time.monotonic()
        # Cleared before the queue is read: what falls due afterwards rings again.
        self._rung.clear()
        request = take_request(self._engine, self._n_max - len(self._building), is_async=False)
        took = self._take(request)
        runs = runs_of(self._engine, self._with_more(request, took))
        n_begun = 0 if self._is_over else self._n_max - len(self._building)
        for run in runs[:n_begun]:
            leases = [due.lease for due in run]
            with self._lock:
                self._building[leases[0].token] = leases
            pool.submit(self._refresh, run)
        for run in runs[n_begun:]:
            self._give_back([due.lease for due in run])
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

    def _with_more(self, request: TakeDue | None, took: TookDue | None) -> list[Due]:
        """What was taken, and more that can be built in the same runs."""
        if request is None or took is None:
            return []
        due = list(took.due)
        for more in more_of(self._engine, request, took):
            found = self._take(more)
            due += found.due if found is not None else ()
        return due

    def _refresh(self, run: Sequence[Due]) -> None:
        try:
            self._build(run)
        except StoreClosed:
            # The taker meets the same.
            return
        except Exception as error:  # noqa: BLE001 - the lease runs out and the entry is taken again; others go on
            self._engine.board.tell("worker.failed", error=told_of(error))
        finally:
            with self._lock:
                del self._building[run[0].lease.token]
            self._rung.set()

    def _build(self, run: Sequence[Due]) -> None:
        calls, leases, refusals = calls_of(self._engine, run)
        for refused in refusals:
            self._engine.store.carry_out(refused)
        if calls:
            self._driver.run(steps_of(self._engine, calls, leases))

    def _give_back(self, leases: Sequence[Lease]) -> None:
        for lease in leases:
            try:
                self._engine.store.carry_out(GiveUp(lease))
            except StoreClosed:
                # Nothing is left to give back.
                return
            except StoreUnavailable as error:
                self._engine.board.tell("worker.failed", error=told_of(error))
