"""Deliveries are taken out of a connection's bytes, wherever these are cut, and everything else goes on as it came."""

import itertools
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp import commands, frame
from pamqp.body import ContentBody
from pamqp.header import ContentHeader
from pamqp.heartbeat import Heartbeat

from everfresh.model.message import Message
from everfresh.sources.amqp_wire import Deliveries, Delivery, message_of

CHANNEL, OTHER = 2, 1
HEARTBEAT = frame.marshal(Heartbeat(), 0)


def delivered(
    body: bytes, *, tag: int = 1, key: str = "a.b", channel: int = CHANNEL, n_most: int = 100, **properties: object
) -> bytes:
    """The frames that bring a message, its body in pieces of at most so many bytes."""
    pieces = [body[at : at + n_most] for at in range(0, len(body), n_most)]
    frames = (
        commands.Basic.Deliver("ctag", tag, False, "amq.topic", key),
        ContentHeader(0, len(body), commands.Basic.Properties(**properties)),  # type: ignore[arg-type]
        *map(ContentBody, pieces),
    )
    return b"".join(frame.marshal(one, channel) for one in frames)


def answered(channel: int = CHANNEL) -> bytes:
    """An answer to something that the driver asked."""
    return frame.marshal(commands.Basic.QosOk(), channel)


class Reading:
    """Deliveries, and what went on to the driver."""

    def __init__(self) -> None:
        self.taken: list[Delivery] = []
        self.passed_on = b""
        self.deliveries = Deliveries()
        self.deliveries.channel, self.deliveries.take = CHANNEL, self.taken.append

    def feed(self, *pieces: bytes) -> "Reading":
        """These come, one after the other."""
        for piece in pieces:
            self.passed_on += self.deliveries.feed(piece)
        return self

    @property
    def messages(self) -> list[Message]:
        """What was taken."""
        return [message_of(one) for one in self.taken]


@given(bodies=st.lists(st.binary(max_size=250), max_size=5), cuts=st.lists(st.integers(0, 3_000), max_size=12))
def test_wherever_the_bytes_are_cut_the_messages_are_the_same(bodies: list[bytes], cuts: list[int]) -> None:
    """And so is what the driver sees."""
    parts: list[bytes] = []
    for tag, body in enumerate(bodies, start=1):
        parts += [HEARTBEAT, delivered(body, tag=tag, key=f"k.{tag}"), answered(), delivered(body, channel=OTHER)]
    stream = b"".join(parts)
    places = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})

    read = Reading().feed(*(stream[a:b] for a, b in itertools.pairwise(places)))

    assert [(one.tag, one.routing_key, one.body) for one in read.taken] == [
        (tag, b"k.%d" % tag, body) for tag, body in enumerate(bodies, start=1)
    ]
    assert read.passed_on == b"".join(part for n, part in enumerate(parts) if n % 4 != 1)


def test_before_a_channel_is_named_everything_goes_on() -> None:
    """The handshake is the driver's."""
    read = Reading()
    read.deliveries.channel = None
    stream = delivered(b"x") + answered()

    assert read.feed(stream[:30], stream[30:]).passed_on == stream
    assert read.taken == []


def test_content_that_is_no_delivery_goes_on() -> None:
    """What was published and came back."""
    returned = commands.Basic.Return(312, "NO_ROUTE", "amq.topic", "a.b")
    frames = (returned, ContentHeader(0, 1, commands.Basic.Properties()), ContentBody(b"x"))
    stream = b"".join(frame.marshal(one, CHANNEL) for one in frames)

    read = Reading().feed(delivered(b"1") + stream + delivered(b"2", tag=2))

    assert read.passed_on == stream
    assert [one.body for one in read.taken] == [b"1", b"2"]


@pytest.mark.parametrize("stream", [b"AMQP\x00\x00\x09\x01", b"\x01\x00\x02\x00\x00\x00\x01xx" + HEARTBEAT])
def test_what_is_no_frame_is_left_to_the_driver(stream: bytes) -> None:
    """With all that comes after: it says what is wrong, and ends the connection."""
    read = Reading().feed(HEARTBEAT + stream, b"more")

    assert read.passed_on == HEARTBEAT + stream + b"more"


def test_all_properties_are_understood() -> None:
    """Those that nobody wants are stepped over, wherever they stand."""
    read = Reading().feed(
        delivered(
            b"{}",
            content_type="application/json",
            content_encoding="utf-8",
            headers={"who": "me", "n": 7},
            delivery_mode=2,
            priority=3,
            correlation_id="c",
            reply_to="r",
            expiration="60000",
            message_id="m-1",
            timestamp=datetime(2026, 1, 1, tzinfo=UTC),
            message_type="t",
            user_id="u",
            app_id="a",
        )
    )

    assert read.messages == [
        Message(topic="a.b", body=b"{}", headers={"who": "me", "n": "7", "content-type": "application/json"}, id="m-1")
    ]


def test_headers_of_any_kind_are_texts() -> None:
    """Texts as they are, the rest as JSON."""
    headers = {
        "text": "é",
        "bytes": bytearray(b"\xff!"),
        "true": True,
        "int": -5,
        "long": 2**40,
        "float": 1.5,
        "none": None,
        "list": [1, "a"],
        "table": {"k": {"deep": 1}},
        "decimal": Decimal("1.5"),
        "at": datetime(2026, 1, 2, tzinfo=UTC),
    }
    (message,) = Reading().feed(delivered(b"", headers=headers)).messages

    assert message.headers == {
        "text": "é",
        "bytes": "\ufffd!",
        "true": "true",
        "int": "-5",
        "long": "1099511627776",
        "float": "1.5",
        "none": "null",
        "list": '[1,"a"]',
        "table": '{"k":{"deep":1}}',
        "decimal": '"1.5"',
        "at": '"2026-01-02T00:00:00Z"',
    }


@pytest.mark.parametrize("name", ["content-type", "n"])
def test_a_header_of_the_sender_stands(name: str) -> None:
    """The property of the same name does not take its place."""
    (message,) = Reading().feed(delivered(b"", content_type="a/b", headers={name: "mine"})).messages

    assert message.headers[name] == "mine"


@given(properties=st.binary(max_size=60))
def test_properties_that_cannot_be_read_are_as_if_they_were_not_there(properties: bytes) -> None:
    """No message stops the others."""
    head = b"\x00\x3c\x00\x00" + bytes(8)

    message = message_of(Delivery(1, b"a.b", head + properties, b"body"))

    assert (message.topic, message.body) == ("a.b", b"body")


def test_a_header_that_says_it_is_longer_than_all_is_not_read() -> None:
    """What follows is another's."""
    flags = (1 << 13).to_bytes(2)
    table = b"\x00\x00\x00\x07" + b"\x01k" + b"S" + b"\xff\xff\xff\xff"

    message = message_of(Delivery(1, b"a.b", b"\x00\x3c\x00\x00" + bytes(8) + flags + table, b""))

    assert "k" not in message.headers or message.headers["k"] == ""


def test_a_routing_key_that_is_no_utf_8_is_no_topic() -> None:
    """It is kept aside with the rest of the message, by whoever reads it."""
    assert message_of(Delivery(1, b"a.\xff", b"", b"")).topic == "a.\ufffd"
