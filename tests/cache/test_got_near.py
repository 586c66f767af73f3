"""What is got by its key is held near where that is exact: nobody asks the store twice, or gets anything old."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from everfresh import Cache, NotInCache, dep
from everfresh.protocol.requests import Request
from everfresh.testing.clock import FakeClock
from tests.cache.by_hand import ByHand
from tests.cache.fixtures import OpenCache
from tests.cache.recording import recording

TAG = dep.Tag("t")


async def test_a_value_that_was_got_is_not_asked_for_again(by_hand: ByHand) -> None:
    """Neither is whether it is there; and each who gets it may change it."""
    await by_hand.put("k", [1])
    (await by_hand.get("k")).append(2)

    with recording(by_hand.cache) as asked:
        assert (await by_hand.get("k"), await by_hand.has("k"), asked.all) == ([1], True, [])


@pytest.mark.redis
@pytest.mark.parametrize("change", ["put", "delete", "invalidate"])
async def test_a_change_is_seen_at_once_by_who_made_it(by_hand: ByHand, change: str) -> None:
    """Whatever was held before."""
    await by_hand.put("k", "old", TAG)
    assert await by_hand.get("k") == "old"
    changes: dict[str, Callable[[], object]] = {
        "put": lambda: by_hand.put("k", "new"),
        "delete": lambda: by_hand.delete("k"),
        "invalidate": lambda: by_hand.invalidate(TAG),
    }
    await changes[change]()  # type: ignore[misc]  # each is a coroutine

    assert await by_hand.has("k") == (change == "put")
    if change == "put":
        assert await by_hand.get("k") == "new"


@pytest.mark.parametrize("shared", ["sqlite_url", "redis_url"])
async def test_so_is_one_that_another_cache_makes(
    request: pytest.FixtureRequest, open_cache: OpenCache, shared: str
) -> None:
    """As soon as it has happened there: over a network the store is asked each time."""
    url = str(request.getfixturevalue(shared))
    here, there = open_cache(url), open_cache(url)
    for number in range(20):
        await there.put("k", number)
        assert (await here.get("k"), here.blocking.get("k")) == (number, number)
    await there.delete("k")

    with pytest.raises(NotInCache):
        await here.get("k")


async def test_one_that_comes_while_the_store_is_asked_is_not_missed(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was read before it is not held."""
    store = cache.engine.store
    await cache.put("k", "old")

    class Slow:
        """Answers when another has put something meanwhile."""

        is_shared = store.is_shared

        def carry_out(self, request: Request[Any]) -> object:
            answer = store.carry_out(request)
            monkeypatch.setattr(cache.engine, "store", store)
            cache.blocking.put("k", "new")
            return answer

    monkeypatch.setattr(cache.engine, "store", Slow())
    assert await asyncio.to_thread(cache.blocking.get, "k") == "old"

    assert await cache.get("k") == "new"


async def test_a_value_whose_time_is_over_is_not_got(by_hand: ByHand, clock: FakeClock) -> None:
    """Nobody tells of that."""
    await by_hand.put("k", 1, expires=timedelta(seconds=5))
    assert await by_hand.get("k") == 1
    clock.advance(5)

    assert not await by_hand.has("k")


async def test_a_hit_ends_a_miss_there_too(by_hand: ByHand) -> None:
    """The put after it is of what was just saved, and answers nothing."""
    assert not await by_hand.has("k")
    await by_hand.put("k", 1, TAG)
    assert (await by_hand.get("k"), await by_hand.get("k")) == (1, 1)
    await by_hand.invalidate(TAG)
    await by_hand.put("k", 2, TAG)

    assert await by_hand.get("k") == 2


async def test_a_function_and_a_key_hold_each_their_own(cache: Cache) -> None:
    """The function's value has its type, got by its key it is plain data; whichever is asked first."""

    @cache.cached(key="point:{n}")
    def point(n: int) -> tuple[int, int]:
        return (n, n)

    for _ in range(2):
        assert (point(1), await cache.get("point:1"), point(1)) == ((1, 1), [1, 1], (1, 1))
    await cache.delete("point:1")
    await cache.put("point:1", "by hand")
    assert await cache.get("point:1") == "by hand"
    assert point(1) == (1, 1)
