"""A value that is put in a transaction together with the event of its change, and what a rollback leaves behind."""
# ruff: noqa: PT012 - blocks that raise are what is tested

import asyncio
import threading
from contextlib import ExitStack

import pytest

from everfresh import Cache, Event, Notice, NotInCache, StoreError, dep
from everfresh.cache.builds import Runs
from tests.cache.breaking import out_of_order
from tests.cache.by_hand import ByHand
from tests.cache.fixtures import OpenCache
from tests.cache.making import Colour, Gate, done, in_empty_context

pytestmark = pytest.mark.redis
ARTICLE = dep.Id("article", 1)
CHANGE = Event.change("article", before={"id": 1}, after={"id": 1})


class RolledBack(Exception):
    """The block did not end well."""


async def _of_another(cache: Cache) -> None:
    """Somebody else changes the same article."""

    async def invalidate() -> None:
        await cache.invalidate(ARTICLE)

    await in_empty_context(invalidate)


@pytest.fixture(autouse=True)
async def known(cache: Cache) -> None:
    """What the values hang on is known to the store; else each of them would be refused for that alone."""
    await cache.put("known", 1, ARTICLE)


async def _say(by_hand: ByHand, way: str) -> None:
    await (by_hand.publish(CHANGE) if way == "publish" else by_hand.invalidate(ARTICLE))


@pytest.mark.parametrize("way", ["publish", "invalidate"])
async def test_a_value_that_is_put_after_the_event_of_its_change_is_kept(by_hand: ByHand, way: str) -> None:
    """It was made because of the change; what was there before is gone."""
    await by_hand.put("k", "old", ARTICLE)
    async with by_hand.block():
        await _say(by_hand, way)
        await by_hand.put("k", "new", ARTICLE)

    assert await by_hand.get("k") == "new"


async def test_it_hears_of_every_later_event(by_hand: ByHand) -> None:
    """Only those of its own block were spared."""
    async with by_hand.block():
        await by_hand.invalidate(ARTICLE)
        await by_hand.put("k", "new", ARTICLE)
    await _of_another(by_hand.cache)

    assert not await by_hand.has("k")


async def test_it_is_kept_after_several_events_of_every_kind(by_hand: ByHand) -> None:
    """Each is a step of its own."""
    async with by_hand.block():
        await by_hand.invalidate(ARTICLE)
        await by_hand.publish(CHANGE)
        await by_hand.put("other", 1, dep.Tag("other"))
        await by_hand.invalidate(ARTICLE)
        await by_hand.put("k", "new", ARTICLE)

    assert (await by_hand.get("k"), await by_hand.get("other")) == ("new", 1)


async def test_it_is_kept_in_an_inner_block_too(by_hand: ByHand) -> None:
    """The inner block's steps are the outer one's."""
    async with by_hand.block():
        await by_hand.invalidate(ARTICLE)
        async with by_hand.block():
            await by_hand.put("k", "new", ARTICLE)

    assert await by_hand.get("k") == "new"


async def test_the_first_value_with_dependencies_of_a_new_kind_is_kept(by_hand: ByHand) -> None:
    """Nothing can have happened to them unseen: they are made known when it is put."""
    async with by_hand.block():
        await by_hand.invalidate(ARTICLE)
        await by_hand.put("k", 1, dep.Scope("never seen before", where={"a": 1}))

    assert await by_hand.get("k") == 1


@pytest.mark.parametrize("when", ["before the put", "after the put"])
async def test_an_event_of_another_outruns_it_all_the_same(by_hand: ByHand, when: str) -> None:
    """Whether it comes between the miss and the put, or between the put and the end of the block."""
    async with by_hand.block():
        await by_hand.invalidate(ARTICLE)
        assert not await by_hand.has("k")
        if when == "before the put":
            await _of_another(by_hand.cache)
        await by_hand.put("k", "of before", ARTICLE)
        if when == "after the put":
            await _of_another(by_hand.cache)

    assert not await by_hand.has("k")


async def test_a_value_that_is_put_after_the_delete_of_its_key_is_kept(by_hand: ByHand) -> None:
    """The block says both, so the value is no older than the delete; other keys of that delete are fenced."""
    assert not await by_hand.has("other")
    async with by_hand.block():
        assert not await by_hand.has("k")
        await by_hand.delete("k", "other")
        await by_hand.put("k", "new")
    await by_hand.put("other", "old")

    assert (await by_hand.get("k"), await by_hand.has("other")) == ("new", False)


@pytest.mark.parametrize("when", ["before the put", "after the put"])
async def test_a_delete_of_another_outruns_it_all_the_same(by_hand: ByHand, when: str) -> None:
    """Also where the block deletes the key itself."""

    async def delete() -> None:
        await by_hand.cache.delete("k")

    async with by_hand.block():
        assert not await by_hand.has("k")
        await by_hand.delete("k")
        if when == "before the put":
            await in_empty_context(delete)
        await by_hand.put("k", "of before")
        if when == "after the put":
            await in_empty_context(delete)

    assert not await by_hand.has("k")


