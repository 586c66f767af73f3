"""Builds that work in threads of their own: what happens there belongs to the build, if it is given the context."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar

import pytest

from everfresh import Cache, Event, RecursiveBuild, dep, propagate, track
from tests.cache.making import is_fresh
from tests.cache.upstreams import Upstream

pytestmark = pytest.mark.redis
N_THREADS = 8
DEADLINE_S = 20.0
trace: ContextVar[str] = ContextVar("trace", default="none")


@pytest.fixture
def at_once() -> Callable[[], None]:
    """Stop until all threads have come here, so that they go on at the same time."""
    barrier = threading.Barrier(N_THREADS)

    def meet() -> None:
        barrier.wait(DEADLINE_S)

    return meet


def test_what_the_threads_of_a_pool_track_counts(cache: Cache, at_once: Callable[[], None]) -> None:
    """All of it, though they say it at the same time."""

    def read(number: int) -> int:
        at_once()
        track(*(dep.Id("article", f"{number}-{part}") for part in range(100)))
        return number

    @cache.cached
    def total() -> int:
        with ThreadPoolExecutor(N_THREADS) as threads:
            return sum(threads.map(propagate(read), range(N_THREADS)))

    value = total()
    dependencies = cache.blocking.explain(total.key()).dependencies

    assert value == sum(range(N_THREADS))
    assert set(dependencies) == {f"id article {number}-{part}" for number in range(N_THREADS) for part in range(100)}


def test_shapes_that_threads_say_first_are_known_before_they_go_on(cache: Cache, at_once: Callable[[], None]) -> None:
    """An event that comes while another thread of the build still works touches the value."""
    n_built = 0

    def read(number: int) -> None:
        at_once()
        track(dep.Topic("news", where={f"field_{number}": 1}))
        at_once()

    @cache.cached
    def value() -> int:
        nonlocal n_built
        n_built += 1
        with ThreadPoolExecutor(N_THREADS) as threads:
            list(threads.map(propagate(read), range(N_THREADS)))
        if n_built == 1:
            cache.blocking.publish(Event("news", {"field_3": 1}))
        return n_built

    value()

    assert (value(), n_built) == (2, 2)


def test_cached_functions_that_threads_of_a_build_call_are_dependencies(
    cache: Cache, upstream: Upstream, at_once: Callable[[], None]
) -> None:
    """Called at the same time, built at the same time."""

    @cache.cached(depends_on=[upstream.tag])
    def inner(number: int) -> int:
        if upstream.value == 1:
            at_once()
        return upstream.read() + number

    @cache.cached
    def outer() -> int:
        with ThreadPoolExecutor(N_THREADS) as threads:
            return sum(threads.map(propagate(inner), range(N_THREADS)))

    outer()
    built_from = cache.blocking.explain(outer.key()).built_from
    upstream.value = 2
    cache.blocking.invalidate(upstream.tag)

    assert set(built_from) == {inner.key(number) for number in range(N_THREADS)}
    assert outer() == sum(2 + number for number in range(N_THREADS))


def test_one_value_that_all_threads_of_a_build_need_is_built_once(cache: Cache, at_once: Callable[[], None]) -> None:
    """The others wait for the first; that they belong to one build makes no recursion of it."""
    n_built = 0

    @cache.cached
    def inner() -> int:
        nonlocal n_built
        n_built += 1
        return 1

    def call() -> int:
        at_once()
        return inner()

    @cache.cached
    def outer() -> int:
        with ThreadPoolExecutor(N_THREADS) as threads:
            calls = [threads.submit(propagate(call)) for _ in range(N_THREADS)]
            return sum(one.result(DEADLINE_S) for one in calls)

    assert (outer(), n_built) == (N_THREADS, 1)


def test_a_cycle_through_a_thread_is_an_error_that_prints_it(cache: Cache) -> None:
    """It would wait for itself for ever."""

    @cache.cached
    def one() -> int:
        with ThreadPoolExecutor(1) as threads:
            return threads.submit(propagate(two)).result(DEADLINE_S)

    @cache.cached
    def two() -> int:
        with ThreadPoolExecutor(1) as threads:
            return threads.submit(propagate(one)).result(DEADLINE_S)

    with pytest.raises(RecursiveBuild) as raised:
        one()

    assert str(raised.value).startswith(f"recursion: {one.key()} -> {two.key()} -> {one.key()}.")


async def test_a_cycle_through_to_thread_is_an_error(cache: Cache) -> None:
    """`asyncio.to_thread` hands the context on by itself."""

    @cache.cached
    async def outer() -> int:
        return await asyncio.to_thread(inner)

    @cache.cached
    def inner() -> int:
        return asyncio.run(outer())

    with pytest.raises(RecursiveBuild):
        await outer()


def test_a_thread_without_the_context_is_not_seen(cache: Cache) -> None:
    """Which is why there is `propagate`."""

    @cache.cached
    def value() -> int:
        with ThreadPoolExecutor(1) as threads:
            threads.submit(track, dep.Tag("t")).result(DEADLINE_S)
        return 1

    value()

    assert cache.blocking.explain(value.key()).dependencies == ()


async def test_a_thread_that_outlives_its_build_is_ignored(cache: Cache) -> None:
    """What it tracks is too late, and breaks nothing."""
    may_go_on = threading.Event()
    threads = ThreadPoolExecutor(1)

    def late() -> None:
        assert may_go_on.wait(DEADLINE_S)
        track(dep.Tag("late"))

    @cache.cached
    def value() -> int:
        late_ones.append(threads.submit(propagate(late)))
        return 1

    late_ones: list[object] = []
    value()
    may_go_on.set()
    threads.shutdown(wait=True)
    await cache.invalidate(dep.Tag("late"))

    assert await is_fresh(value)


def test_outside_a_build_the_callers_variables_are_handed_on() -> None:
    """As `asyncio.to_thread` does; each call has its own copy of them."""
    trace.set("t-1")

    def read_and_set() -> str:
        seen = trace.get()
        trace.set("from the thread")
        return seen

    with ThreadPoolExecutor(1) as threads:
        seen = [threads.submit(propagate(read_and_set)).result(DEADLINE_S) for _ in range(2)]

    assert (seen, trace.get()) == (["t-1", "t-1"], "t-1")


def test_a_propagated_function_is_called_like_the_function() -> None:
    """With its arguments, its name, and what it raises."""

    def add(one: int, *, other: int) -> int:
        """Add."""
        if other < 0:
            raise ValueError(other)
        return one + other

    added = propagate(add)

    assert (added(1, other=2), added.__name__, added.__doc__) == (3, "add", "Add.")
    with pytest.raises(ValueError, match="-1"):
        added(1, other=-1)
