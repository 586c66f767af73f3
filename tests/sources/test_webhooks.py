import pytest

from everfresh import Event
from everfresh.sources.messages import Malformed
from everfresh.sources.webhooks import MediaNotSupported, events_in

PLAIN = b'{"topic": "a.b", "body": {"x": 1}, "id": "7", "headers": {"sent-at": "now"}, "queue": null}'
STRUCTURED = b'{"specversion": "1.0", "id": "7", "source": "s", "type": "a.b", "data": {"x": 1}}'
CE = {"ce-specversion": "1.0", "ce-id": "7", "ce-source": "s", "ce-type": "a.b"}


@pytest.mark.parametrize(
    ("media", "headers", "body", "n"),
    [
        ("application/json", {}, PLAIN, 1),
        ("Application/JSON; charset=UTF-8", {}, PLAIN, 1),
        ('application/json; charset="utf-8"', {}, PLAIN, 1),
        ("application/cloudevents+json", {}, STRUCTURED, 1),
        ("application/cloudevents+json; charset=utf-8", CE, STRUCTURED, 1),
        ("application/cloudevents-batch+json", {}, b"[%s,%s]" % (STRUCTURED, STRUCTURED), 2),
        ("application/cloudevents-batch+json", {}, b"[]", 0),
        ("application/json", CE, b'{"x": 1}', 1),
        ("application/vnd.tracker+json", CE, b'{"x": 1}', 1),
    ],
)
def test_the_media_type_says_the_form(media: str, headers: dict[str, str], body: bytes, n: int) -> None:
    """And `ce-` headers beside plain JSON say the binary form."""
    events = events_in({"content-type": media, **headers}, body)

    assert [(event.topic, event.body, event.id) for event in events] == [("a.b", {"x": 1}, "7")] * n


def test_a_binary_event_without_a_body_needs_no_media_type() -> None:
    """There is nothing that it would be of."""
    assert events_in(CE, b"") == [Event("a.b", id="7", headers={"source": "s"})]


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({}, PLAIN),
        ({"content-type": "text/plain"}, PLAIN),
        ({"content-type": "application/cloudevents+avro"}, STRUCTURED),
        ({"content-type": "application/cloudevents+avro", **CE}, STRUCTURED),
        ({"content-type": "application/vnd.tracker+json"}, PLAIN),
        ({"content-type": "text/xml", **CE}, b"<x/>"),
        (CE, b"{}"),
        ({"content-type": "application/json; charset=latin-1"}, PLAIN),
    ],
)
def test_another_media_type_is_refused(headers: dict[str, str], body: bytes) -> None:
    """Guessing would take one thing for another."""
    with pytest.raises(MediaNotSupported, match="content-type"):
        events_in(headers, body)


@pytest.mark.parametrize(
    ("body", "at"),
    [
        (b"", ""),
        (b"{", ""),
        (b"\xff", ""),
        (b'"\xff"', ""),
        (b"[" * 100_000, ""),
        (b"[]", ""),
        (b"null", ""),
        (b"{}", "topic"),
        (b'{"topic": ""}', "topic"),
        (b'{"topic": null}', "topic"),
        (b'{"topic": 7}', "topic"),
        (b'{"topic": "a b"}', "topic"),
        (b'{"topic": "a", "body": []}', "body"),
        (b'{"topic": "a", "body": null}', "body"),
        (b'{"topic": "a", "id": 7}', "id"),
        (b'{"topic": "a", "id": ""}', "id"),
        (b'{"topic": "a", "headers": [1]}', "headers"),
    ],
)
def test_a_message_that_is_none_names_the_field(body: bytes, at: str) -> None:
    """Its sender can then mend it."""
    with pytest.raises(Malformed) as caught:
        events_in({"content-type": "application/json"}, body)

    assert caught.value.at == at


@pytest.mark.parametrize("more", [b"", b', "id": null, "headers": null, "body": {}'])
def test_what_a_message_leaves_out_is_not_made_up(more: bytes) -> None:
    """A topic is enough."""
    events = events_in({"content-type": "application/json"}, b'{"topic": "a"' + more + b"}")

    assert events == [Event("a", {}, id=None, headers={})]
