"""Cached functions: what `@cache.cached` puts in the place of a function.

The first lines of `__call__` are the hot path: arguments of plain types lead straight to a slot of the near cache. All
else goes the long way: bind, key, near cache by key, the rules.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterable
from functools import update_wrapper
from typing import Any, Generic, ParamSpec, TypeVar, cast

from everfresh.cache.background import Background
from everfresh.cache.drivers import AsyncDriver, BlockingDriver
from everfresh.cache.explaining import Explanation, explain
from everfresh.cache.gathering import read_each
from everfresh.cache.reads import Reads, checked_position, look
from everfresh.cache.tracking import current_frame, open_frame
from everfresh.cache.watching import blocking_changes, changes
from everfresh.feed.bells import ringer
from everfresh.feed.wakers import Waiter
from everfresh.model.entry import Entry, Key
from everfresh.model.errors import StoreClosed
from everfresh.model.position import Position
from everfresh.protocol.reading import read, rebuild
from everfresh.protocol.requests import STRICT, Bounds, Load

P = ParamSpec("P")
R = TypeVar("R")

_frame = current_frame.get


class _Miss:
    """No slot for these arguments; None would be a value."""


_MISS = _Miss()


class CachedFunction(Generic[P, R]):
    """What both colours share."""

    def __init__(self, reads: Reads[R]) -> None:
        self._reads = reads
        self._engine = reads.engine
        self._spec = reads.spec
        self._slots = reads.slots
        self._confirm = reads.confirm
        # Typed for functions; any object that is called will do.
        update_wrapper(cast("Any", self), self._spec.function)

    @property
    def name(self) -> str:
        """The function's name in keys, recipes and notices: `module.qualname@version`."""
        return self._spec.name

    def key(self, *args: P.args, **kwargs: P.kwargs) -> Key:
        """The key of a call, whether stored or not.

        Raises:
            ArgumentNotSupported: an argument has no canonical form.
        """
        signature = self._spec.signature
        return signature.key(signature.bind(args, kwargs))

    def load(self, entry: Entry) -> R:
        """The value of one of this function's entries, as a new object; an error that was cached is raised."""
        return self._reads.load(entry)

    def _hit(self, args: tuple[Any, ...]) -> R | _Miss:
        """The near cache's value for plain positional arguments; a build's calls go the long way, to be seen."""
        try:
            slot = self._slots.get(args)
        except TypeError:
            # An argument that cannot be hashed never led to a slot.
            return _MISS
        # Outside builds, where most hits are, the variable alone says so; to ask `open_frame` would cost a fifth.
        if slot is None or (_frame() is not None and open_frame() is not None):
            return _MISS
        if slot.only is not None:
            # One argument, as mostly: a loop would cost a third of the hit.
            if type(args[0]) is not slot.only:
                return _MISS
        else:
            # Their number is the same, as the arguments are equal; checking it would cost more than the look-up.
            for value, kind in zip(args, slot.types):  # noqa: B905
                if type(value) is not kind:
                    return _MISS
        if self._confirm is not None:
            self._confirm()
        if not slot.is_live:
            return _MISS
        slot.is_used = True
        if slot.is_immutable:
            return cast("R", slot.value)
        return self._reads.load(slot.entry)


