"""MQTT 5 as a source: a session at a real broker that outlives its process."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from everfresh.model.errors import InvalidOption
from everfresh.model.message import Message
from everfresh.sources.addresses import SourceUrl
from everfresh.sources.mqtt import Mqtt, OpenMqtt
from everfresh.sources.mqtt_session import Session
from everfresh.sources.source import Batch, SourceUnavailable, Start
from tests.mosquitto_servers import MosquittoServer, mosquitto_server
from tests.redis_servers import new_prefix
from tests.sources.batches import gaps, taken, texts


class Bus:
    """A branch of topics on the broker, and who writes to it."""

    def __init__(self, server: MosquittoServer, writer: Session) -> None:
        self.server = server
        self.writer = writer
        self.root = new_prefix()

    async def add(self, *bodies: str, topic: str = "article/update", **headers: str) -> None:
        for body in bodies:
            message = Message(topic="", body=body.encode(), headers=headers)
            await self.writer.publish(f"{self.root}/{topic}", message)

    def source(self, *topics: str, client_id: str = "me", **options: Any) -> Mqtt:  # noqa: ANN401 - as the source takes them
        filters = [f"{self.root}/{topic}" for topic in topics or ("#",)]
        return Mqtt(self.server.url, filters, client_id=f"{self.root}-{client_id}", **options)

    def derived(self, **options: Any) -> Mqtt:  # noqa: ANN401 - as above
        return Mqtt(self.server.url, client_id=f"{self.root}-me", **options)


@pytest.fixture(scope="module")
def server() -> Iterator[MosquittoServer]:
    """The broker of all tests here that need no other."""
    with mosquitto_server() as started:
        yield started


@pytest.fixture
async def bus(server: MosquittoServer) -> AsyncIterator[Bus]:
    """A branch of this test alone."""
    async with writing(server) as made:
        yield made


@asynccontextmanager
async def writing(server: MosquittoServer) -> AsyncIterator[Bus]:
    """Who writes to a broker."""
    writer = Session(Mqtt(server.url, client_id=new_prefix(), session_expiry=timedelta(seconds=1)).terms)
    await writer.connect()
    yield Bus(server, writer)
    await writer.close()


@asynccontextmanager
async def opened(source: Mqtt, *, offset: str | None = None, topics: tuple[str, ...] = ()) -> AsyncIterator[OpenMqtt]:
    """A connection; with nothing stored, after it was told that nobody had followed the source."""
    async with source.open(Start(offset=offset, topics=topics, consumer="c")) as stream:
        if offset is None:
            first = await stream.fetch(1, 0)
            assert (bool(first.gap), bool(first.offset)) == (source.terms.session_expiry_s > 0, True)
            # So that tests get it too.
            vars(stream)["_last_offset"] = ""
        yield stream


async def quiet(stream: OpenMqtt) -> list[Batch]:
    """What comes without anybody publishing."""
    batches = [await stream.fetch(100, 0.2) for _ in range(2)]
    for batch in batches:
        await stream.acknowledge(batch)
    return batches


async def followed(source: Mqtt, **options: Any) -> str:  # noqa: ANN401 - as `opened` takes them
    """Begin to follow a source, and end; the offset."""
    async with opened(source, **options) as stream:
        offset = (await stream.fetch(1, 0)).offset
    assert offset is not None
    return offset


async def test_messages_come_in_order_with_their_topics_in_our_words(bus: Bus) -> None:
    """Levels are words; user properties are headers."""
    async with opened(bus.source()) as stream:
        await bus.add("1", "2", topic="a/b", severity="high")
        batches = await taken(stream, 2)

    assert texts(*batches) == ["1", "2"]
    assert batches[0].messages[0] == Message(topic=f"{bus.root}.a.b", body=b"1", headers={"severity": "high"})


async def test_a_batch_has_no_more_than_was_asked_for(bus: Bus) -> None:
    """The rest comes with the next."""
    async with opened(bus.source()) as stream:
        await bus.add(*map(str, range(10)))
        batches = await taken(stream, 10, n_max=3)

    assert max(len(batch.messages) for batch in batches) <= 3
    assert texts(*batches) == list(map(str, range(10)))


async def test_what_was_not_acknowledged_comes_again(bus: Bus) -> None:
    """And what was does not."""
    source = bus.source()
    async with opened(source) as stream:
        await bus.add("1", "2", "3")
        first = await stream.fetch(1, 5)
        await stream.fetch(1, 5)
        await stream.acknowledge(first)
        offset = first.offset

    async with opened(source, offset=offset) as stream:
        batches = await taken(stream, 2)

    assert texts(*batches) == ["2", "3"]
    assert gaps(batches) == []


async def test_what_came_while_nobody_was_there_comes(bus: Bus) -> None:
    """The broker keeps it for the session."""
    source = bus.source()
    offset = await followed(source)
    await bus.add("1", "2")

    async with opened(source, offset=offset) as stream:
        batches = await taken(stream, 2)

    assert texts(*batches) == ["1", "2"]
    assert gaps(batches) == []


async def test_no_more_is_under_way_than_was_said(bus: Bus) -> None:
    """The broker waits for acknowledgements."""
    source = bus.source(prefetch=2)
    async with opened(source) as stream:
        await bus.add("1", "2", "3")
        held = [await stream.fetch(100, 5)]
        while len(texts(*held)) < 2:
            held.append(await stream.fetch(100, 5))
        nothing = await stream.fetch(100, 0.2)
        for batch in held:
            await stream.acknowledge(batch)
        rest = await taken(stream, 1)

    assert (texts(*held), texts(nothing), texts(*rest)) == (["1", "2"], [], ["3"])


async def test_a_cancelled_fetch_loses_no_message(bus: Bus) -> None:
    """What came meanwhile is there for the next one."""
    async with opened(bus.source()) as stream:
        got: list[str] = []
        for number in range(30):
            fetching = asyncio.create_task(stream.fetch(10, 5))
            for _ in range(number // 4):
                await asyncio.sleep(0)
            await bus.add(str(number))
            fetching.cancel()
            (result,) = await asyncio.gather(fetching, return_exceptions=True)
            got += texts(result) if isinstance(result, Batch) else []
        got += texts(*await taken(stream, 30 - len(got))) if len(got) < 30 else []

        assert got == list(map(str, range(30)))


async def test_processes_that_share_get_each_message_once(bus: Bus) -> None:
    """Each has a session of its own."""
    async with (
        opened(bus.source(share="group")) as one,
        opened(bus.source(client_id="other", share="group")) as other,
    ):
        await bus.add(*map(str, range(10)))
        batches: list[Batch] = []
        while len(texts(*batches)) < 10:
            batches += [await one.fetch(100, 0.2), await other.fetch(100, 0.2)]

    assert sorted(texts(*batches)) == sorted(map(str, range(10)))


async def test_a_session_that_the_broker_dropped_is_a_gap() -> None:
    """What it had kept is gone."""
    async with AsyncExitStack() as stack:
        server = stack.enter_context(mosquitto_server())
        source = Mqtt(server.url, ["#"], client_id="me")
        offset = await followed(source)
        server.stop()
        server.forget()
        server.start()

        async with opened(source, offset=offset) as stream:
            batches = await quiet(stream)
        async with opened(source, offset=batches[-1].offset) as stream:
            later = await quiet(stream)

    assert gaps(batches) == ["the broker had dropped the session"]
    assert gaps(later) == []


async def test_a_gap_is_told_until_somebody_has_seen_to_it() -> None:
    """The broker has a session again after the first try, and says so; by its mark it is known for a new one."""
    async with AsyncExitStack() as stack:
        server = stack.enter_context(mosquitto_server())

        def source() -> Mqtt:
            # As after a restart: nothing is remembered but the offset.
            return Mqtt(server.url, ["#"], client_id="me")

        offset = await followed(source())
        server.stop()
        server.forget()
        server.start()
        async with opened(source(), offset=offset) as stream:
            told = await stream.fetch(1, 0)
        async with opened(source(), offset=offset) as stream:
            again = await quiet(stream)
        async with opened(source(), offset=offset) as stream:
            later = await quiet(stream)

    assert told.gap == "the broker had dropped the session"
    assert gaps(again) == ["the session is another than the one that was stored"]
    assert gaps(later) == []


async def test_a_first_start_misses_what_came_before(bus: Bus) -> None:
    """What depends on it may have been built before; told again until an offset is stored, and then never."""
    source = bus.source()
    start = Start(offset=None, topics=(), consumer="c")
    first = Batch()
    for _ in range(2):
        async with source.open(start) as stream:
            first, second = await stream.fetch(1, 0), await stream.fetch(1, 0)
            assert ("nobody has followed it until now" in first.gap, second.gap) == (True, "")
    async with opened(source, offset=first.offset) as stream:
        assert gaps(await quiet(stream)) == []


async def test_restarts_are_no_gap(bus: Bus) -> None:
    """The broker has kept the session."""
    source = bus.source()
    async with opened(source) as stream:
        batches = await quiet(stream)
    for _ in range(2):
        async with opened(source, offset=batches[0].offset) as stream:
            batches += await quiet(stream)

    assert gaps(batches) == []


async def test_topics_that_are_asked_for_later_are_told(bus: Bus) -> None:
    """By `widen` while it runs, as a gap of these topics after a restart; canaries are nobody's loss."""
    mine, other, third = (f"{bus.root}.{word}.*" for word in ("mine", "other", "third"))
    source = bus.derived(format="fedora")
    async with opened(source, topics=(mine,)) as stream:
        new = await stream.widen([mine, other, f"{bus.root}.mine.x"])
        await bus.add("1", topic="other/a")
        await bus.add("no", topic="third/a")
        batches = await taken(stream, 1)
        offset = batches[-1].offset or (await stream.fetch(1, 0)).offset

    async with opened(source, offset=offset, topics=(mine, other, third, "everfresh.canary.*")) as stream:
        later = await quiet(stream)
        await bus.add("2", topic="third/a")
        later += await taken(stream, 1)

    assert (list(new), texts(*batches)) == ([other], ["1"])
    assert [(batch.gap, batch.gap_topics) for batch in later if batch.gap] == [
        ("these topics were asked for only now", (third,))
    ]
    assert texts(*later) == ["2"]
    assert source.delivers == ("#",)


