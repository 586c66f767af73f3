"""Workers and functions of many ids: what falls due together is built by one call."""
# ruff: noqa: ANN401 - functions of either colour are called alike

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from everfresh import Cache, State, dep
from everfresh.protocol.scheduling import BREAK_AFTER_FAILURES, LONGEST_PAUSE_S
from everfresh.refresh import Worker
from everfresh.testing.clock import FakeClock
from everfresh.testing.waiting import soon
from tests.cache.making import Colour, Gate, done, entry_of, is_fresh
from tests.cache.upstreams import Broken
from tests.refresh.ringing import Bell

ALL, OTHER, ONE = dep.Tag("all"), dep.Tag("other"), dep.Id("user", dep.arg("ids"))
N = 50


class Users:
    """A table of users, and the lists of ids that it was asked for."""

    def __init__(self) -> None:
        self.names = {number: f"user {number}" for number in range(N)}
        self.poison: set[int] = set()
        self.calls: list[list[int]] = []

    def load(self, ids: list[int]) -> dict[int, str]:
        """What is cached."""
        self.calls.append(list(ids))
        if self.poison & set(ids):
            raise Broken("one of them")
        return {number: self.names[number] for number in ids if number in self.names}


@pytest.fixture
def users() -> Users:
    """What the functions read."""
    return Users()


def loading(colour: Colour, users: Users, **options: Any) -> Any:
    """The cached function."""

    @colour.cached_many(**({"depends_on": [ALL, ONE]} | options))
    async def load(ids: list[int]) -> dict[int, str]:
        return users.load(ids)

    return load


async def all_fresh(function: Any, n: int = N, *further: Any) -> None:
    """Until the worker has built them all."""

    async def are_fresh() -> bool:
        return all([await is_fresh(function.one, number, *further) for number in range(n)])

    await soon(are_fresh, what="all refreshes")


async def test_what_one_event_touches_is_built_by_one_call(colour: Colour, users: Users) -> None:
    """As the function does for its readers."""
    load = loading(colour, users)
    await done(load(range(N)))
    users.names[7] = "another name"
    users.calls.clear()

    async with Worker(colour.cache):
        await colour.cache.invalidate(ALL)
        await all_fresh(load)

    assert [sorted(ids) for ids in users.calls] == [list(range(N))]
    assert (await done(load.one.peek(7)), await done(load.one.peek(8))) == ("another name", "user 8")


async def test_only_what_was_touched_is_asked_for(colour: Colour, users: Users) -> None:
    """Each id is an entry of its own."""
    load = loading(colour, users)
    await done(load(range(N)))
    users.calls.clear()

    async with Worker(colour.cache):
        await colour.cache.invalidate(dep.Id("user", 3), dep.Id("user", 5))
        await all_fresh(load)

    assert [sorted(ids) for ids in users.calls] == [[3, 5]]


async def test_calls_that_differ_in_more_than_the_id_are_built_apart(colour: Colour, users: Users) -> None:
    """One call of the function has one value of each further argument."""
    asked: list[tuple[str, int]] = []

    @colour.cached_many(depends_on=[ALL])
    async def load(ids: list[int], language: str) -> dict[int, str]:
        asked.append((language, len(ids)))
        return {number: f"{language} {number}" for number in ids}

    for language in ("de", "fr"):
        await done(load(range(4), language))
    asked.clear()
    async with Worker(colour.cache):
        await colour.cache.invalidate(ALL)
        for language in ("de", "fr"):
            await all_fresh(load, 4, language)

    assert sorted(asked) == [("de", 4), ("fr", 4)]
    assert await done(load.one.peek(1, "fr")) == "fr 1"


async def test_first_builds_are_made_by_one_call_too(colour: Colour, users: Users) -> None:
    """Those that `warm` queues."""
    load = loading(colour, users)

    async with Worker(colour.cache):
        await done(load.warm(range(N)))
        await all_fresh(load)

    assert sum(map(len, users.calls)) == N
    assert len(users.calls) < 5


