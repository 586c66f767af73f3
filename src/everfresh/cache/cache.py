"""Cache: where functions are cached, events published, and values put by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextvars import ContextVar
from datetime import timedelta
from math import inf
from types import TracebackType
from typing import Any, Literal, ParamSpec, Protocol, Self, TypeVar, cast, overload

from everfresh.cache.background import Background
from everfresh.cache.blocking import BlockingCache
from everfresh.cache.declaring import check_unique, declare
from everfresh.cache.drivers import AsyncDriver, BlockingDriver
from everfresh.cache.engine import Engine
from everfresh.cache.functions import AsyncFunction, CachedFunction, SyncFunction
from everfresh.cache.notices import Notice
from everfresh.cache.operations import Operations
from everfresh.feed.reader import FeedReader
from everfresh.model.clock import Clock, Dice, fair_dice, seconds_of, wall_clock
from everfresh.model.dependency import Dependency
from everfresh.model.entry import Entry, Key, OnChange
from everfresh.model.errors import InvalidOption
from everfresh.model.event import Event
from everfresh.model.options import whole_number
from everfresh.model.position import Position
from everfresh.protocol.requests import Bounds, Policy
from everfresh.stores.urls import open_store

P = ParamSpec("P")
R = TypeVar("R")
_ZERO = timedelta(0)
# Below this a busy machine would lose leases that are renewed three times within them.
_MIN_LEASE_S = 0.1


class Decorator(Protocol):
    """What `cache.cached(...)` gives: it keeps the colour and the types of the function."""

    # A coroutine is a result too, so the second would also take the first's functions; the first that fits decides.
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, function: Callable[P, Coroutine[Any, Any, R]], /
    ) -> AsyncFunction[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> SyncFunction[P, R]: ...


class Cache:
    """A cache that is kept fresh by events, on the store that `url` names.

    `memory:` lives in this process; `sqlite:///path` is shared by the processes of one machine and survives them. Use
    it in a `with` or `async with` block, or call `close` or `aclose` at the end.

    Args:
        url: `memory:`, `sqlite:///relative/path` or `sqlite:////absolute/path`.
        lease: how long a build may go unrenewed before another takes over; builds renew theirs, whatever they take.
        wait_timeout: how long a reader waits for somebody else's build before it raises `WaitTimeout`.
        near: how many values are held ready in this process; 0 for none.
        clock: seconds since 1970, for tests.
        dice: a number from 0 to 1, for tests.

    Raises:
        StoreUrlInvalid: the URL names no store.
        StoreUnavailable: the store cannot be opened or written.
        StoreForeign: the file is not an Everfresh store.
        InvalidOption: an option cannot hold.
    """

    def __init__(
        self,
        url: str = "memory:",
        *,
        lease: timedelta = timedelta(seconds=10),
        wait_timeout: timedelta = timedelta(seconds=60),
        near: int = 10_000,
        clock: Clock = wall_clock,
        dice: Dice = fair_dice,
    ) -> None:
        self._lease_s = seconds_of(lease, option="lease")
        self._wait_timeout_s = seconds_of(wait_timeout, option="wait_timeout")
        if self._lease_s < _MIN_LEASE_S or self._lease_s == inf:
            msg = f"lease: {self._lease_s:g} s cannot hold a build. Use {_MIN_LEASE_S:g} s or more, but not FOREVER."
            raise InvalidOption(msg)
        n_near = whole_number(near, option="near", least=0)
        self.engine = Engine(open_store(url, clock=clock), n_near=n_near, dice=dice)
        """The parts, for the floors above; not for applications."""
        self.background = Background(self.engine)
        """Refreshes that readers set off; for the floors above."""
        self._operations = Operations(self.engine)
        self._driver = AsyncDriver(self.engine, self.background.revalidate)
        self._functions: dict[str, CachedFunction[..., Any]] = {}
        self.blocking = BlockingCache(BlockingDriver(self.engine, self.background.revalidate), self._operations)
        """The same methods for synchronous code."""

    @property
    def functions(self) -> Mapping[str, CachedFunction[..., Any]]:
        """The cached functions by name."""
        return dict(self._functions)

    @overload
    def cached(  # type: ignore[overload-overlap]  # as above
        self, function: Callable[P, Coroutine[Any, Any, R]], /
    ) -> AsyncFunction[P, R]: ...
    @overload
    def cached(self, function: Callable[P, R], /) -> SyncFunction[P, R]: ...
    @overload
    def cached(
        self,
        function: None = None,
        /,
        *,
        depends_on: Sequence[Dependency] = (),
        stale_while_revalidate: timedelta = _ZERO,
        stale_if_error: timedelta = _ZERO,
        on_change: Literal["refresh", "drop"] = "refresh",
        max_attempts: int = 8,
        version: int = 1,
        key: str | None = None,
        ignore: Sequence[str] = (),
        inherit: Sequence[ContextVar[Any]] = (),
    ) -> Decorator: ...
    def cached(  # noqa: PLR0913 - each option is a decision of its own
        self,
        function: Callable[..., Any] | None = None,
        /,
        *,
        depends_on: Sequence[Dependency] = (),
        stale_while_revalidate: timedelta = _ZERO,
        stale_if_error: timedelta = _ZERO,
        on_change: Literal["refresh", "drop"] = "refresh",
        max_attempts: int = 8,
        version: int = 1,
        key: str | None = None,
        ignore: Sequence[str] = (),
        inherit: Sequence[ContextVar[Any]] = (),
    ) -> CachedFunction[..., Any] | Decorator:
        """Cache a function's results, each under the canonical text of its arguments.

        Args:
            function: sync or async; its results must be plain data, dataclasses, Structs or Pydantic models. Its return
                annotation says how they are read back; times that know their zone come back in UTC.
            depends_on: which events touch its results; `dep.arg("x")` stands for the argument `x`. More can be said by
                `track` while it builds.
            stale_while_revalidate: how long an old value may be served while its refresh is due or running.
            stale_if_error: how long the last good value stands in for a build that fails.
            on_change: `refresh` rebuilds a touched result at once, `drop` leaves it to the next reader.
            max_attempts: after so many failed builds in a row, nobody tries again until an event or a person does.
            version: another number retires the values of older code.
            key: names the keys by hand, for example `"reviews:{email}"`.
            ignore: parameters, with defaults, that do not tell results apart; workers build without them.
            inherit: context variables that a build may see; no other is visible to it.

        Raises:
            InvalidOption: an option does not fit the function.
            InvalidDependency: something in `depends_on` is no dependency.
        """
        policy = Policy(
            bounds=Bounds(
                stale_while_revalidate_s=seconds_of(stale_while_revalidate, option="stale_while_revalidate"),
                stale_if_error_s=seconds_of(stale_if_error, option="stale_if_error"),
            ),
            on_change=_on_change(on_change),
            lease_s=self._lease_s,
            wait_timeout_s=self._wait_timeout_s,
            max_attempts=whole_number(max_attempts, option="max_attempts", least=1),
        )
        whole_number(version, option="version", least=0)

        def decorate(function: Callable[..., Any]) -> CachedFunction[..., Any]:
            spec = declare(
                function,
                policy=policy,
                depends_on=depends_on,
                version=version,
                key=key,
                ignore=ignore,
                inherit=inherit,
            )
            check_unique(spec, self.engine.functions.values())
            self.engine.functions[spec.name] = spec
            made: CachedFunction[..., Any]
            if spec.is_async:
                made = AsyncFunction(self.engine, self.background, spec)
            else:
                made = SyncFunction(self.engine, self.background, spec)
            self._functions[spec.name] = made
            return made

        # The decorator keeps colour and types; what is inside it cannot say so.
        return cast("Decorator", decorate) if function is None else decorate(function)

    async def publish(self, *events: Event) -> Position:
        """Apply events as one step; from the position on, nobody is served what they outdated.

        Repeating is safe: a doubled event costs at most a rebuild.

        Raises:
            InvalidEvent: one of them is no event; none was applied.
            StoreUnavailable: none was applied; publish them again.
        """
        return await self._driver.run(self._operations.publish(events))

    async def invalidate(self, *dependencies: Dependency) -> Position:
        """Touch every entry that has one of these dependencies, as if an event had come."""
        return await self._driver.run(self._operations.invalidate(dependencies))

    async def touched_by(self, event: Event) -> list[Key]:
        """The keys, sorted, that the event would touch directly; nothing is published."""
        return await self._driver.run(self._operations.touched_by(event))

    async def put(
        self, key: str, value: object, *dependencies: Dependency, expires: timedelta | float | None = None
    ) -> None:
        """Store a value by hand, until one of its dependencies is touched or `expires` (seconds or timedelta) is over.

        After a miss of the key in this task, a dependency touched since that miss wins: nothing is stored.

        Raises:
            ValueNotSupported: the value cannot be encoded; nothing was stored.
            InvalidOption: `expires` is zero or negative.
        """
        await self._driver.run(self._operations.put(key, value, dependencies, expires))

    async def get(self, key: str) -> Any:  # noqa: ANN401 - whatever was put
        """The value under the key, as plain data: lists, dicts, text, numbers.

        Raises:
            NotInCache: a KeyError; nothing is there, or it is known to be out of date.
        """
        return await self._driver.run(self._operations.get(key))

    async def has(self, key: str) -> bool:
        """Whether `get` would give a value."""
        return await self._driver.run(self._operations.has(key))

    async def delete(self, *keys: str) -> int:
        """Remove entries, put or built; how many there were."""
        return await self._driver.run(self._operations.delete(keys))

    async def stored(self, key: str) -> Entry | None:
        """Any entry by its key, whatever its state, or None; never builds."""
        return await self._driver.run(self._operations.stored(key))

    async def position(self) -> Position:
        """The store's newest position."""
        return await self._driver.run(self._operations.position())

    def feed(self, after: Position | None = None) -> FeedReader:
        """The log of commits and drops after a position, or from now on; see `FeedReader`."""
        return FeedReader(self.engine.store, self.engine.follower, after)

    def listen(self, listener: Callable[[Notice], None]) -> Callable[[], None]:
        """Call the listener with each notice of this process, from any thread; it must be quick. Gives how to stop."""
        return self.engine.board.listen(listener)

    def close(self) -> None:
        """Stop the threads and let go of the store; repeating is safe."""
        self.background.close()
        self.engine.close()

    async def aclose(self) -> None:
        """The same from an event loop, whose background refreshes are cancelled."""
        await self.background.aclose()
        await asyncio.to_thread(self.engine.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()


def _on_change(word: str) -> OnChange:
    try:
        return OnChange(word)
    except ValueError as error:
        msg = f"on_change: {word!r} is unknown. Use 'refresh' or 'drop'."
        raise InvalidOption(msg) from error
