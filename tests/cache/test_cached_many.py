"""`@cache.cached_many`: functions that load many ids at once, each id an entry of its own."""

import asyncio
import threading
from typing import Any

import pytest

from everfresh import FOREVER, Cache, InvalidOption, State, ValueNotSupported, dep, track
from everfresh.protocol.requests import LoadMany
from everfresh.refresh import Worker
from everfresh.testing.waiting import soon
from tests.cache.fixtures import OpenCache
from tests.cache.making import Colour, Gate, done, entry_of, is_fresh, waited_for
from tests.cache.recording import recording
from tests.cache.upstreams import Broken

pytestmark = pytest.mark.redis


class Users:
    """A table of users, and what was asked of it."""

    def __init__(self, colour: Colour, **options: Any) -> None:  # noqa: ANN401 - options of any type
        self.names = {1: "ann", 2: "bob", 3: "cleo"}
        self.asked: list[list[int]] = []
        self.is_broken = False

        @colour.cached_many(depends_on=[dep.Id("user", dep.arg("ids"))], **options)
        async def users(ids: list[int]) -> dict[int, str]:
            self.asked.append(ids)
            if self.is_broken:
                raise Broken
            return {id_: self.names[id_] for id_ in ids if id_ in self.names}

        self.cached = users
        self._cache = colour.cache

    async def rename(self, id_: int, name: str) -> None:
        """Change one, and say so."""
        self.names[id_] = name
        await self._cache.invalidate(dep.Id("user", id_))


@pytest.fixture
def users(colour: Colour) -> Users:
    """The table."""
    return Users(colour)


async def test_the_function_runs_once_for_all_that_is_missing(users: Users) -> None:
    """And not at all for what is there."""
    values = [await done(users.cached([1, 2])), await done(users.cached([3, 2, 1]))]

    assert values == [{1: "ann", 2: "bob"}, {3: "cleo", 2: "bob", 1: "ann"}]
    assert users.asked == [[1, 2], [3]]


async def test_an_id_that_is_asked_for_twice_is_loaded_once(users: Users) -> None:
    """The function is given each id once."""
    assert await done(users.cached([1, 1])) == {1: "ann"}
    assert users.asked == [[1]]


async def test_no_ids_give_no_values(users: Users) -> None:
    """And the function is not run."""
    assert await done(users.cached([])) == {}
    assert users.asked == []


async def test_ids_as_one_text_are_refused(users: Users) -> None:
    """They would be read as its letters."""
    with pytest.raises(TypeError, match="list of ids"):
        await done(users.cached("12"))


async def test_an_id_that_is_left_out_is_cached_as_absent(users: Users) -> None:
    """It is not in the result, and is not asked for again until somebody says that it changed."""
    values = [await done(users.cached([1, 9])) for _ in range(2)]
    await users.rename(9, "zoe")
    later = await done(users.cached([1, 9]))

    assert (values, later) == ([{1: "ann"}, {1: "ann"}], {1: "ann", 9: "zoe"})
    assert users.asked == [[1, 9], [9]]


async def test_a_value_of_none_is_not_an_absent_one(colour: Colour) -> None:
    """It stands in the result."""

    @colour.cached_many()
    async def notes(ids: list[int]) -> dict[int, str | None]:
        return {1: None}

    values = [await done(notes([1, 2])) for _ in range(2)]

    assert values == [{1: None}, {1: None}]


async def test_each_id_is_touched_by_itself(users: Users) -> None:
    """`dep.arg` of the first parameter stands for the one id."""
    await done(users.cached([1, 2, 3]))
    await users.rename(2, "ben")

    assert await done(users.cached([1, 2, 3])) == {1: "ann", 2: "ben", 3: "cleo"}
    assert users.asked == [[1, 2, 3], [2]]


async def test_what_is_tracked_counts_for_every_id_of_the_run(colour: Colour) -> None:
    """Nobody can say for which of them it was said."""

    @colour.cached_many()
    async def users(ids: list[int]) -> dict[int, int]:
        track(dep.Tag("table"))
        return {id_: id_ for id_ in ids}

    await done(users([1, 2]))
    await colour.cache.invalidate(dep.Tag("table"))

    assert [(await entry_of(users.one, id_)).state for id_ in (1, 2)] == [State.DIRTY] * 2


async def test_one_id_is_a_cached_function_of_its_own(users: Users) -> None:
    """With the same entry; its value is None when there is none."""
    await done(users.cached([1, 9]))

    assert [await done(users.cached.one(id_)) for id_ in (1, 9, 2)] == ["ann", None, "bob"]
    assert users.cached.one.key(1) == f"{users.cached.name}(ids=1)"
    assert users.asked == [[1, 9], [2]]


async def test_a_worker_refreshes_single_ids_by_the_same_function(users: Users, cache: Cache) -> None:
    """With a list of one."""
    await done(users.cached([1, 2]))
    async with Worker(cache):
        await users.rename(2, "ben")
        await soon(lambda: is_fresh(users.cached.one, 2), what="the refresh")

    assert users.asked == [[1, 2], [2]]
    assert await done(users.cached([1, 2])) == {1: "ann", 2: "ben"}


