"""What happens between a read and its answer, between a reset and the states after it, at the end of the feed."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from everfresh.asgi import Problem, Request
from everfresh.model.entry import Entry, Key
from everfresh.model.position import Position
from everfresh.push import Access, Grant, Topic, Updates, subject_key
from everfresh.push.fanout import Fanout
from everfresh.testing.waiting import soon
from tests.push.fake import Call, calling
from tests.push.logged import LoggedCache
from tests.push.test_fanout import Watcher

TOPICS = {name: Topic(Key(name)) for name in ("a", "b")}


class Cache(LoggedCache):
    """Changes at every look, if it should."""

    def __init__(self) -> None:
        super().__init__()
        for name in TOPICS:
            self.put(name)
        self.is_changing = False

    async def stored(self, key: str) -> Entry | None:
        if self.is_changing:
            self.put(key)
        return await super().stored(key)


class Rights:
    """What everybody may see who has any subject."""

    def __init__(self) -> None:
        self.may = {"a", "b"}

    def authorize(self, request: Request, names: frozenset[str]) -> Grant:
        return Grant(names & self.may, subjects=("user:1",))


@pytest.fixture
def cache() -> Cache:
    return Cache()


@pytest.fixture
def rights() -> Rights:
    return Rights()


@pytest.fixture
def guarded(cache: Cache, rights: Rights) -> Updates:
    """Asks again what may be seen."""
    return Updates(cache, TOPICS, access=Access(authorize=rights.authorize), dice=lambda: 0.5)


@pytest.fixture
def public(cache: Cache) -> Updates:
    """Asks nobody."""
    return Updates(cache, TOPICS, dice=lambda: 0.5)


async def test_a_state_read_after_a_reset_does_not_overtake_word_of_rights(
    cache: Cache, rights: Rights, guarded: Updates
) -> None:
    """It may have been committed after the right to see it was taken away, of which the feed has still to tell."""
    async with calling(guarded, "topic=a&topic=b") as client:
        await client.begun()
        cache.may_load.clear()
        cache.lose(["a", "b"])
        await cache.turn()
        rights.may.discard("a")
        cache.put(subject_key("user:1"))
        cache.put("a")
        cache.may_load.set()
        received = await client.until("revoked")

    assert [event.data["value"] for event in received if event.event == "update"] == [[2, 2]]


async def test_a_state_read_after_a_reset_is_shown_once_the_feed_is_as_far(cache: Cache, guarded: Updates) -> None:
    """Whose rights have not changed misses nothing."""
    async with calling(guarded, "topic=a") as client:
        await client.begun()
        cache.may_load.clear()
        cache.lose(["a"])
        await cache.turn()
        cache.put("a")
        cache.may_load.set()
        received = await client.until("update")

    assert received[-1].data["value"] == [2, 2]


async def test_what_changes_at_every_look_is_shown_to_those_with_rights_too(cache: Cache, guarded: Updates) -> None:
    """What was read is always newer than its record: it waits for word of rights before it, not for its own record."""
    async with calling(guarded, "topic=a") as client:
        await client.begun()
        cache.is_changing = True
        cache.put("a")
        values = [(await client.until("update"))[-1].data["value"] for _ in range(3)]
        cache.is_changing = False

    assert values == sorted(values)


async def test_who_waits_for_the_feed_to_pass_waits_no_more_after_a_reset(cache: Cache, guarded: Updates) -> None:
    """What was read in a life that is gone the feed never passes; the stream notices at once that its client leaves."""
    async with calling(guarded, "topic=b") as other, calling(guarded, "topic=a") as client:
        await other.begun()
        await client.begun()
        cache.may_read.clear()
        cache.put("b")
        await cache.turn()
        cache.put("a")
        async with calling(guarded, "topic=a") as late:
            await cache.loaded("a")
            cache.lose(["a", "b"])
            cache.may_read.set()
            await late.until("update")
            late.inbox.put_nowait({"type": "http.disconnect"})
            await cache.turn()

            assert late.task.done()


async def test_what_a_client_is_owed_by_its_cursor_counts_nothing_after_a_reset(cache: Cache, public: Updates) -> None:
    """Not even when the reset comes before its stream begins to read that: no older value comes after a newer one."""
    async with calling(public, "topic=a&topic=b") as other:
        await other.begun()
        cache.may_answer["b"].clear()
        async with calling(public, "topic=a&last_event_id=e1.2", is_reading=False) as client:
            await cache.turn()
            cache.put("a")
            cache.trim()
            await cache.turn()
            cache.put("a")
            client.may_send.set()
            await cache.turn()
            cache.may_answer["b"].set()
            cache.put("a")
            values: list[list[int]] = []
            while [1, 5] not in values:
                values += [event.data["value"] for event in await client.until("update") if event.event == "update"]

    assert values == sorted(values)


class Slow(Watcher):
    """Takes its time to end a question."""

    def __init__(self) -> None:
        super().__init__()
        self.may_end = asyncio.Event()
        self.is_asked = asyncio.Event()

    async def recheck(self) -> Grant | Problem:
        self.is_asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            await self.may_end.wait()
        raise AssertionError


async def test_who_joins_a_feed_that_is_about_to_end_is_told_goodbye(cache: Cache) -> None:
    """While questions that are under way are ended nobody would tell of what changes."""
    fanout = Fanout(cache, await cache.position())
    slow, late = Slow(), Watcher()
    fanout.add(slow, TOPICS, ["user:1"], mark=0)
    mark = fanout.mark
    running = asyncio.create_task(fanout.run())
    await cache.turn()
    cache.put(subject_key("user:1"))
    await slow.is_asked.wait()
    cache.fail()
    await cache.turn()

    fanout.add(late, TOPICS, ["user:1"], mark=mark)

    assert (slow.n_ends, late.n_ends) == (1, 1)
    slow.may_end.set()
    await asyncio.wait([running])
    assert running.exception() is not None


class Quick(LoggedCache):
    """Answers without a turn of the loop, but says its position when it may."""

    def __init__(self) -> None:
        super().__init__()
        self.put("a")
        self.is_asked, self.may_say = asyncio.Event(), asyncio.Event()

    async def position(self) -> Position:
        self.is_asked.set()
        await self.may_say.wait()
        return await super().position()

    async def stored(self, key: str) -> Entry | None:
        return self.entries.get(key)


class QuickCall(Call):
    """Its server neither waits to send nor, at the end of the answer, to say that the client is gone."""

    async def receive(self) -> Mapping[str, Any]:
        if self.sent[-1].get("body") == b"":
            return {"type": "http.disconnect"}
        return await super().receive()

    async def send(self, message: Mapping[str, Any]) -> None:
        self.sent.append(message)


async def test_a_stream_that_ends_before_it_begins_says_goodbye_and_no_more() -> None:
    """It ends in the very task that serves it: no cancellation is left over for the server."""
    cache = Quick()
    updates = Updates(cache, TOPICS, dice=lambda: 0.5)
    async with calling(updates, "topic=a", by=QuickCall) as client:
        await cache.is_asked.wait()
        await updates.drain()
        cache.may_say.set()
        await asyncio.wait([client.task])

        assert not client.task.cancelled()
        assert b"event: bye" in b"".join(message.get("body", b"") for message in client.sent)


async def test_what_is_owed_to_many_is_rendered_once(cache: Cache) -> None:
    """Also to those who come before anything has changed, as after a restart."""
    n_rendered = 0

    def render(entry: Entry) -> str:
        nonlocal n_rendered
        n_rendered += 1
        return f"<p>{entry.version}</p>"

    updates = Updates(cache, {"a": Topic(Key("a"), render)}, dice=lambda: 0.5)
    async with calling(updates, "topic=a") as one, calling(updates, "topic=a") as other:
        await one.begun()
        await other.begun()

    assert n_rendered == 1


async def test_nothing_is_kept_of_what_was_read_for_those_who_left_meanwhile(cache: Cache) -> None:
    """A topic may be one visitor's own, and never be followed again."""
    fanout = Fanout(cache, await cache.position())
    watcher, other = Watcher(), Watcher()
    fanout.add(watcher, {"a": TOPICS["a"]})
    fanout.add(other, {"b": TOPICS["b"]})
    running = asyncio.create_task(fanout.run())
    await cache.turn()
    cache.may_answer["a"].clear()
    cache.lose(["a", "b"])
    await cache.turn()

    fanout.remove(watcher)
    cache.may_answer["a"].set()
    await soon(lambda: len(fanout.showcase) > 0, what="the states of the new life were shown")

    assert len(fanout.showcase) == 1
    running.cancel()
    await asyncio.wait([running])
