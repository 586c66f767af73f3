"""What a real store and a real network do only once in a while."""

import asyncio
from datetime import timedelta

import pytest

from everfresh import InvalidOption, Key, Position, StoreUnavailable
from everfresh.push import Topic, Updates
from tests.push.fake import FakeCache, calling
from tests.push.serving import DEADLINE_S

TOPICS = {name: Topic(Key(name)) for name in ("a", "b", "c")}
AWAY = StoreUnavailable("store: away. Try again.")


@pytest.fixture
def cache() -> FakeCache:
    return FakeCache()


def updates_of(cache: FakeCache, heartbeat: timedelta = timedelta(seconds=20)) -> Updates:
    return Updates(cache, TOPICS, dice=lambda: 0.5, heartbeat=heartbeat)


async def test_a_client_that_does_not_read_costs_two_frames_a_topic(cache: FakeCache) -> None:
    """A hundred versions are published; it gets what was on its way, and the newest."""
    updates = updates_of(cache)
    async with calling(updates, "topic=a&topic=b") as slow, calling(updates, "topic=a") as quick:
        await slow.begun()
        await quick.begun()
        slow.may_send.clear()
        for n in range(1, 101):
            cache.commit("b", "a", value=n)
            await quick.until("update")
        slow.may_send.set()
        received = [await slow.next() for _ in range(4)]

    values = [(event.data["topic"], event.data["value"]) for event in received]
    assert values == [("b", 1), ("a", 1), ("b", 100), ("a", 100)]


async def test_what_is_changed_is_loaded_once_for_all(cache: FakeCache) -> None:
    """However many follow, and not at all when nobody asked."""
    updates = updates_of(cache)
    async with calling(updates, "topic=a") as one, calling(updates, "topic=a&topic=b") as other:
        await one.begun()
        await other.begun()
        cache.n_loads = 0
        cache.commit("c", "a")
        await one.until("update")
        await other.until("update")

    assert cache.n_loads == 1


async def test_a_cached_error_is_shown_as_failed_and_never_told(cache: FakeCache) -> None:
    """What its function raised is for who calls it; the page keeps its last value."""
    updates = updates_of(cache)
    async with calling(updates, "topic=a") as client:
        await client.begun()
        cache.commit("a", value=["builtins.KeyError", ["secret"]], is_error=True)
        frame = await client.until("failed")

    assert "secret" not in str(frame)


async def test_a_new_life_of_the_store_reaches_open_streams(cache: FakeCache) -> None:
    """Word of it, then whole states, whose cursor counts in the new life."""
    cache.commit("a", "b")
    updates = updates_of(cache, heartbeat=timedelta(milliseconds=20))
    async with calling(updates, "topic=b&topic=c&topic=a&last_event_id=e1.2") as client:
        await client.until("heartbeat")
        cache.begin_anew("a", "b", value="new")
        received = await client.until("reset")
        received += await client.until("stale")
        cache.commit("a", value="newer")
        received += await client.until("update")

    told = [(event.event, event.data.get("topic"), event.id) for event in received if event.event != "heartbeat"]
    assert told[0][0] == "reset"
    assert told[1:] == [
        ("update", "a", "e2.1"),
        ("update", "b", "e2.2"),
        ("stale", "c", "e2.2"),
        ("update", "a", "e2.3"),
    ]


