"""Cache: where functions are cached, events published, and values put by hand."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from math import inf
from types import TracebackType
from typing import Any, Concatenate, Literal, ParamSpec, Protocol, Self, TypeVar, Unpack, cast, overload

from everfresh.cache.asynchronous import AsynchronousCache
from everfresh.cache.background import Background
from everfresh.cache.blocking import BlockingCache
from everfresh.cache.declaring import check_unique, declare
from everfresh.cache.decorators import Decorator, ManyDecorator
from everfresh.cache.drivers import AsyncDriver, BlockingDriver
from everfresh.cache.engine import Engine, Spec
from everfresh.cache.functions import AsyncFunction, CachedFunction, SyncFunction
from everfresh.cache.keys import known_keys
from everfresh.cache.many_functions import AsyncManyFunction, SyncManyFunction
from everfresh.cache.notices import Notice
from everfresh.cache.operations import Operations
from everfresh.cache.options import FunctionOptions, Options, on_store_failure_of, options_of, policy_of
from everfresh.cache.reads import Reads
from everfresh.cache.sights import Onlooker, Sight
from everfresh.cache.sourcing import SourceOperations
from everfresh.feed.reader import FeedReader
from everfresh.model.clock import Clock, Dice, fair_dice, seconds_of, wall_clock
from everfresh.model.entry import Key
from everfresh.model.errors import InvalidOption
from everfresh.model.options import whole_number
from everfresh.model.position import Position
from everfresh.protocol.requests import Policy
from everfresh.stores.tables import Room
from everfresh.stores.urls import open_store

I = TypeVar("I")  # noqa: E741 - an id
P = ParamSpec("P")
R = TypeVar("R")
V = TypeVar("V")
# Below this a busy machine would lose leases that are renewed three times within them.
_MIN_LEASE_S = 0.1


class Consumable(Protocol):
    """A source that a cache consumes; those of `everfresh.sources` are such."""

    @property
    def name(self) -> str:
        """The source's name: under it the store keeps how far it has come."""
        ...

    async def run(self, cache: Cache, /) -> None:
        """Apply what comes until this is cancelled."""
        ...


