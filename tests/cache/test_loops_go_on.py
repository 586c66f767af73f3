"""An event loop is never kept waiting by a store over a network, whatever a function says while it builds."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from everfresh import Cache, dep, track
from everfresh.model.entry import State
from everfresh.stores.redis import RedisStore
from everfresh.testing.waiting import soon
from tests.redis_servers import RedisServer, redis_server


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    """One that stands still at times."""
    with redis_server() as server:
        yield server


@pytest.fixture
def cache(server: RedisServer) -> Iterator[Cache]:
    """A cache there, empty."""
    with server.client() as client:
        client.flushall()
    with Cache(server.url, near=0) as cache:
        yield cache


@contextmanager
def standing_still(server: RedisServer, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Whoever asks the server in the block waits in vain, and the log says so."""
    with caplog.at_level(logging.WARNING, logger="everfresh"):
        server.pause()
        try:
            yield
        finally:
            server.resume()
    assert "store.unavailable" not in caplog.text


async def test_a_new_shape_is_told_later(cache: Cache, server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    """With the commit; events find the entry by it."""

    @cache.cached
    async def value() -> int:
        with standing_still(server, caplog):
            track(dep.Id("never seen before", 1))
        return 1

    assert await value() == 1
    assert await value.peek() == 1

    await cache.invalidate(dep.Id("never seen before", 1))

    entry = await value.entry()
    assert entry is not None
    assert entry.state is State.DIRTY


async def test_an_event_about_a_shape_that_is_told_later_is_not_lost(cache: Cache) -> None:
    """The function may have read the fact before: what it gave is built again."""
    n_built = 0

    @cache.cached
    async def value() -> int:
        nonlocal n_built
        n_built += 1
        track(dep.Id("never seen before", 1))
        built = n_built
        if n_built == 1:
            await cache.invalidate(dep.Id("never seen before", 1))
        return built

    await value()

    assert await value() == 2


async def test_another_entry_is_looked_at_later(
    cache: Cache, server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """When the function has ended; from then on its changes touch what was built."""

    @cache.cached
    async def value() -> int:
        with standing_still(server, caplog):
            track(dep.Call("other"))
        return 1

    await cache.put("other", 1)
    assert await value() == 1
    assert await value.peek() == 1

    await cache.put("other", 2)

    entry = await value.entry()
    assert entry is not None
    assert entry.state is State.DIRTY


async def test_another_entry_that_changed_meanwhile_is_no_ground_to_stand_on(cache: Cache) -> None:
    """Which of its values the function meant, nobody knows."""
    n_built = 0

    @cache.cached
    async def value() -> int:
        nonlocal n_built
        n_built += 1
        track(dep.Call("other"))
        built = n_built
        if n_built == 1:
            await cache.put("other", 2)
        return built

    await cache.put("other", 1)

    await value()

    assert await value() == 2


async def test_one_whose_build_failed_is_looked_at_later(
    cache: Cache, server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Who goes on without it hangs on it all the same."""

    @cache.cached
    async def inner() -> int:
        raise LookupError("no such thing")

    @cache.cached
    async def outer() -> int:
        try:
            return await inner()
        except LookupError:
            server.resume()
            return 0

    assert isinstance(cache.engine.store, RedisStore)
    cache.engine.store.listen(lambda records: server.pause() if any("inner" in one.key for one in records) else None)
    with caplog.at_level(logging.WARNING, logger="everfresh"):
        assert await outer() == 0

    assert "store.unavailable" not in caplog.text
    explained = await cache.explain(outer.key())
    assert any("inner" in str(one) for one in explained.dependencies)


async def test_blocking_code_in_a_loop_looks_when_it_has_ended(cache: Cache) -> None:
    """It keeps the loop waiting anyway."""

    @cache.cached
    def value() -> int:
        track(dep.Call("other"))
        return 1

    await cache.put("other", 1)
    assert value() == 1
    await cache.put("other", 2)

    async def is_dirty() -> bool:
        entry = value.entry()
        return entry is not None and entry.state is State.DIRTY

    await soon(is_dirty, what="the change")
