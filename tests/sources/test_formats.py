"""From a message of a bus to its events."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everfresh import Event, InvalidOption
from everfresh.model.message import Message
from everfresh.sources.debezium import Debezium
from everfresh.sources.fedora import Fedora
from everfresh.sources.files import read_lines
from everfresh.sources.formats import (
    Auto,
    CloudEvents,
    DebeziumChanges,
    PartlyRead,
    Plain,
    format_named,
    format_of,
    keeps_topics,
)
from everfresh.sources.messages import Malformed
from everfresh.sources.webhooks import Formats
from tests.needing import recorded_bus

NAMES = ("auto", "plain", "fedora", "cloudevents", "debezium")
CLOUDEVENT = {"specversion": "1.0", "id": "7", "source": "/here", "type": "thing.moved", "data": {"id": 1}}
OF_CLOUDEVENT = Event("thing.moved", {"id": 1}, id="7", headers={"source": "/here"})
CHANGE = {"op": "c", "after": {"id": 1}, "source": {"table": "thing", "connector": "mysql"}}
OF_CHANGE = Event.change("thing", after={"id": 1})


def message(
    body: object,
    topic: str = "thing.moved",
    *,
    id: str = "",  # noqa: A002 - the word for it
    headers: Mapping[str, str] = MappingProxyType({}),
) -> Message:
    """A message with a JSON body."""
    return Message(topic=topic, body=json.dumps(body).encode(), id=id, headers=dict(headers))


@pytest.mark.parametrize("format_name", ["plain", "fedora", "auto"])
def test_a_body_is_an_event_under_the_topic_of_its_message(format_name: str) -> None:
    """With the sender's id and headers; an id that is not there is not made up."""
    read = format_named(format_name)

    told = message({"id": 1}, id="7", headers={"a": "b"})

    assert list(read.events_of(told)) == [Event("thing.moved", {"id": 1}, id="7", headers={"a": "b"})]
    assert [event.id for event in read.events_of(message({"id": 1}))] == [None]


@pytest.mark.parametrize("read", [Plain(), Auto()])
def test_an_envelope_names_its_own_topic(read: Plain | Auto) -> None:
    """A body that only has a field of that name is none."""
    envelope = {"topic": "other.made", "body": {"id": 2}, "id": "8", "headers": {"x": 1}, "priority": 0, "queue": None}

    assert list(read.events_of(message(envelope))) == [Event("other.made", {"id": 2}, id="8", headers={"x": 1})]
    for body in ({"topic": "weather"}, {"topic": "weather", "body": "sunny"}, {**envelope, "more": 1}):
        assert list(read.events_of(message(body))) == [Event("thing.moved", body)]


@pytest.mark.parametrize("read", [Plain(), Auto()])
def test_a_message_without_a_body_says_all_by_its_topic(read: Plain | Auto) -> None:
    """Such as what a button sends."""
    assert list(read.events_of(Message(topic="thing.moved", body=b""))) == [Event("thing.moved")]


def test_fedora_messages_are_read_as_their_recorder_writes_them() -> None:
    """So that what comes live and what is replayed are the same events."""
    with recorded_bus().open("rb") as file:
        lines = [line for line, _ in zip(file, range(300), strict=False)]
    recorded = [event for _, event in read_lines(lines)]

    for line, event in zip(lines, recorded, strict=True):
        fields = json.loads(line)
        # Headers are texts on a message; what was another kind is JSON.
        headers = {
            name: value if isinstance(value, str) else json.dumps(value) for name, value in fields["headers"].items()
        }
        live = message(fields["body"], topic=fields["topic"], id=fields["id"], headers=headers)
        assert list(Fedora().events_of(live)) == [event]
        assert list(Auto().events_of(live)) == [event]


