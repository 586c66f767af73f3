"""Lanes: one takes due entries of async functions in an event loop, the other those of sync functions in threads.

They are apart because a synchronous reader may block the event loop while it waits for an entry. Whoever has taken the
lease of a sync function's entry must then be able to build and commit it without that loop.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from everfresh.cache.drivers import AsyncDriver, BlockingDriver, finished
from everfresh.cache.engine import Engine
from everfresh.feed.bells import ringer
from everfresh.feed.follower import Listener
from everfresh.model.entry import FeedRecord, Kind
from everfresh.model.errors import ArgumentNotSupported, StoreClosed, UnknownFunction
from everfresh.model.marks import override
from everfresh.protocol.reading import attempt, reason_of
from everfresh.protocol.requests import Due, Fail, TakeDue, TookDue

# How often the queue is looked at when nothing rings: for leases of builders that died elsewhere.
LOOK_EVERY_S = 1.0


class AsyncLane:
    """Refreshes entries of async functions as tasks, at most `n_max` at once."""

    def __init__(self, engine: Engine, driver: AsyncDriver, n_max: int) -> None:
        self._engine = engine
        self._driver = driver
        self._n_max = n_max

    async def run(self) -> None:
        """Take and refresh until cancelled, or until the cache is closed."""
        rung = asyncio.Event()
        remove = self._engine.follower.add(_Bell(ringer(rung)))
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
            took = await self._take(self._n_max - len(building))
            for due in took.due if took is not None else ():
                task = group.create_task(self._refresh(due))
                building.add(task)
                task.add_done_callback(done)
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s(took)):
                    await rung.wait()

    async def _take(self, n_free: int) -> TookDue | None:
        request = take_request(self._engine, n_free, is_async=True)
        if request is None:
            return None
        try:
            return await finished(self._engine.store, request)
        except StoreClosed:
            raise
        except Exception as error:  # noqa: BLE001 - a lane that ended would leave readers waiting for it
            self._engine.board.tell("worker.failed", error=reason_of(error))
            return None

    async def _refresh(self, due: Due) -> None:
        try:
            call = self._engine.resolve(due.lease.key, due.recipe)
            await self._driver.run(attempt(call, due.lease))
        except (UnknownFunction, ArgumentNotSupported) as error:
            await self._engine.store.carry_out_async(refusal(due, error))
        except StoreClosed:
            raise
        except Exception as error:  # noqa: BLE001 - the lease runs out and the entry is taken again; others go on
            self._engine.board.tell("worker.failed", error=reason_of(error))


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
        remove = self._engine.follower.add(_Bell(self._rung.set))
        try:
            with ThreadPoolExecutor(self._n_max, thread_name_prefix="everfresh-build") as pool:
                while not self._is_over:
                    # Cleared before the queue is read: what falls due afterwards rings again.
                    self._rung.clear()
                    took = self._take()
                    for due in took.due if took is not None else ():
                        self._count(1)
                        pool.submit(self._refresh, due)
                    # `stop` may have rung before the bell was cleared.
                    if not self._is_over:
                        self._rung.wait(pause_s(took))
        except StoreClosed:
            # The cache was closed before the worker's block ended; nothing is left to do.
            return
        finally:
            remove()

    def _take(self) -> TookDue | None:
        request = take_request(self._engine, self._n_max - self._n_building, is_async=False)
        if request is None:
            return None
        try:
            return self._engine.store.carry_out(request)
        except StoreClosed:
            raise
        except Exception as error:  # noqa: BLE001 - as above
            self._engine.board.tell("worker.failed", error=reason_of(error))
            return None

    def _refresh(self, due: Due) -> None:
        try:
            call = self._engine.resolve(due.lease.key, due.recipe)
            self._driver.run(attempt(call, due.lease))
        except (UnknownFunction, ArgumentNotSupported) as error:
            self._engine.store.carry_out(refusal(due, error))
        except Exception as error:  # noqa: BLE001 - the lease runs out and the entry is taken again; others go on
            self._engine.board.tell("worker.failed", error=reason_of(error))
        finally:
            self._count(-1)
            self._rung.set()

    def _count(self, change: int) -> None:
        with self._lock:
            self._n_building += change


class _Bell(Listener):
    """Rings when something may have fallen due; from any thread."""

    def __init__(self, ring: Callable[[], object]) -> None:
        self._ring = ring

    @override
    def on_records(self, records: Sequence[FeedRecord]) -> None:
        if any(record.kind in (Kind.STALE, Kind.FAILED) for record in records):
            self._ring()

    @override
    def on_reset(self) -> None:
        self._ring()


def take_request(engine: Engine, n_free: int, *, is_async: bool) -> TakeDue | None:
    """What to ask the queue for; None when there is no room or no function of this colour."""
    specs = [spec for spec in engine.functions.values() if spec.is_async == is_async]
    if not n_free or not specs:
        return None
    # A build renews the lease by its own function's length.
    lease_s = min(spec.policy.lease_s for spec in specs)
    return TakeDue(frozenset(spec.name for spec in specs), n_free, lease_s)


def refusal(due: Due, error: Exception) -> Fail:
    """End the lease of an entry that this process cannot build, for good."""
    return Fail(lease=due.lease, fingerprint=None, reason=reason_of(error), retry_in_s=None)


def pause_s(took: TookDue | None) -> float:
    """How long the queue can be left alone when nothing rings."""
    if took is None or took.next_due is None:
        return LOOK_EVERY_S
    return min(max(took.next_due - took.now, 0.0), LOOK_EVERY_S)