class SyncFunction(CachedFunction[P, R]):
    """A cached function for blocking code; safe from every thread."""

    def __init__(self, reads: Reads[R], background: Background) -> None:
        super().__init__(reads)
        self._background = background
        self._driver = BlockingDriver(reads.engine, background.revalidate)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """The value, never known to be out of date beyond the bounds that the function declares."""
        if not kwargs:
            value = self._hit(args)
            if value is not _MISS:
                return cast("R", value)
        return self._read(args, kwargs, self._spec.policy.bounds)

    def fresh(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """The value with both bounds at zero: nothing that is known to be out of date, nor built from such."""
        return self._read(args, kwargs, STRICT)

    def read(self, *, after: Position) -> Callable[P, R]:
        """The function as it is read by whoever published at `after`: `f.read(after=position)(...)`.

        Neither the value nor what it was built from misses anything up to that position.

        Raises:
            InvalidPosition: `after` is no position.
        """
        position = checked_position(after)

        def reading(*args: P.args, **kwargs: P.kwargs) -> R:
            return self._read(args, kwargs, STRICT, position)

        return reading

    def many(self, calls: Iterable[Any]) -> list[R]:
        """The values of many calls, in order: one look into the store for all that is not held near.

        An element is the argument itself for a function of one parameter, else a tuple of positional arguments. What is
        not there is built one after the other; what one build raises is raised after the others.
        """
        reads, bounds = self._reads, self._reads.bounds(self._spec.policy.bounds)
        wanted = reads.want(reads.args_of(calls))
        try:
            if wanted.calls:
                found = self._driver.run(look(list(wanted.calls.values()), bounds))
                wanted.entries.update(found.entries)
                for call in found.left:
                    steps = read(call, bounds, good_from=found.good_from.get(call.key))
                    try:
                        wanted.entries[call.key] = self._driver.run(steps)
                    except StoreClosed:
                        raise
                    except Exception as error:  # noqa: BLE001 - raised once the others are done
                        wanted.errors[call.key] = error
        finally:
            reads.settle(wanted)
        return [reads.value_in(wanted, key) for key in wanted.keys]

    def warm(self, calls: Iterable[Any]) -> int:
        """Queue the first builds of calls, given as in `many`, for workers; how many were not known. Nobody waits."""
        return self._engine.store.carry_out(self._reads.first_builds(self._reads.args_of(calls), {}))

    def peek(self, *args: P.args, **kwargs: P.kwargs) -> R | None:
        """The stored value whatever its state, or None; never builds."""
        key = self.key(*args, **kwargs)
        return self._reads.peeked(key, self._engine.store.carry_out(Load(key, self._spec.fingerprint())).entry)

    def entry(self, *args: P.args, **kwargs: P.kwargs) -> Entry | None:
        """The stored entry with its state, version and age, or None; never builds."""
        key = self.key(*args, **kwargs)
        return self._reads.looked_at(key, self._engine.store.carry_out(Load(key, self._spec.fingerprint())).entry)

    def explain(self, *args: P.args, **kwargs: P.kwargs) -> Explanation:
        """What is known of the entry, for people; see `Cache.explain`.

        Raises:
            NotInCache: nothing is known of it.
        """
        return self._driver.run(explain(self.key(*args, **kwargs)))

    def refresh(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """The value of a build that begins now, or is begun by another after now."""
        call = self._reads.bind(args, kwargs)
        self._reads.enter(call.key)
        try:
            entry = self._driver.run(rebuild(call))
        except BaseException as error:
            self._reads.stumble(call.key, error)
            raise
        return self._reads.taken(entry)

    def watch(self, *args: P.args, **kwargs: P.kwargs) -> Generator[R, None, None]:
        """The value now, then every changed value, for ever.

        A failing build raises only for the first value; later the last value stands until there is another. Where no
        worker runs, a value that is over by time is built again here, and one whose build failed when that is due.
        """
        call = self._reads.bind(args, kwargs)
        woken = threading.Event()
        # A failure is no news, and reading again at once would build again at once.
        waiter = Waiter(woken.set, ignores_failures=True)
        self._engine.wakers.add(call.key, waiter)
        self._engine.follower.poll()
        try:
            with self._engine.attention.watching(call.key):
                for entry in blocking_changes(self._engine, self._driver, self._background, call, woken):
                    yield self.load(entry)
        finally:
            self._engine.wakers.remove(call.key, waiter)

    def _read(
        self,
        args: Any,  # noqa: ANN401 - checked by the public signature
        kwargs: Any,  # noqa: ANN401 - as above
        bounds: Bounds,
        after: Position | None = None,
    ) -> R:
        reads = self._reads
        signature = self._spec.signature
        arguments = signature.bind(args, kwargs)
        key = signature.key(arguments)
        slot = reads.slot(key, after)
        if slot is not None:
            return reads.value_of(slot)
        ticket = self._engine.near.open(key)
        try:
            call = self._engine.bind(self._spec, arguments, key)
            entry = self._driver.run(reads.steps(call, bounds, after))
        except BaseException as error:
            reads.missed(ticket, error)
            raise
        return reads.received(entry, ticket, args, kwargs)


class AsyncFunction(CachedFunction[P, R]):
    """A cached function for asyncio; for each event loop of the process."""

    def __init__(self, reads: Reads[R], background: Background) -> None:
        super().__init__(reads)
        self._background = background
        self._driver = AsyncDriver(reads.engine, background.revalidate)

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """The value, never known to be out of date beyond the bounds that the function declares."""
        if not kwargs:
            value = self._hit(args)
            if value is not _MISS:
                return cast("R", value)
        return await self._read(args, kwargs, self._spec.policy.bounds)

    async def fresh(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """The value with both bounds at zero: nothing that is known to be out of date, nor built from such."""
        return await self._read(args, kwargs, STRICT)

    def read(self, *, after: Position) -> Callable[P, Coroutine[Any, Any, R]]:
        """The function as it is read by whoever published at `after`: `await f.read(after=position)(...)`.

        Neither the value nor what it was built from misses anything up to that position.

        Raises:
            InvalidPosition: `after` is no position.
        """
        position = checked_position(after)

        async def reading(*args: P.args, **kwargs: P.kwargs) -> R:
            return await self._read(args, kwargs, STRICT, position)

        return reading

    async def many(self, calls: Iterable[Any]) -> list[R]:
        """The values of many calls, in order: one look into the store for all that is not held near.

        An element is the argument itself for a function of one parameter, else a tuple of positional arguments. What is
        not there is built side by side, a few at a time; what one build raises is raised after the others.
        """
        reads, bounds = self._reads, self._reads.bounds(self._spec.policy.bounds)
        wanted = reads.want(reads.args_of(calls))
        try:
            if wanted.calls:
                found = await self._driver.run(look(list(wanted.calls.values()), bounds))
                wanted.entries.update(found.entries)
                await read_each(self._driver, found, bounds, wanted)
        finally:
            reads.settle(wanted)
        return [reads.value_in(wanted, key) for key in wanted.keys]

    async def warm(self, calls: Iterable[Any]) -> int:
        """Queue the first builds of calls, given as in `many`, for workers; how many were not known. Nobody waits."""
        return await self._engine.store.carry_out_async(self._reads.first_builds(self._reads.args_of(calls), {}))

    async def peek(self, *args: P.args, **kwargs: P.kwargs) -> R | None:
        """The stored value whatever its state, or None; never builds."""
        key = self.key(*args, **kwargs)
        loaded = await self._engine.store.carry_out_async(Load(key, self._spec.fingerprint()))
        return self._reads.peeked(key, loaded.entry)

    async def entry(self, *args: P.args, **kwargs: P.kwargs) -> Entry | None:
        """The stored entry with its state, version and age, or None; never builds."""
        key = self.key(*args, **kwargs)
        loaded = await self._engine.store.carry_out_async(Load(key, self._spec.fingerprint()))
        return self._reads.looked_at(key, loaded.entry)

    async def explain(self, *args: P.args, **kwargs: P.kwargs) -> Explanation:
        """What is known of the entry, for people; see `Cache.explain`.

        Raises:
            NotInCache: nothing is known of it.
        """
        return await self._driver.run(explain(self.key(*args, **kwargs)))

    async def refresh(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """The value of a build that begins now, or is begun by another after now."""
        call = self._reads.bind(args, kwargs)
        self._reads.enter(call.key)
        try:
            entry = await self._driver.run(rebuild(call))
        except BaseException as error:
            self._reads.stumble(call.key, error)
            raise
        return self._reads.taken(entry)

    async def watch(self, *args: P.args, **kwargs: P.kwargs) -> AsyncGenerator[R, None]:
        """The value now, then every changed value, for ever.

        A failing build raises only for the first value; later the last value stands until there is another. Where no
        worker runs, a value that is over by time is built again here, and one whose build failed when that is due.
        """
        call = self._reads.bind(args, kwargs)
        woken = asyncio.Event()
        # A failure is no news, and reading again at once would build again at once.
        waiter = Waiter(ringer(woken), ignores_failures=True)
        self._engine.wakers.add(call.key, waiter)
        self._engine.follower.poll()
        try:
            with self._engine.attention.watching(call.key):
                async for entry in changes(self._engine, self._driver, self._background, call, woken):
                    yield self.load(entry)
        finally:
            self._engine.wakers.remove(call.key, waiter)

    async def _read(
        self,
        args: Any,  # noqa: ANN401 - checked by the public signature
        kwargs: Any,  # noqa: ANN401 - as above
        bounds: Bounds,
        after: Position | None = None,
    ) -> R:
        reads = self._reads
        signature = self._spec.signature
        arguments = signature.bind(args, kwargs)
        key = signature.key(arguments)
        slot = reads.slot(key, after)
        if slot is not None:
            return reads.value_of(slot)
        ticket = self._engine.near.open(key)
        try:
            call = self._engine.bind(self._spec, arguments, key)
            entry = await self._driver.run(reads.steps(call, bounds, after))
        except BaseException as error:
            reads.missed(ticket, error)
            raise
        return reads.received(entry, ticket, args, kwargs)
