"""Transactions: nothing is told of before its time, and nothing that did not happen."""
# ruff: noqa: PT012 - blocks that raise are what is tested

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from typing import Any

import pytest

from everfresh import Cache, Event, InvalidEvent, Notice, Position, StoreError, dep
from everfresh.cache.transactions import HeldDelete, HeldEvents, HeldNames, merged
from everfresh.model.entry import Key
from tests.cache.breaking import out_of_order
from tests.cache.by_hand import ByHand
from tests.cache.fixtures import OpenCache
from tests.cache.making import Colour, done, in_empty_context

pytestmark = pytest.mark.redis
TAG = dep.Tag("t")
A, B, C = Event("a"), Event("b"), Event("c")


class RolledBack(Exception):
    """The block did not end well."""


@pytest.fixture
def applied(cache: Cache) -> Iterator[list[tuple[str, int]]]:
    """What was applied, step by step: the topic of the first event, and how many there were."""
    told: list[tuple[str, int]] = []

    def listen(notice: Notice) -> None:
        if notice.name == "event.applied":
            told.append((notice.fields["topic"], notice.fields["n_events"]))

    stop = cache.listen(listen)
    yield told
    stop()


async def test_events_wait_for_the_end_of_the_block(by_hand: ByHand, applied: list[tuple[str, int]]) -> None:
    """And are one step then."""
    async with by_hand.block():
        await by_hand.publish(A)
        await by_hand.publish(B, C)
        within = list(applied)

    assert (within, applied) == ([], [("a", 3)])


@pytest.mark.parametrize("error", [RolledBack, asyncio.CancelledError, KeyboardInterrupt])
async def test_what_was_published_in_a_block_that_raises_is_gone(
    by_hand: ByHand, applied: list[tuple[str, int]], error: type[BaseException]
) -> None:
    """It did not happen; the error is the caller's."""
    with pytest.raises(error):
        async with by_hand.block():
            await by_hand.publish(A)
            await by_hand.invalidate(TAG)
            raise error

    assert applied == []


async def test_after_the_block_events_are_published_at_once(by_hand: ByHand, applied: list[tuple[str, int]]) -> None:
    """Whether it ended well or not."""
    async with by_hand.block():
        pass
    await by_hand.publish(A)
    with pytest.raises(RolledBack):
        async with by_hand.block():
            raise RolledBack
    await by_hand.publish(B)

    assert applied == [("a", 1), ("b", 1)]


async def test_the_order_of_what_was_said_is_kept(by_hand: ByHand, applied: list[tuple[str, int]]) -> None:
    """Only what follows each other is one step."""
    async with by_hand.block():
        await by_hand.publish(A)
        await by_hand.invalidate(TAG)
        await by_hand.invalidate(TAG)
        await by_hand.publish(B)

    assert applied == [("a", 1), ("invalidate", 2), ("b", 1)]


async def test_a_put_waits_for_the_end_of_the_block(by_hand: ByHand) -> None:
    """Nobody gets what may be rolled back, the block itself included."""
    async with by_hand.block():
        await by_hand.put("k", 1, TAG)
        was_there = await by_hand.has("k")

    assert (was_there, await by_hand.get("k")) == (False, 1)


async def test_a_put_in_a_block_that_raises_is_gone(by_hand: ByHand) -> None:
    """What was there before stays."""
    await by_hand.put("k", "old", TAG)
    with pytest.raises(RolledBack):
        async with by_hand.block():
            await by_hand.put("k", "new", TAG)
            raise RolledBack

    assert await by_hand.get("k") == "old"


async def test_a_delete_waits_for_the_end_of_the_block(by_hand: ByHand) -> None:
    """It says how many there are to be removed."""
    await by_hand.put("a", 1)
    await by_hand.put("b", 1)
    async with by_hand.block():
        n_deleted = await by_hand.delete("a", "b", "c", "a")
        was_there = await by_hand.has("a")

    assert (n_deleted, was_there, await by_hand.has("a"), await by_hand.has("b")) == (2, True, False, False)


async def test_a_mistake_is_told_of_where_it_was_made(by_hand: ByHand, applied: list[tuple[str, int]]) -> None:
    """Not at the end of the block, where nobody knows whose it was."""
    async with by_hand.block():
        with pytest.raises(InvalidEvent):
            await by_hand.publish("no event")
        await by_hand.publish(A)

    assert applied == [("a", 1)]