async def test_further_parameters_tell_entries_apart(colour: Colour) -> None:
    """All ids of one call share them."""
    asked: list[tuple[list[int], str]] = []

    @colour.cached_many(key="title:{ids}:{locale}")
    async def titles(ids: list[int], locale: str = "en") -> dict[int, str]:
        asked.append((ids, locale))
        return {id_: f"{id_} {locale}" for id_ in ids}

    values = [await done(titles([1, 2])), await done(titles([1], "de")), await done(titles([2, 1], locale="en"))]

    assert values == [{1: "1 en", 2: "2 en"}, {1: "1 de"}, {2: "2 en", 1: "1 en"}]
    assert asked == [([1, 2], "en"), ([1], "de")]
    assert titles.one.key(1, "de") == "title:1:de"


async def test_loading_takes_one_round_trip(open_cache: OpenCache, sqlite_url: str, colour: Colour) -> None:
    """Whether anything is missing or not."""
    cache = open_cache(sqlite_url, near=0)
    users = Users(Colour(cache, is_async=colour.is_async))
    await done(users.cached([1, 2, 3]))

    with recording(cache) as steps:
        await done(users.cached([1, 2, 3]))

    assert [type(step) for step in steps.all] == [LoadMany]


async def test_what_was_looked_up_is_held_near(users: Users, cache: Cache) -> None:
    """Absent ones too."""
    for _ in range(2):
        await done(users.cached([1, 9]))
    with recording(cache) as steps:
        values = [await done(users.cached([1, 9])), await done(users.cached.one(1))]

    assert (values, steps.all) == ([{1: "ann"}, "ann"], [])


async def test_who_wants_ids_that_somebody_loads_waits_for_them_alone(colour: Colour, gate: Gate) -> None:
    """Its own are loaded meanwhile, and two who overlap never wait for each other."""
    asked: list[list[int]] = []

    @colour.cached_many()
    async def users(ids: list[int]) -> dict[int, int]:
        asked.append(ids)
        await gate.stop()
        return {id_: id_ for id_ in ids}

    tasks = [colour.start(users, [1, 2])]
    await gate.reached()
    tasks.append(colour.start(users, [3, 2]))
    await gate.reached()
    gate.open()

    assert [await task for task in tasks] == [{1: 1, 2: 2}, {3: 3, 2: 2}]
    assert asked == [[1, 2], [3]]


async def test_what_the_function_raises_is_raised(users: Users) -> None:
    """Nothing of that run is stored, and the next call runs it again."""
    users.is_broken = True
    with pytest.raises(Broken):
        await done(users.cached([1, 2]))
    users.is_broken = False

    assert await done(users.cached([1, 2])) == {1: "ann", 2: "bob"}


async def test_while_it_fails_the_last_good_values_stand_in(colour: Colour) -> None:
    """As far as the function lets them."""
    users = Users(colour, stale_if_error=FOREVER)
    await done(users.cached([1, 2]))
    users.is_broken = True
    await users.rename(1, "anna")

    assert await done(users.cached([1, 2])) == {1: "ann", 2: "bob"}


async def test_waiters_share_the_error(colour: Colour, gate: Gate) -> None:
    """Who waits for an id of a run that fails is told what it raised."""
    asked: list[list[int]] = []

    @colour.cached_many(key="user:{ids}")
    async def users(ids: list[int]) -> dict[int, int]:
        asked.append(ids)
        await gate.stop()
        raise Broken

    builder = colour.start(users, [1, 2])
    await gate.reached()
    waiter = colour.start(users, [2])
    await waited_for(colour.cache, "user:2", 1)
    gate.open()

    for task in (builder, waiter):
        with pytest.raises(Broken):
            await task
    assert asked == [[1, 2]]


async def test_who_is_cancelled_gives_all_leases_up(cache: Cache, gate: Gate) -> None:
    """At once: the clock stands still, so no lease runs out; the waiter loads what it wants itself."""
    asked: list[list[int]] = []

    @cache.cached_many(key="user:{ids}")
    async def users(ids: list[int]) -> dict[int, int]:
        asked.append(ids)
        await gate.stop()
        return {id_: id_ for id_ in ids}

    builder = asyncio.create_task(users([1, 2]))
    await gate.reached()
    waiter = asyncio.create_task(users([2]))
    await waited_for(cache, "user:2", 1)
    builder.cancel()
    await asyncio.gather(builder, return_exceptions=True)
    await gate.reached()
    gate.open()

    assert (await waiter, asked, await users.one.entry(1)) == ({2: 2}, [[1, 2], [2]], None)


def test_an_interrupted_blocking_run_gives_all_leases_up(cache: Cache) -> None:
    """Ctrl-C in the middle: the next call loads, it does not wait for leases."""
    interrupts = [KeyboardInterrupt()]

    @cache.cached_many
    def users(ids: list[int]) -> dict[int, int]:
        if interrupts:
            raise interrupts.pop()
        return {id_: id_ for id_ in ids}

    with pytest.raises(KeyboardInterrupt):
        users([1, 2])

    assert users([2, 1]) == {2: 2, 1: 1}


