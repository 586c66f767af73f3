"""After `publish` returned nobody is served what it outdated: in this process, and in another on the same file."""
# ruff: noqa: ANN401 - values of any type are what is tested

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from everfresh import Cache, dep
from tests.cache.fixtures import OpenCache
from tests.cache.making import Colour, done
from tests.cache.processes import running
from tests.cache.upstreams import Upstream

pytestmark = pytest.mark.redis
TAG = dep.Tag("counter")
near_on_and_off = pytest.mark.parametrize("near", [10_000, 1, 0], ids=["near", "near of one", "no near"])


def counter(cache: Cache, facts: dict[str, int]) -> Any:
    """A cached function that gives how far a fact has come."""

    def count(name: str) -> int:
        return facts[name]

    return cache.cached(depends_on=[TAG])(count)


@near_on_and_off
async def test_whoever_publishes_reads_the_new_value(open_cache: OpenCache, url: str, near: int) -> None:
    """Every time, over a hundred changes, with hits in between."""
    facts = {"a": 0}
    cache = open_cache(url, near=near)
    count = counter(cache, facts)

    seen: list[int] = []
    for number in range(100):
        facts["a"] = number
        await cache.invalidate(TAG)
        seen += [count("a") for _ in range(3)]

    assert seen == [number for number in range(100) for _ in range(3)]


@near_on_and_off
def test_no_thread_reads_an_older_value_than_was_published_before(open_cache: OpenCache, url: str, near: int) -> None:
    """Readers in threads, a publisher in another: what a reader gets is never below what was told before it asked."""
    facts, published = {"a": 0}, [0]
    cache = open_cache(url, near=near)
    count = counter(cache, facts)

    def read() -> list[tuple[int, int]]:
        return [(published[0], count("a")) for _ in range(300)]

    def publish() -> None:
        for number in range(1, 100):
            facts["a"] = number
            cache.blocking.invalidate(TAG)
            published[0] = number

    with ThreadPoolExecutor(4) as threads:
        readers = [threads.submit(read) for _ in range(3)]
        threads.submit(publish).result(60)
        pairs = [pair for reader in readers for pair in reader.result(60)]

    assert [pair for pair in pairs if pair[1] < pair[0]] == []


@near_on_and_off
async def test_another_cache_on_the_same_file_reads_the_new_value(
    open_cache: OpenCache, sqlite_url: str, near: int
) -> None:
    """Two processes are two `Cache` objects; a near hit is confirmed, so it is exact over both."""
    facts = {"a": 0}
    publisher, reader = open_cache(sqlite_url), open_cache(sqlite_url, near=near)
    count = counter(reader, facts)

    seen: list[int] = []
    for number in range(50):
        facts["a"] = number
        await publisher.invalidate(TAG)
        seen += [count("a") for _ in range(3)]

    assert seen == [number for number in range(50) for _ in range(3)]


async def test_an_event_of_another_process_is_read_at_once(open_cache: OpenCache, sqlite_url: str) -> None:
    """As soon as the other process says that `publish` returned."""
    facts = {"a": 0}
    cache = open_cache(sqlite_url, clock=time.time)  # the clock that the processes share
    count = counter(cache, facts)
    for _ in range(3):
        count("a")

    with running("tests.cache.publisher_process", sqlite_url) as publisher:
        assert publisher.stdin is not None
        assert publisher.stdout is not None
        seen: list[int] = []
        for number in range(1, 20):
            facts["a"] = number
            publisher.stdin.write("counter\n")
            publisher.stdin.flush()
            assert publisher.stdout.readline() == "published\n"
            seen += [count("a"), count("a")]

    assert seen == [number for number in range(1, 20) for _ in range(2)]


async def test_what_was_put_over_is_never_got_again(open_cache: OpenCache, url: str) -> None:
    """Values put by hand are held to the same."""
    cache = open_cache(url)

    seen: list[int] = []
    for number in range(50):
        await cache.put("a", number)
        seen += [await cache.get("a"), cache.blocking.get("a")]

    assert seen == [number for number in range(50) for _ in range(2)]


async def test_a_reader_that_waited_since_before_the_event_may_get_the_old_value(
    colour: Colour, upstream: Upstream
) -> None:
    """And one that came after it never does: its own build begins after the event."""
    inside, go_on = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    @colour.cached(depends_on=[upstream.tag])
    async def value() -> int:
        number = upstream.read()
        if number == 1:
            loop.call_soon_threadsafe(inside.set)
            await _wait(go_on, loop)
        return number

    before = colour.start(value)
    await inside.wait()
    await upstream.change(2)
    after = colour.start(value)
    await asyncio.sleep(0)
    go_on.set()

    assert (await before, await after, await done(value())) == (1, 2, 2)


async def _wait(event: asyncio.Event, loop: asyncio.AbstractEventLoop) -> None:
    """Wait in the loop, or for it from another thread."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        asyncio.run_coroutine_threadsafe(event.wait(), loop).result(20)
    else:
        await event.wait()