async def test_publish_in_a_block_gives_the_position_before(by_hand: ByHand) -> None:
    """Its own is not known yet."""
    before = await by_hand.position()
    async with by_hand.block():
        within = await by_hand.publish(A)

    assert (within, await by_hand.position() == before) == (before, False)


async def test_the_block_says_where_its_events_stand(by_hand: ByHand) -> None:
    """A position that `read(after=...)` takes; while the block runs there is none."""
    before = await by_hand.position()
    async with by_hand.block() as block:
        await by_hand.publish(A)
        within = block.position
    after = await by_hand.position()

    assert (within, block.position, block.position == before) == (None, after, False)


@pytest.mark.parametrize("is_well", [True, False])
async def test_a_block_without_events_has_a_position_if_it_ends_well(by_hand: ByHand, is_well: bool) -> None:
    """Whoever reads after it sees everything that was there."""
    with pytest.raises(RolledBack) if not is_well else _nothing():
        async with by_hand.block() as block:
            if not is_well:
                raise RolledBack

    assert block.position == (await by_hand.position() if is_well else None)


async def test_a_nested_block_ends_with_the_outer_one(by_hand: ByHand, applied: list[tuple[str, int]]) -> None:
    """What is done in it is done when all of it is."""
    async with by_hand.block() as outer:
        await by_hand.publish(A)
        async with by_hand.block() as inner:
            await by_hand.publish(B)
        await by_hand.publish(C)
        within = list(applied)

    assert (within, applied, inner.position, isinstance(outer.position, Position)) == ([], [("a", 3)], None, True)


async def test_a_nested_block_that_raises_loses_only_its_own(by_hand: ByHand, applied: list[tuple[str, int]]) -> None:
    """As a savepoint of a database does."""
    async with by_hand.block():
        await by_hand.publish(A)
        with pytest.raises(RolledBack):
            async with by_hand.block():
                await by_hand.publish(B, C)
                raise RolledBack

    assert applied == [("a", 1)]


async def test_an_outer_block_that_raises_takes_the_nested_one_with_it(
    by_hand: ByHand, applied: list[tuple[str, int]]
) -> None:
    """However well that ended."""
    with pytest.raises(RolledBack):
        async with by_hand.block():
            async with by_hand.block():
                await by_hand.publish(A)
            raise RolledBack

    assert applied == []


async def test_tasks_that_run_at_once_have_blocks_of_their_own(cache: Cache, applied: list[tuple[str, int]]) -> None:
    """One that fails takes nothing from the other."""
    both_have_published = asyncio.Barrier(2)

    async def work(event: Event, *, is_well: bool) -> None:
        async with cache.transaction():
            await cache.publish(event)
            await both_have_published.wait()
            if not is_well:
                raise RolledBack

    results = await asyncio.gather(work(A, is_well=False), work(B, is_well=True), return_exceptions=True)

    assert (type(results[0]), results[1], applied) == (RolledBack, None, [("b", 1)])


@asynccontextmanager
async def _block_of_either_end(cache: Cache, *, is_well: bool) -> AsyncIterator[None]:
    with pytest.raises(RolledBack) if not is_well else _nothing():
        async with cache.transaction():
            yield
            if not is_well:
                raise RolledBack


@pytest.mark.parametrize("is_well", [True, False])
async def test_what_a_task_of_its_own_publishes_in_a_block_is_part_of_it(
    cache: Cache, applied: list[tuple[str, int]], is_well: bool
) -> None:
    """`gather(publish(a), publish(b))` waits, and is dropped, like the same two calls one after the other."""
    async with _block_of_either_end(cache, is_well=is_well):
        await asyncio.create_task(cache.publish(A))
        within = list(applied)

    assert (within, applied) == ([], [("a", 1)] if is_well else [])


@pytest.mark.parametrize("is_well", [True, False])
async def test_what_a_thread_publishes_in_a_block_is_part_of_it(
    cache: Cache, applied: list[tuple[str, int]], is_well: bool
) -> None:
    """`asyncio.to_thread` hands the block on."""
    async with _block_of_either_end(cache, is_well=is_well):
        await asyncio.to_thread(cache.blocking.publish, A)
        within = list(applied)

    assert (within, applied) == ([], [("a", 1)] if is_well else [])


