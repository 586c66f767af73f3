"""Fedora's messages by RabbitMQ: the events of the file, the entries of a dry run; and its own client agrees."""

import json
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import aio_pika
import pytest

from everfresh import Cache, Event, dep
from everfresh.cache import Notice
from everfresh.cli.dry_run import dry_run
from everfresh.model.entry import Key
from everfresh.model.message import Message
from everfresh.sources.amqp import Amqp
from everfresh.sources.fedora import Fedora, FedoraMessage, fedora_message
from everfresh.sources.files import read_lines
from everfresh.sources.messages import Malformed
from everfresh.testing.waiting import soon, until
from tests.needing import recorded_bus
from tests.rabbitmq_servers import new_queue
from tests.sources import official_fedora
from tests.sources.rabbit import consumed, fetched, start

SENT_AT = datetime(2026, 11, 22, 1, 2, 3, tzinfo=UTC)
N_PUBLISHED_BY_OTHERS = 20


@pytest.fixture(scope="module")
def recorded() -> list[Event]:
    """All recorded messages, as they are read from the file."""
    with recorded_bus().open("rb") as file:
        events = [event for _, event in read_lines(file)]
    assert all(isinstance(event, Event) for event in events)
    return events  # type: ignore[return-value]


def wire(event: Event) -> FedoraMessage:
    """The event as it goes over the bus."""
    return fedora_message(event, id="made-up", sent_at=SENT_AT)


async def publish(url: str, exchange: str, events: Sequence[Event], *, is_routed: bool = True) -> None:
    """Publish events in the wire format, each confirmed; with `is_routed` each has to go to a queue."""
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel(on_return_raises=True)
        there = await channel.get_exchange(exchange)
        for message in map(wire, events):
            await there.publish(
                aio_pika.Message(
                    message.body,
                    headers=dict(message.headers),
                    message_id=message.message_id,
                    content_type=message.content_type,
                    content_encoding=message.content_encoding,
                    delivery_mode=message.delivery_mode,
                ),
                message.routing_key,
                mandatory=is_routed,
            )


# ---------------------------------------------------------------------------------------------------- the format


def test_an_event_of_ones_own_gets_what_the_format_asks_for() -> None:
    """Schema, severity, time, and an id."""
    message = fedora_message(Event("org.shop.sold", {"item": 7}), id="m1", sent_at=SENT_AT, severity=30)

    assert message.routing_key == "org.shop.sold"
    assert json.loads(message.body) == {"item": 7}
    assert message.message_id == "m1"
    assert message.headers == {
        "fedora_messaging_schema": "base.message",
        "fedora_messaging_severity": 30,
        "sent-at": "2026-11-22T01:02:03+00:00",
    }


def test_what_an_event_has_of_its_own_stands() -> None:
    """A recorded message is published as it was."""
    event = Event("a.b", {}, id="its", headers={"sent-at": "then", "fedora_messaging_severity": 40})
    message = fedora_message(event, id="m1", sent_at=SENT_AT)

    assert message.message_id == "its"
    assert message.headers["sent-at"] == "then"
    assert message.headers["fedora_messaging_severity"] == 40


def test_headers_that_are_no_texts_on_the_bus_are_none_in_the_event() -> None:
    """Numbers and flags of Fedora's own; others stay as they came, and a media type is no header."""
    headers = {
        "fedora_messaging_severity": "20",
        "fedora_messaging_user_me": "true",
        "fedora_messaging_schema": "1",
        "fedora_messaging_odd": "not json",
        "priority": "0",
        "mine": "7",
        "content-type": "application/json",
    }
    (event,) = Fedora().events_of(Message(topic="a.b", body=b"{}", headers=headers))

    assert event.headers == {
        "fedora_messaging_severity": 20,
        "fedora_messaging_user_me": True,
        "fedora_messaging_schema": "1",
        "fedora_messaging_odd": "not json",
        "priority": 0,
        "mine": "7",
    }
    assert event.id is None


