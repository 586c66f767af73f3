"""The worker: rebuilds what events touched before anybody asks."""

import asyncio
import threading
from collections import Counter

import pytest

from everfresh import Cache, Event, State, dep
from everfresh.refresh import Worker
from everfresh.testing.waiting import soon, until
from tests.cache.fixtures import OpenCache
from tests.cache.making import Colour, Gate, done, entry_of, is_fresh
from tests.cache.upstreams import Upstream


async def test_a_touched_entry_is_rebuilt_before_anybody_asks(colour: Colour, upstream: Upstream) -> None:
    """The next reader finds the new value there."""

    @colour.cached(depends_on=[upstream.tag])
    async def value() -> int:
        return upstream.read()

    await done(value())
    async with Worker(colour.cache):
        await upstream.change(2)
        await soon(lambda: is_fresh(value), what="the refresh")

    assert (await done(value.peek()), upstream.n_read) == (2, 2)


async def test_what_became_due_before_the_worker_came_is_rebuilt(colour: Colour, upstream: Upstream) -> None:
    """The queue is in the store; it waits for whoever takes from it."""

    @colour.cached(depends_on=[upstream.tag])
    async def value() -> int:
        return upstream.read()

    await done(value())
    await upstream.change(2)
    async with Worker(colour.cache):
        await soon(lambda: is_fresh(value), what="the refresh")

    assert await done(value.peek()) == 2


async def test_exactly_what_was_touched_is_rebuilt(colour: Colour) -> None:
    """A message about one thing rebuilds one entry, of ten."""
    n_built: Counter[int] = Counter()

    @colour.cached(depends_on=[dep.Topic("bug", where={"id": dep.arg("number")})])
    async def bug(number: int) -> int:
        n_built[number] += 1
        return number

    for number in range(10):
        await done(bug(number))
    async with Worker(colour.cache):
        await colour.cache.publish(Event("bug", {"id": 3}))
        await soon(lambda: n_built[3] == 2, what="the refresh")
        await soon(lambda: is_fresh(bug, 3), what="its commit")

    assert n_built == {number: 2 if number == 3 else 1 for number in range(10)}


async def test_a_function_declared_while_the_worker_runs_is_refreshed(colour: Colour, upstream: Upstream) -> None:
    """Conformance 15: without a restart."""
    async with Worker(colour.cache):

        @colour.cached(depends_on=[upstream.tag])
        async def value() -> int:
            return upstream.read()

        await done(value())
        await upstream.change(2)
        await soon(lambda: upstream.n_read == 2, what="the refresh")


def test_a_worker_in_a_thread_refreshes_both_colours(cache: Cache) -> None:
    """For programs without an event loop of their own."""
    n_built: Counter[str] = Counter()

    @cache.cached(depends_on=[dep.Tag("t")])
    def blocking() -> int:
        n_built["blocking"] += 1
        return n_built["blocking"]

    @cache.cached(depends_on=[dep.Tag("t")])
    async def asynchronous() -> int:
        n_built["asynchronous"] += 1
        return n_built["asynchronous"]

    blocking()
    asyncio.run(_awaited(asynchronous))
    with Worker(cache).in_thread():
        cache.blocking.invalidate(dep.Tag("t"))
        until(lambda: n_built == {"blocking": 2, "asynchronous": 2}, what="both refreshes")

    assert blocking() == 2


async def _awaited(function: object) -> None:
    await function()  # type: ignore[operator]


def test_a_worker_in_a_thread_ends_with_its_block(cache: Cache) -> None:
    """Nothing outlives the block that started it."""
    with Worker(cache).in_thread():
        pass

    assert threads_of_workers() == []


def test_an_error_in_the_block_of_a_thread_ends_the_worker_too(cache: Cache) -> None:
    """And is not hidden by it."""
    with pytest.raises(ZeroDivisionError), Worker(cache).in_thread():
        _ = 1 / 0

    assert threads_of_workers() == []


def threads_of_workers() -> list[str]:
    """The names of those that run; the cache has threads of its own, which end with it."""
    names = [thread.name for thread in threading.enumerate()]
    return [name for name in names if name.startswith(("everfresh-worker", "everfresh-build"))]


async def test_a_worker_can_be_used_again(colour: Colour, upstream: Upstream) -> None:
    """One block after the other."""
    worker = Worker(colour.cache)

    @colour.cached(depends_on=[upstream.tag])
    async def value() -> int:
        return upstream.read()

    await done(value())
    for number in (2, 3):
        async with worker:
            await upstream.change(number)
            await soon(lambda: is_fresh(value), what="the refresh")

    assert await done(value.peek()) == 3


async def test_no_more_builds_run_at_once_than_allowed(colour: Colour) -> None:
    """An upstream is not asked for more at a time than was said."""
    running, most = 0, 0
    n_built: Counter[int] = Counter()
    lock = threading.Lock()

    @colour.cached(depends_on=[dep.Tag("t")])
    async def value(number: int) -> int:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        if colour.is_async:
            for _ in range(5):
                await asyncio.sleep(0)
        with lock:
            running -= 1
            n_built[number] += 1
        return number

    for number in range(12):
        await done(value(number))
    most = 0
    async with Worker(colour.cache, concurrency=3):
        await colour.cache.invalidate(dep.Tag("t"))
        await soon(lambda: all(n_built[number] == 2 for number in range(12)), what="all refreshes")

    assert 1 <= most <= 3


