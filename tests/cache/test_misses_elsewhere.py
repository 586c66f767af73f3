"""Misses that are met in another task or thread than the put: each is for who asked, and fences what that puts."""

import asyncio
import gc
import threading
import weakref
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from everfresh import Cache, NotInCache, dep
from everfresh.cache.misses import Miss, Slip
from everfresh.model.entry import Key
from everfresh.model.position import Position
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


Look = Callable[[Cache, str], Awaitable[Any]]
LOOKS: list[Look] = [waits_for, makes_a_task, gathers, asks_in_a_thread, has_it_in_a_thread]


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
    """Of two requests for one key the one that looked before the event is refused, the other is not."""
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

    assert there == [b"\xa3new", None]


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


async def test_a_helper_that_looks_in_a_task_of_its_own_hands_its_miss_up(cache: Cache) -> None:
    """To who started it, when that has looked for anything itself before."""
    await cache.has("anything")

    async def helper() -> bool:
        return await cache.has("a")

    assert not await asyncio.create_task(helper())
    await cache.invalidate(TAG)
    await cache.put("a", "old", TAG)

    assert not await cache.has("a")


async def test_of_several_misses_that_were_handed_up_the_oldest_counts(cache: Cache) -> None:
    """Nobody can say which of them the value was loaded after."""
    await missed(waits_for, cache)
    await cache.invalidate(TAG)
    await missed(waits_for, cache)
    await cache.put("a", "loaded after the first of them", TAG)

    assert not await cache.has("a")


async def test_an_own_miss_outdoes_those_that_were_handed_up(cache: Cache) -> None:
    """What is loaded after it is new."""
    await missed(waits_for, cache)
    await cache.invalidate(TAG)
    assert not await cache.has("a")
    await cache.put("a", "new", TAG)

    assert await cache.get("a") == "new"


async def test_misses_of_who_has_nothing_to_do_with_it_are_no_fence(cache: Cache) -> None:
    """Nothing is known of when the value was loaded."""

    async def other() -> None:
        await missed(waits_for, cache)

    await in_empty_context(other)
    await cache.invalidate(TAG)
    await cache.put("a", 1, TAG)

    assert await cache.has("a")


async def test_what_is_handed_up_is_bounded(cache: Cache) -> None:
    """A thousand are remembered; a put without a remembered miss is simply not fenced."""
    for number in range(1_001):
        await missed(makes_a_task, cache, f"{number}")
    await cache.invalidate(TAG)
    for number in (0, 1_000):
        await cache.put(f"{number}", 1, TAG)

    assert (await cache.has("0"), await cache.has("1000")) == (True, False)


def test_a_slip_keeps_alive_neither_its_owner_nor_what_is_above() -> None:
    """Tasks that start the next one, for ever, make no chain."""
    owners = [threading.Thread() for _ in range(3)]
    slips: list[Slip] = []
    for number in range(3):
        slips.append(Slip(owners[number], slips[-1] if slips else None))
    told, of_first = weakref.ref(slips[0].told), weakref.ref(owners[0])
    del slips[:2], owners[0]
    gc.collect()

    assert (told(), of_first()) == (None, None)
    assert slips[0].is_of(owners[-1])


async def test_a_miss_of_a_cache_is_none_of_the_next_one(url: str) -> None:
    """Nor when that is made where the other was; what was missed there says nothing of the values here."""
    refused: list[int] = []
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


def test_a_miss_that_another_slip_has_answered_is_left_alone() -> None:
    """A newer put answers what it knows of, and no other's miss."""
    mine, other = threading.Thread(), threading.Thread()
    slip, place = Slip(mine, None), (1, Key("a"))
    told, spent = (Miss(Position("e", sequence), sequence) for sequence in (5, 7))
    slip.note(place, told)

    slip.spend(place, spent, other)

    assert slip.told.get(place) == told


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
