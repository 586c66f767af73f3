"""Fixtures of the tests of caches, workers and feeds: real stores, a clock that the test moves, both colours."""
# ruff: noqa: ANN401 - values of any type are what is tested

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Protocol

import pytest

from everfresh import Cache
from everfresh.feed.streaming import StreamFollower
from everfresh.testing.clock import FakeClock
from everfresh.testing.waiting import until
from tests.cache.by_hand import ByHand
from tests.cache.making import Colour, Gate
from tests.cache.upstreams import Upstream

__all__ = [
    "OpenCache",
    "by_hand",
    "cache",
    "clock",
    "colour",
    "gate",
    "open_cache",
    "pytest_generate_tests",
    "sqlite_url",
    "upstream",
    "url",
]


# What a cache does is counted on one kind of store, and each kind of store in its own tests: counting doubles the time.
STORES = ("memory", *(pytest.param(kind, marks=pytest.mark.uncounted) for kind in ("sqlite", "redis")))


class OpenCache(Protocol):
    """Opens caches, with the fake clock unless told otherwise; they are closed after the test."""

    def __call__(self, url: str = ..., **options: Any) -> Cache: ...


@pytest.fixture
def clock() -> FakeClock:
    """The store's clock. It stands still, so nothing is ever solved by a lease that runs out."""
    return FakeClock()


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """A store that processes share."""
    return f"sqlite:///{tmp_path / 'cache.db'}"


@pytest.fixture(params=STORES[:2])
def url(request: pytest.FixtureRequest, sqlite_url: str) -> str:
    """Each kind of store; Redis where a test is marked so."""
    if request.param == "redis":
        return str(request.getfixturevalue("redis_url"))
    return "memory:" if request.param == "memory" else sqlite_url


@pytest.hookimpl(tryfirst=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run tests that are marked so on Redis too."""
    if "url" in metafunc.fixturenames and metafunc.definition.get_closest_marker("redis"):
        metafunc.definition.add_marker(pytest.mark.parametrize("url", STORES, indirect=True))


@pytest.fixture
async def open_cache(clock: FakeClock) -> AsyncIterator[OpenCache]:
    """Open as many caches as a test needs."""
    async with AsyncExitStack() as stack:

        def open_one(url: str = "memory:", **options: Any) -> Cache:
            # Every roll is the highest, so that waits have one length.
            cache = Cache(url, **({"clock": clock, "dice": lambda: 1.0} | options))
            stack.push_async_callback(cache.aclose)
            follower = cache.engine.follower
            if isinstance(follower, StreamFollower):
                # Before it has heard of its store, nothing is held near.
                follower.poll()
                until(lambda: follower.is_current, what="the follower's first news")
            return cache

        yield open_one


@pytest.fixture
def cache(open_cache: OpenCache, url: str) -> Cache:
    """One cache on each kind of store."""
    return open_cache(url)


@pytest.fixture(params=["blocking", "asyncio"])
def colour(request: pytest.FixtureRequest, cache: Cache) -> Colour:
    """Both colours of function, in `cache`."""
    return Colour(cache, is_async=request.param == "asyncio")


@pytest.fixture(params=["blocking", "asyncio"])
def by_hand(request: pytest.FixtureRequest, cache: Cache) -> ByHand:
    """The operations of `cache`, in both colours."""
    return ByHand(cache, is_async=request.param == "asyncio")


@pytest.fixture
async def gate() -> Gate:
    """A place where builds stop."""
    return Gate()


@pytest.fixture
def upstream(cache: Cache) -> Upstream:
    """A fact that cached functions read."""
    return Upstream(cache)
