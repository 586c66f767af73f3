"""Cached functions: what `@cache.cached` puts in the place of a function.

The first lines of `__call__` are the hot path: arguments of plain types lead straight to a slot of the near cache. All
else goes the long way: bind, key, near cache by key, the rules.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator, Callable, Generator
from datetime import date
from functools import update_wrapper
from typing import Any, Generic, ParamSpec, TypeVar, cast
from uuid import UUID

from everfresh.cache.background import Background
from everfresh.cache.drivers import AsyncDriver, BlockingDriver, within_build
from everfresh.cache.engine import BoundCall, Engine, Spec
from everfresh.cache.near import Slot, SlotsOfArgs
from everfresh.cache.tracking import current_frame
from everfresh.feed.bells import ringer
from everfresh.feed.wakers import Waiter
from everfresh.model.entry import Entry, Key
from everfresh.model.errors import StoreClosed
from everfresh.protocol.reading import read, rebuild, retry_in_s
from everfresh.protocol.requests import STRICT, Bounds, Load, Policy

P = ParamSpec("P")
R = TypeVar("R")

# Types whose equal values have one canonical text; of 1, True and 1.0 the types are compared besides.
_PLAIN_TYPES = frozenset({str, int, bool, bytes, type(None), UUID, date})
_frame = current_frame.get


class _Miss:
    """No slot for these arguments; None would be a value."""


_MISS = _Miss()


class CachedFunction(Generic[P, R]):
    """What both colours share."""

    def __init__(self, engine: Engine, background: Background, spec: Spec) -> None:
        self._engine = engine
        self._background = background
        self._spec = spec
        self._slots: SlotsOfArgs = {}
        self._confirm: Callable[[], None] | None = engine.follower.confirm if engine.store.is_shared else None
        # Typed for functions; any object that is called will do.
        update_wrapper(cast("Any", self), spec.function)

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
        """The value of one of this function's entries, as a new object."""
        value: R = self._spec.codec().decode(entry.value)
        return value

    def _hit(self, args: tuple[Any, ...]) -> R | _Miss:
        """The near cache's value for plain positional arguments; a build's calls go the long way, to be seen."""
        try:
            slot = self._slots.get(args)
        except TypeError:
            # An argument that cannot be hashed never led to a slot.
            return _MISS
        if slot is None or _frame() is not None:
            return _MISS
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
        return self.load(slot.entry)

    def _bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> BoundCall:
        signature = self._spec.signature
        arguments = signature.bind(args, kwargs)
        return self._engine.bind(self._spec, arguments, signature.key(arguments))

    def _slot(self, key: Key) -> Slot | None:
        """The near cache's slot, once it is known to be current; a build that uses it is seen to."""
        if self._confirm is not None:
            self._confirm()
        slot = self._engine.near.get(key)
        if slot is not None and slot.entry.function != self._spec.name:
            # Two keys that were named by hand meet; the store tells them apart by their fingerprint.
            slot = None
        frame = _frame()
        if frame is not None:
            frame.enter(key)
            if slot is not None:
                frame.saw(key, slot.entry)
        return slot

    def _bounds(self, bounds: Bounds) -> Bounds:
        """Within a build nothing stale is used while it can be refreshed: the outer value would be stale at birth."""
        return bounds if _frame() is None else within_build(bounds)

    def _taken(self, entry: Entry) -> R:
        """The value of an entry that was read, seen by the build that read it."""
        frame = _frame()
        if frame is not None:
            frame.saw(entry.key, entry)
        return self.load(entry)

    def _peeked(self, key: Key, entry: Entry | None) -> R | None:
        """The value of what was looked at. That nothing is there is something that a build hangs on, too."""
        frame = _frame()
        if frame is not None:
            frame.saw(key, entry)
        return None if entry is None else self.load(entry)

    def _value_of(self, slot: Slot) -> R:
        slot.is_used = True
        if slot.is_immutable:
            return cast("R", slot.value)
        return self.load(slot.entry)

    def _stumble(self, key: Key, error: BaseException) -> None:
        """Tell the build that called that this value could not be had, in case that it goes on without."""
        frame = _frame()
        if frame is not None and isinstance(error, Exception):
            frame.stumbled(key, self._engine.store.carry_out(Load(key)).entry)

    def _new_slot(self, entry: Entry, value: R, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Slot | None:
        """A slot for an entry that may be held; one for plain arguments is found by them."""
        if entry.stale_since is not None or entry.expires_at is not None:
            return None
        is_plain = not kwargs and _PLAIN_TYPES.issuperset(map(type, args))
        return Slot(entry, value, home=self._slots if is_plain else None, args=args)


class SyncFunction(CachedFunction[P, R]):
    """A cached function for blocking code; safe from every thread."""

    def __init__(self, engine: Engine, background: Background, spec: Spec) -> None:
        super().__init__(engine, background, spec)
        self._driver = BlockingDriver(engine, background.revalidate)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """The value, never known to be out of date beyond the bounds that the function declares."""
        if not kwargs:
            value = self._hit(args)
            if value is not _MISS:
                return cast("R", value)
        return self._read(args, kwargs, self._spec.policy.bounds)

    def fresh(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """The value with both bounds at zero: nothing that is known to be out of date."""
        return self._read(args, kwargs, STRICT)

    def peek(self, *args: P.args, **kwargs: P.kwargs) -> R | None:
        """The stored value whatever its state, or None; never builds."""
        key = self.key(*args, **kwargs)
        return self._peeked(key, self._engine.store.carry_out(Load(key, self._spec.fingerprint())).entry)

    def entry(self, *args: P.args, **kwargs: P.kwargs) -> Entry | None:
        """The stored entry with its state, version and age, or None; never builds."""
        request = Load(self.key(*args, **kwargs), self._spec.fingerprint())
        return self._engine.store.carry_out(request).entry

    def refresh(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """The value of a build that begins now, or is begun by another after now."""
        call = self._bind(args, kwargs)
        frame = _frame()
        if frame is not None:
            frame.enter(call.key)
        try:
            return self._taken(self._driver.run(rebuild(call)))
        except BaseException as error:
            self._stumble(call.key, error)
            raise

    def watch(self, *args: P.args, **kwargs: P.kwargs) -> Generator[R, None, None]:
        """The value now, then every changed value, for ever.

        A failing build raises only for the first value; later the last value stands until there is another.
        """
        call = self._bind(args, kwargs)
        woken = threading.Event()
        # A failure is no news, and reading again at once would build again at once.
        waiter = Waiter(woken.set, ignores_failures=True)
        self._engine.wakers.add(call.key, waiter)
        self._engine.follower.poll()
        try:
            yield from self._changes(call, _Watched(), woken)
        finally:
            self._engine.wakers.remove(call.key, waiter)

    def _changes(self, call: BoundCall, watched: _Watched, woken: threading.Event) -> Generator[R, None, None]:
        while True:
            woken.clear()
            pause_s: float | None = None
            try:
                entry = self._driver.run(read(call, call.policy.bounds))
            except StoreClosed:
                raise
            except Exception:
                pause_s = watched.pause_s(call.policy, self._engine.dice())
                if pause_s is None:
                    raise
                woken.clear()
            else:
                if watched.is_news(entry):
                    yield self.load(entry)
            woken.wait(pause_s)

    def _read(self, args: Any, kwargs: Any, bounds: Bounds) -> R:  # noqa: ANN401 - checked by the public signature
        signature = self._spec.signature
        arguments = signature.bind(args, kwargs)
        key = signature.key(arguments)
        slot = self._slot(key)
        if slot is not None:
            return self._value_of(slot)
        ticket = self._engine.near.open(key)
        try:
            call = self._engine.bind(self._spec, arguments, key)
            entry = self._driver.run(read(call, self._bounds(bounds)))
            value = self._taken(entry)
            slot = self._new_slot(entry, value, args, kwargs)
        except BaseException as error:
            self._engine.near.settle(ticket, None)
            self._stumble(key, error)
            raise
        self._engine.near.settle(ticket, slot)
        return value


class AsyncFunction(CachedFunction[P, R]):
    """A cached function for asyncio; for each event loop of the process."""

    def __init__(self, engine: Engine, background: Background, spec: Spec) -> None:
        super().__init__(engine, background, spec)
        self._driver = AsyncDriver(engine, background.revalidate)

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """The value, never known to be out of date beyond the bounds that the function declares."""
        if not kwargs:
            value = self._hit(args)
            if value is not _MISS:
                return cast("R", value)
        return await self._read(args, kwargs, self._spec.policy.bounds)

    async def fresh(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """The value with both bounds at zero: nothing that is known to be out of date."""
        return await self._read(args, kwargs, STRICT)

    async def peek(self, *args: P.args, **kwargs: P.kwargs) -> R | None:
        """The stored value whatever its state, or None; never builds."""
        key = self.key(*args, **kwargs)
        loaded = await self._engine.store.carry_out_async(Load(key, self._spec.fingerprint()))
        return self._peeked(key, loaded.entry)

    async def entry(self, *args: P.args, **kwargs: P.kwargs) -> Entry | None:
        """The stored entry with its state, version and age, or None; never builds."""
        request = Load(self.key(*args, **kwargs), self._spec.fingerprint())
        return (await self._engine.store.carry_out_async(request)).entry

    async def refresh(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """The value of a build that begins now, or is begun by another after now."""
        call = self._bind(args, kwargs)
        frame = _frame()
        if frame is not None:
            frame.enter(call.key)
        try:
            return self._taken(await self._driver.run(rebuild(call)))
        except BaseException as error:
            self._stumble(call.key, error)
            raise

    async def watch(self, *args: P.args, **kwargs: P.kwargs) -> AsyncGenerator[R, None]:
        """The value now, then every changed value, for ever.

        A failing build raises only for the first value; later the last value stands until there is another.
        """
        call = self._bind(args, kwargs)
        woken = asyncio.Event()
        # A failure is no news, and reading again at once would build again at once.
        waiter = Waiter(ringer(woken), ignores_failures=True)
        self._engine.wakers.add(call.key, waiter)
        self._engine.follower.poll()
        try:
            async for entry in self._changes(call, _Watched(), woken):
                yield self.load(entry)
        finally:
            self._engine.wakers.remove(call.key, waiter)

    async def _changes(self, call: BoundCall, watched: _Watched, woken: asyncio.Event) -> AsyncGenerator[Entry, None]:
        while True:
            woken.clear()
            pause_s: float | None = None
            try:
                entry = await self._driver.run(read(call, call.policy.bounds))
            except StoreClosed:
                raise
            except Exception:
                pause_s = watched.pause_s(call.policy, self._engine.dice())
                if pause_s is None:
                    raise
                woken.clear()
            else:
                if watched.is_news(entry):
                    yield entry
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(woken.wait(), pause_s)

    async def _read(self, args: Any, kwargs: Any, bounds: Bounds) -> R:  # noqa: ANN401 - checked by the signature
        signature = self._spec.signature
        arguments = signature.bind(args, kwargs)
        key = signature.key(arguments)
        slot = self._slot(key)
        if slot is not None:
            return self._value_of(slot)
        ticket = self._engine.near.open(key)
        try:
            call = self._engine.bind(self._spec, arguments, key)
            entry = await self._driver.run(read(call, self._bounds(bounds)))
            value = self._taken(entry)
            slot = self._new_slot(entry, value, args, kwargs)
        except BaseException as error:
            self._engine.near.settle(ticket, None)
            self._stumble(key, error)
            raise
        self._engine.near.settle(ticket, slot)
        return value


class _Watched:
    """What somebody who watches an entry has seen of it."""

    def __init__(self) -> None:
        self._n_failed = 0
        self._digest = ""

    def is_news(self, entry: Entry) -> bool:
        """Whether the value is another than the last one."""
        self._n_failed = 0
        is_other = entry.digest != self._digest
        self._digest = entry.digest
        return is_other

    def pause_s(self, policy: Policy, roll: float) -> float | None:
        """How long to wait after a read that raised; None when nothing was seen yet, so that it should be raised."""
        if not self._digest:
            return None
        self._n_failed += 1
        wait_s = retry_in_s(self._n_failed, policy, roll)
        return policy.longest_retry_s if wait_s is None else wait_s