async def test_topics_that_are_asked_for_later_concern_all_events_where_they_have_topics_of_their_own(bus: Bus) -> None:
    """A CloudEvent of any type may have come with a message of the new topic."""
    mine, other = (f"{bus.root}.{word}.*" for word in ("mine", "other"))
    source = bus.derived(delivers=("shop.#",))
    async with opened(source, topics=(mine,)) as stream:
        offset = (await stream.fetch(1, 0)).offset
        new, nothing = await stream.widen([other]), await stream.widen([other])

    async with opened(source, offset=offset, topics=(mine, other)) as stream:
        told = await stream.fetch(1, 0)

    assert (list(new), list(nothing)) == (["shop.#"], [])
    assert ("only now" in told.gap, told.gap_topics) == (True, ())
    assert bus.derived().delivers == bus.source("a/+").delivers == ("#",)
    assert bus.source("a/+", format="fedora").delivers == (f"{bus.root}.a.*",)


BOUNDED = "allow_anonymous true\nmax_queued_messages 20"


@pytest.mark.parametrize("n_come", [10, 30])
async def test_as_many_as_the_broker_keeps_are_a_gap(n_come: int) -> None:
    """It has dropped what was beyond, and says nothing of it."""
    async with AsyncExitStack() as stack:
        bus = await stack.enter_async_context(writing(stack.enter_context(mosquitto_server(BOUNDED))))
        source = bus.source(backfill=20)
        offset = await followed(source)
        await bus.add(*map(str, range(n_come)))

        async with opened(source, offset=offset) as stream:
            batches = await taken(stream, min(n_come, 20), n_max=4)
            batches += [await stream.fetch(100, 0.5) for _ in range(2)]
            for batch in batches[-2:]:
                await stream.acknowledge(batch)
            # With nobody away there is no bound.
            await bus.add(*map(str, range(30)))
            batches += await taken(stream, 30)
            batches += await quiet(stream)
        async with opened(source, offset=offset) as stream:
            later = await quiet(stream)

    expected = [] if n_come < 20 else ["20 messages had been kept, and the broker may have dropped more"]
    assert gaps(batches) == expected
    assert gaps(later) == []