@pytest.mark.parametrize("read", [CloudEvents(), Auto()])
@pytest.mark.parametrize(
    "one",
    [
        message(CLOUDEVENT, headers={"content-type": "application/cloudevents+json; charset=utf-8"}),
        message(CLOUDEVENT, topic="queue"),
        message(
            {"id": 1}, headers={f"ce-{name}": str(CLOUDEVENT[name]) for name in ("specversion", "id", "source", "type")}
        ),
        message(
            {"id": 1}, headers={f"ce_{name}": str(CLOUDEVENT[name]) for name in ("specversion", "id", "source", "type")}
        ),
        message(
            {"id": 1},
            headers={f"cloudEvents:{name}": str(CLOUDEVENT[name]) for name in ("specversion", "id", "source", "type")},
        ),
        message(
            {"id": 1},
            headers={name: str(CLOUDEVENT[name]) for name in ("specversion", "id", "source", "type")}
            | {"content-type": "application/json"},
        ),
    ],
    ids=["structured", "by shape", "binary", "binary of Kafka", "binary of AMQP", "binary of MQTT"],
)
def test_cloudevents_are_read_in_the_forms_of_each_bus(read: CloudEvents | Auto, one: Message) -> None:
    """The topic is the event's type, whatever the bus calls it."""
    assert list(read.events_of(one)) == [OF_CLOUDEVENT]


@pytest.mark.parametrize("prefix", ["ce-", "ce_"])
def test_only_where_the_binding_says_so_attributes_are_percent_encoded(prefix: str) -> None:
    """By HTTP and NATS they are."""
    headers = {"specversion": "1.0", "id": "7", "source": "/a%20b", "type": "thing.moved"}
    one = message({}, headers={prefix + name: value for name, value in headers.items()})

    assert CloudEvents().events_of(one)[0].headers["source"] == ("/a b" if prefix == "ce-" else "/a%20b")


def test_a_cloudevent_without_an_id_is_none() -> None:
    """Made up, each retry would look new."""
    without = {name: value for name, value in CLOUDEVENT.items() if name != "id"}

    with pytest.raises(Malformed, match="id: required, and missing"):
        CloudEvents().events_of(message(without))


@pytest.mark.parametrize("read", [CloudEvents(), Auto()])
def test_of_a_batch_what_are_events_is_told_beside_what_is_none(read: CloudEvents | Auto) -> None:
    """They are applied, and the message is kept."""
    batch = message(
        [CLOUDEVENT, {**CLOUDEVENT, "type": ""}], headers={"content-type": "application/cloudevents-batch+json"}
    )

    with pytest.raises(PartlyRead, match=r"\[1\].type: required, and empty") as caught:
        read.events_of(batch)
    assert list(caught.value.events) == [OF_CLOUDEVENT]


def test_an_array_and_lines_are_batches() -> None:
    """Of whatever each item is."""
    items = [{"id": 1}, CLOUDEVENT, CHANGE, None, {"topic": "a", "body": {}}]
    events = [Event("thing.moved", {"id": 1}), OF_CLOUDEVENT, OF_CHANGE, Event("a")]
    lines = "\n".join(map(json.dumps, items)).encode()

    assert list(Auto().events_of(message(items))) == events
    assert (
        list(
            Auto().events_of(Message(topic="thing.moved", body=lines, headers={"Content-Type": "application/x-ndjson"}))
        )[1:]
        == events[1:]
    )


@pytest.mark.parametrize("read", [DebeziumChanges(), Auto()])
@pytest.mark.parametrize(
    "body",
    [
        CHANGE,
        {"schema": {}, "payload": CHANGE},
        {**CLOUDEVENT, "type": "io.debezium.mysql.datachangeevent", "data": CHANGE},
    ],
    ids=["bare", "with its schema", "as a CloudEvent"],
)
def test_changes_of_a_database_become_row_events(read: DebeziumChanges | Auto, body: object) -> None:
    """However Debezium was told to wrap them."""
    assert list(read.events_of(message(body))) == [OF_CHANGE]


