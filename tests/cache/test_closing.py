"""The end of a cache: nothing works afterwards, nothing goes on behind its back, and nobody hangs."""

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from everfresh import FOREVER, Cache, Event, EverfreshError, StoreClosed, dep
from tests.cache.fixtures import OpenCache
from tests.cache.making import Colour, Gate, done
from tests.cache.processes import ROOT
from tests.cache.upstreams import Upstream

pytestmark = pytest.mark.redis
Operation = Callable[[Cache], Any]

OPERATIONS: dict[str, Operation] = {
    "publish": lambda cache: cache.publish(Event("a")),
    "invalidate": lambda cache: cache.invalidate(dep.Tag("t")),
    "touched_by": lambda cache: cache.touched_by(Event("a")),
    "put": lambda cache: cache.put("a", 1),
    "get": lambda cache: cache.get("a"),
    "has": lambda cache: cache.has("a"),
    "delete": lambda cache: cache.delete("a"),
    "stored": lambda cache: cache.stored("a"),
    "position": lambda cache: cache.position(),
}


@pytest.mark.parametrize("name", OPERATIONS)
async def test_a_closed_cache_says_so(cache: Cache, name: str) -> None:
    """Whatever is asked of it."""
    await cache.put("a", 1)
    cache.close()

    with pytest.raises(StoreClosed, match="was closed"):
        await OPERATIONS[name](cache)


@pytest.mark.parametrize("way", ["__call__", "fresh", "peek", "refresh", "entry"])
async def test_a_function_of_a_closed_cache_says_so(colour: Colour, way: str) -> None:
    """Also when the value was at hand in this process."""

    @colour.cached()
    async def value() -> int:
        return 1

    for _ in range(3):
        await done(value())
    await colour.cache.aclose()

    with pytest.raises(StoreClosed):
        await done(getattr(value, way)())


async def test_the_feed_of_a_closed_cache_says_so(cache: Cache) -> None:
    """At the door, and inside."""
    cache.close()

    with pytest.raises(StoreClosed):
        async with cache.feed():
            pass


async def test_closing_twice_is_no_error(cache: Cache) -> None:
    """In any colour, so that nobody needs to know whether somebody else did."""
    cache.close()
    cache.close()
    await cache.aclose()


def test_a_block_closes_its_cache(url: str) -> None:
    """The usual way in blocking code."""
    with Cache(url) as cache:
        cache.blocking.put("a", 1)

    with pytest.raises(StoreClosed):
        cache.blocking.get("a")


async def test_an_asynchronous_block_closes_its_cache(url: str) -> None:
    """The usual way in an event loop."""
    async with Cache(url) as cache:
        await cache.put("a", 1)

    with pytest.raises(StoreClosed):
        await cache.get("a")


def test_a_store_on_disk_is_there_after_closing(sqlite_url: str) -> None:
    """It survives the process."""
    with Cache(sqlite_url) as cache:
        cache.blocking.put("a", 1)

    with Cache(sqlite_url) as again:
        assert again.blocking.get("a") == 1


def test_no_thread_of_a_cache_outlives_it(open_cache: OpenCache, url: str) -> None:
    """Neither those that renew leases nor those that follow the feed or refresh."""
    before = set(threading.enumerate())
    cache = open_cache(url)

    @cache.cached(depends_on=[dep.Tag("t")], stale_while_revalidate=FOREVER)
    def value() -> int:
        return 1

    value()
    watching = value.watch()
    next(watching)
    cache.blocking.invalidate(dep.Tag("t"))
    value()
    watching.close()
    cache.close()

    assert [thread for thread in threading.enumerate() if thread not in before] == []


async def test_closing_cancels_a_refresh_in_the_background(upstream: Upstream, cache: Cache, gate: Gate) -> None:
    """Nobody waits for it, so nothing is lost but time; its task does not outlive the cache."""
    ended: list[str] = []

    @cache.cached(depends_on=[upstream.tag], stale_while_revalidate=FOREVER)
    async def value() -> int:
        try:
            if upstream.n_read:
                await gate.stop()
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise
        return upstream.read()

    await value()
    await upstream.announce()
    await value()
    await gate.reached()
    await cache.aclose()

    assert ended == ["cancelled"]


async def test_closing_waits_for_a_blocking_refresh_in_the_background(
    upstream: Upstream, cache: Cache, gate: Gate
) -> None:
    """It cannot be cancelled, and it must not find its store gone."""

    @cache.cached(depends_on=[upstream.tag], stale_while_revalidate=FOREVER)
    def value() -> int:
        if upstream.n_read:
            asyncio.run_coroutine_threadsafe(gate.stop(), loop).result(20)
        return upstream.read()

    loop = asyncio.get_running_loop()
    value()
    await upstream.announce()
    value()
    await gate.reached()
    closing = asyncio.create_task(cache.aclose())
    await asyncio.sleep(0)
    gate.open()
    await closing

    assert upstream.n_read == 2


async def test_who_builds_when_the_cache_is_closed_is_told(colour: Colour, gate: Gate) -> None:
    """Its value has nowhere to go."""

    @colour.cached()
    async def value() -> int:
        await gate.stop()
        return 1

    builder = colour.start(value)
    await gate.reached()
    await colour.cache.aclose()
    gate.open()

    with pytest.raises(StoreClosed):
        await builder


async def test_who_waits_for_a_build_when_the_cache_is_closed_is_told(colour: Colour, gate: Gate) -> None:
    """At once, and not when a lease has run out: the clock of this test stands still."""

    @colour.cached()
    async def value() -> int:
        await gate.stop()
        return 1

    builder = colour.start(value)
    await gate.reached()
    waiter = colour.start(value)
    await colour.cache.aclose()
    gate.open()

    with pytest.raises(StoreClosed):
        await waiter
    with pytest.raises(StoreClosed):
        await builder


FORKED = """
import os, sys
from everfresh import Cache
cache = Cache(sys.argv[1])

@cache.cached
def value() -> int:
    return 1

for _ in range(3):
    value()
child = os.fork()
if child == 0:
    try:
        print("got", value())
    except Exception as error:
        print(type(error).__name__, error, flush=True)
    os._exit(0)
os.waitpid(child, 0)
print("parent", value(), flush=True)
cache.close()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_process_is_told_to_open_the_store_itself(sqlite_url: str) -> None:
    """A connection does not survive a fork; using it would damage the file."""
    run = subprocess.run(
        [sys.executable, "-c", FORKED, sqlite_url], cwd=ROOT, capture_output=True, text=True, timeout=30, check=True
    )

    assert "Make the Cache after the fork" in run.stdout
    assert "parent 1" in run.stdout


def test_every_such_error_can_be_caught_as_one(cache: Cache) -> None:
    """`EverfreshError` is the base of what is raised on purpose."""
    cache.close()

    with pytest.raises(EverfreshError):
        cache.blocking.get("a")
