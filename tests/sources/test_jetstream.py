"""NATS JetStream as a source: one process's share of a durable consumer, on a real server."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import nats
import pytest
from nats.js import JetStreamContext, api

from everfresh.model.errors import InvalidOption
from everfresh.model.message import Message
from everfresh.sources.addresses import SourceUrl
from everfresh.sources.jetstream import JetStream
from everfresh.sources.jetstream_stream import OpenJetStream
from everfresh.sources.source import Batch, SourceUnavailable, Start
from everfresh.testing.waiting import soon
from tests.nats_servers import NatsServer, nats_server
from tests.redis_servers import new_prefix
from tests.sources.batches import gaps, taken, texts
from tests.sources.downtime import is_touched, running, told

SUBJECT = "article.update"


class Bus:
    """One stream, and who writes to it."""

    def __init__(self, server: NatsServer, context: JetStreamContext) -> None:
        self.server = server
        self.js = context
        self.stream = new_prefix()

    async def make(self, **options: Any) -> None:  # noqa: ANN401 - as the driver takes them
        await self.js.add_stream(name=self.stream, subjects=[f"{self.stream}.>"], **options)

    async def add(self, *bodies: str, subject: str = SUBJECT) -> None:
        for body in bodies:
            await self.js.publish(f"{self.stream}.{subject}", body.encode())

    def source(self, **options: Any) -> JetStream:  # noqa: ANN401 - as the source takes them
        return JetStream(self.server.url, self.stream, **{"durable": "cache", "start": "all", **options})

    async def info(self) -> api.ConsumerInfo:
        return await self.js.consumer_info(self.stream, "cache")

    async def n_open(self) -> int:
        return (await self.info()).num_ack_pending or 0

    async def all_acknowledged(self) -> bool:
        info = await self.info()
        return not info.num_ack_pending and not info.num_pending


@pytest.fixture(scope="module")
def server() -> Iterator[NatsServer]:
    """The server of all tests here that need no other."""
    with nats_server() as started:
        yield started


@pytest.fixture
async def bus(server: NatsServer) -> AsyncIterator[Bus]:
    """A stream of this test alone."""
    client = await nats.connect(server.url)
    made = Bus(server, client.jetstream())
    await made.make()
    yield made
    await made.js.delete_stream(made.stream)
    await client.close()


@asynccontextmanager
async def opened(source: JetStream, *, offset: str | None = None) -> AsyncIterator[OpenJetStream]:
    """A connection of one process."""
    async with source.open(Start(offset=offset, topics=("#",), consumer="me")) as stream:
        yield stream


async def offset_at(stream: OpenJetStream, seq: int) -> str:
    """The offset, once it is so far."""
    found: list[str] = []

    async def is_there() -> bool:
        offset = (await stream.fetch(1, 0.05)).offset
        found.extend([offset] if offset else [])
        return bool(found) and int(found[-1].split(" ")[0]) >= seq

    await soon(is_there, what=f"an offset of {seq}")
    return found[-1]


async def test_messages_come_in_order_and_stay_open_until_they_are_acknowledged(bus: Bus) -> None:
    """What was given and not acknowledged, the consumer still counts as open."""
    await bus.add("1", "2", "3")

    async with opened(bus.source()) as stream:
        batch = await stream.fetch(10, 5)
        while len(batch.messages) < 3:
            batch.messages = [*batch.messages, *(more := await stream.fetch(10, 5)).messages]
            batch.tags += more.tags
        n_before = await bus.n_open()
        await stream.acknowledge(batch)

        assert texts(batch) == ["1", "2", "3"]
        assert {message.topic for message in batch.messages} == {f"{bus.stream}.{SUBJECT}"}
        assert [message.id for message in batch.messages] == [f"{bus.stream}:{number}" for number in (1, 2, 3)]
        assert (n_before, await bus.n_open()) == (3, 0)


async def test_a_batch_has_no_more_than_was_asked_for(bus: Bus) -> None:
    """The rest comes with the next."""
    await bus.add(*map(str, range(10)))

    async with opened(bus.source()) as stream:
        batches = await taken(stream, 10, n_max=3)

    assert max(len(batch.messages) for batch in batches) <= 3
    assert texts(*batches) == list(map(str, range(10)))


async def test_a_fetch_waits_for_the_first_message(bus: Bus) -> None:
    """It comes back with it, and not only when the wait is over; before, without one."""
    async with opened(bus.source()) as stream:
        assert texts(await stream.fetch(10, 0.01)) == []
        fetching = asyncio.create_task(stream.fetch(10, 50))
        await soon(lambda: waits(bus), what="a request that waits")
        await bus.add("1")

        assert texts(await fetching) == ["1"]


async def waits(bus: Bus) -> bool:
    return bool((await bus.info()).num_waiting)


async def test_what_was_not_acknowledged_comes_again(bus: Bus) -> None:
    """Its process died without a word; after `ack_wait` it goes to another."""
    await bus.add("1", "2")
    source = bus.source(ack_wait=timedelta(seconds=1))
    async with opened(source):
        dying = await bus.js.pull_subscribe_bind(durable="cache", stream=bus.stream)
        await dying.fetch(1)

    async with opened(source) as stream:
        batches = await taken(stream, 2)

    assert sorted(texts(*batches)) == ["1", "2"]


async def test_what_is_held_at_the_end_goes_to_others_at_once(bus: Bus) -> None:
    """What was fetched and not applied, and what came while nobody fetched: nobody waits an hour for it."""
    source = bus.source(ack_wait=timedelta(hours=1))
    async with opened(source) as stream:
        await stream.fetch(10, 0)
        await bus.add("1", "2", "3", "4")
        await soon(lambda: is_open(bus, 4), what="messages that were given")
        first = await taken(stream, 1, n_max=1)
        held = await stream.fetch(1, 5)

    async with opened(source) as stream:
        rest = await taken(stream, 3)

    assert (texts(*first, held), sorted(texts(*rest))) == (["1", "2"], ["2", "3", "4"])


async def test_what_comes_right_after_the_end_goes_to_others_at_once(bus: Bus) -> None:
    """The request that was open at the end is none any more, so the server gives nothing to nobody."""
    source = bus.source(ack_wait=timedelta(hours=1))
    async with opened(source) as stream:
        await stream.fetch(10, 0)
        await soon(lambda: waits(bus), what="a request that waits")
        # Of a connection that is not closed the server hears nothing; only what is said counts.
        await stream.end()
        await bus.add("1")

        async with opened(source) as other:
            assert texts(*await taken(other, 1)) == ["1"]


async def test_who_waits_for_no_farewell_leaves_no_connection(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cancelled once more while it gives back, it closes all the same."""
    is_saying = asyncio.Event()

    async def farewell(stream: OpenJetStream) -> None:
        is_saying.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(OpenJetStream, "end", farewell)
    streams: list[OpenJetStream] = []

    async def use() -> None:
        async with opened(bus.source()) as stream:
            streams.append(stream)

    using = asyncio.create_task(use())
    await is_saying.wait()
    using.cancel()
    await asyncio.wait({using})

    assert streams[0]._client.is_closed  # noqa: SLF001 - nobody else knows its connection