class Cache(AsynchronousCache):
    """A cache that is kept fresh by events, on the store that `url` names.

    `memory:` lives in this process; `sqlite:///path` is shared by the processes of one machine and survives them;
    `redis://host` is shared by the processes of many. Use it in a `with` or `async with` block, or call `close` or
    `aclose` at the end.

    Args:
        url: `memory:`, `sqlite:///relative/path`, `sqlite:////absolute/path`, or on Redis or Valkey
            `redis://[[user]:password@]host[:port][/database]`, `rediss://` with TLS, `unix:///path/of/socket`,
            `redis+sentinel://host,host/service`, `redis+cluster://host,host`.
        lease: how long a build may go unrenewed before another takes over; builds renew theirs, whatever they take.
        wait_timeout: how long a reader waits for somebody else's build before it raises `WaitTimeout`.
        near: how many values are held ready in this process; 0 for none.
        clock: seconds since 1970, for tests.
        dice: a number from 0 to 1, for tests.
        max_entries: how many entries the store may hold; beyond that those go that were read longest ago.
        max_bytes: how many bytes their values may take, likewise.
        production_mode: a list that nobody described is a warning here, and is never served from the cache; else it is
            an error.
        max_generations: how many builds may follow one from the other by the events that they publish.
        on_store_failure: what readers do when the store does not answer: `"call"` takes what is held near, as far as
            the bounds of a function allow, and else calls the function for its reader alone; `"raise"` raises
            StoreUnavailable. A function may say otherwise for itself.

    Raises:
        StoreUrlInvalid: the URL names no store.
        StoreUnavailable: the store cannot be opened or written; one on Redis is opened later then, and says so in the
            log.
        StoreForeign: the file is not an Everfresh store.
        InvalidOption: an option cannot hold.
    """

    def __init__(  # noqa: PLR0913 - each option is a decision of its own
        self,
        url: str = "memory:",
        *,
        lease: timedelta = timedelta(seconds=10),
        wait_timeout: timedelta = timedelta(seconds=60),
        near: int = 10_000,
        clock: Clock = wall_clock,
        dice: Dice = fair_dice,
        max_entries: int | None = None,
        max_bytes: int | None = None,
        production_mode: bool = False,
        max_generations: int = 8,
        on_store_failure: Literal["call", "raise"] = "call",
    ) -> None:
        self._lease_s = seconds_of(lease, option="lease")
        self._wait_timeout_s = seconds_of(wait_timeout, option="wait_timeout")
        if self._lease_s < _MIN_LEASE_S or self._lease_s == inf:
            msg = f"lease: {self._lease_s:g} s cannot hold a build. Use {_MIN_LEASE_S:g} s or more, but not FOREVER."
            raise InvalidOption(msg)
        self._on_store_failure, self._pid = on_store_failure_of(on_store_failure), os.getpid()
        n_near = whole_number(near, option="near", least=0)
        room = _room(max_entries, max_bytes)
        is_production = _yes_or_no(production_mode, option="production_mode")
        n_generations = whole_number(max_generations, option="max_generations", least=1)
        self.engine = Engine(open_store(url, clock=clock, room=room), n_near=n_near, clock=clock, dice=dice)
        """The parts, for the floors above; not for applications."""
        self.engine.production_mode = is_production
        self.engine.max_generations = n_generations
        if room != Room():
            # What goes first is what was read longest ago.
            self.engine.attention.need()
        self.background = Background(self.engine)
        """Refreshes that readers set off; for the floors above."""
        self._operations = Operations(self.engine)
        self._driver = AsyncDriver(self.engine, self.background.revalidate)
        self._sources = SourceOperations(self.engine, self._operations, self._driver)
        self._functions: dict[str, CachedFunction[..., Any]] = {}
        self._blocking = BlockingCache(BlockingDriver(self.engine, self.background.revalidate), self._operations)

    @property
    def blocking(self) -> BlockingCache:
        """The same methods for synchronous code."""
        return self._blocking

    @property
    def on_store_failure(self) -> str:
        """What readers do when the store does not answer, `call` or `raise`, unless a function says otherwise."""
        return self._on_store_failure.value

    @property
    def functions(self) -> Mapping[str, CachedFunction[..., Any]]:
        """The cached functions by name."""
        return dict(self._functions)

    @overload
    def cached(  # type: ignore[overload-overlap]  # a coroutine is a result too; the first that fits decides
        self, function: Callable[P, Coroutine[Any, Any, R]], /
    ) -> AsyncFunction[P, R]: ...
    @overload
    def cached(self, function: Callable[P, R], /) -> SyncFunction[P, R]: ...
    @overload
    def cached(self, function: None = None, /, **options: Unpack[FunctionOptions]) -> Decorator: ...
    def cached(
        self, function: Callable[..., Any] | None = None, /, **options: Unpack[FunctionOptions]
    ) -> CachedFunction[..., Any] | Decorator:
        """Cache a function's results, each under the canonical text of its arguments.

        Args:
            function: sync or async; its results must be plain data, dataclasses, Structs or Pydantic models. Its return
                annotation says how they are read back; times that know their zone come back in UTC.
            **options: how its entries live; all have defaults:

                What touches them:
                `depends_on`: which events touch its results; `dep.arg("x")` stands for the argument `x`. More can be
                said by `track` while it builds.
                `should_refresh`: asked `should_refresh(event, **arguments)` about each event with one of the `topics`,
                for each entry: whether it touches that entry. One that raises counts as yes.
                `expires`: the lifetime of a value, in seconds or as a timedelta, whether or not it is touched.

                How old a value may be:
                `stale_while_revalidate`: how long an old value may be served while its refresh is due or running.
                `stale_if_error`: how long the last good value stands in for a build that fails.
                `cache_errors`: errors that are results like any other: stored, and raised anew for each reader.
                `wait_timeout`: how long a reader waits for somebody else's build; the cache's, if it is not said.
                `on_store_failure`: `"call"` or `"raise"`, what readers do when the store does not answer; likewise.

                What a touch does:
                `on_change`: `"refresh"` rebuilds a touched result at once, `"drop"` leaves it to the next reader.
                `keep_warm`: an entry that nobody read for so long is dropped rather than refreshed.
                `settle`: after an event, look again after each of these delays until the value has changed.
                `settled`: instead, until `settled(event, value)` says that the value shows what the event told of.
                `debounce`: wait so long for further events; `max_wait` after the first at most, else ten times that.
                `priority`: higher ones are refreshed first; each level is worth a minute of waiting.
                `job_expires`: a refresh that nobody began for so long is given up, and the entry dropped.
                `concurrency`, `rate`: how many refreshes of the function run at once, and begin in a second.
                `max_attempts`: after so many failed builds in a row nobody tries again until an event or person does.

                What it is called:
                `version`: another number retires the values of older code.
                `key`: names the keys by hand, for example `"reviews:{email}"`.
                `ignore`: parameters, with defaults, that do not tell results apart; workers build without them.
                `secret`: parameters whose values stand in keys as a hash; of its errors only the type is told.
                `inherit`: context variables that a build may see; no other is visible to it.

        Raises:
            InvalidOption: an option does not fit the function, or says nothing without another.
            InvalidDependency: something in `depends_on` is no dependency.
            TypeError: there is no such option.
        """
        given = options_of(options, what="cached")
        policy = self._policy_of(given)

        def decorate(function: Callable[..., Any]) -> CachedFunction[..., Any]:
            spec = declare(function, policy=policy, options=given)
            reads = self._reads_of(spec)
            made = AsyncFunction[..., Any] if spec.is_async else SyncFunction[..., Any]
            self._functions[spec.name] = found = made(reads, self.background)
            return found

        # The decorator keeps colour and types; what is inside it cannot say so.
        return cast("Decorator", decorate) if function is None else decorate(function)

    @overload
    def cached_many(
        self, function: Callable[Concatenate[list[I], P], Coroutine[Any, Any, Mapping[I, V]]], /
    ) -> AsyncManyFunction[I, P, V]: ...
    @overload
    def cached_many(
        self, function: Callable[Concatenate[list[I], P], Mapping[I, V]], /
    ) -> SyncManyFunction[I, P, V]: ...
    @overload
    def cached_many(self, function: None = None, /, **options: Unpack[FunctionOptions]) -> ManyDecorator: ...
    def cached_many(
        self, function: Callable[..., Any] | None = None, /, **options: Unpack[FunctionOptions]
    ) -> Any:  # which of the two it is, the overloads say
        """Cache a function that loads many ids at once, each of them as an entry of its own.

            @cache.cached_many(depends_on=[dep.Id("user", dep.arg("ids"))])
            async def users(ids: list[int]) -> dict[int, User]: ...

        `await users([1, 2, 3])` gives the values by id. It takes what is there in one round trip and runs the function
        once for the ids that are missing; an id that the function leaves out is cached as absent. `users.one(1)` is the
        cached function of a single id.

        Args:
            function: its first parameter takes a list of ids; it gives a dict of values by id. Further parameters tell
                entries apart too.
            **options: those of `cached`. For `dep.arg`, `key` and predicates the first parameter is the single id. What
                is tracked while it runs counts for all the ids of that run. An error is cached only when it was raised
                for one id alone.

        Raises:
            InvalidOption: an option does not fit the function, or says nothing without another.
            InvalidDependency: something in `depends_on` is no dependency.
            TypeError: there is no such option.
        """
        given = options_of(options, what="cached_many")
        policy = self._policy_of(given)

        def decorate(
            function: Callable[..., Any],
        ) -> AsyncManyFunction[Any, ..., Any] | SyncManyFunction[Any, ..., Any]:
            spec = declare(function, policy=policy, options=given, takes_ids=True)
            reads = self._reads_of(spec)
            made = AsyncManyFunction[Any, ..., Any] if spec.is_async else SyncManyFunction[Any, ..., Any]
            found = made(reads, self.background)
            self._functions[spec.name] = found.one
            return found

        return decorate if function is None else decorate(function)

    def _policy_of(self, given: Options) -> Policy:
        return policy_of(
            given,
            lease_s=self._lease_s,
            wait_timeout_s=self._wait_timeout_s,
            on_store_failure=self._on_store_failure,
        )

    def _reads_of(self, spec: Spec) -> Reads[Any]:
        """Make the function known, and how it is read."""
        check_unique(spec, self.engine.functions.values())
        self.engine.functions[spec.name] = spec
        keep_warm_s = spec.policy.terms.keep_warm_s
        if keep_warm_s is not None:
            self.engine.attention.need(keep_warm_s=keep_warm_s)
        return Reads(self.engine, spec)

    def feed(self, after: Position | None = None) -> FeedReader:
        """The log of commits and drops after a position, or from now on; see `FeedReader`."""
        return FeedReader(self.engine.store, self.engine.follower, after)

    @contextmanager
    def watching(self, *keys: Key) -> Generator[None]:
        """Say that somebody looks at the entries while the block runs: refreshed first, and never dropped as cold."""
        with ExitStack() as stack:
            for key in known_keys(keys, what="watching"):
                stack.enter_context(self.engine.attention.watching(key))
            yield

    def watch(self, *keys: str, pattern: str | None = None, from_now: bool = False) -> AsyncGenerator[Sight, None]:
        """The entries as they are now, then each change of them, for ever: of its value or of its state alone.

            async for sight in cache.watch(article.key(1), article.key(2)):
                if sight.entry is not None and sight.is_value_new:
                    print(article.load(sight.entry))

        A change is told once, and of several the newest: who takes long misses what was in between. Where records were
        lost, all is told anew. Nothing is built for it; a function's own `watch` does that. What is named by its key
        counts as watched, so it is refreshed first and never dropped as cold; what a pattern matches does not.

        Args:
            *keys: those of the entries, built or put, whether or not they are there.
            pattern: any entry whose key matches, `*` standing for any text, as for the names of files.
            from_now: leave out how they are at the beginning.

        Raises:
            InvalidOption: nothing is named, or a key is none.
            StoreError: the store did not answer at the beginning; later it is waited for.
        """
        known = known_keys(keys, what="watch")
        if not keys and pattern is None:
            raise InvalidOption("watch: nothing is named. Give keys or a pattern; pattern='*' stands for everything.")
        return Onlooker(self, known, pattern, self.engine.dice).sights(is_from_now=from_now)

    def listen(self, listener: Callable[[Notice], None]) -> Callable[[], None]:
        """Call the listener with each notice of this process, from any thread; it must be quick. Gives how to stop."""
        return self.engine.board.listen(listener)

    async def consume(self, *sources: Consumable) -> None:
        """Apply what the sources bring, until this is cancelled; each event is acknowledged only after that.

            async with cache, asyncio.TaskGroup() as tasks:
                tasks.create_task(cache.consume(Amqp(...), RedisStream(...)))

        Sources and stores that do not answer are tried again without an end. Whoever cancels waits until the batches
        under way are finished, or for a short grace; what was not acknowledged comes again.

        Raises:
            InvalidOption: no source, or two of one name; or one cannot be opened as it was said.
            StoreError: the cache was closed. Of several sources errors come as an ExceptionGroup.
        """
        names = [source.name for source in sources]
        if not names or len(set(names)) < len(names):
            twice = sorted({name for name in names if names.count(name) > 1})
            what = f"{', '.join(twice)}: twice. Each source needs a name of its own." if names else "name a source."
            raise InvalidOption(f"consume: {what}")
        if len(sources) == 1:
            await sources[0].run(self)
            return
        async with asyncio.TaskGroup() as consuming:
            for source in sources:
                consuming.create_task(source.run(self))

    def close(self) -> None:
        """Stop the threads and let go of the store; repeating is safe."""
        if self._is_the_parents():
            return
        self.background.close()
        self.engine.close()

    async def aclose(self) -> None:
        """The same from an event loop, whose background refreshes are cancelled."""
        if self._is_the_parents():
            return
        await self.background.aclose()
        await asyncio.to_thread(self.engine.close)

    def _is_the_parents(self) -> bool:
        """Whether this process was forked since: nothing of the cache runs here, and a lock may be held for ever."""
        return os.getpid() != self._pid

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


def _yes_or_no(value: object, *, option: str) -> bool:
    if not isinstance(value, bool):
        raise InvalidOption(f"{option}: {value!r} is neither True nor False.")
    return value


def _room(max_entries: object, max_bytes: object) -> Room:
    return Room(
        None if max_entries is None else whole_number(max_entries, option="max_entries", least=1),
        None if max_bytes is None else whole_number(max_bytes, option="max_bytes", least=1),
    )