async def test_what_a_task_of_its_own_puts_in_a_block_that_raises_is_gone(cache: Cache) -> None:
    """It may have been loaded from what was rolled back, and a value that is not there costs a build at most."""
    async with _block_of_either_end(cache, is_well=False):
        await asyncio.create_task(cache.put("k", 1))

    assert not await cache.has("k")


@pytest.mark.parametrize("is_well", [True, False])
async def test_a_task_that_outlives_the_block_publishes_at_once(
    cache: Cache, applied: list[tuple[str, int]], is_well: bool
) -> None:
    """There is nothing left to wait for."""
    may_publish = asyncio.Event()

    async def late() -> None:
        await may_publish.wait()
        await cache.publish(A)

    async with _block_of_either_end(cache, is_well=is_well):
        task = asyncio.create_task(late())
    may_publish.set()
    await task

    assert applied == [("a", 1)]


async def test_a_task_that_outlives_an_inner_block_waits_for_the_outer_one(
    cache: Cache, applied: list[tuple[str, int]]
) -> None:
    """That one is still open."""
    may_publish = asyncio.Event()

    async def late() -> None:
        await may_publish.wait()
        await cache.publish(A)

    async with cache.transaction():
        async with cache.transaction():
            task = asyncio.create_task(late())
        may_publish.set()
        await task
        within = list(applied)

    assert (within, applied) == ([], [("a", 1)])


async def test_a_block_of_one_cache_is_none_of_another(open_cache: OpenCache) -> None:
    """Each has its own order of events."""
    one, other = open_cache(), open_cache()
    before = await other.position()
    with pytest.raises(RolledBack):
        async with one.transaction(), other.transaction():
            await one.publish(A)
            raise RolledBack
    async with one.transaction():
        await other.publish(A)
        within = await other.position()

    assert within != before


async def test_a_build_within_a_block_is_no_part_of_it(colour: Colour, applied: list[tuple[str, int]]) -> None:
    """Its value is stored for everybody, so its events are told to everybody."""
    cache = colour.cache

    @colour.cached()
    async def value() -> int:
        cache.blocking.publish(A)
        return 1

    with pytest.raises(RolledBack):
        async with cache.transaction():
            await done(value())
            raise RolledBack

    assert applied == [("a", 1)]


async def _event_of_another(cache: Cache) -> None:
    async def publish() -> None:
        await cache.invalidate(TAG)

    await in_empty_context(publish)


async def test_a_held_put_keeps_the_fence_of_the_miss_before_it(by_hand: ByHand) -> None:
    """The miss is taken when `put` is called; an event between the two wins at the end of the block."""
    async with by_hand.block():
        assert not await by_hand.has("k")
        await _event_of_another(by_hand.cache)
        await by_hand.put("k", "old", TAG)

    assert not await by_hand.has("k")


async def test_a_held_put_uses_its_miss_up(by_hand: ByHand) -> None:
    """The next one is fenced by nothing that was before the miss was used."""
    async with by_hand.block():
        assert not await by_hand.has("k")
        await _event_of_another(by_hand.cache)
        await by_hand.put("k", "old", TAG)
        await by_hand.put("k", "new", TAG)

    assert await by_hand.get("k") == "new"


async def test_an_event_between_a_put_and_the_end_of_its_block_wins(by_hand: ByHand) -> None:
    """Without a miss too: put at once, the value would be gone by now."""
    async with by_hand.block():
        await by_hand.put("k", "old", TAG)
        await _event_of_another(by_hand.cache)

    assert not await by_hand.has("k")


async def test_an_event_of_the_block_touches_what_was_put_before_it(by_hand: ByHand) -> None:
    """The order is kept."""
    async with by_hand.block():
        await by_hand.put("k", "old", TAG)
        await by_hand.invalidate(TAG)

    assert not await by_hand.has("k")


