"""Both colours from one text: a test declares `async def` bodies, and runs as asyncio code and as blocking code.

In the blocking colour a body is made a plain function, which runs the coroutine from its beginning to its end; nothing
in it may really suspend. What has to stop in the middle of a build stops at a `Gate`, which knows both colours.
"""
# ruff: noqa: ANN401 - values of any type are what is tested

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing
from contextvars import Context
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from everfresh import AsyncFunction, Cache, Entry, Key, State, SyncFunction
from everfresh.testing.waiting import soon

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
DEADLINE_S = 20.0

CachedFunction = SyncFunction[P, R] | AsyncFunction[P, R]
Body = Callable[P, Coroutine[Any, Any, R]]


async def done(result: Any) -> Any:
    """What a call of either colour gives."""
    return await result if isinstance(result, Awaitable) else result


def run_through(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never suspends."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    coroutine.close()
    message = "a blocking body cannot suspend"
    raise AssertionError(message)


class Colour:
    """Declares and calls functions of one colour."""

    def __init__(self, cache: Cache, *, is_async: bool) -> None:
        self.cache = cache
        self.is_async = is_async

    def cached(self, **options: Any) -> Callable[[Body[P, R]], CachedFunction[P, R]]:
        """Cache the body as a function of this colour."""
        return self.cached_in(self.cache, **options)

    def cached_in(self, cache: Cache, **options: Any) -> Callable[[Body[P, R]], CachedFunction[P, R]]:
        """The same in another cache."""

        def decorate(body: Body[P, R]) -> CachedFunction[P, R]:
            if self.is_async:
                return cache.cached(**options)(body)

            @wraps(body)
            def blocking(*args: P.args, **kwargs: P.kwargs) -> R:
                return run_through(body(*args, **kwargs))

            return cache.cached(**options)(blocking)

        return decorate

    def cached_many(self, **options: Any) -> Callable[[Body[P, Any]], Any]:
        """Cache the body as a function of many ids, of this colour."""

        def decorate(body: Body[P, Any]) -> Any:
            if self.is_async:
                return self.cache.cached_many(**options)(body)  # type: ignore[arg-type]  # bodies are of any type

            @wraps(body)
            def blocking(*args: P.args, **kwargs: P.kwargs) -> Any:
                return run_through(body(*args, **kwargs))

            return self.cache.cached_many(**options)(blocking)  # type: ignore[arg-type]  # as above

        return decorate

    def start(self, method: Callable[P, Any], *args: P.args, **kwargs: P.kwargs) -> asyncio.Task[Any]:
        """Begin a call and do not wait for it; a blocking one runs in a thread."""
        if self.is_async:
            return asyncio.create_task(method(*args, **kwargs))
        return asyncio.create_task(asyncio.to_thread(method, *args, **kwargs))

    @asynccontextmanager
    async def watching(
        self, function: CachedFunction[P, R], *args: P.args, **kwargs: P.kwargs
    ) -> AsyncIterator["Watch"]:
        """Watch an entry while the block runs."""
        values = function.watch(*args, **kwargs)
        if isinstance(values, AsyncGenerator):
            try:
                yield Watch(lambda: anext(values))
            finally:
                await values.aclose()
        else:
            with closing(values):
                yield Watch(lambda: asyncio.to_thread(_next, values))


def _next(values: Generator[T, None, None]) -> T:
    return next(values)


class Watch:
    """The values of one who watches."""

    def __init__(self, step: Callable[[], Awaitable[Any]]) -> None:
        self._step = step

    async def next(self) -> Any:
        """The next value; waits for it."""
        async with asyncio.timeout(DEADLINE_S):
            return await self._step()


class Gate:
    """A place in a function where builds stop until the test opens it. Made in the test's event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._arrivals = asyncio.Semaphore(0)
        self._is_open = asyncio.Event()
        self._is_open_for_threads = threading.Event()

    async def stop(self) -> None:
        """Said in a build: stop here until the gate is open."""
        self._loop.call_soon_threadsafe(self._arrivals.release)
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            assert self._is_open_for_threads.wait(DEADLINE_S), "the gate was never opened"
        else:
            await self._is_open.wait()

    async def reached(self) -> None:
        """Said in the test: one more build has come to the gate."""
        async with asyncio.timeout(DEADLINE_S):
            await self._arrivals.acquire()

    def open(self) -> None:
        """Let all through, from now on."""
        self._is_open.set()
        self._is_open_for_threads.set()


def many_threads(n: int) -> None:
    """Let so many blocking calls run at once; the loop ends the threads with itself."""
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(n))


async def waited_for(cache: Cache, key: str, n: int) -> None:
    """Until so many callers in this process wait for somebody else's build of the entry; nobody is told of that."""
    waiters = cache.engine.wakers._waiters  # noqa: SLF001 - a signal would be there for tests alone
    await soon(lambda: len(waiters.get(Key(key), ())) == n, what=f"{n} waiting callers")


def in_empty_context(task: Callable[[], Coroutine[Any, Any, T]]) -> asyncio.Task[T]:
    """Another task that shares nothing with this one."""
    return asyncio.get_running_loop().create_task(task(), context=Context())


async def entry_of(function: CachedFunction[P, R], *args: P.args, **kwargs: P.kwargs) -> Entry:
    """The stored entry, which must be there."""
    entry = await done(function.entry(*args, **kwargs))
    assert entry is not None
    return entry


async def is_fresh(function: CachedFunction[P, R], *args: P.args, **kwargs: P.kwargs) -> bool:
    """Whether an entry is there and fresh."""
    entry = await done(function.entry(*args, **kwargs))
    return entry is not None and entry.state is State.FRESH
