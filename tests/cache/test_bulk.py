"""`cached_many` with very many ids: every value that was built is stored, however long the store takes over them."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import pytest

from everfresh import Cache
from everfresh.protocol.queueing import TakeDue
from everfresh.protocol.reading_many import MAX_AT_ONCE
from everfresh.protocol.requests import UNLIMITED, Begin, Commit, Request
from everfresh.testing.clock import FakeClock
from everfresh.testing.waiting import until
from tests.cache.fixtures import OpenCache
from tests.cache.making import Colour, done
from tests.cache.upstreams import Broken

pytestmark = pytest.mark.uncounted

A = TypeVar("A")

LEASE_S = 0.1
SLOW: tuple[type[Request[Any]], ...] = (Begin, Commit)


class SlowStore:
    """A store in front of the store: while each step is under way, more than half of a lease goes by."""

    def __init__(self, cache: Cache, clock: FakeClock, name: str) -> None:
        self._store = cache.engine.store
        self._clock = clock
        self._due = TakeDue({name: UNLIMITED}, 1, LEASE_S)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - as the store has it
        return getattr(self._store, name)

    def carry_out(self, request: Request[A]) -> A:
        """Let time go by, as long as somebody renews what is held, and do it."""
        if type(request) in SLOW:
            self._clock.advance(0.6 * LEASE_S)
            until(self._is_renewed, what="a renewal of all leases that are held")
        return self._store.carry_out(request)

    async def carry_out_async(self, request: Request[A]) -> A:
        """The same; the loop stands still meanwhile."""
        if type(request) in SLOW:
            return self.carry_out(request)
        return await self._store.carry_out_async(request)

    def _is_renewed(self) -> bool:
        ends_at = self._store.carry_out(self._due).next_due
        return ends_at is None or ends_at >= self._clock() + 0.9 * LEASE_S


@contextmanager
def slow(cache: Cache, clock: FakeClock, name: str) -> Iterator[None]:
    """Make the store of the cache slow while the block runs."""
    store = cache.engine.store
    cache.engine.store = SlowStore(cache, clock, name)  # type: ignore[assignment]  # it hands on whatever is asked
    try:
        yield
    finally:
        cache.engine.store = store


@pytest.mark.parametrize("is_async", [False, True], ids=["blocking", "asyncio"])
async def test_leases_are_renewed_from_the_first_to_the_last_step(
    open_cache: OpenCache, url: str, clock: FakeClock, is_async: bool
) -> None:
    """Those of the first ids wait for the last lease to be taken, and those of the last for the first commits."""
    cache = open_cache(url, lease=timedelta(seconds=LEASE_S))
    colour = Colour(cache, is_async=is_async)
    asked: list[list[int]] = []

    @colour.cached_many()
    async def names(ids: list[int]) -> dict[int, str]:
        asked.append(ids)
        return {id_: f"user {id_}" for id_ in ids}

    with slow(cache, clock, names.name):
        values = await done(names([1, 2, 3]))
    again = await done(names([1, 2, 3]))

    assert (values == again, asked) == (True, [[1, 2, 3]])
    assert [(await done(names.one.entry(id_))).version for id_ in (1, 2, 3)] == [1, 1, 1]
    assert cache.engine.keeper._held == {}  # noqa: SLF001 - whoever held on would renew it for ever


class Table:
    """A function of many ids, and what was asked of it."""

    def __init__(self, colour: Colour) -> None:
        self.asked: list[int] = []
        self.was_there: list[bool] = []
        self.breaks_at: int | None = None

        @colour.cached_many()
        async def squares(ids: list[int]) -> dict[int, int]:
            self.asked.append(len(ids))
            self.was_there.append(await colour.cache.has(self.cached.one.key(0)) if colour.is_async else self._has(0))
            if len(self.asked) == self.breaks_at:
                raise Broken
            return {id_: id_ * id_ for id_ in ids}

        self.cached = squares
        self._cache = colour.cache

    def _has(self, id_: int) -> bool:
        return self._cache.blocking.has(self.cached.one.key(id_))


async def test_very_many_are_built_in_several_runs(colour: Colour) -> None:
    """What the first run gave is there for others before the second begins; nothing is built twice."""
    table = Table(colour)
    ids = range(MAX_AT_ONCE + 1)
    values = [await done(table.cached(ids)) for _ in range(2)]

    assert values == [{id_: id_ * id_ for id_ in ids}] * 2
    assert (table.asked, table.was_there) == ([MAX_AT_ONCE, 1], [False, True])
    assert (await colour.cache.coverage()).n_built == len(ids)


async def test_few_that_are_missing_among_very_many_are_built_in_one_run(colour: Colour) -> None:
    """The runs are counted by what is missing, not by what is asked for."""
    table = Table(colour)
    ids = range(2 * MAX_AT_ONCE)
    await done(table.cached(ids[1:-1]))
    table.asked.clear()
    await done(table.cached(ids))

    assert table.asked == [2]


async def test_after_a_run_that_raised_no_other_begins(colour: Colour) -> None:
    """The source is down, and each would wait for it."""
    table = Table(colour)
    table.breaks_at = 1
    with pytest.raises(Broken):
        await done(table.cached(range(MAX_AT_ONCE + 1)))

    assert table.asked == [MAX_AT_ONCE]


async def test_what_was_stored_before_a_run_raised_is_kept(colour: Colour) -> None:
    """Who asks again builds the rest."""
    table = Table(colour)
    table.breaks_at = 2
    with pytest.raises(Broken):
        await done(table.cached(range(MAX_AT_ONCE + 1)))
    await done(table.cached(range(MAX_AT_ONCE + 1)))

    assert table.asked == [MAX_AT_ONCE, 1, 1]


async def test_a_caller_who_goes_away_lets_go_of_all_leases(cache: Cache) -> None:
    """Nobody renews for a call that was given up; the next caller builds at once."""
    colour, asked, began = Colour(cache, is_async=True), list[int](), asyncio.Event()

    @colour.cached_many()
    async def names(ids: list[int]) -> dict[int, str]:
        asked.append(len(ids))
        if len(asked) == 1:
            began.set()
            await asyncio.get_running_loop().create_future()
        return {id_: f"user {id_}" for id_ in ids}

    call = colour.start(names, [1, 2])
    await began.wait()
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    held = dict(cache.engine.keeper._held)  # noqa: SLF001 - as above
    values = await done(names([1, 2]))

    assert (held, len(values), asked) == ({}, 2, [2, 2])


@pytest.mark.parametrize("is_many", [False, True], ids=["one", "many"])
async def test_it_is_told_when_a_value_could_not_be_stored(colour: Colour, is_many: bool) -> None:
    """Its lease was lost: the entry was deleted under it, or it ran out while the whole process stood still."""
    told: list[tuple[str, str]] = []
    colour.cache.listen(lambda notice: told.append((notice.name, notice.fields.get("key", ""))))

    def lose(key: str) -> None:
        colour.cache.blocking.delete(key)

    @colour.cached()
    async def one(number: int) -> int:
        lose(one.key(number))
        return number

    @colour.cached_many()
    async def many(ids: list[int]) -> dict[int, int]:
        lose(many.one.key(ids[0]))
        return {id_: id_ for id_ in ids}

    value = await done(many([1]) if is_many else one(1))

    assert value == ({1: 1} if is_many else 1)
    assert told == [("lease.lost", (many.one if is_many else one).key(1))]
