"""Misses that are met in another task or thread than the put: each is for who asked, and fences what that puts."""

import asyncio
import gc
import threading
import weakref
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from everfresh import Cache, NotInCache, StoreError, dep
from everfresh.cache import misses
from everfresh.cache.misses import Asked, Known, Miss, Place, Slip
from everfresh.model.entry import Key
from everfresh.model.position import Position
from tests.cache.breaking import out_of_order
from tests.cache.fixtures import OpenCache
from tests.cache.making import in_empty_context

TAG = dep.Tag("t")


async def waits_for(cache: Cache, key: str) -> Any:  # noqa: ANN401 - whatever was put
    """With a time limit, for which a task of its own is made before Python 3.12."""
    return await asyncio.wait_for(cache.get(key), 20)


async def makes_a_task(cache: Cache, key: str) -> Any:  # noqa: ANN401 - as above
    """By hand."""
    return await asyncio.create_task(cache.get(key))


async def gathers(cache: Cache, key: str) -> Any:  # noqa: ANN401 - as above
    """With another."""
    return (await asyncio.gather(cache.get(key), cache.has("another")))[0]


async def asks_in_a_thread(cache: Cache, key: str) -> Any:  # noqa: ANN401 - as above
    """Without blocking the loop."""
    return await asyncio.to_thread(cache.blocking.get, key)


async def has_it_in_a_thread(cache: Cache, key: str) -> None:
    """The same by `has`."""
    if not await asyncio.to_thread(cache.blocking.has, key):
        raise NotInCache(key)


async def asks_in_the_executor(cache: Cache, key: str) -> Any:  # noqa: ANN401 - as above
    """Whose threads know nothing of who asks."""
    return await asyncio.get_running_loop().run_in_executor(None, cache.blocking.get, key)


Look = Callable[[Cache, str], Awaitable[Any]]
LOOKS: list[Look] = [waits_for, makes_a_task, gathers, asks_in_a_thread, has_it_in_a_thread, asks_in_the_executor]


@pytest.fixture(params=LOOKS, ids=lambda look: look.__name__)
def look(request: pytest.FixtureRequest) -> Look:
    """Each way to look in a task or thread of its own."""
    return request.param


async def missed(look: Look, cache: Cache, key: str = "a") -> None:
    """The value is not there."""
    with pytest.raises(NotInCache):
        await look(cache, key)


async def test_a_miss_fences_the_put_of_who_asked(cache: Cache, look: Look) -> None:
    """Miss, load the old, invalidate, put the old: the next get misses."""
    await missed(look, cache)
    await cache.invalidate(TAG)
    await cache.put("a", "old", TAG)

    assert not await cache.has("a")


async def test_what_was_not_touched_since_the_miss_is_stored(cache: Cache, look: Look) -> None:
    """The fence is about the value's own dependencies, and about what came after."""
    await cache.invalidate(TAG)
    await missed(look, cache)
    await cache.invalidate(dep.Tag("other"))
    await cache.put("a", "new", TAG)

    assert await cache.get("a") == "new"


async def test_a_miss_is_for_one_put(cache: Cache, look: Look) -> None:
    """What is loaded after a put was refused is new."""
    await missed(look, cache)
    await cache.invalidate(TAG)
    await cache.put("a", "old", TAG)
    await cache.put("a", "new", TAG)

    assert await cache.get("a") == "new"


async def test_a_put_in_a_task_of_its_own_is_fenced_too(cache: Cache, look: Look) -> None:
    """As `wait_for(cache.put(...), 1)` makes one."""
    await missed(look, cache)
    await cache.invalidate(TAG)
    await asyncio.create_task(cache.put("a", "old", TAG))

    assert not await cache.has("a")


async def test_who_asks_in_tasks_of_its_own_at_once_is_fenced_by_its_own_misses(cache: Cache, look: Look) -> None:
    """Of two requests for one key the one that looked before the event is refused, the other is not, and stays."""
    await cache.has("so that both are started by one who asks too")
    before, after = Steps(), Steps()
    there: list[object] = []

    async def load_and_put(value: str, steps: Steps) -> None:
        await missed(look, cache)
        await steps.pause()
        await cache.put("a", value, TAG)
        stored = await cache.stored("a")
        there.append(None if stored is None else stored.value)

    early = asyncio.create_task(load_and_put("old", before))
    await before.reached.wait()
    await cache.invalidate(TAG)
    late = asyncio.create_task(load_and_put("new", after))
    await after.reached.wait()
    for steps, task in ((after, late), (before, early)):
        steps.go_on.set()
        await task

    assert there == [b"\xa3new", b"\xa3new"]