async def test_as_many_as_the_broker_keeps_are_a_gap_though_the_process_dies_amid_them() -> None:
    """The next one finds fewer; but the session has lost its mark."""
    async with AsyncExitStack() as stack:
        bus = await stack.enter_async_context(writing(stack.enter_context(mosquitto_server(BOUNDED))))
        offset = await followed(bus.source(backfill=20))
        await bus.add(*map(str, range(30)))
        async with opened(bus.source(backfill=20), offset=offset) as stream:
            first = await stream.fetch(4, 5)
            await stream.acknowledge(first)

        async with opened(bus.source(backfill=20), offset=offset) as stream:
            told = await stream.fetch(100, 0)

    assert (first.gap, told.gap) == ("", "the session is another than the one that was stored")


async def test_retained_messages_come_with_the_first_subscription_only(bus: Bus) -> None:
    """They are no news to whoever comes back."""
    bus.writer._client.publish(f"{bus.root}/a", b"old", qos=1, retain=True)  # noqa: SLF001 - nothing of ours retains
    source = bus.source()
    async with opened(source) as stream:
        first = await taken(stream, 1)
        offset = first[0].offset

    async with opened(source, offset=offset) as stream:
        later = await quiet(stream)

    assert (texts(*first), texts(*later)) == (["old"], [])