async def test_what_is_held_for_long_is_given_to_nobody_else(bus: Bus) -> None:
    """A store may be away for minutes; the server hears that it is in progress."""
    await bus.add("1")
    source = bus.source(ack_wait=timedelta(seconds=1))

    async with opened(source) as holder, opened(source) as other:
        held = await holder.fetch(10, 5)
        given = await other.fetch(10, 2.5)

    assert (texts(held), texts(given)) == (["1"], [])


async def test_two_processes_share_the_messages(bus: Bus) -> None:
    """Each message goes to one of them, and one's acknowledgement leaves the other's open."""
    await bus.add(*map(str, range(6)))

    async with opened(bus.source()) as one, opened(bus.source()) as other:
        first = await one.fetch(3, 5)
        second = await other.fetch(3, 5)
        while len(second.messages) < 3 or len(first.messages) < 3:
            for batch, stream in ((first, one), (second, other)):
                more = await stream.fetch(max(1, 3 - len(batch.messages)), 0.1)
                batch.messages, batch.tags = [*batch.messages, *more.messages], [*batch.tags, *more.tags]
        await other.acknowledge(second)

        assert sorted(texts(first, second)) == list(map(str, range(6)))
        assert await bus.n_open() == len(first.messages)


async def test_a_cancelled_fetch_loses_no_message(bus: Bus) -> None:
    """Whenever it is cancelled, what came meanwhile is there for the next one, and at once."""
    async with opened(bus.source()) as stream:
        got: list[str] = []
        for number in range(40):
            fetching = asyncio.create_task(stream.fetch(10, 5))
            for _ in range(number // 4):
                await asyncio.sleep(0)
            await bus.add(str(number))
            fetching.cancel()
            (result,) = await asyncio.gather(fetching, return_exceptions=True)
            got += texts(result) if isinstance(result, Batch) else []
        got += texts(*await taken(stream, 40 - len(got)))

        assert got == list(map(str, range(40)))


async def test_a_fetch_that_is_cancelled_as_its_wait_is_over_is_cancelled(bus: Bus) -> None:
    """Whoever awaits the end of it would wait for the rest of its time."""
    async with opened(bus.source()) as stream:
        await stream.fetch(1, 0)
        fetching = asyncio.create_task(stream.fetch(1, 20))
        for _ in range(5):
            await asyncio.sleep(0)

        stream._is_news.set()  # noqa: SLF001 - both have to be in one round of the loop
        fetching.cancel()
        (result,) = await asyncio.gather(fetching, return_exceptions=True)

    assert isinstance(result, asyncio.CancelledError)


async def test_a_consumer_that_is_gone_begins_at_the_stored_offset(bus: Bus) -> None:
    """An hour of downtime, in which somebody deleted the consumer: the position is ours."""
    await bus.add("1", "2")
    async with opened(bus.source()) as stream:
        await taken(stream, 2)
        offset = await offset_at(stream, 2)
    await bus.js.delete_consumer(bus.stream, "cache")
    await bus.add("3", "4")

    async with opened(bus.source(start="new"), offset=offset) as stream:
        batches = await taken(stream, 2)

    assert texts(*batches) == ["3", "4"]
    assert gaps(batches) == []


@pytest.mark.parametrize("is_consumer_gone", [False, True])
async def test_messages_that_went_while_nobody_was_there_are_a_gap(bus: Bus, is_consumer_gone: bool) -> None:
    """The server moves the consumer's floor over them as if they were acknowledged; the stored offset knows better."""
    await bus.add("1", "2")
    async with opened(bus.source()) as stream:
        await taken(stream, 2)
        offset = await offset_at(stream, 2)
    if is_consumer_gone:
        await bus.js.delete_consumer(bus.stream, "cache")
    await bus.add("3", "4", "5")
    await bus.js.purge_stream(bus.stream, keep=1)

    async with opened(bus.source(), offset=offset) as stream:
        batches = await taken(stream, 1)
        batches += [await stream.fetch(10, 0.3) for _ in range(3)]

    assert texts(*batches) == ["5"]
    assert gaps(batches) == [f"stream {bus.stream}: messages 3 to 4 went before they were read"]


async def test_messages_that_go_while_it_runs_are_a_gap(bus: Bus) -> None:
    """They are told once; what has come here already is not among them."""
    await bus.add("1")
    async with opened(bus.source()) as stream:
        await taken(stream, 1, n_max=1)
        await offset_at(stream, 1)
        await bus.add("2")
        await soon(lambda: is_open(bus, 1), what="one that has come")
        await bus.js.purge_stream(bus.stream)
        harmless = await taken(stream, 1, n_max=1)
        await offset_at(stream, 2)
        await bus.add("3", "4")
        await soon(lambda: is_open(bus, 1), what="another that has come")
        await bus.js.purge_stream(bus.stream)
        batches = [await stream.fetch(1, 0.3) for _ in range(4)]

    assert (texts(*harmless), gaps(harmless)) == (["2"], [])
    assert len(gaps(batches)) == 1


async def followed(bus: Bus, source: JetStream) -> str:
    """Take two messages; the offset after them."""
    async with opened(source) as stream:
        await bus.add("1", "2")
        await taken(stream, 2)
        return await offset_at(stream, 2)


async def test_messages_that_are_deleted_within_the_stream_are_a_gap(bus: Bus) -> None:
    """Each once, whether it goes while nobody is there or while it runs; what was read may go."""
    offset = await followed(bus, bus.source())
    await bus.add("3", "4", "5")
    await bus.js.delete_msg(bus.stream, 2)
    await bus.js.delete_msg(bus.stream, 4)

    async with opened(bus.source(), offset=offset) as stream:
        batches = await taken(stream, 2)
        batches += [await stream.fetch(1, 0.3) for _ in range(3)]
        await bus.js.delete_msg(bus.stream, 3)
        batches += [await stream.fetch(1, 0.3) for _ in range(2)]

    assert texts(*batches) == ["3", "5"]
    assert gaps(batches) == [f"stream {bus.stream}: 1 from 4 on were deleted or superseded before they were read"]


async def test_messages_that_were_superseded_before_they_were_read_are_a_gap(server: NatsServer) -> None:
    """A stream may keep only the last of each subject: two updates of different ids, and only the second comes."""
    client = await nats.connect(server.url)
    bus = Bus(server, client.jetstream())
    await bus.make(max_msgs_per_subject=1)
    await bus.add("0", subject="other")
    async with opened(bus.source()) as stream:
        await bus.add("1")
        await taken(stream, 2)
        offset = await offset_at(stream, 2)
    await bus.add("2", "3", "4")

    async with opened(bus.source(), offset=offset) as stream:
        batches = await taken(stream, 1)
    await client.close()

    assert texts(*batches) == ["4"]
    assert gaps(batches) == [f"stream {bus.stream}: 2 from 3 on were deleted or superseded before they were read"]


@pytest.mark.parametrize("retention", [api.RetentionPolicy.INTEREST, api.RetentionPolicy.WORK_QUEUE])
async def test_messages_that_go_unread_where_acknowledged_ones_go_too_are_a_gap(
    server: NatsServer, retention: api.RetentionPolicy
) -> None:
    """The server moves its floor over them; but it has not counted them as given."""
    client = await nats.connect(server.url)
    bus = Bus(server, client.jetstream())
    await bus.make(retention=retention)
    offset = await followed(bus, bus.source())
    await bus.add("3", "4", "5")
    await bus.js.purge_stream(bus.stream)
    await bus.add("6")

    async with opened(bus.source(), offset=offset) as stream:
        batches = await taken(stream, 1)
        batches += [await stream.fetch(1, 0.3) for _ in range(3)]
    await client.close()

    assert texts(*batches) == ["6"]
    assert gaps(batches) == [f"stream {bus.stream}: 3 of its messages went before they were read"]


async def test_what_a_work_queue_held_at_the_end_hides_no_loss(server: NatsServer) -> None:
    """It is given once more, later; given at once, it would make up for as many that were lost in between."""
    client = await nats.connect(server.url)
    bus = Bus(server, client.jetstream())
    await bus.make(retention=api.RetentionPolicy.WORK_QUEUE)
    source = bus.source(ack_wait=timedelta(seconds=1))
    offset = await followed(bus, source)
    async with opened(source, offset=offset) as stream:
        await bus.add("3")
        held = await stream.fetch(1, 5)
    await bus.add("4")
    await bus.js.delete_msg(bus.stream, 4)
    await bus.add("5")

    async with opened(source, offset=offset) as stream:
        batches = await taken(stream, 2)
    await client.close()

    assert (texts(held), sorted(texts(*batches))) == (["3"], ["3", "5"])
    assert gaps(batches) == [f"stream {bus.stream}: 1 of its messages went before they were read"]


async def test_messages_that_a_work_queue_had_no_room_for_are_told_once(server: NatsServer) -> None:
    """They are missing at its beginning, and later in what was given."""
    client = await nats.connect(server.url)
    bus = Bus(server, client.jetstream())
    await bus.make(retention=api.RetentionPolicy.WORK_QUEUE, max_msgs=2)
    offset = await followed(bus, bus.source())
    await bus.add("3", "4", "5", "6")

    async with opened(bus.source(), offset=offset) as stream:
        batches = await taken(stream, 2)
        batches += [await stream.fetch(1, 0.3) for _ in range(3)]
    await client.close()

    assert texts(*batches) == ["5", "6"]
    assert gaps(batches) == [f"stream {bus.stream}: messages 3 to 4 went before they were read"]


async def test_messages_that_go_while_the_server_is_asked_are_a_gap(bus: Bus) -> None:
    """Between the questions for the stream and for its consumer, of which the second would say that all was read."""
    offset = await followed(bus, bus.source())
    await bus.add("3", "4", "5")

    async with opened(bus.source(), offset=offset) as stream:
        ask = stream._consumer  # noqa: SLF001 - only here a purge can fall between

        async def purged() -> api.ConsumerInfo | None:
            await bus.js.purge_stream(bus.stream)
            vars(stream)["_consumer"] = ask
            return await ask()

        vars(stream)["_consumer"] = purged
        batches = [await stream.fetch(1, 0.5) for _ in range(4)]

    first_at_the_end = next(batch for batch in batches if batch.offset and batch.offset.startswith("5 "))
    assert gaps(batches[: batches.index(first_at_the_end) + 1]) != []


async def test_a_consumer_of_other_subjects_is_refused_and_what_it_missed_is_a_gap(bus: Bus) -> None:
    """It would give none of the new ones; once it was deleted, their earlier messages are still behind the offset."""
    one, two = (f"{bus.stream}.{subject}" for subject in ("one", "two"))
    async with opened(bus.source(subjects=[one])) as stream:
        await bus.add("1", subject="one")
        await bus.add("2", subject="two")
        await taken(stream, 1)
        offset = await offset_at(stream, 2)
    with pytest.raises(SourceUnavailable, match=f"chooses other subjects, {one}; delete it"):
        await AsyncExitStack().enter_async_context(opened(bus.source(subjects=[two]), offset=offset))
    await bus.js.delete_consumer(bus.stream, "cache")

    async with opened(bus.source(subjects=[two]), offset=offset) as stream:
        batch = await stream.fetch(1, 0.3)

    assert batch.gap == f"stream {bus.stream}: until now the subjects {one} were chosen"


async def test_messages_that_go_as_they_were_acknowledged_are_no_gap(server: NatsServer) -> None:
    """A work queue holds only what is open."""
    client = await nats.connect(server.url)
    bus = Bus(server, client.jetstream())
    await bus.make(retention=api.RetentionPolicy.WORK_QUEUE)
    async with opened(bus.source()) as stream:
        await bus.add("1", "2")
        batches = await taken(stream, 2)
        offset = await offset_at(stream, 1)
        await bus.add("3", "4")
        batches += await taken(stream, 2)
        batches += [await stream.fetch(10, 0.3) for _ in range(2)]
    await bus.add("5")
    async with opened(bus.source(), offset=offset) as stream:
        batches += await taken(stream, 1)
    await client.close()

    assert texts(*batches) == ["1", "2", "3", "4", "5"]
    assert gaps(batches) == []


async def test_messages_for_others_are_no_gap(bus: Bus) -> None:
    """What the consumer's subjects leave out moves the offset on, and may go."""
    source = bus.source(subjects=[f"{bus.stream}.mine.>"])
    async with opened(source) as stream:
        await bus.add("1", subject="mine.a")
        await taken(stream, 1)
        await bus.add("x", "y", "z", subject="other.a")
        offset = await offset_at(stream, 4)
    await bus.js.purge_stream(bus.stream)

    async with opened(source, offset=offset) as stream:
        await bus.add("2", subject="mine.a")
        batches = await taken(stream, 1)

    assert texts(*batches) == ["2"]
    assert gaps(batches) == []


async def test_a_stream_that_was_made_anew_is_a_gap(bus: Bus) -> None:
    """Even when it is longer than the old one: it was made at another time."""
    await bus.add("1")
    async with opened(bus.source()) as stream:
        await taken(stream, 1)
        offset = await offset_at(stream, 1)
    await bus.js.delete_stream(bus.stream)
    await bus.make()
    await bus.add("2", "3")

    async with opened(bus.source(start="new"), offset=offset) as stream:
        batches = await taken(stream, 2)

    assert texts(*batches) == ["2", "3"]
    assert gaps(batches) == [f"stream {bus.stream}: it was made anew, or lost its newest messages"]


async def test_a_consumer_that_somebody_made_anew_at_a_later_place_is_a_gap(bus: Bus) -> None:
    """What came between the offset and that place comes to nobody."""
    async with opened(bus.source()) as stream:
        await bus.add("1")
        await taken(stream, 1)
        offset = await offset_at(stream, 1)
    await bus.js.delete_consumer(bus.stream, "cache")
    await bus.add("2")
    config = api.ConsumerConfig(durable_name="cache", deliver_policy=api.DeliverPolicy.NEW)
    await bus.js.add_consumer(bus.stream, config)
    await bus.add("3")

    async with opened(bus.source(), offset=offset) as stream:
        batches = await taken(stream, 1)

    assert texts(*batches) == ["3"]
    assert "made anew by somebody" in gaps(batches)[0]


@pytest.mark.parametrize(("start", "expected"), [("new", ["2"]), ("all", ["1", "2"])])
async def test_the_first_start_begins_where_it_is_told_to(bus: Bus, start: str, expected: list[str]) -> None:
    """With what comes from now on, or with all that is there; what is not there any more may have told of entries."""
    await bus.add("0", "1")
    await bus.js.purge_stream(bus.stream, keep=1)

    async with opened(bus.source(start=start)) as stream:
        await bus.add("2")
        batches = await taken(stream, len(expected))

    assert texts(*batches) == expected
    assert [("nobody has followed it" in gap) for gap in gaps(batches)] == [True]
    assert batches[0].gap
    assert batches[0].offset


@pytest.mark.parametrize(
    ("start", "is_consumer_there", "is_told"), [("new", False, True), ("all", False, False), ("all", True, True)]
)
async def test_a_first_start_misses_what_came_before(
    bus: Bus, start: str, is_consumer_there: bool, is_told: bool
) -> None:
    """Unless all that ever came is still there, and comes; a consumer that is there may have been given some."""
    if is_consumer_there:
        async with opened(bus.source()) as stream:
            await stream.fetch(1, 0)
    await bus.add("1")

    async with opened(bus.source(start=start)) as stream:
        first = await stream.fetch(1, 0.5)

    assert (bool(first.gap), bool(first.offset)) == (is_told, True)


async def test_the_offset_stands_below_what_is_not_acknowledged(bus: Bus) -> None:
    """Of any process; and at the end when nothing is open."""
    await bus.add("1", "2")

    async with opened(bus.source()) as stream:
        batch = await stream.fetch(1, 5)
        rest = await taken(stream, 1)
        await soon(lambda: is_open(bus, 1), what="one left open")
        behind = [(await stream.fetch(10, 0.3)).offset for _ in range(2)]
        await stream.acknowledge(batch)
        after = await offset_at(stream, 2)

    assert texts(batch, *rest) == ["1", "2"]
    assert {int(offset.split(" ")[0]) for offset in (batch.offset, *behind) if offset} == {0}
    assert after.startswith("2 ")


async def is_open(bus: Bus, n: int) -> bool:
    return await bus.n_open() == n


async def test_who_is_idle_tells_an_offset_once(bus: Bus) -> None:
    """The store need not write it every second."""
    async with opened(bus.source()) as stream:
        offsets = [(await stream.fetch(10, 0.3)).offset for _ in range(3)]

    assert [offset is None for offset in offsets] == [False, True, True]


async def test_headers_and_ids_come_along(bus: Bus) -> None:
    """A canary goes through the source, and comes back as it was."""
    message = Message(topic=f"{bus.stream}.canary.x", body=b"{}", headers={"everfresh-canary": "x"}, id="7")

    async with opened(bus.source()) as stream:
        await stream.send(message)
        (batch,) = await taken(stream, 1)

        assert list(batch.messages) == [message]
        assert list(await stream.widen(["a.b"])) == []


async def test_a_message_that_the_stream_does_not_take_is_told(bus: Bus) -> None:
    """It says which subject is missing."""
    async with opened(bus.source()) as stream:
        with pytest.raises(SourceUnavailable, match=r"everfresh\.canary\.x"):
            await stream.send(Message(topic="everfresh.canary.x", body=b""))


async def test_a_consumer_that_goes_while_it_is_read_is_told(bus: Bus) -> None:
    """The next opening makes it again, at the offset."""
    async with opened(bus.source()) as stream:
        await stream.fetch(10, 0)
        await bus.js.delete_consumer(bus.stream, "cache")

        with pytest.raises(SourceUnavailable, match=r"409 Consumer Deleted|made anew"):
            await stream.fetch(10, 5)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"deliver_subject": "x"}, "pushes its messages"),
        ({"ack_policy": api.AckPolicy.ALL}, "must be explicit"),
        ({"max_deliver": 3}, "gives a message up after 3 deliveries"),
    ],
)
async def test_a_consumer_that_would_lose_messages_is_refused(bus: Bus, options: dict[str, Any], problem: str) -> None:
    """Somebody made it for something else."""
    await bus.js.add_consumer(bus.stream, api.ConsumerConfig(durable_name="cache", **options))

    with pytest.raises(SourceUnavailable, match=problem):
        await AsyncExitStack().enter_async_context(opened(bus.source()))