async def test_as_many_builds_run_at_once_as_allowed(colour: Colour, gate: Gate) -> None:
    """One slow entry does not hold up the others."""
    is_open = False

    @colour.cached(depends_on=[dep.Tag("t")])
    async def value(number: int) -> int:
        if is_open:
            await gate.stop()
        return number

    for number in range(3):
        await done(value(number))
    is_open = True
    async with Worker(colour.cache, concurrency=3):
        await colour.cache.invalidate(dep.Tag("t"))
        for _ in range(3):
            await gate.reached()
        gate.open()
        await soon(lambda: is_fresh(value, 2), what="the refreshes")


async def test_blocking_functions_run_in_threads(cache: Cache, upstream: Upstream) -> None:
    """The event loop goes on while they build."""
    threads: set[int] = set()

    @cache.cached(depends_on=[upstream.tag])
    def value() -> int:
        threads.add(threading.get_ident())
        return upstream.read()

    value()
    threads.clear()
    async with Worker(cache):
        await upstream.change(2)
        await soon(lambda: threads, what="the refresh")

    assert threading.get_ident() not in threads


async def test_asynchronous_functions_run_in_the_loop_of_the_block(cache: Cache, upstream: Upstream) -> None:
    """So they may use what belongs to it: clients, pools."""
    loops: list[asyncio.AbstractEventLoop] = []

    @cache.cached(depends_on=[upstream.tag])
    async def value() -> int:
        loops.append(asyncio.get_running_loop())
        return upstream.read()

    await value()
    async with Worker(cache):
        await upstream.change(2)
        await soon(lambda: len(loops) == 2, what="the refresh")

    assert set(loops) == {asyncio.get_running_loop()}


async def test_a_blocking_reader_in_the_workers_own_loop_gets_its_value(cache: Cache, upstream: Upstream) -> None:
    """It blocks the loop while it waits, so what it waits for must not need the loop. The clock stands still."""

    @cache.cached(depends_on=[upstream.tag])
    def value() -> int:
        return upstream.read()

    value()
    values: list[int] = []
    async with Worker(cache):
        for number in range(20):
            await upstream.change(number)
            values.append(value())

    assert values == list(range(20))


async def test_an_event_during_a_refresh_leads_to_another(colour: Colour, upstream: Upstream, gate: Gate) -> None:
    """The build may have read what was before the event, so it cannot settle it."""

    @colour.cached(depends_on=[upstream.tag])
    async def value() -> int:
        number = upstream.read()
        if number == 2:
            await gate.stop()
        return number

    await done(value())
    async with Worker(colour.cache):
        await upstream.change(2)
        await gate.reached()
        await upstream.change(3)
        gate.open()
        await soon(lambda: is_fresh(value), what="a value from after the event")

    assert await done(value.peek()) == 3


async def test_the_entries_of_functions_that_it_does_not_have_are_left_alone(
    open_cache: OpenCache, sqlite_url: str
) -> None:
    """Another process has them; they stay in its queue."""
    owner, stranger = open_cache(sqlite_url), open_cache(sqlite_url)
    tag = dep.Tag("t")

    @owner.cached(depends_on=[tag])
    def theirs() -> int:
        return 1

    @stranger.cached(depends_on=[tag])
    def ours() -> int:
        return 1

    theirs()
    ours()
    async with Worker(stranger):
        await owner.invalidate(tag)
        await soon(lambda: is_fresh(ours), what="the refresh of its own function")
    entry = await entry_of(theirs)

    assert (entry.state, entry.attempts) == (State.DIRTY, 0)


async def test_two_workers_never_build_one_entry_at_once(open_cache: OpenCache, sqlite_url: str) -> None:
    """The lease is in the store, for all processes."""
    tag, n_built = dep.Tag("t"), [0]
    caches = [open_cache(sqlite_url), open_cache(sqlite_url)]

    async def value() -> int:
        n_built[0] += 1
        await asyncio.sleep(0)
        return n_built[0]

    functions = [cache.cached(depends_on=[tag])(value) for cache in caches]
    await functions[0]()
    async with Worker(caches[0]), Worker(caches[1]):
        for _ in range(20):
            await caches[0].invalidate(tag)
            await soon(lambda: is_fresh(functions[0]), what="a refresh")

    # An event that came in the middle of a build may cost one more; two at once never happened if none was lost.
    assert (await entry_of(functions[1])).version == n_built[0]


async def test_a_recipe_of_an_older_signature_is_listed_as_failed(open_cache: OpenCache, sqlite_url: str) -> None:
    """Nobody can build it with these arguments; the reason says what to do, and other entries go on."""
    tag = dep.Tag("t")
    old, new = open_cache(sqlite_url), open_cache(sqlite_url)

    def page(number: int) -> int:
        return number

    def newer_page(number: int, size: int) -> int:
        return number * size

    newer_page.__qualname__ = page.__qualname__
    before = old.cached(depends_on=[tag])(page)
    new.cached(depends_on=[tag])(newer_page)
    before(1)
    key = before.key(1)
    async with Worker(new):
        await new.invalidate(tag)
        await soon(lambda: _has_failed(new, key), what="the refusal")
    entry = await new.stored(key)

    assert entry is not None
    assert "Raise its version" in entry.reason


async def _has_failed(cache: Cache, key: str) -> bool:
    entry = await cache.stored(key)
    return entry is not None and entry.state is State.FAILED