async def test_the_earlier_of_two_that_asked_at_once_may_put_first(cache: Cache, look: Look) -> None:
    """It is refused, and takes nothing from the other's fence."""
    steps = Steps()

    async def load_and_put() -> None:
        await missed(look, cache)
        await steps.pause()
        await cache.put("a", "old", TAG)

    late = asyncio.create_task(load_and_put())
    await steps.reached.wait()
    await missed(look, cache)
    await cache.put("a", "mine, in time", TAG)
    await cache.invalidate(TAG)
    steps.go_on.set()
    await late

    assert not await cache.has("a")


@pytest.mark.parametrize("is_told_between", [True, False])
async def test_handlers_that_share_the_blocking_cache_of_a_module_keep_their_own_misses(
    cache: Cache, is_told_between: bool
) -> None:
    """The put of one takes no fence from the other, whether the event comes between the misses or between the puts."""
    blocking = cache.blocking
    before, after = Steps(), Steps()

    async def load_and_put(value: str, steps: Steps) -> None:
        with pytest.raises(NotInCache):
            await asyncio.to_thread(blocking.get, "a")
        await steps.pause()
        await cache.put("a", value, TAG)

    early = asyncio.create_task(load_and_put("old", before))
    await before.reached.wait()
    if is_told_between:
        await cache.invalidate(TAG)
    late = asyncio.create_task(load_and_put("new", after))
    await after.reached.wait()
    after.go_on.set()
    await late
    if not is_told_between:
        await cache.invalidate(TAG)
    before.go_on.set()
    await early

    assert await cache.has("a") is is_told_between
    assert not is_told_between or await cache.get("a") == "new"


async def test_a_task_that_fills_is_fenced_by_the_miss_it_was_started_for(cache: Cache, look: Look) -> None:
    """Though who started it has missed again since, and started another."""
    before, after = Steps(), Steps()

    async def fill(value: str, steps: Steps) -> None:
        await steps.pause()
        await cache.put("a", value, TAG)

    await missed(look, cache)
    early = asyncio.create_task(fill("old", before))
    await before.reached.wait()
    await cache.invalidate(TAG)
    await missed(look, cache)
    late = asyncio.create_task(fill("new", after))
    await after.reached.wait()
    after.go_on.set()
    await late
    before.go_on.set()
    await early

    assert await cache.get("a") == "new"


async def test_a_handler_that_misses_and_does_not_put_refuses_no_other(cache: Cache, look: Look) -> None:
    """Though both come from one that has used the cache before: what is put here has just been written."""
    await cache.put("known", 1, TAG)
    await missed(look, cache, "warm-up")

    async def read() -> None:
        await missed(look, cache)

    async def write() -> None:
        await cache.invalidate(TAG)
        await cache.put("a", "new", TAG)

    await asyncio.create_task(read())
    await asyncio.create_task(write())

    assert await cache.has("a")


async def test_who_started_a_handler_that_misses_may_put(cache: Cache, look: Look) -> None:
    """It may have nothing to do with it, as a server with a request."""
    await cache.put("known", 1, TAG)
    await missed(look, cache, "warm-up")

    async def read() -> None:
        await missed(look, cache)

    await asyncio.create_task(read())
    await cache.invalidate(TAG)
    await cache.put("a", "new", TAG)

    assert await cache.has("a")


async def test_a_hit_answers_a_miss(cache: Cache, look: Look) -> None:
    """Somebody has put meanwhile; what is put later has nothing to do with the miss."""

    async def put() -> None:
        await cache.put("a", "of another", TAG)

    await missed(look, cache)
    await in_empty_context(put)
    await look(cache, "a")
    await cache.invalidate(TAG)
    await cache.put("a", "new", TAG)

    assert await cache.has("a")


async def test_of_two_misses_the_newer_counts(cache: Cache, look: Look) -> None:
    """What is loaded after it is new, as after a miss that was met here."""
    await missed(look, cache)
    await cache.invalidate(TAG)
    await missed(look, cache)
    await cache.put("a", "new", TAG)

    assert await cache.get("a") == "new"


async def test_a_look_that_is_not_done_yet_leaves_the_miss_before_it(cache: Cache) -> None:
    """Nobody knows what comes of it."""
    await missed(waits_for, cache)
    await cache.invalidate(TAG)
    again = cache.has("a")
    await cache.put("a", "old", TAG)
    again.close()

    assert not await cache.has("a")


async def test_a_look_that_failed_leaves_the_miss_before_it(open_cache: OpenCache, sqlite_url: str, look: Look) -> None:
    """As when the store does not answer for a moment."""
    cache = open_cache(sqlite_url)
    await missed(look, cache)
    with out_of_order(sqlite_url), pytest.raises(StoreError):
        await look(cache, "a")
    await cache.invalidate(TAG)
    await cache.put("a", "old", TAG)

    assert not await cache.has("a")