@pytest.mark.parametrize(
    ("message", "problem"),
    [
        (Message(topic="a.b", body=b"<xml>"), "not JSON"),
        (Message(topic="a.b", body=b"[]"), "body: the body must be a JSON object"),
        (Message(topic="a b", body=b"{}"), "topic"),
        (Message(topic="", body=b"{}"), "topic"),
    ],
)
def test_what_is_no_message_of_the_bus_is_malformed(message: Message, problem: str) -> None:
    """It goes to quarantine, with this as its reason."""
    with pytest.raises(Malformed, match=problem):
        Fedora().events_of(message)


# ------------------------------------------------------------------------------------------------ through a broker


async def test_each_recorded_message_is_the_same_event_by_file_and_by_amqp(
    amqp_url: str, exchange: str, recorded: list[Event]
) -> None:
    """Topic, body, id and headers, whatever their kinds."""
    adapter = Amqp(amqp_url, queue=new_queue(), exchanges=[exchange], bindings=["#"], format="fedora")
    async with adapter.open(start()) as stream:
        await stream.fetch(1, 0)
        await publish(amqp_url, exchange, recorded)

        messages = await fetched(stream, len(recorded))

    assert [event for message in messages for event in adapter.format.events_of(message)] == recorded


def bugs_and_builds(cache: Cache) -> None:
    """Functions over Bugzilla and Koji, with entries."""

    @cache.cached(depends_on=[dep.Topic("org.fedoraproject.*.bugzilla.bug.#", where={"bug.id": dep.arg("number")})])
    def bug(number: int) -> int:
        return number

    @cache.cached(depends_on=[dep.Topic("org.fedoraproject.prod.buildsys.#", where={"owner": dep.arg("owner")})])
    def builds(owner: str) -> str:
        return owner

    @cache.cached(depends_on=[dep.Topic("org.fedoraproject.*.buildsys.repo.done", where={"tag": dep.arg("tag")})])
    def repository(tag: str) -> str:
        return tag

    for number in (1316316, 1717615, 1, 1234567):
        bug(number)
    for owner in ("ralph", "pingou", "lmacken", "nobody"):
        builds(owner)
    for tag in ("f19-build", "f20-build"):
        repository(tag)


def updates_and_packages(cache: Cache) -> None:
    """Functions over Bodhi and mdapi, with entries."""

    @cache.cached(depends_on=[dep.Topic("org.fedoraproject.*.bodhi.update.#", where={"agent": dep.arg("agent")})])
    def updates(agent: str) -> str:
        return agent

    pattern = "org.fedoraproject.*.bodhi.update.*.testing"

    @cache.cached(depends_on=[dep.Topic(pattern, where={"update.karma": dep.lt(3)})])
    def doubtful() -> str:
        return "doubtful"

    @cache.cached(depends_on=[dep.Topic("org.fedoraproject.*.mdapi.repo.update", where={"name": dep.arg("name")})])
    def packages(name: str) -> str:
        return name

    for agent in ("ralph", "pingou", "lmacken", "nobody"):
        updates(agent)
    for name in ("rawhide", "koji", "epel7"):
        packages(name)
    doubtful()


def distribution(cache: Cache) -> Key:
    """All of them; the answer is the key of an entry that waits for the end."""

    @cache.cached(depends_on=[dep.Topic("test.last")])
    def last() -> None:
        return None

    bugs_and_builds(cache)
    updates_and_packages(cache)
    last()
    return last.key()


class _Nobody:
    def bad_line(self, number: int, problem: str) -> None:
        raise AssertionError(f"{number}: {problem}")