async def test_several_subjects_are_taken_or_refused_but_never_passed_over(bus: Bus) -> None:
    """NATS 2.9 knows one only."""
    source = bus.source(subjects=[f"{bus.stream}.a", f"{bus.stream}.b"])

    with pytest.raises(SourceUnavailable, match=r"several subjects need NATS 2\.10"):
        await AsyncExitStack().enter_async_context(opened(source))


async def test_a_stream_that_is_not_there_is_told(server: NatsServer) -> None:
    """It says which, and how to make it."""
    with pytest.raises(SourceUnavailable, match="there is no stream nothing"):
        await AsyncExitStack().enter_async_context(opened(JetStream(server.url, "nothing", durable="d")))


async def test_who_only_looks_takes_nothing(bus: Bus) -> None:
    """It sees what comes from now on, the consumer gets all of it, and nothing is left behind."""
    source = bus.source()
    await bus.add("0")
    async with source.tapped().open(Start(offset=None, topics=("#",), consumer="tap")) as tap:
        await bus.add("1", "2")
        seen: list[str] = []
        while len(seen) < 2:
            batch = await tap.fetch(10, 5)
            await tap.acknowledge(batch)
            seen += texts(batch)
        nothing = texts(await tap.fetch(10, 0.3))
    consumers = await bus.js.consumers_info(bus.stream)

    async with opened(source) as stream:
        assert texts(*await taken(stream, 3)) == ["0", "1", "2"]
    assert (seen, nothing, consumers) == (["1", "2"], [], [])