async def test_a_cancellation_at_the_end_waits_until_all_is_told(cache: Cache) -> None:
    """What was done was done; half of its events would leave values stale for ever."""
    tasks: list[asyncio.Task[None]] = []

    def cancel(notice: Notice) -> None:
        if notice.name == "event.applied":
            tasks[0].cancel()

    cache.listen(cancel)

    async def work() -> None:
        async with cache.transaction():
            await cache.publish(A)
            await cache.put("k", 1)

    tasks.append(asyncio.create_task(work()))
    with pytest.raises(asyncio.CancelledError):
        await tasks[0]

    assert await cache.has("k")


async def test_a_failure_at_the_end_is_told_even_to_a_task_that_is_cancelled(
    open_cache: OpenCache, sqlite_url: str
) -> None:
    """Events are left; who hears of the cancellation alone takes them for published."""
    cache = open_cache(sqlite_url)
    tasks: list[asyncio.Task[None]] = []
    broken = ExitStack()

    def cancel_and_break(notice: Notice) -> None:
        if notice.name == "event.applied":
            tasks[0].cancel()
            broken.enter_context(out_of_order(sqlite_url))

    async def work() -> None:
        async with cache.transaction():
            await cache.publish(A)
            await cache.put("k", 1)

    cache.listen(cancel_and_break)
    tasks.append(asyncio.create_task(work()))
    with broken, pytest.raises(StoreError) as raised:
        await tasks[0]

    (note,) = raised.value.__notes__
    assert "1 of its 2 steps are not done" in note


async def test_a_block_that_is_entered_again_is_another_one(cache: Cache, applied: list[tuple[str, int]]) -> None:
    """Nothing is left of the first time."""
    block = cache.transaction()
    with pytest.raises(RolledBack):
        async with block:
            await cache.publish(A)
            raise RolledBack
    async with block:
        await cache.publish(B)

    assert applied == [("b", 1)]


@pytest.mark.parametrize("is_async", [True, False], ids=["asyncio", "blocking"])
async def test_an_end_that_the_store_does_not_carry_out_can_be_repeated(
    open_cache: OpenCache, sqlite_url: str, is_async: bool
) -> None:
    """The error says what is left; what was done is not done again."""
    cache = open_cache(sqlite_url)
    by_hand = ByHand(cache, is_async=is_async)
    await by_hand.put("k", 1, dep.Topic("a"))
    opened: list[Any] = []

    with out_of_order(sqlite_url), pytest.raises(StoreError) as raised:
        async with by_hand.block() as block:
            opened.append(block)
            await _held_without_the_store(cache)
    is_there_still = await by_hand.has("k")
    await done(opened[0].finish())

    (note,) = raised.value.__notes__
    assert note.startswith("transaction: the block itself has ended, but 1 of its 1 steps are not done.")
    assert (is_there_still, await by_hand.has("k"), opened[0].position) == (True, False, await by_hand.position())


async def _held_without_the_store(cache: Cache) -> None:
    """Publish in a block; its position cannot be told while the store does not answer, but it is held by then."""
    try:
        await cache.publish(A)
    except StoreError:
        return


def test_what_follows_each_other_is_merged() -> None:
    """Events with events of the same cause, names with names, nothing else."""
    held = [
        HeldEvents((A,)),
        HeldEvents((B,)),
        HeldEvents((C,), ("k",)),
        HeldNames((TAG,)),
        HeldNames((TAG,)),
        HeldDelete((Key("k"),)),
        HeldDelete((Key("l"),)),
    ]

    assert merged(held) == [
        HeldEvents((A, B)),
        HeldEvents((C,), ("k",)),
        HeldNames((TAG, TAG)),
        HeldDelete((Key("k"),)),
        HeldDelete((Key("l"),)),
    ]


@contextmanager
def _nothing() -> Iterator[None]:
    yield


def test_a_plain_with_around_asynchronous_code_says_how_it_is_written(cache: Cache) -> None:
    """Before anything in the block runs."""
    expected = pytest.raises(TypeError, match=r"Write `async with cache\.transaction\(\):`")
    with expected, cache.transaction():  # type: ignore[attr-defined]  # the mistake is the test
        pytest.fail("the block ran")


async def test_an_async_with_around_blocking_code_says_how_it_is_written(cache: Cache) -> None:
    """Before anything in the block runs."""
    with pytest.raises(TypeError, match=r"Write `with cache\.blocking\.transaction\(\):`"):
        async with cache.blocking.transaction():  # type: ignore[attr-defined]  # as above
            pytest.fail("the block ran")
