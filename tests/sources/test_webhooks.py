import pytest

from everfresh import Event
from everfresh.sources.messages import Malformed
from everfresh.sources.taken import MediaNotSupported, Taken, TooManyEvents
from everfresh.sources.webhooks import Formats

PLAIN = b'{"topic": "a.b", "body": {"x": 1}, "id": "7", "headers": {"sent-at": "now"}, "queue": null}'
STRUCTURED = b'{"specversion": "1.0", "id": "7", "source": "s", "type": "a.b", "data": {"x": 1}}'
ENVELOPE = b'{"op": "d", "before": {"id": 7}, "source": {"connector": "mysql", "table": "a"}}'
CE = {"ce-specversion": "1.0", "ce-id": "7", "ce-source": "s", "ce-type": "a.b"}


def taken_of(headers: dict[str, str], body: bytes, *, n_max: int = 100) -> Taken:
    return Formats().read(headers, body, n_max=n_max)


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
        ("application/json", {}, b"[%s,%s]" % (PLAIN, PLAIN), 2),
        ("application/json", {}, b"[]", 0),
        ("application/x-ndjson", {}, b"%s\n\r\n%s\n" % (PLAIN, PLAIN), 2),
        ("application/jsonl", {}, b"%s\r\n%s" % (PLAIN, PLAIN), 2),
        ("application/x-ndjson", {}, b"", 0),
        ("application/json", CE, b'{"x": 1}', 1),
        ("application/vnd.tracker+json", CE, b'{"x": 1}', 1),
    ],
)
def test_the_media_type_says_the_form(media: str, headers: dict[str, str], body: bytes, n: int) -> None:
    """And `ce-` headers beside plain JSON say the binary form."""
    taken = taken_of({"content-type": media, **headers}, body)

    assert [(event.topic, event.body, event.id) for event in taken.events] == [("a.b", {"x": 1}, "7")] * n
    assert taken.refused == []


def test_a_binary_event_without_a_body_needs_no_media_type() -> None:
    """There is nothing that it would be of."""
    assert taken_of(CE, b"").events == [Event("a.b", id="7", headers={"source": "s"})]


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
        ({"content-type": "application/json", "content-encoding": "gzip"}, PLAIN),
    ],
)
def test_another_media_type_is_refused(headers: dict[str, str], body: bytes) -> None:
    """Guessing would take one thing for another."""
    with pytest.raises(MediaNotSupported) as caught:
        taken_of(headers, body)

    assert caught.value.at == ("content-encoding" if "content-encoding" in headers else "content-type")


@pytest.mark.parametrize(
    ("body", "at"),
    [
        (b"", ""),
        (b"{", ""),
        (b"\xff", ""),
        (b'"\xff"', ""),
        (b"[" * 100_000, ""),
        (b"7", ""),
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
        taken_of({"content-type": "application/json"}, body)

    assert caught.value.at == at


@pytest.mark.parametrize("more", [b"", b', "id": null, "headers": null, "body": {}'])
def test_what_a_message_leaves_out_is_not_made_up(more: bytes) -> None:
    """A topic is enough."""
    taken = taken_of({"content-type": "application/json"}, b'{"topic": "a"' + more + b"}")

    assert taken.events == [Event("a", {}, id=None, headers={})]


BATCHES = {
    "application/json": b"[%s, {}, 7, %s]" % (PLAIN, PLAIN),
    "application/x-ndjson": b"%s\n{}\n7\n%s\n" % (PLAIN, PLAIN),
    "application/cloudevents-batch+json": b"[%s, {}, 7, %s]" % (STRUCTURED, STRUCTURED),
}


@pytest.mark.parametrize("media", BATCHES)
def test_what_is_wrong_in_a_batch_takes_no_event_with_it(media: str) -> None:
    """It is told by its number, with the field that is wrong and what was sent."""
    taken = taken_of({"content-type": media}, BATCHES[media])

    assert [event.topic for event in taken.events] == ["a.b", "a.b"]
    first, second = taken.refused
    assert (first.number, first.error.at) == (1, "[1]." + ("topic" if "cloud" not in media else "specversion"))
    assert (second.number, second.error.at) == (2, "[2]")
    assert [first.item, second.item] == ([b"{}", b"7"] if "nd" in media else [{}, 7])


def test_a_line_that_is_no_json_is_told_by_its_number() -> None:
    """As the items of an array are."""
    taken = taken_of({"content-type": "application/x-ndjson"}, b"{\n%s" % PLAIN)

    assert [(refused.number, refused.item) for refused in taken.refused] == [(0, b"{")]
    assert len(taken.events) == 1


@pytest.mark.parametrize("media", BATCHES)
def test_more_than_are_taken_at_once_are_not_read(media: str) -> None:
    """All of them would be applied in one step, and others wait for it."""
    body = BATCHES[media]

    assert taken_of({"content-type": media}, body, n_max=4).events
    with pytest.raises(TooManyEvents, match="4 events"):
        taken_of({"content-type": media}, body, n_max=3)


def test_changes_of_debezium_come_in_each_form() -> None:
    """Its Server sends what it is told to, one or many; a null is the tombstone after a delete."""
    cloudevent = (
        b'{"specversion": "1.0", "id": "7", "source": "s", "type": "io.debezium.connector.mysql.DataChangeEvent", '
        b'"iodebeziumop": "d", "iodebeziumtable": "a", "iodebeziumconnector": "mysql", "data": {"before": {"id": 7}}}'
    )
    binary = {
        "ce-specversion": "1.0",
        "ce-id": "7",
        "ce-source": "s",
        "ce-type": "io.debezium.connector.mysql.DataChangeEvent",
        "ce-iodebeziumop": "d",
        "ce-iodebeziumtable": "a",
        "ce-iodebeziumconnector": "mysql",
    }
    sent = {
        "plain": taken_of({"content-type": "application/json"}, ENVELOPE),
        "wrapped": taken_of({"content-type": "application/json"}, b'{"schema": {}, "payload": %s}' % ENVELOPE),
        "array": taken_of({"content-type": "application/json"}, b"[%s, null]" % ENVELOPE),
        "lines": taken_of({"content-type": "application/x-ndjson"}, b"%s\nnull" % ENVELOPE),
        "cloudevent": taken_of({"content-type": "application/cloudevents+json"}, cloudevent),
        "batch": taken_of({"content-type": "application/cloudevents-batch+json"}, b"[%s]" % cloudevent),
        "binary": taken_of({"content-type": "application/json", **binary}, b'{"before": {"id": 7}}'),
    }

    assert {name: taken.events for name, taken in sent.items()} == {
        name: [Event.change("a", before={"id": 7})] for name in sent
    }
    assert {name for name, taken in sent.items() if taken.n_passed_over} == {"array", "lines"}