def test_threads_share_one_run(cache: Cache) -> None:
    """Of the ids that both want each is loaded once."""
    inside, go_on = threading.Event(), threading.Event()
    asked: list[int] = []
    found: list[dict[int, int]] = []

    @cache.cached_many
    def users(ids: list[int]) -> dict[int, int]:
        asked.extend(ids)
        inside.set()
        assert go_on.wait(20)
        return {id_: id_ for id_ in ids}

    threads = [threading.Thread(target=lambda ids=ids: found.append(users(ids))) for ids in ([1, 2], [2, 3])]
    for thread in threads:
        thread.start()
    assert inside.wait(20)
    go_on.set()
    for thread in threads:
        thread.join(20)

    assert sorted(asked) == [1, 2, 3]
    assert sorted(map(sorted, found)) == [[1, 2], [2, 3]]


async def test_a_build_that_asks_for_many_ids_depends_on_them(users: Users, colour: Colour) -> None:
    """On absent ones too: one that is there later changes the outer value."""

    @colour.cached()
    async def n_known() -> int:
        return len(await done(users.cached([1, 9])))

    counts = [await done(n_known())]
    await users.rename(9, "zoe")
    counts.append(await done(n_known()))

    assert counts == [1, 2]


async def test_a_run_whose_result_is_no_dict_is_an_error(colour: Colour) -> None:
    """It says what to give instead."""

    @colour.cached_many()
    async def users(ids: list[int]) -> dict[int, str]:
        return [str(id_) for id_ in ids]  # type: ignore[return-value]  # the mistake is the test

    with pytest.raises(ValueNotSupported, match="a dict of values by id, not list"):
        await done(users([1]))


async def test_a_result_by_something_else_is_an_error(colour: Colour) -> None:
    """All ids would be cached as absent, which nobody would notice."""

    @colour.cached_many()
    async def users(ids: list[int]) -> dict[int, str]:
        return {str(id_): "ann" for id_ in ids}  # type: ignore[misc]  # the mistake is the test

    with pytest.raises(ValueNotSupported, match="asked for 1 and gave '1'"):
        await done(users([1, 2]))


async def test_one_value_that_cannot_be_stored_does_not_take_the_others_along(colour: Colour) -> None:
    """They are stored, and the error is raised."""

    @colour.cached_many()
    async def users(ids: list[int]) -> dict[int, int]:
        return {id_: id_ if id_ != 2 else "two" for id_ in ids}  # type: ignore[misc]  # the mistake is the test

    with pytest.raises(ValueNotSupported):
        await done(users([1, 2, 3]))

    assert [await is_fresh(users.one, id_) for id_ in (1, 2, 3)] == [True, False, True]


async def test_an_error_is_cached_for_one_id_alone(colour: Colour) -> None:
    """Of several, nobody can say which one it is about."""
    asked: list[list[int]] = []

    @colour.cached_many(cache_errors=(Broken,))
    async def users(ids: list[int]) -> dict[int, int]:
        asked.append(ids)
        raise Broken("no 2")

    for ids in ([1, 2], [1, 2], [2], [2]):
        with pytest.raises(Broken):
            await done(users(ids))

    assert asked == [[1, 2], [1, 2], [2]]


@pytest.mark.parametrize("option", [{"ignore": ("ids",)}, {"key": "user:{number}"}], ids=repr)
def test_options_that_do_not_fit_are_refused(cache: Cache, option: dict[str, Any]) -> None:
    """The ids tell the entries apart."""

    def users(ids: list[int] = []) -> dict[int, int]:  # noqa: B006 - so that it could be ignored
        return {}

    with pytest.raises(InvalidOption):
        cache.cached_many(**option)(users)


def test_a_function_without_parameters_is_refused(cache: Cache) -> None:
    """It takes no ids."""

    def users() -> dict[int, int]:
        return {}

    with pytest.raises(InvalidOption, match="first parameter takes the ids"):
        cache.cached_many(users)  # type: ignore[arg-type,call-overload]  # the mistake is the test


async def test_a_function_that_takes_no_list_is_refused_at_its_first_call(colour: Colour) -> None:
    """Annotations are read only then."""

    @colour.cached_many()
    async def users(ids: int) -> dict[int, str]:
        return {}

    with pytest.raises(InvalidOption, match=r"ids: list\[int\]"):
        await done(users([1]))


async def test_one_id_is_no_list_of_them(colour: Colour) -> None:
    """The message says how it is written."""

    @colour.cached_many()
    async def users(ids: list[int]) -> dict[int, int]:
        return {id_: id_ for id_ in ids}

    for method in (users, users.fresh, users.warm):
        with pytest.raises(TypeError, match=r"it takes a list of ids, not one id. Write \[1\]"):
            await done(method(1))