async def test_the_entries_touched_are_those_of_a_dry_run(
    amqp_url: str, exchange: str, recorded: list[Event], tmp_path: Path
) -> None:
    """All recorded messages go through the broker, in the wire format, into a cache over four services."""
    numbered = list(enumerate(recorded, start=1))
    dry = Cache(f"sqlite:///{tmp_path}/dry.db")
    distribution(dry)
    foreseen = dry_run(dry, numbered, _Nobody()).tally.touched
    touched: set[Key] = set()

    def note(notice: Notice) -> None:
        if notice.name == "event.applied":
            touched.update(notice.fields["touched"])

    with Cache(f"sqlite:///{tmp_path}/wet.db") as cache:
        last = distribution(cache)
        adapter = Amqp(amqp_url, queue=new_queue(), exchanges=[exchange], format="fedora")
        async with consumed(cache, adapter):
            cache.listen(note)
            # Its entry is touched when all before it have been applied.
            await publish(amqp_url, exchange, [*recorded, Event("test.last")], is_routed=False)
            await soon(lambda: last in touched, what="the last event")

    assert touched - {last} == foreseen
    assert {key.partition("(")[0].rpartition(".")[2].partition("@")[0] for key in foreseen} >= {
        "bug",
        "updates",
        "repository",
        "packages",
    }


# ------------------------------------------------------------------------------------------------ Fedora's own client


@pytest.mark.timeout(400)
async def test_what_the_official_client_publishes_is_consumed(
    amqp_url: str, exchange: str, recorded: list[Event], tmp_path: Path
) -> None:
    """Its own headers, ids and properties; the events are those of the file that it published from."""
    program, config = official_fedora.client(), official_fedora.config(tmp_path, amqp_url, exchange)
    file = tmp_path / "some.jsonl"
    lines = recorded_bus().read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:N_PUBLISHED_BY_OTHERS]))
    adapter = Amqp(amqp_url, queue=new_queue(), exchanges=[exchange], bindings=["#"], format="fedora")
    async with adapter.open(start()) as stream:
        await stream.fetch(1, 0)
        run(program, config, "publish", "--exchange", exchange, str(file))

        messages = await fetched(stream, N_PUBLISHED_BY_OTHERS)

    events = [event for message in messages for event in adapter.format.events_of(message)]
    expected = recorded[:N_PUBLISHED_BY_OTHERS]
    assert [(event.topic, event.body) for event in events] == [(event.topic, event.body) for event in expected]
    assert {event.headers["fedora_messaging_severity"] for event in events} == {20}
    assert all(event.headers["fedora_messaging_schema"] == "base.message" for event in events)
    assert all(event.id for event in events)


@pytest.mark.timeout(400)
async def test_what_is_published_in_the_wire_format_the_official_client_consumes(
    amqp_url: str, exchange: str, recorded: list[Event], tmp_path: Path
) -> None:
    """It records what it got; read from its file, the events are those that were published."""
    program, config = official_fedora.client(), official_fedora.config(tmp_path, amqp_url, exchange)
    queue, file = new_queue(), tmp_path / "recorded.jsonl"
    command = [program, "--conf", config, "record", "--exchange", exchange, "--queue-name", queue, "--routing-key", "#"]
    recording = subprocess.Popen(  # noqa: ASYNC220 - it starts at once
        [*command, "--limit", str(len(recorded)), file], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        await soon(
            lambda: _is_taken(amqp_url, exchange, recorded[0], recording), what="the official client", deadline_s=60
        )
        await publish(amqp_url, exchange, recorded[1:])
        until(lambda: recording.poll() is not None, what="all messages in its file", deadline_s=60)
    finally:
        recording.kill()
        told = recording.communicate()[0].decode()

    assert file.exists(), told
    with file.open("rb") as lines:
        assert [event for _, event in read_lines(lines)] == recorded


async def _is_taken(url: str, exchange: str, event: Event, recording: "subprocess.Popen[bytes]") -> bool:
    """Publish the event; whether there was a queue for it."""
    assert recording.poll() is None, recording.communicate()[0].decode()
    with suppress(aio_pika.exceptions.DeliveryError):
        await publish(url, exchange, [event])
        return True
    return False


def run(program: Path, config: Path, *words: str) -> None:
    """Run it, and see that it ended well."""
    told = subprocess.run(
        [program, "--conf", config, *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        stdin=subprocess.DEVNULL,
    )
    assert told.returncode == 0, told.stdout + told.stderr