async def test_a_message_that_is_sent_comes_back(bus: Bus) -> None:
    """A canary goes through the source, whatever topics were chosen."""
    message = Message(topic="everfresh.canary.x", body=b"{}", headers={"everfresh-canary": "x"}, id="7")

    async with opened(bus.source("mine/#"), topics=("everfresh.canary.*",)) as stream:
        await stream.send(message)
        (batch,) = await taken(stream, 1)

    assert list(batch.messages) == [message]


async def test_who_only_looks_takes_nothing(bus: Bus) -> None:
    """It sees what comes, and those who share get all of it among themselves."""
    source = bus.source(share="group")
    async with opened(source) as stream, opened(source.tapped()) as tap:  # type: ignore[arg-type]
        await bus.add("1", "2")
        seen, got = await taken(tap, 2), await taken(stream, 2)

    assert texts(*seen) == texts(*got) == ["1", "2"]


async def test_a_message_without_acknowledgement_comes_too(bus: Bus) -> None:
    """Published with QoS 0, it is not waited for by the broker."""
    async with opened(bus.source()) as stream:
        bus.writer._client.publish(f"{bus.root}/a", b"1", qos=0)  # noqa: SLF001 - nothing of ours publishes so
        (batch,) = await taken(stream, 1)

    assert (texts(batch), batch.tags) == (["1"], [])


async def test_another_client_of_the_same_name_is_told(bus: Bus) -> None:
    """Two processes with one name throw each other out; not every broker says why."""
    source = bus.source()
    async with opened(source) as stream, opened(source):
        with pytest.raises(SourceUnavailable, match=r"the connection broke|taken over"):
            await stream.fetch(1, 5)


async def test_a_broker_that_dies_is_told_and_comes_back() -> None:
    """What it had saved is there again."""
    with mosquitto_server() as server:
        source = Mqtt(server.url, ["#"], client_id="me")
        async with AsyncExitStack() as stack:
            bus = await stack.enter_async_context(writing(server))
            stream = await stack.enter_async_context(opened(source))
            await bus.add("1")
            held = await stream.fetch(10, 5)
            server.save()
            server.kill()
            with pytest.raises(SourceUnavailable, match="the connection broke"):
                await stream.fetch(10, 5)
            with pytest.raises(SourceUnavailable, match="the connection broke"):
                await stream.acknowledge(held)
        with pytest.raises(SourceUnavailable, match="no connection"):
            await AsyncExitStack().enter_async_context(opened(source))
        server.start()

        async with opened(source, offset=held.offset) as stream:
            batches = await taken(stream, 1)

    assert texts(*batches) == ["1"]
    assert gaps(batches) == []