async def test_a_server_that_dies_is_told_and_comes_back_with_everything() -> None:
    """What it took is in its files."""
    with nats_server() as server:
        client = await nats.connect(server.url, allow_reconnect=False)
        bus = Bus(server, client.jetstream())
        await bus.make()
        source = bus.source(ack_wait=timedelta(seconds=1))
        async with opened(source) as stream:
            await bus.add("1")
            held = await stream.fetch(10, 5)
            server.kill()
            with pytest.raises(SourceUnavailable, match="the connection broke"):
                await stream.fetch(10, 5)
            with pytest.raises(SourceUnavailable):
                await stream.acknowledge(held)
        with pytest.raises(SourceUnavailable, match="no connection"):
            await AsyncExitStack().enter_async_context(opened(source))
        server.start()

        async with opened(source) as stream:
            assert texts(*await taken(stream, 1)) == ["1"]
        await client.close()


async def test_a_server_that_stands_still_is_told() -> None:
    """Its connections stay open, and its heartbeats stay away."""
    with nats_server() as server:
        client = await nats.connect(server.url, allow_reconnect=False)
        bus = Bus(server, client.jetstream())
        await bus.make()
        async with opened(bus.source()) as stream:
            await stream.fetch(10, 0)
            server.pause()
            with pytest.raises(SourceUnavailable, match=r"no heartbeat|no answer in time"):
                await stream.fetch(10, 20)
        server.resume()
        await client.close()