def test_tombstones_and_heartbeats_are_no_events() -> None:
    """Nor are they unreadable."""
    assert list(DebeziumChanges().events_of(Message(topic="t", body=b""))) == []
    assert list(DebeziumChanges().events_of(message(None))) == []
    assert list(DebeziumChanges().events_of(message({"ts_ms": 1}))) == []
    assert list(Auto().events_of(message(None))) == []


@pytest.mark.parametrize("body", [{"op": "add"}, {"ts_ms": 1}, {"schema": 1, "payload": {"a": 1}}, {"payload": None}])
def test_a_body_that_only_resembles_a_change_is_a_plain_one(body: dict[str, object]) -> None:
    """Other applications have fields of these names too."""
    assert list(Auto().events_of(message(body))) == [Event("thing.moved", body)]


def test_what_is_said_of_debezium_holds_for_messages_too() -> None:
    """By `auto` as by HTTP."""
    debezium = Debezium(type="{connector}-{table}")
    renamed = [Event.change("mysql-thing", after={"id": 1})]

    assert list(Auto(formats=Formats(debezium=debezium)).events_of(message(CHANGE))) == renamed
    assert list(DebeziumChanges(debezium=debezium).events_of(message(CHANGE))) == renamed


@pytest.mark.parametrize("name", NAMES)
@given(
    body=st.binary(max_size=50)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["op", "topic", "body", "payload", "source", "id", "type", "specversion"]), inner
            )
        ),
        max_leaves=12,
    ).map(lambda value: json.dumps(value).encode()),
    headers=st.dictionaries(
        st.sampled_from(
            ["content-type", "ce-id", "ce-type", "ce-specversion", "fedora_messaging_severity", "id", "type"]
        ),
        st.sampled_from(["application/json", "application/cloudevents+json", "1.0", "application/x-ndjson", "\0", ""]),
    ),
    topic=st.text(max_size=5) | st.just("a.b"),
)
def test_what_cannot_be_read_is_said_to_be_malformed(
    name: str, body: bytes, headers: dict[str, str], topic: str
) -> None:
    """Whatever comes, it is events or a reason; the only other one is that there are too many."""
    events: Sequence[Event] = ()
    with suppress(Malformed):
        events = format_named(name).events_of(Message(topic=topic, body=body, headers=headers))

    assert all(isinstance(event, Event) for event in events)


@pytest.mark.parametrize("name", NAMES)
def test_a_format_is_found_by_its_name(name: str) -> None:
    """Under which quarantine remembers it."""
    assert format_named(name).name == name
    assert format_of(name) == format_named(name)


class Own(Plain):
    """A format of one's own."""

    @property
    def name(self) -> str:
        """As it is found again."""
        return "tests.sources.test_formats:Own"


own = Own()


@pytest.mark.parametrize("attribute", ["Own", "own"])
def test_a_format_of_ones_own_is_imported(attribute: str) -> None:
    """By `module:attribute`: the format, or its class."""
    assert format_named(f"{__name__}:{attribute}").name == own.name
    assert format_of(own) is own


class Keeping(Plain):
    """A format of one's own that gives each event the topic of its message."""

    keeps_topics = True


def test_a_format_says_whether_events_have_the_topics_of_their_messages() -> None:
    """Only then what a bus delivers under a topic can be told by that topic; all that may read envelopes cannot."""
    assert {name: keeps_topics(format_named(name)) for name in NAMES} == dict.fromkeys(NAMES, False) | {"fedora": True}
    assert keeps_topics(Keeping())


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("xml", "'xml' is none. There are auto,"),
        (":", "'module:attribute'"),
        ("no.such.module:x", "cannot be imported"),
        ("json:nothing", "cannot be imported"),
        ("json:dumps", "has no events_of"),
    ],
)
def test_a_format_that_does_not_exist_is_refused(name: str, why: str) -> None:
    """With what there is instead."""
    with pytest.raises(InvalidOption, match=why):
        format_named(name)