async def test_an_event_of_another_between_the_steps_of_the_end_outruns_it(by_hand: ByHand) -> None:
    """The block's own events are applied by then, and the value is not stored yet."""
    cache, told = by_hand.cache, list[Notice]()

    def interfere(notice: Notice) -> None:
        told.append(notice)
        if len(told) == 1:
            thread = threading.Thread(target=cache.blocking.invalidate, args=(ARTICLE,))
            thread.start()
            thread.join()

    async with by_hand.block():
        await by_hand.invalidate(ARTICLE)
        await by_hand.put("k", "of before", ARTICLE)
        stop = cache.listen(interfere)
    stop()

    assert ([notice.name for notice in told], await by_hand.has("k")) == (["event.applied"] * 2, False)


async def test_a_miss_before_the_event_still_fences(by_hand: ByHand) -> None:
    """What was loaded between the two does not show the change, as outside of a block."""
    assert not await by_hand.has("k")
    async with by_hand.block():
        await by_hand.invalidate(ARTICLE)
        await by_hand.put("k", "perhaps old", ARTICLE)

    assert not await by_hand.has("k")


async def test_a_value_that_answers_a_miss_between_two_events_shows_the_first(by_hand: ByHand) -> None:
    """The second has nothing to do with it."""
    async with by_hand.block():
        await by_hand.invalidate(ARTICLE)
        assert not await by_hand.has("k")
        await by_hand.invalidate(dep.Id("article", 2))
        await by_hand.put("k", "new", ARTICLE)

    assert await by_hand.get("k") == "new"


async def test_a_value_that_answers_a_miss_between_two_events_is_outrun_by_the_second(by_hand: ByHand) -> None:
    """Which is one step with the first only where no value has its moment between them."""
    async with by_hand.block():
        await by_hand.invalidate(dep.Id("article", 2))
        assert not await by_hand.has("k")
        await by_hand.invalidate(ARTICLE)
        await by_hand.put("k", "perhaps old", ARTICLE)

    assert not await by_hand.has("k")


async def test_the_first_value_of_a_new_kind_is_kept_when_it_answers_a_miss_too(by_hand: ByHand) -> None:
    """Its kind is made known when it is put, so that the block's own events are told apart from others."""
    async with by_hand.block():
        await by_hand.invalidate(dep.Id("never seen before", 1))
        assert not await by_hand.has("k")
        await by_hand.put("k", "new", dep.Id("never seen before", 1))

    assert await by_hand.get("k") == "new"


async def test_a_task_that_loads_beside_the_change_is_outrun_by_it(cache: Cache) -> None:
    """It missed before the event was said, and puts after it."""
    has_missed, has_said = asyncio.Event(), asyncio.Event()

    async def load() -> None:
        assert not await cache.has("k")
        has_missed.set()
        await has_said.wait()
        await cache.put("k", "old", ARTICLE)

    async with cache.transaction():
        loading = asyncio.create_task(load())
        await has_missed.wait()
        await cache.invalidate(ARTICLE)
        has_said.set()
        await loading

    assert not await cache.has("k")


async def test_a_put_before_the_event_is_touched_by_it(by_hand: ByHand) -> None:
    """The order is kept, whatever is put afterwards under another key."""
    async with by_hand.block():
        await by_hand.put("before", 1, ARTICLE)
        await by_hand.invalidate(ARTICLE)
        await by_hand.put("after", 2, ARTICLE)

    assert (await by_hand.has("before"), await by_hand.get("after")) == (False, 2)


@pytest.mark.parametrize("is_async", [True, False], ids=["asyncio", "blocking"])
async def test_a_put_that_failed_is_fenced_when_it_is_tried_again(
    open_cache: OpenCache, sqlite_url: str, is_async: bool
) -> None:
    """What is put is what was loaded after the miss, the second time too."""
    cache = open_cache(sqlite_url)
    by_hand = ByHand(cache, is_async=is_async)
    await by_hand.put("other", 1, ARTICLE)
    with pytest.raises(NotInCache):
        await by_hand.get("k")

    with out_of_order(sqlite_url), pytest.raises(StoreError):
        await by_hand.put("k", "old", ARTICLE)
    await _of_another(cache)
    await by_hand.put("k", "old", ARTICLE)

    assert not await by_hand.has("k")


async def test_a_put_that_was_rolled_back_is_fenced_when_it_is_tried_again(by_hand: ByHand) -> None:
    """As a transaction is that met a conflict."""
    await by_hand.put("other", 1, ARTICLE)
    assert not await by_hand.has("k")

    with pytest.raises(RolledBack):
        async with by_hand.block():
            await by_hand.put("k", "old", ARTICLE)
            raise RolledBack
    await _of_another(by_hand.cache)
    async with by_hand.block():
        await by_hand.put("k", "old", ARTICLE)

    assert not await by_hand.has("k")