async def test_a_password_is_asked_for_and_never_shown() -> None:
    """Neither in errors nor in names; and it may hold what a URL must not."""
    users = 'accounts { A { jetstream: enabled, users: [{user: u, password: "s3:cr@t"}] } }'
    with nats_server(users) as server:
        good = server.url.replace("nats://", "nats://u:s3%3Acr%40t@")
        client = await nats.connect(server.url, user="u", password="s3:cr@t")  # noqa: S106 - the test's own server
        bus = Bus(server, client.jetstream())
        await bus.make()
        async with opened(JetStream(good, bus.stream, durable="d")) as stream:
            assert texts(await stream.fetch(1, 0)) == []
        source = JetStream(server.url.replace("nats://", "nats://u:wr0ng@"), bus.stream, durable="d")

        with pytest.raises(SourceUnavailable) as raised:
            await AsyncExitStack().enter_async_context(opened(source))
        await client.close()

    assert "wr0ng" not in f"{raised.value}{source!r}{source.name}"
    assert "Authorization" in str(raised.value)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"url": "http://x"}, "it names no NATS server"),
        ({"url": ()}, "it names no NATS server"),
        ({"stream": "a.b"}, "stream: 'a.b' is no name"),
        ({"durable": ""}, "durable: '' is no name"),
        ({"subjects": "a.b"}, "is one text"),
        ({"delivers": "a.b"}, "is one text"),
        ({"start": "middle"}, "start: 'middle'"),
        ({"ack_wait": timedelta()}, "ack_wait"),
    ],
)
def test_options_that_cannot_hold_are_refused(options: dict[str, Any], problem: str) -> None:
    """At once."""
    with pytest.raises(InvalidOption, match=problem):
        JetStream(**{"url": "nats://h", "stream": "s", "durable": "d", **options})


