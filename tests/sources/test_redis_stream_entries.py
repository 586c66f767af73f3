"""Entries of a Redis stream, and places in it: what is read of them, without a server."""

import msgspec
import pytest

from everfresh.model.message import Message
from everfresh.sources.debezium import Debezium
from everfresh.sources.formats import DebeziumChanges
from everfresh.sources.redis_stream_entries import EntryFields
from everfresh.sources.redis_stream_places import (
    ZERO,
    Extent,
    Id,
    Loss,
    Offset,
    Progress,
    loss_of,
    loss_since,
    offset_now,
    offset_of,
)

CHANGE = msgspec.json.encode(
    {"op": "c", "before": None, "after": {"id": 7}, "source": {"connector": "mysql", "table": "orders"}}
)


def read(**fields: bytes) -> Message:
    return EntryFields().message_of("stream", "1-1", {name.encode(): value for name, value in fields.items()})


def test_a_field_for_each_thing_is_read_as_it_is_written() -> None:
    """What a canary sends comes back the same."""
    message = Message(topic="a.b", body=b"{}", id="7", headers={"h": "1"})

    entry = {
        name.encode(): value if isinstance(value, bytes) else value.encode()
        for name, value in EntryFields().entry_of(message).items()
    }

    assert EntryFields().message_of("stream", "1-1", entry) == message


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"any": b"{}"}, Message(topic="stream", body=b"{}", id="1-1")),
        ({"id": b"7", "name": b"x"}, Message(topic="stream", body=b'{"id":"7","name":"x"}', id="1-1")),
        ({"topic": b"a.b", "name": b"x"}, Message(topic="a.b", body=b'{"name":"x"}', id="1-1")),
        ({"data": b"{}", "h": b"1"}, Message(topic="stream", body=b"{}", id="1-1", headers={"h": "1"})),
        (
            {"body": b"{}", "headers": b"no JSON"},
            Message(topic="stream", body=b"{}", id="1-1", headers={"headers": "no JSON"}),
        ),
        (
            {"body": b"\xff", "topic": b"\xff", "headers": b'{"n": 1}'},
            Message(topic="\ufffd", body=b"\xff", id="1-1", headers={"n": "1"}),
        ),
    ],
)
def test_any_entry_is_read_as_something(fields: dict[str, bytes], expected: Message) -> None:
    """Whether it is an event the format decides."""
    assert read(**fields) == expected


@pytest.mark.parametrize("fields", [{"key": b'{"id":7}', "value": CHANGE, "HEADER": b"x"}, {'{"id":7}': CHANGE}])
def test_both_layouts_of_debezium_server_are_row_events(fields: dict[str, bytes]) -> None:
    """`extended` has fields for key and value, `compact` has the key for a name."""
    events = DebeziumChanges(debezium=Debezium()).events_of(read(**fields))

    assert [(event.topic, event.row and event.row.after) for event in events] == [("orders.create", {"id": 7})]


@pytest.mark.parametrize("fields", [{"key": b'{"id":7}', "value": b"default"}, {'{"id":7}': b"default"}])
def test_a_tombstone_of_debezium_server_is_no_event(fields: dict[str, bytes]) -> None:
    """It writes `default` for null, which follows a delete."""
    assert list(DebeziumChanges().events_of(read(**fields))) == []


@pytest.mark.parametrize(
    ("given", "before"), [(Id(5, 3), Id(5, 2)), (Id(5, 0), Id(4, 2**64 - 1)), (Id(0, 0), Id(0, 0))]
)
def test_the_place_below_an_entry_is_just_below_it(given: Id, before: Id) -> None:
    """A group that begins there gets the entry first."""
    assert given.before == before
    assert offset_now(Progress(Id(9, 9), None), given, 0).id == before
    assert offset_now(Progress(Id(9, 9), None), None, 0).id == Id(9, 9)


@pytest.mark.parametrize("offset", [Offset(Id(5, 3)), Offset(Id(5, 3), 7)])
def test_an_offset_is_read_as_it_is_written(offset: Offset) -> None:
    """It stands in the store for as long as nobody comes."""
    assert offset_of(str(offset)) == offset


@pytest.mark.parametrize("text", ["", "x", "1-x", "1-1 x"])
def test_a_text_that_is_no_offset_is_none(text: str) -> None:
    """Somebody else wrote it."""
    assert offset_of(text) is None


def extent(length: int, n_added: int, first: int | None, last: int, deleted: int = 0) -> Extent:
    return Extent(length, n_added, None if first is None else Id(first, 0), Id(last, 0), Id(deleted, 0))


@pytest.mark.parametrize(
    ("stream", "group", "n_known", "is_lost"),
    [
        (extent(5, 5, 1, 5), Progress(Id(2, 0), 2), 0, False),
        (extent(3, 5, 3, 5), Progress(Id(2, 0), 2), 0, False),
        (extent(2, 5, 4, 5), Progress(Id(2, 0), 2), 0, True),
        (extent(0, 5, None, 5), Progress(Id(2, 0), 2), 0, True),
        (extent(0, 5, None, 5), Progress(Id(5, 0), 2), 0, False),
        (extent(2, 5, 4, 5), Progress(Id(2, 0), 2), 1, False),
        (extent(2, 5, 4, 5), Progress(Id(2, 0), None), 0, True),
        (extent(5, 5, 1, 5), Progress(ZERO, None), 0, False),
        (extent(4, 5, 1, 5, 3), Progress(Id(2, 0), 2), 0, True),
        (extent(4, 5, 1, 5, 2), Progress(Id(2, 0), 2), 0, False),
    ],
)
def test_what_went_unread_is_told_from_what_was_read(
    stream: Extent, group: Progress, n_known: int, is_lost: bool
) -> None:
    """By the first entry that is left, by the counters where that does not tell, and in doubt it is lost."""
    assert bool(loss_of(stream, group, Loss("", n_known), ZERO).gap) == is_lost


@pytest.mark.parametrize(
    ("stream", "offset", "is_lost"),
    [
        (extent(5, 5, 1, 5), 2, False),
        (extent(4, 5, 2, 5), 2, False),
        (extent(2, 5, 4, 5), 2, True),
        (extent(0, 5, None, 5), 2, True),
        (extent(0, 5, None, 5), 5, False),
        (extent(1, 1, 1, 1), 2, True),
        (extent(2, 2, 3, 4), 2, True),
        (extent(4, 5, 1, 5, 3), 2, True),
    ],
)
def test_what_went_since_an_offset_is_told(stream: Extent, offset: int, is_lost: bool) -> None:
    """There is no group that could tell."""
    assert bool(loss_since(stream, Id(offset, 0))) == is_lost
