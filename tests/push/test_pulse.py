"""Heartbeats, lifetimes, and what becomes of those who do not read: one timer for all."""

from datetime import timedelta
from math import inf

import pytest

from everfresh import FOREVER, Key
from everfresh.push import Topic, Updates
from everfresh.push.pulse import Due, Pace, Vital, due_of
from tests.push.fake import FakeCache, calling

PACE = Pace(heartbeat_s=20, patience_s=30, lifetime_s=900)
SOON = timedelta(milliseconds=20)
TOPICS = {"a": Topic(Key("a"))}


@pytest.mark.parametrize(
    ("vital", "now", "due"),
    [
        (Vital(beats_at=20, ends_at=900), 10, Due(look_at=20)),
        (Vital(beats_at=20, ends_at=900), 20, Due(is_beating=True, look_at=40)),
        (Vital(beats_at=20, ends_at=25), 20, Due(is_beating=True, look_at=25)),
        (Vital(beats_at=20, ends_at=20), 20, Due(is_expired=True, look_at=50)),
        (Vital(beats_at=20, ends_at=900, sending_since=15), 20, Due(look_at=40)),
        (Vital(beats_at=40, ends_at=900, sending_since=15), 20, Due(look_at=40)),
        (Vital(beats_at=60, ends_at=900, sending_since=15), 40, Due(look_at=45)),
        (Vital(beats_at=60, ends_at=900, sending_since=15), 45, Due(is_stalled=True)),
        (Vital(beats_at=60, ends_at=40, sending_since=15), 41, Due(is_expired=True, look_at=45)),
        (Vital(beats_at=60, ends_at=40, sending_since=15), 46, Due(is_stalled=True)),
        (Vital(beats_at=20, ends_at=inf), 20, Due(is_beating=True, look_at=40)),
    ],
)
def test_what_a_stream_is_due_for(vital: Vital, now: float, due: Due) -> None:
    """One that has more to send than its client takes needs no heartbeat; one that takes nothing is cut."""
    assert due_of(vital, PACE, now) == due


async def test_a_stream_ends_when_it_has_lasted_long_enough() -> None:
    """The client is told to come back soon, each at another moment."""
    cache = FakeCache()
    updates = Updates(cache, TOPICS, lifetime=SOON, dice=lambda: 0.5)
    async with calling(updates, "topic=a") as client:
        received = await client.ended()

    assert [(event.event, event.retry) for event in received][-1:] == [("bye", 550)]
    assert client.sent[-1] == {"type": "http.response.body", "body": b""}


async def test_who_takes_nothing_is_cut_and_who_reads_is_not() -> None:
    """However often something happens: to be offered is no progress."""
    cache = FakeCache()
    updates = Updates(cache, TOPICS, patience=SOON, heartbeat=SOON)
    async with calling(updates, "topic=a") as stalled, calling(updates, "topic=a") as reading:
        await stalled.begun()
        await reading.begun()
        stalled.may_send.clear()
        while not stalled.task.done():
            cache.commit("a")
            await reading.until("update")
        for _ in range(3):
            await reading.until("heartbeat")

        assert not reading.task.done()
        assert await stalled.ended() == []


async def test_who_does_not_read_the_goodbye_is_cut() -> None:
    """Also when the feed has ended, and with it all that could happen."""
    cache = FakeCache()
    updates = Updates(cache, TOPICS, patience=SOON)
    async with calling(updates, "topic=a") as stalled:
        await stalled.begun()
        stalled.may_send.clear()
        cache.batches.put_nowait(None)

        assert await stalled.ended() == []


async def test_heartbeats_go_to_those_who_have_nothing_waiting() -> None:
    """Their cursor moves along with what others are told."""
    cache = FakeCache()
    updates = Updates(cache, {**TOPICS, "b": Topic(Key("b"))}, heartbeat=SOON, patience=FOREVER)
    async with calling(updates, "topic=a") as idle, calling(updates, "topic=b") as slow:
        await idle.begun()
        await slow.begun()
        slow.may_send.clear()
        cache.commit("b")
        beat = (await idle.until("heartbeat"))[-1]
        while beat.id != "e1.1":
            beat = (await idle.until("heartbeat"))[-1]
        slow.may_send.set()
        # Heartbeats from before are on their way to it too.
        received = [*await slow.until("update"), *await slow.until("heartbeat")]

    assert [event.event for event in received if event.event != "heartbeat"] == ["update"]
    assert received[-1].id == "e1.1"
