"""Worker: takes due entries from the queue in batches and refreshes them, as an asyncio task or in a thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Generator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from contextvars import Context
from types import TracebackType
from typing import Any, Self

from everfresh.cache.cache import Cache
from everfresh.cache.drivers import AsyncDriver, BlockingDriver
from everfresh.feed.follower import Listener
from everfresh.model.entry import FeedRecord, Kind
from everfresh.model.errors import ArgumentNotSupported, StoreClosed, StoreUnavailable, UnknownFunction
from everfresh.model.marks import override
from everfresh.model.options import whole_number
from everfresh.protocol.reading import attempt, reason_of
from everfresh.protocol.requests import Due, Fail, TakeDue, TookDue, ask

# How often the queue is looked at when nothing wakes the worker: for leases of builders that died elsewhere.
_LOOK_EVERY_S = 1.0


class Worker:
    """Refreshes dirty entries of the cache's functions in this process, at most `concurrency` at once.

    Use it as `async with Worker(cache):` in an event loop, or `with Worker(cache).in_thread():` in blocking code.
    At the end of the block async builds are cancelled and given back; sync ones, which cannot be, are waited for.

    Raises:
        InvalidOption: `concurrency` is below one.
    """

    def __init__(self, cache: Cache, *, concurrency: int = 8) -> None:
        whole_number(concurrency, option="concurrency", least=1)
        self._background = cache.background
        self._engine = cache.engine
        self._n_max = concurrency
        self._running: asyncio.Task[None] | None = None
        self._async = AsyncDriver(self._engine, self._background.revalidate, role="refresh")
        self._blocking = BlockingDriver(self._engine, self._background.revalidate, role="refresh")

    async def __aenter__(self) -> Self:
        self._running = asyncio.create_task(self._work(), context=Context())
        # Counted at once, so that no reader sets off a refresh of its own beside the worker's.
        self._background.n_workers += 1
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._background.n_workers -= 1
        running, self._running = self._running, None
        if running is not None:
            running.cancel()
            await asyncio.wait([running])
            if not running.cancelled() and (failure := running.exception()) is not None:
                raise failure

    @contextmanager
    def in_thread(self) -> Generator[None]:
        """Work in a thread with an event loop of its own while the block runs."""
        ready: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()

        async def main() -> None:
            stop = asyncio.Event()
            async with self:
                ready.set_result((asyncio.get_running_loop(), stop))
                await stop.wait()

        thread = threading.Thread(target=lambda: asyncio.run(main()), name="everfresh-worker", daemon=True)
        thread.start()
        loop, stop = ready.result()
        try:
            yield
        finally:
            loop.call_soon_threadsafe(stop.set)
            thread.join()

    async def _work(self) -> None:
        bell = _Bell()
        remove = self._engine.follower.add(bell)
        self._engine.follower.poll()
        try:
            async with asyncio.TaskGroup() as group:
                await self._take_for_ever(group, bell)
        except* StoreClosed:
            # The cache was closed before the worker's block ended; nothing is left to do.
            pass
        finally:
            remove()

    async def _take_for_ever(self, group: asyncio.TaskGroup, bell: _Bell) -> None:
        building: set[asyncio.Task[None]] = set()

        def done(task: asyncio.Task[None]) -> None:
            building.discard(task)
            bell.ring()

        while True:
            # Cleared before the queue is read: what falls due afterwards rings again.
            bell.clear()
            n_free = self._n_max - len(building)
            took = await self._take(n_free) if n_free else None
            for due in took.due if took is not None else ():
                task = group.create_task(self._refresh(due))
                building.add(task)
                task.add_done_callback(done)
            await bell.wait(_pause_s(took))

    async def _take(self, n_max: int) -> TookDue | None:
        request = TakeDue(frozenset(self._engine.functions), n_max, self._lease_s())
        try:
            return await self._engine.store.carry_out_async(request)
        except StoreUnavailable as error:
            self._engine.board.tell("worker.failed", error=str(error))
            return None

    def _lease_s(self) -> float:
        """The lease with which entries are taken; a build renews it by its own function's."""
        return min((spec.policy.lease_s for spec in self._engine.functions.values()), default=_LOOK_EVERY_S)

    async def _refresh(self, due: Due) -> None:
        try:
            call = self._engine.resolve(due.lease.key, due.recipe)
            if call.spec.is_async:
                await self._async.run(attempt(call, due.lease))
            else:
                # The commit too: a synchronous reader in this event loop may be waiting for it.
                await _to_the_end(asyncio.to_thread(self._blocking.run, attempt(call, due.lease)))
        except (UnknownFunction, ArgumentNotSupported) as error:
            await self._async.run(
                ask(Fail(lease=due.lease, fingerprint=None, reason=reason_of(error), retry_in_s=None))
            )
        except StoreClosed:
            raise
        except Exception as error:  # noqa: BLE001 - the lease runs out and the entry is taken again; others go on
            self._engine.board.tell("worker.failed", error=reason_of(error))


async def _to_the_end(thread: Coroutine[Any, Any, object]) -> None:
    """Wait for a thread, which cannot be cancelled; a cancellation waits with us."""
    running = asyncio.ensure_future(thread)
    try:
        await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        raise


class _Bell(Listener):
    """Rings when something may have fallen due; from any thread."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._rung = asyncio.Event()

    def clear(self) -> None:
        self._rung.clear()

    def ring(self) -> None:
        self._rung.set()

    async def wait(self, pause_s: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await self._rung.wait()

    @override
    def on_records(self, records: Sequence[FeedRecord]) -> None:
        if any(record.kind in (Kind.STALE, Kind.FAILED) for record in records):
            self.on_reset()

    @override
    def on_reset(self) -> None:
        # The loop may have ended while another thread still publishes.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._rung.set)


def _pause_s(took: TookDue | None) -> float:
    """How long the queue can be left alone when nothing rings."""
    if took is None or took.next_due is None:
        return _LOOK_EVERY_S
    return min(max(took.next_due - took.now, 0.0), _LOOK_EVERY_S)
