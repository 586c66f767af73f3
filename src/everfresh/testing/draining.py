"""Drain: all refreshes that are due, done within a test, one after the other, in the order of the queue."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Self

from everfresh.cache.cache import Cache
from everfresh.cache.drivers import AsyncDriver, BlockingDriver
from everfresh.cache.engine import BoundCall
from everfresh.cache.keeper import running_loop
from everfresh.model.entry import Key
from everfresh.model.errors import ArgumentNotSupported, UnknownFunction
from everfresh.protocol.queueing import Due, TakeDue, TookDue
from everfresh.protocol.reading import Failure, refresh
from everfresh.protocol.requests import Committed
from everfresh.refresh.taking import refusal, take_request, tell_dropped

# Far above what one test refreshes on purpose; functions that set each other off for ever have to be noticed.
_MAX_BUILDS = 10_000
_N_SHOWN = 5


@dataclass(slots=True)
class Drained:
    """What was done: the entries that were refreshed, in order, those whose build raised, and those that were dropped.

    Dropped are those that nobody read for their `keep_warm`, or began to refresh within their `job_expires`. `next_s`
    is how many seconds later the next refresh falls due, by the clock of the cache; None when nothing waits.
    """

    refreshed: list[Key] = field(default_factory=list[Key])
    failed: dict[Key, Exception] = field(default_factory=dict[Key, Exception])
    dropped: list[Key] = field(default_factory=list[Key])
    next_s: float | None = None


class Drain:
    """Does the work of a worker until nothing is due: `await drain()`, or `drain.blocking()` in blocking code.

    After more than `max_builds` in one call it gives up: refreshes lead to refreshes.
    """

    def __init__(self, cache: Cache, *, max_builds: int = _MAX_BUILDS) -> None:
        self._max_builds = max_builds
        self._engine = cache.engine
        self._background = cache.background
        revalidate = cache.background.revalidate
        self._blocking = BlockingDriver(cache.engine, revalidate, role="refresh")
        self._driver = AsyncDriver(cache.engine, revalidate, role="refresh")

    @classmethod
    @contextmanager
    def of(cls, cache: Cache) -> Generator[Self]:
        """The drain of a cache. While the block runs, nothing but it refreshes in the background of this process."""
        cache.background.n_workers += 1
        try:
            yield cls(cache)
        finally:
            cache.background.n_workers -= 1

    async def __call__(self) -> Drained:
        """Refresh until nothing is due; async functions in this event loop, sync ones in a thread, as a worker does.

        A build that raises is no error here: it is kept with the entry, and told in `failed`.

        Raises:
            AssertionError: refreshes lead to refreshes without an end.
        """
        drained = Drained()
        while (work := self._take(drained)) is not None:
            due, call = work
            if call.spec.is_async:
                outcome = await self._driver.run(refresh(call, due.lease))
            else:
                outcome = await asyncio.to_thread(self._blocking.run, refresh(call, due.lease))
            _note(drained, due, outcome)
        return drained

    def blocking(self) -> Drained:
        """The same in blocking code: sync functions run in the calling thread, async ones in an event loop of theirs.

        Raises:
            AssertionError: as above.
            RuntimeError: an event loop runs here.
        """
        if running_loop() is not None:
            raise RuntimeError("drain.blocking: an event loop runs here. Write: await drain()")
        drained = Drained()
        while (work := self._take(drained)) is not None:
            due, call = work
            if call.spec.is_async:
                outcome = asyncio.run(self._driver.run(refresh(call, due.lease)))
            else:
                outcome = self._blocking.run(refresh(call, due.lease))
            _note(drained, due, outcome)
        return drained

    def _take(self, drained: Drained) -> tuple[Due, BoundCall] | None:
        """The most urgent entry that is due, of either colour; one at a time, as a build may need the next one."""
        self._engine.attention.flush_due()
        waits: list[float] = []
        for is_async in (True, False):
            # A function may be declared, or an entry fall due, by what was built just now.
            while (took := self._ask(drained, is_async=is_async)) is not None and _is_more(took):
                for due in took.due:
                    call = self._resolved(drained, due)
                    if call is not None:
                        return due, call
            if took is not None and took.next_due is not None:
                waits.append(max(took.next_due - took.now, 0.0))
        drained.next_s = min(waits, default=None)
        return None

    def _ask(self, drained: Drained, *, is_async: bool) -> TookDue | None:
        request: TakeDue | None = take_request(self._engine, 1, is_async=is_async)
        if request is None:
            return None
        n_builds = len(drained.refreshed) + len(drained.failed)
        if n_builds > self._max_builds:
            last = ", ".join(dict.fromkeys(drained.refreshed[-_N_SHOWN:]))
            raise AssertionError(f"drain: {n_builds} refreshes, and there is no end; the last: {last}.")
        took = self._engine.store.carry_out(request)
        tell_dropped(self._engine, took)
        drained.dropped += [*took.expired, *took.cold]
        return took

    def _resolved(self, drained: Drained, due: Due) -> BoundCall | None:
        try:
            return self._engine.resolve(due.lease.key, due.recipe)
        except (UnknownFunction, ArgumentNotSupported) as error:
            self._engine.store.carry_out(refusal(due, error))
            drained.failed[due.lease.key] = error
            return None


def _is_more(took: TookDue) -> bool:
    """Whether to ask again at once. What was dropped by time is in no list, and others may be due behind it."""
    is_due = took.next_due is not None and took.next_due <= took.now
    return is_due or bool(took.due or took.expired or took.cold)


def _note(drained: Drained, due: Due, outcome: Committed | Failure) -> None:
    if isinstance(outcome, Failure):
        drained.failed[due.lease.key] = outcome.error
    else:
        drained.refreshed.append(due.lease.key)
        drained.failed.pop(due.lease.key, None)