@pytest.mark.parametrize("end", [AWAY, LookupError("a bug"), None], ids=["store-away", "bug", "closed"])
async def test_streams_end_with_the_feed(
    cache: FakeCache, end: Exception | None, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is silently stale: clients come back, and whoever is first begins to follow again."""
    updates = updates_of(cache)
    async with calling(updates, "topic=a") as client:
        await client.begun()
        cache.batches.put_nowait(end)
        received = await client.ended()
        assert [(event.event, event.retry) for event in received] == [("bye", 3000)]
        assert client.sent[-1] == {"type": "http.response.body", "body": b""}

        async with calling(updates, "topic=a") as again:
            await again.begun()
            cache.commit("a")
            await again.until("update")

    assert ("feed.failed" in caplog.text) is (end is not None)


async def test_without_a_store_there_is_no_stream(cache: FakeCache) -> None:
    """The client is asked to come back."""
    cache.broken["position"] = AWAY
    async with calling(updates_of(cache), "topic=a") as client:
        await client.ended()

    assert client.status == 503
    assert (b"retry-after", b"5") in client.sent[0]["headers"]
    assert b"store: away" in client.sent[1]["body"]


async def test_a_client_that_stalls_does_not_hold_a_lost_feed(cache: FakeCache) -> None:
    """It has not even read the goodbye when others are back."""
    updates = updates_of(cache)
    async with calling(updates, "topic=a") as stalled:
        await stalled.begun()
        stalled.may_send.clear()
        async with calling(updates, "topic=a") as client:
            await client.begun()
            cache.batches.put_nowait(None)
            await client.until("bye")

        async with calling(updates, "topic=a") as again:
            await again.begun()
            cache.commit("a")
            await again.until("update")


@pytest.mark.parametrize("broken", ["feed", "stored"])
async def test_a_store_that_goes_away_ends_the_stream(
    cache: FakeCache, broken: str, caplog: pytest.LogCaptureFixture
) -> None:
    """With goodbye, since the answer has begun."""
    cache.broken[broken] = AWAY
    async with calling(updates_of(cache), "topic=a&last_event_id=e0.1") as client:
        received = await client.ended()

    assert received[-1].event == "bye"
    assert ".failed" in caplog.text


async def test_who_does_not_even_take_the_head_is_cut_off(cache: FakeCache) -> None:
    """What was answered before on its connection may fill the server's buffers still."""
    updates = Updates(cache, TOPICS, patience=timedelta(milliseconds=20))
    async with calling(updates, "topic=a") as stalled:
        stalled.may_send.clear()

        assert await stalled.ended() == []
        assert updates.n_streams == 0


async def test_draining_cuts_off_who_does_not_read(cache: FakeCache) -> None:
    """A client that stalls must not hold up the end of the server."""
    updates = updates_of(cache)
    async with calling(updates, "topic=a") as stalled, calling(updates, "topic=a") as reading:
        await stalled.begun()
        await reading.begun()
        stalled.may_send.clear()
        await updates.drain(grace=timedelta(milliseconds=20))

        assert [event.event for event in await reading.ended()] == ["bye"]
        assert await stalled.ended() == []
        async with calling(updates, "topic=a") as late:
            await late.ended()
        assert late.status == 503


async def test_draining_an_idle_application_is_quick(cache: FakeCache) -> None:
    """There is nobody to wait for."""
    async with asyncio.timeout(DEADLINE_S):
        await updates_of(cache).drain(grace=timedelta.max)


async def test_who_arrives_while_draining_begins_is_sent_away(cache: FakeCache) -> None:
    """A request that was looked at before and waits for the store is no way around it."""
    updates = updates_of(cache)
    asked, answer = asyncio.Event(), asyncio.Event()

    async def position() -> Position:
        asked.set()
        await answer.wait()
        return await FakeCache.position(cache)

    cache.position = position
    async with calling(updates, "topic=a") as client:
        await asked.wait()
        await updates.drain()
        answer.set()
        received = await client.ended()

    assert [event.event for event in received] == ["hello", "bye"]


async def test_a_lifespan_ends_with_draining(cache: FakeCache) -> None:
    """For a server that runs nothing but this."""
    updates = updates_of(cache)
    async with calling(updates, "topic=a") as client, calling(updates, type="lifespan") as server:
        await client.begun()
        server.inbox.put_nowait({"type": "lifespan.startup"})
        server.inbox.put_nowait({"type": "lifespan.shutdown"})
        await server.ended()
        received = await client.ended()

    assert [event.event for event in received] == ["bye"]
    assert [message["type"] for message in server.sent] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


async def test_a_websocket_is_refused(cache: FakeCache) -> None:
    """There is a stream here and nothing else."""
    async with calling(updates_of(cache), type="websocket") as client:
        await client.ended()

    assert client.sent == [{"type": "websocket.close"}]


async def test_a_server_that_says_that_the_client_is_gone_ends_the_stream(cache: FakeCache) -> None:
    """Some raise on sending, as ASGI 2.4 has it."""
    updates = updates_of(cache)

    async with calling(updates, "topic=a") as client:
        await client.begun()
        client.is_gone = True
        cache.commit("a")
        assert await client.ended() == []


@pytest.mark.parametrize("heartbeat", [timedelta(0), timedelta(seconds=-1)])
def test_a_heartbeat_takes_some_time(cache: FakeCache, heartbeat: timedelta) -> None:
    """Without any, streams would never rest."""
    with pytest.raises(InvalidOption, match="heartbeat"):
        updates_of(cache, heartbeat=heartbeat)