async def test_an_id_that_is_gone_is_stored_as_such(colour: Colour, users: Users) -> None:
    """As for a reader."""
    load = loading(colour, users)
    await done(load(range(N)))
    del users.names[7]

    async with Worker(colour.cache):
        await colour.cache.invalidate(ALL)
        await all_fresh(load)
        users.calls.clear()
        found = await done(load([6, 7]))

    assert (found, users.calls) == ({6: "user 6"}, [])


@pytest.mark.parametrize("max_attempts", [1, 3, 8])
@pytest.mark.parametrize("rotten", [0, 7, N - 2])
async def test_an_id_that_makes_the_whole_call_fail_keeps_no_other_from_being_fresh(
    colour: Colour, users: Users, rotten: int, max_attempts: int
) -> None:
    """The call is made again in halves, at once: the clock of this test stands still."""
    load = loading(colour, users, max_attempts=max_attempts)
    await done(load(range(N)))
    users.poison = {rotten}
    failed: list[str] = []
    colour.cache.listen(lambda notice: failed.append(notice.name) if "failed" in notice.name else None)
    paused: list[str] = []
    colour.cache.listen(lambda notice: paused.append(notice.name) if "breaker" in notice.name else None)
    users.calls.clear()

    async def others_are_fresh() -> bool:
        return all([await is_fresh(load.one, number) for number in range(N) if number != rotten])

    async with Worker(colour.cache):
        await colour.cache.invalidate(ALL)
        await soon(others_are_fresh, what="the refreshes of the others")
        await soon(lambda: failed, what="the failure of the one")

    assert (failed, paused) == (["refresh.failed"], [])
    assert (await entry_of(load.one, rotten)).attempts == 1
    assert len(users.calls) <= 3 * 6


@pytest.mark.parametrize("max_attempts", [1, 3])
async def test_a_reader_whose_call_fails_takes_no_attempt_from_the_others(
    colour: Colour, users: Users, clock: FakeClock, max_attempts: int
) -> None:
    """Nor does it pause the function: the worker finds which of them it is."""
    load = loading(colour, users, max_attempts=max_attempts)
    await done(load(range(N)))
    users.poison = {7}
    told: list[str] = []
    colour.cache.listen(lambda notice: told.append(notice.name))
    await colour.cache.invalidate(ALL)
    with pytest.raises(Broken):
        await done(load(range(N)))
    clock.advance(60)

    async with Worker(colour.cache):
        await soon(lambda: told.count("refresh.done") == N - 1, what="the refreshes of the others")
        await soon(lambda: "refresh.failed" in told, what="the failure of the one")

    assert told.count("breaker.opened") == 0
    assert (await entry_of(load.one, 7)).attempts == 1


async def test_one_that_always_fails_is_tried_without_the_others_the_next_time(
    colour: Colour, users: Users, clock: FakeClock
) -> None:
    """And given up after its own tries."""
    load = loading(colour, users, max_attempts=3)
    await done(load(range(N)))
    users.poison = {2}
    told: list[str] = []
    colour.cache.listen(lambda notice: told.append(notice.name))
    bell = Bell(colour)
    await bell.hang()

    async with Worker(colour.cache):
        await colour.cache.invalidate(ALL)
        await soon(lambda: told.count("refresh.done") == N - 1, what="the refreshes of the others")
        await soon(lambda: told.count("refresh.failed") == 1, what="its first try")
        users.calls.clear()
        for n in (2, 3):
            clock.advance(60)
            await bell.ring()
            await soon(lambda n=n: told.count("refresh.failed") == n, what=f"try {n}")

    assert users.calls == [[2], [2]]
    assert [one.key for one in await colour.cache.entries(state="failed")] == [load.one.key(2)]