async def test_so_are_many_puts_that_were_rolled_back(by_hand: ByHand) -> None:
    """Their misses are kept as long as they may be taken back."""
    keys = [f"{number}" for number in range(500)]
    for key in keys:
        await by_hand.has(key)
    with pytest.raises(RolledBack):
        async with by_hand.block():
            for key in keys:
                await by_hand.put(key, "old", ARTICLE)
            raise RolledBack
    await _of_another(by_hand.cache)
    for key in keys:
        await by_hand.put(key, "old", ARTICLE)

    assert [key for key in keys if await by_hand.has(key)] == []


async def test_a_newer_miss_is_not_replaced_by_that_of_a_put_that_was_rolled_back(by_hand: ByHand) -> None:
    """What is put next was loaded after the newer one."""
    assert not await by_hand.has("k")
    with pytest.raises(RolledBack):
        async with by_hand.block():
            await by_hand.put("k", "old", ARTICLE)
            await _of_another(by_hand.cache)
            assert not await by_hand.has("k")
            raise RolledBack
    await by_hand.put("k", "new", ARTICLE)

    assert await by_hand.get("k") == "new"


@pytest.mark.parametrize("way", ["publish", "invalidate"])
async def test_what_was_built_in_a_block_that_is_rolled_back_is_built_again(colour: Colour, way: str) -> None:
    """It was built from what the database has taken back."""
    by_hand = ByHand(colour.cache, is_async=colour.is_async)
    database, seen = {"title": "Tea"}, list[str]()

    @colour.cached(depends_on=[ARTICLE])
    async def title() -> str:
        return database["title"]

    with pytest.raises(RolledBack):
        async with by_hand.block():
            database["title"] = "Mint"
            await _say(by_hand, way)
            seen.append(await done(title()))
            raise RolledBack
    database["title"] = "Tea"
    seen.append(await done(title()))

    assert seen == ["Mint", "Tea"]


async def test_so_it_is_when_only_an_inner_block_is_rolled_back(colour: Colour) -> None:
    """At once: what was built is served already."""
    by_hand = ByHand(colour.cache, is_async=colour.is_async)
    database = {"title": "Tea"}

    @colour.cached(depends_on=[ARTICLE])
    async def title() -> str:
        return database["title"]

    async with by_hand.block():
        with pytest.raises(RolledBack):
            async with by_hand.block():
                database["title"] = "Mint"
                await by_hand.invalidate(ARTICLE)
                await done(title())
                raise RolledBack
        database["title"] = "Tea"
        within = await done(title())

    assert within == "Tea"


async def test_a_build_that_is_under_way_at_the_end_counts_too(cache: Cache, gate: Gate) -> None:
    """It has read, and has not committed."""
    colour, database = Colour(cache, is_async=True), {"title": "Tea"}
    building: list[asyncio.Task[str]] = []

    @colour.cached(depends_on=[ARTICLE])
    async def title() -> str:
        read = database["title"]
        await gate.stop()
        return read

    with pytest.raises(RolledBack):
        async with cache.transaction():
            database["title"] = "Mint"
            await cache.invalidate(ARTICLE)
            building.append(colour.start(title))
            await gate.reached()
            raise RolledBack
    database["title"] = "Tea"
    gate.open()
    await building[0]

    assert await done(title()) == "Tea"


@pytest.mark.parametrize("is_async", [True, False], ids=["asyncio", "blocking"])
async def test_the_error_of_the_block_is_raised_though_its_events_cannot_be_told(
    open_cache: OpenCache, sqlite_url: str, is_async: bool
) -> None:
    """What could not be done is a note on it, and may be tried again."""
    cache = open_cache(sqlite_url)
    by_hand, colour = ByHand(cache, is_async=is_async), Colour(cache, is_async=is_async)
    n_built, blocks, broken = [0], [], ExitStack()

    @colour.cached(depends_on=[ARTICLE])
    async def value() -> int:
        n_built[0] += 1
        return n_built[0]

    with broken, pytest.raises(RolledBack) as raised:
        async with by_hand.block() as block:
            blocks.append(block)
            await by_hand.invalidate(ARTICLE)
            await done(value())
            broken.enter_context(out_of_order(sqlite_url))
            raise RolledBack
    before = await done(value())
    await done(blocks[0].finish())

    error, left = raised.value.__notes__
    assert error.startswith("transaction: Store")
    assert left.startswith("transaction: the block itself has ended, but 1 of its 1 steps are not done.")
    assert (before, await done(value())) == (1, 2)


def test_it_is_quiet_as_long_as_nothing_is_built() -> None:
    """Neither now, nor between the mark and now."""
    runs = Runs()
    before = runs.mark()
    was_quiet = runs.is_quiet_since(before)
    runs.begin()
    during = runs.mark()
    runs.end()
    after = runs.mark()

    assert was_quiet
    assert [runs.is_quiet_since(mark) for mark in (before, during, after)] == [False, False, True]