def test_a_url_says_all_of_it() -> None:
    """As the command line takes it."""
    url = SourceUrl("nats://u:p@h:7/orders?durable=cache&subject=a.>&start=all&ack_wait=5m&domain=leaf")

    source = JetStream.of_url(url, format="plain")
    url.check_taken()

    assert source.urls == ("nats://u:p@h:7",)
    assert (source.terms.stream, source.terms.durable, source.terms.subjects) == ("orders", "cache", ("a.>",))
    assert (source.terms.starts_at_all, source.terms.ack_wait_s, source.terms.domain) == (True, 300, "leaf")
    assert (source.name, source.delivers, source.format.name) == ("nats:h:7/leaf:orders:cache", ("#",), "plain")


@pytest.mark.parametrize(
    ("options", "delivers"),
    [
        ({}, ("#",)),
        ({"format": "fedora"}, ("a.#", "b")),
        ({"delivers": ("shop.#",)}, ("shop.#",)),
        ({"format": "fedora", "delivers": ("shop.#",)}, ("shop.#",)),
    ],
)
def test_subjects_are_topics_of_events_only_where_the_format_keeps_them(
    options: dict[str, Any], delivers: tuple[str, ...]
) -> None:
    """A CloudEvent has a topic of its own, and a gap must touch what depends on that."""
    assert JetStream("nats://h", "s", durable="d", subjects=["a.>", "b"], **options).delivers == delivers