@pytest.fixture
def users(tmp_path: Path) -> Path:
    """The file of a broker's users."""
    file = tmp_path / "users"
    subprocess.run(["mosquitto_passwd", "-c", "-b", file, "u", "s3:cr@t"], check=True, capture_output=True)
    return file


async def test_a_password_is_asked_for_and_never_shown(users: Path) -> None:
    """Neither in errors nor in names; and it may hold what a URL must not."""
    with mosquitto_server(f"password_file {users}") as server:
        good = Mqtt(server.url.replace("://", "://u:s3%3Acr%40t@"), ["#"], client_id="me")
        async with opened(good) as stream:
            assert texts(await stream.fetch(1, 0)) == []
        source = Mqtt(server.url.replace("://", "://u:wr0ng@"), ["#"], client_id="me")

        with pytest.raises(SourceUnavailable) as raised:
            await AsyncExitStack().enter_async_context(opened(source))

    assert "wr0ng" not in f"{raised.value}{source!r}{source.name}{source.terms!r}"
    assert "the broker refuses: Not authorized" in str(raised.value)


async def test_a_topic_that_is_forbidden_is_told(tmp_path: Path) -> None:
    """Publishing to it is not taken for done."""
    rights = tmp_path / "rights"
    rights.write_text("topic read #\n")
    with mosquitto_server(f"allow_anonymous true\nacl_file {rights}") as server:
        async with opened(Mqtt(server.url, ["#"], client_id="me")) as stream:
            with pytest.raises(SourceUnavailable, match="this user may not publish to a/b"):
                await stream.send(Message(topic="a.b", body=b""))


async def test_a_subscription_that_is_refused_is_told(bus: Bus) -> None:
    """It names the filter."""
    source = Mqtt(bus.server.url, ["a/#/b"], client_id=bus.root)

    with pytest.raises((SourceUnavailable, ValueError), match=r"a/#/b|[Ii]nvalid"):
        await AsyncExitStack().enter_async_context(opened(source))


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"url": "http://x"}, "it names no broker"),
        ({"url": "mqtt://u:pw@h:x"}, "it names no broker"),
        ({"url": "mqtt://h/a/b"}, "percent-encoded"),
        ({"topics": "a/b"}, "is one text"),
        ({"delivers": "a.b"}, "is one text"),
        ({"backfill": -1}, "backfill: -1"),
        ({"client_id": ""}, "client_id: ''"),
        ({"share": "a/b"}, "share: 'a/b'"),
        ({"prefetch": 0}, "prefetch: 0"),
        ({"session_expiry": timedelta()}, "session_expiry"),
        ({"url": "mqtts://h", "cafile": "/nowhere"}, "cafile, certfile, keyfile"),
    ],
)
def test_options_that_cannot_hold_are_refused(options: dict[str, Any], problem: str) -> None:
    """At once, and without the password."""
    with pytest.raises(InvalidOption, match=problem) as raised:
        Mqtt(**{"url": "mqtt://h", "client_id": "c", **options})

    assert "pw" not in str(raised.value)


def test_a_url_says_all_of_it() -> None:
    """As the command line takes it."""
    url = SourceUrl(
        "mqtt://u:p%40@h:7?client_id=c1&topic=a/%2B/%23&topic=b&share=g&session_expiry=1h&prefetch=5&delivers=x.%23&backfill=0"
    )

    source = Mqtt.of_url(url, format="plain")
    url.check_taken()

    assert (source.topics, source.share, source.delivers) == (("a/+/#", "b"), "g", ("x.#",))
    assert (source.terms.host, source.terms.port, source.terms.password) == ("h", 7, "p@")
    assert (source.terms.session_expiry_s, source.terms.prefetch, source.format.name) == (3600, 5, "plain")
    assert (source.name, source.backfill) == ("mqtt:h:7:c1", 0)


def test_a_url_without_a_client_id_is_refused() -> None:
    """It says how to write it."""
    with pytest.raises(InvalidOption, match=r"mqtt://host:1883\?client_id=name"):
        Mqtt.of_url(SourceUrl("mqtt://h"), format="auto")
