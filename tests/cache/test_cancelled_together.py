"""Who is cancelled while it takes several leases, or writes what they were for, leaves none of them held.

The clock of these tests stands still, so no lease ever runs out: whoever reads next begins at once, or never.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from everfresh import Cache, State, StoreUnavailable, dep
from everfresh.protocol.requests import Begin, Commit, GiveUp, LoadMany, Request
from tests.cache.fixtures import OpenCache
from tests.cache.halting import Halt, halting

IDS = [1, 2, 3, 4]
DEADLINE_S = 20.0


class Process:
    """One process on the file: its functions, and what they were asked for."""

    def __init__(self, cache: Cache) -> None:
        self.cache = cache
        self.asked: list[int] = []
        self.users = cache.cached_many(depends_on=[dep.Tag("users")], key="user:{ids}")(self._users)
        self.page = cache.cached(depends_on=[dep.Tag("pages")], key="page:{number}")(self._page)

    async def _users(self, ids: list[int]) -> dict[int, int]:
        self.asked += ids
        return {id_: id_ * 10 for id_ in ids}

    async def _page(self, number: int) -> int:
        self.asked.append(number)
        return number * 10

    async def read_users(self) -> list[int]:
        """Those of all ids, by one run."""
        return [*(await self.users(IDS)).values()]

    async def read_pages(self) -> list[int]:
        """Those of all numbers, each by a run of its own."""
        return await self.page.many(IDS)


Reading = Callable[[Process], Coroutine[Any, Any, list[int]]]


@pytest.fixture
def one(open_cache: OpenCache, sqlite_url: str) -> Process:
    """The process in which somebody is cancelled."""
    return Process(open_cache(sqlite_url))


@pytest.fixture
def other(open_cache: OpenCache, sqlite_url: str) -> Process:
    """Another process on the same file."""
    return Process(open_cache(sqlite_url))


async def cancelled_at(halt: Halt, task: asyncio.Task[list[int]], *, n_times: int = 1) -> None:
    """Cancel the task while the step is under way, let that go, and wait for the task's end."""
    await halt.reached()
    for _ in range(n_times):
        task.cancel()
        # The task is told now, and not only when the step is done.
        await asyncio.wait([task], timeout=0)
    halt.let_go()
    async with asyncio.timeout(DEADLINE_S):
        await asyncio.wait([task])


STEPS: list[tuple[type[Request[Any]], int]] = [
    (LoadMany, 1),
    *((Begin, n) for n in (1, 2, 3, 4)),
    *((Commit, n) for n in (1, 2, 3, 4)),
]


@pytest.mark.parametrize("read", [Process.read_users, Process.read_pages], ids=["cached_many", "many"])
@pytest.mark.parametrize(("kind", "n"), STEPS, ids=[f"{kind.__name__} {n}" for kind, n in STEPS])
@pytest.mark.parametrize("is_known", [False, True], ids=["first build", "rebuild"])
async def test_another_process_reads_at_once(
    one: Process, other: Process, read: Reading, kind: type[Request[Any]], n: int, *, is_known: bool
) -> None:
    """Whatever step it was cancelled in; what was committed stays, and the rest is as it was before."""
    if is_known:
        await read(one)
        await one.cache.invalidate(dep.Tag("users"), dep.Tag("pages"))
    with halting(one.cache, kind, n) as halt:
        reader = asyncio.create_task(read(one))
        await cancelled_at(halt, reader)
    left = await other.cache.entries()
    fresh = [entry.key for entry in left if entry.state is State.FRESH]

    async with asyncio.timeout(DEADLINE_S):
        values = await read(other)

    assert reader.cancelled()
    assert values == [10, 20, 30, 40]
    assert {entry.state for entry in left} <= {State.FRESH, State.DIRTY}
    assert len(left) == (len(IDS) if is_known else len(fresh))
    assert len(other.asked) == len(IDS) - len(fresh)


@pytest.mark.parametrize("n", [1, 3])
async def test_a_commit_under_way_is_done_and_those_after_it_are_not(one: Process, other: Process, n: int) -> None:
    """A value that is stored is stored whole; the run's other values are lost with their reader."""
    with halting(one.cache, Commit, n) as halt:
        await cancelled_at(halt, asyncio.create_task(one.read_users()))

    await other.read_users()

    assert other.asked == IDS[n:]


@pytest.mark.parametrize("n", [1, 2, 3, 4])
async def test_who_is_cancelled_again_while_it_gives_leases_back_gives_all_back(
    one: Process, other: Process, n: int
) -> None:
    """A server that stops cancels what a timeout has cancelled before."""
    with halting(one.cache, GiveUp, n) as halt, halting(one.cache, Begin, 4) as begun:
        reader = asyncio.create_task(one.read_users())
        await begun.reached()
        reader.cancel()
        begun.let_go()
        await cancelled_at(halt, reader, n_times=2)
    async with asyncio.timeout(DEADLINE_S):
        await other.read_users()

    assert reader.cancelled()
    assert other.asked == IDS


async def test_a_cancellation_while_leases_are_given_back_is_not_lost(one: Process, other: Process) -> None:
    """Though they were given back for another reason, a store that did not answer."""
    with halting(one.cache, GiveUp) as halt, halting(one.cache, Begin, 4) as begun:
        reader = asyncio.create_task(one.read_users())
        await begun.reached()
        begun.let_go(StoreUnavailable("the disk is full"))
        await cancelled_at(halt, reader)
    async with asyncio.timeout(DEADLINE_S):
        await other.read_users()

    assert reader.cancelled()
    assert other.asked == IDS