@pytest.mark.parametrize("url", ["nats://h:1", "nats://s3cret@h:1", "nats://u:s3,c@ret@h:1", "nats://s3cret@h:1/"])
def test_the_server_stands_in_the_name_and_no_secret(url: str) -> None:
    """Two servers may have streams of the same name, and one store."""
    assert JetStream([url, "nats://h2"], "s", durable="d").name == "nats:h:1:s:d"


def test_no_time_is_not_taken_for_the_usual_one() -> None:
    """It cannot hold, and says so."""
    with pytest.raises(InvalidOption, match="ack_wait"):
        JetStream.of_url(SourceUrl("nats://h/s?durable=d&ack_wait=0"), format="auto")


def test_a_url_without_a_durable_is_refused() -> None:
    """It says how to write it."""
    with pytest.raises(InvalidOption, match=r"nats://host:4222/stream\?durable=name"):
        JetStream.of_url(SourceUrl("nats://h/orders"), format="auto")


async def add_article(bus: Bus, number: int) -> None:
    """As plain messages with a topic of their own, as subjects here begin with the stream's name."""
    await bus.add(f'{{"topic": "article.update", "body": {{"id": {number}}}}}')


class Articles(JetStream):
    """The stream as a source of an application."""

    def __init__(self, bus: Bus) -> None:
        super().__init__(bus.server.url, bus.stream, durable="cache", name="bus", delivers=("article.#",), start="all")