@pytest.mark.parametrize("max_attempts", [3, 8])
async def test_a_source_that_is_down_pauses_the_function_and_burns_no_attempts(
    colour: Colour, users: Users, clock: FakeClock, max_attempts: int
) -> None:
    """However long it is down, no id is given up for it."""
    load = loading(colour, users, max_attempts=max_attempts)
    await done(load(range(N)))
    users.poison = set(range(N))
    told: list[str] = []
    colour.cache.listen(lambda notice: told.append(notice.name))
    bell = Bell(colour)
    await bell.hang()
    users.calls.clear()

    async with Worker(colour.cache):
        await colour.cache.invalidate(ALL)
        await soon(lambda: told.count("refresh.failed") >= N, what="the failures")
        n_before_the_pause, n_pauses = len(users.calls), told.count("breaker.opened")
        for n in range(1, 4 * max_attempts):
            clock.advance(LONGEST_PAUSE_S)
            await bell.ring()
            await soon(lambda n=n: told.count("refresh.failed") >= N + n, what="a try")
    entries = [await entry_of(load.one, number) for number in range(N)]

    assert n_pauses == 1
    assert n_before_the_pause <= 2 + BREAK_AFTER_FAILURES
    assert {len(ids) for ids in users.calls[n_before_the_pause:]} == {1}
    assert {entry.state for entry in entries} == {State.DIRTY}
    assert max(entry.attempts for entry in entries) == 1


async def test_concurrency_counts_ids(colour: Colour, users: Users) -> None:
    """Each is a build of its own to the store, whichever call makes it."""
    load = loading(colour, users, concurrency=2)
    await done(load(range(7)))
    users.calls.clear()

    async with Worker(colour.cache):
        await colour.cache.invalidate(ALL)
        await all_fresh(load, 7)

    assert max(map(len, users.calls)) == 2
    assert sorted(number for ids in users.calls for number in ids) == list(range(7))


async def test_a_call_takes_one_place_of_the_worker(colour: Colour, users: Users, gate: Gate) -> None:
    """However many ids it has, the worker has room for another function."""

    @colour.cached_many(depends_on=[ALL])
    async def load(ids: list[int]) -> dict[int, str]:
        if users.calls:
            await gate.stop()
        return users.load(ids)

    @colour.cached(depends_on=[OTHER])
    async def other() -> int:
        return 1

    await done(load(range(N)))
    await done(other())
    async with Worker(colour.cache, concurrency=2):
        await colour.cache.invalidate(ALL)
        await gate.reached()
        await colour.cache.invalidate(OTHER)
        await soon(lambda: is_fresh(other), what="the other refresh")
        gate.open()
        await all_fresh(load)


async def test_a_worker_that_ends_gives_back_all_that_one_call_held(cache: Cache, users: Users, gate: Gate) -> None:
    """The next one takes them at once: the clock of this test stands still, so no lease runs out."""
    colour = Colour(cache, is_async=True)

    @colour.cached_many(depends_on=[ALL])
    async def load(ids: list[int]) -> dict[int, str]:
        if users.calls:
            await gate.stop()
        return users.load(ids)

    await done(load(range(N)))
    async with Worker(cache, grace=timedelta(0)):
        await cache.invalidate(ALL)
        await gate.reached()
    given_back = {one.state for one in await cache.entries()}
    gate.open()
    async with Worker(cache):
        await all_fresh(load)

    assert given_back == {State.DIRTY}


async def test_calls_in_threads_are_given_back_when_the_worker_ends(cache: Cache, users: Users, gate: Gate) -> None:
    """They cannot be cancelled, but others may begin what they have not finished."""
    colour = Colour(cache, is_async=False)

    @colour.cached_many(depends_on=[ALL])
    async def load(ids: list[int]) -> dict[int, str]:
        if users.calls:
            await gate.stop()
        return users.load(ids)

    async def work() -> None:
        async with Worker(cache, grace=timedelta(0)):
            await cache.invalidate(ALL)
            await gate.reached()

    async def are_given_back() -> bool:
        return {one.state for one in await cache.entries()} == {State.DIRTY}

    load(range(N))
    working = asyncio.create_task(work())
    await soon(are_given_back, what="the leases given back")
    gate.open()
    await working
