import asyncio
from collections.abc import AsyncGenerator, Collection, Iterable
from contextlib import asynccontextmanager

import pytest

from everfresh.asgi import Problem
from everfresh.model.entry import FeedRecord, Key, Kind, State
from everfresh.protocol.bringing import Brought
from everfresh.protocol.requests import FeedBatch
from everfresh.push.access import Grant
from everfresh.push.fanout import Fanout
from everfresh.push.frames import Frame
from everfresh.push.topics import Topic
from tests.push.fake import FakeCache
from tests.push.making import at, entry

TOPICS = {"a": Topic(Key("a"))}


class Watcher:
    """Notes what it is offered."""

    def __init__(self) -> None:
        self.offered: asyncio.Queue[Frame] = asyncio.Queue()
        self.gone: asyncio.Queue[Collection[str]] = asyncio.Queue()
        self.n_flushes = self.n_holds = self.n_ends = 0

    def offer(self, frame: Frame) -> bool:
        self.offered.put_nowait(frame)
        return True

    def deliver(self, frame: Frame) -> None:
        self.offer(frame)

    def flush(self) -> None:
        self.n_flushes += 1

    def restart(self, first: Frame) -> int:
        return 1

    def settle(self, owed: Iterable[Frame], *, generation: int) -> None:
        return

    def end(self) -> None:
        self.n_ends += 1

    async def recheck(self) -> Grant | Problem:
        return Grant(())

    def hold(self) -> None:
        self.n_holds += 1

    def release(self, gone: Collection[str], is_over: bool) -> None:
        self.gone.put_nowait(gone)


@asynccontextmanager
async def running(fanout: Fanout) -> AsyncGenerator[asyncio.Task[None]]:
    task = asyncio.create_task(fanout.run())
    yield task
    task.cancel()
    await asyncio.wait([task])


@pytest.fixture
def cache() -> FakeCache:
    return FakeCache()


async def test_word_of_a_state_gives_way_to_a_newer_value(cache: FakeCache) -> None:
    """The entry was changed again since; its value is on its way and brings its own state."""
    cache.entries["a"] = entry("a", changed_at=2, state=State.FRESH)
    for sequence, kind in ((1, Kind.STALE), (2, Kind.CHANGED)):
        cache.batches.put_nowait(FeedBatch((FeedRecord(sequence, Key("a"), kind, 1, "d"),), at(sequence)))
    fanout, watcher = Fanout(cache, at(0)), Watcher()
    fanout.add(watcher, TOPICS)

    async with running(fanout):
        frame = await watcher.offered.get()

    assert frame.wire.startswith(b"event: update\nid: e1.2\n")


@pytest.mark.parametrize(("changed_at", "n_loads"), [(2, 0), (1, 1)])
async def test_an_entry_that_came_along_with_its_record_is_not_loaded(
    cache: FakeCache, changed_at: int, n_loads: int
) -> None:
    """Unless it is an older one, which nobody is shown after the newer."""
    cache.entries["a"] = entry("a", changed_at=2, value="new")
    came = {Key("a"): entry("a", changed_at=changed_at, value="new" if changed_at == 2 else "old")}
    record = FeedRecord(2, Key("a"), Kind.CHANGED, 1, "d")
    cache.batches.put_nowait(Brought((record,), at(2), entries=came))
    fanout, watcher = Fanout(cache, at(0)), Watcher()
    fanout.add(watcher, TOPICS)

    async with running(fanout):
        frame = await watcher.offered.get()

    assert b'"value":"new"' in frame.wire
    assert cache.n_loads == n_loads


async def test_who_comes_after_the_end_is_told_goodbye(cache: FakeCache) -> None:
    """Nobody would ever tell it anything else."""
    fanout, before, after = Fanout(cache, at(0)), Watcher(), Watcher()
    fanout.add(before, TOPICS)
    cache.batches.put_nowait(None)
    async with running(fanout) as task:
        await asyncio.wait([task])

    fanout.add(after, TOPICS)
    fanout.remove(after)

    assert (before.n_ends, after.n_ends) == (1, 1)


async def test_nothing_is_loaded_for_those_who_left(cache: FakeCache) -> None:
    """What nobody watches costs nothing, and what others watch is still told."""
    fanout, left, stays = Fanout(cache, at(0)), Watcher(), Watcher()
    topics = {"a": Topic(Key("a")), "shown otherwise": Topic(Key("a"), lambda _: ""), "b": Topic(Key("b"))}
    fanout.add(left, topics)
    fanout.add(stays, {"a": topics["a"]})
    fanout.remove(left)
    cache.commit("b")
    cache.commit("a")

    async with running(fanout):
        frame = await stays.offered.get()

    assert frame.topic == "a"
    assert left.offered.empty()
    assert cache.n_loads == 1
