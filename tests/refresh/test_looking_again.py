"""When the queue is looked at after a build: whoever waits for its value goes first."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from everfresh import Cache, dep
from everfresh.protocol.queueing import TookDue
from everfresh.protocol.requests import Request
from everfresh.refresh import Worker, lanes
from everfresh.testing.passing import WatchedStore
from everfresh.testing.waiting import soon

NEVER_S = 3_600.0


@pytest.fixture
def looks() -> list[int]:
    """How many entries were taken at each look at the queue."""
    return []


@pytest.fixture
async def cache(looks: list[int]) -> AsyncIterator[Cache]:
    """A cache that tells of these."""

    def on_answer(_: Request[Any], answer: object) -> None:
        if isinstance(answer, TookDue):
            looks.append(len(answer.due))

    async with Cache() as cache:
        cache.engine.store = WatchedStore(cache.engine.store, on_answer)
        yield cache


@pytest.mark.parametrize("later_s", [0.0, NEVER_S])
async def test_what_was_all_that_was_due_is_built_before_it_is_looked_for_more(
    cache: Cache, looks: list[int], monkeypatch: pytest.MonkeyPatch, later_s: float
) -> None:
    """That look is put off; what falls due meanwhile rings by itself."""
    monkeypatch.setattr(lanes, "_LATER_S", later_s)
    numbers = iter(range(9))

    @cache.cached(depends_on=[dep.Tag("numbers")])
    async def number() -> int:
        return next(numbers)

    await number()
    async with Worker(cache):
        await soon(lambda: looks == [0], what="the first look")
        await cache.invalidate(dep.Tag("numbers"))
        await soon(lambda: 1 in looks, what="the refresh")
        await _let_run()
        if not later_s:
            await soon(lambda: looks[-1] == 0 and len(looks) > looks.index(1) + 1, what="the look after it")
        else:
            assert looks[-1] == 1

        await cache.invalidate(dep.Tag("numbers"))
        await soon(lambda: looks.count(1) == 2, what="the second refresh")


async def test_where_there_may_be_more_it_is_looked_for_at_once(
    cache: Cache, looks: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker has room for one at a time, and must not pause between two."""
    monkeypatch.setattr(lanes, "_LATER_S", NEVER_S)
    built: list[int] = []

    @cache.cached(depends_on=[dep.Tag("numbers")])
    async def number(n: int) -> int:
        built.append(n)
        return len(built)

    for n in range(3):
        await number(n)
    await cache.invalidate(dep.Tag("numbers"))
    async with Worker(cache, concurrency=1):
        await soon(lambda: len(built) == 6, what="all three refreshes")

    assert looks[:3] == [1, 1, 1]


async def _let_run() -> None:
    for _ in range(50):
        await asyncio.sleep(0)