async def test_a_put_with_a_limit_uses_the_miss_up(cache: Cache, look: Look) -> None:
    """It runs in a task of its own; what is put next has just been written."""
    await missed(look, cache)
    await asyncio.wait_for(cache.put("a", "loaded", TAG), 20)
    await cache.invalidate(TAG)
    await cache.put("a", "new", TAG)

    assert await cache.has("a")


def test_of_looks_at_the_same_time_the_first_miss_counts() -> None:
    """Who asked knows of it first, and may have loaded before it knows of the other."""
    first, second = (Miss(Position("e", sequence), sequence) for sequence in (5, 7))
    asked = Asked(None)
    again = asked.again()
    asked.tell(first)
    again.tell(second)

    assert asked.again().miss == first


async def test_misses_of_who_has_nothing_to_do_with_it_are_no_fence(cache: Cache) -> None:
    """Nothing is known of when the value was loaded."""

    async def other() -> None:
        await missed(waits_for, cache)

    await in_empty_context(other)
    await cache.invalidate(TAG)
    await cache.put("a", 1, TAG)

    assert await cache.has("a")


async def test_many_keys_may_be_missed_before_the_first_is_put(cache: Cache, look: Look) -> None:
    """One query loads them all; each of them is fenced."""
    for number in range(1_500):
        await missed(look, cache, f"{number}")
    await cache.invalidate(TAG)
    for number in (0, 1_499):
        await cache.put(f"{number}", "old", TAG)

    assert (await cache.has("0"), await cache.has("1499")) == (False, False)


def _ask(home: object, number: int, *, is_there: bool = False) -> Place:
    """In this thread."""
    place = (home, Key(f"{number}"))
    for asked in misses.asked(place):
        asked.tell(None if is_there else Miss(Position("e", number), number))
    return place


def test_so_many_misses_are_remembered_and_not_all() -> None:
    """The oldest are forgotten; a put without a remembered miss is simply not fenced."""
    known, given = Known({}, (), 1_000), list[Asked]()
    for number in range(10_000):
        asked = Asked(None)
        asked.tell(Miss(Position("e", number), number))
        given.append(asked)
        known = known.plus((None, Key(f"{number}")), asked)
    found = [known.get((None, Key(f"{number}"))) for number in range(10_000)]

    assert (found[0], found[-1_000:]) == (None, given[-1_000:])


def test_what_came_to_an_end_is_not_kept() -> None:
    """Neither hits nor misses that were answered: a thread may ask for ever."""
    things = [Thing()]
    is_gone = weakref.ref(things[0])
    for number in range(5_000):
        answered = misses.answered(_ask(things[0], number, is_there=number % 2 == 0))
        if answered is not None:
            answered.answer()
    things.clear()
    for number in range(1_000):
        _ask(None, number)
    gc.collect()

    assert is_gone() is None


def test_a_slip_keeps_its_owner_alive_no_longer_than_that_is_needed() -> None:
    """Tasks that start the next one, for ever, make no chain."""
    owner = threading.Thread()
    slip, is_gone = Slip(owner), weakref.ref(owner)
    following = slip.follow(owner)
    del owner
    gc.collect()

    assert (is_gone(), following.is_of(None)) == (None, True)


def test_slips_that_nobody_holds_make_no_chain() -> None:
    """A method that a module took once tells on the newest, and keeps none of those between."""
    owner = threading.Thread()
    taken_once = Slip(owner)
    between = taken_once.follow(owner)
    is_gone = weakref.ref(between)
    newest = between.follow(owner)
    del between
    gc.collect()
    place = (None, Key("a"))

    asked = taken_once.asked(place)

    assert (is_gone(), newest.taken()) == (None, {place: asked})


async def test_a_miss_of_a_cache_is_none_of_the_next_one(url: str, request: pytest.FixtureRequest) -> None:
    """Nor when that is made where the other was; what was missed there says nothing of the values here."""
    refused: list[int] = []
    # What other tests have left need not be looked at thirty times.
    gc.freeze()
    request.addfinalizer(gc.unfreeze)
    for number in range(30):
        async with Cache(url) as cache:
            await cache.put("a", number, TAG)
            if not await cache.has("a"):
                refused.append(number)
            await cache.delete("a")
            assert not await cache.has("a")
            await cache.invalidate(TAG)
        del cache
        gc.collect()

    assert refused == []


class Thing:
    """Something to hold on to."""


class Steps:
    """Where a task stops until the test lets it go on."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.go_on = asyncio.Event()

    async def pause(self) -> None:
        """Said in the task."""
        self.reached.set()
        await self.go_on.wait()


def test_get_and_has_give_coroutines(cache: Cache) -> None:
    """They can be handed to whatever takes one."""
    given: list[Coroutine[Any, Any, Any]] = [cache.get("a"), cache.has("a")]

    assert [asyncio.iscoroutine(one) for one in given] == [True, True]
    for one in given:
        one.close()