async def test_an_application_catches_up_after_a_downtime(bus: Bus, tmp_path: Path) -> None:
    """The consumer was deleted meanwhile; the stored offset tells where it was, and nothing is suspect."""
    async with running(tmp_path, Articles(bus)) as app:
        await soon(app.has_offset, what="a stored offset")
        await add_article(bus, 0)
        await soon(lambda: is_touched(app, "article:0"), what="the first event applied")
        await soon(lambda: app.has_offset("1 "), what="its place stored")
        await app.article(0)
    await bus.js.delete_consumer(bus.stream, "cache")
    await add_article(bus, 1)

    async with running(tmp_path, Articles(bus)) as app:
        await soon(lambda: is_touched(app, "article:1"), what="the event of the downtime applied")
        await soon(lambda: app.has_offset("2 "), what="its place stored")

        assert await app.touched() == {"article:1"}
        assert await app.n_gaps() == 0


async def test_an_application_whose_stream_was_trimmed_marks_what_depends_on_it(bus: Bus, tmp_path: Path) -> None:
    """Nobody knows which articles changed, so all may have; the weather comes from elsewhere."""
    async with running(tmp_path, Articles(bus)) as app:
        await soon(app.has_offset, what="a stored offset")
        await add_article(bus, 0)
        await soon(lambda: is_touched(app, "article:0"), what="the first event applied")
        await soon(lambda: app.has_offset("1 "), what="its place stored")
        await app.article(0)
    await add_article(bus, 1)
    await add_article(bus, 2)
    await bus.js.purge_stream(bus.stream, keep=1)

    async with running(tmp_path, Articles(bus)) as app:
        await soon(lambda: is_touched(app, "article:0", "article:1", "article:2"), what="all articles suspect")

        assert await app.touched() == {"article:0", "article:1", "article:2"}
        assert await told(app) == 1
