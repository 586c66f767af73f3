"""Envelopes as Debezium documents them, and what they seem to say and do not know."""

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everfresh import Cache, Event, InvalidOption, dep
from everfresh.sources.debezium import UNAVAILABLE, Debezium, is_debezium, is_envelope
from everfresh.sources.messages import Malformed

POSTGRES = {"connector": "postgresql", "name": "shop", "db": "shop", "schema": "public", "table": "article", "lsn": 7}
MYSQL = {"connector": "mysql", "name": "shop", "db": "shop", "table": "article", "file": "bin.3", "pos": 805}
OLD = {"id": 1, "title": "old", "shelf": 3}
NEW = {"id": 1, "title": "new", "shelf": 4}


def envelope(operation: str, source: dict[str, Any] = MYSQL, **images: object) -> dict[str, Any]:
    return {"op": operation, "before": None, "after": None, "source": source, "ts_ms": 1, **images}


def event_of(message: object, settings: Debezium | None = None) -> Event | None:
    return (settings or Debezium()).event_of(message)


@pytest.mark.parametrize(
    ("message", "event"),
    [
        (envelope("c", after=NEW), Event.change("article", after=NEW)),
        (envelope("u", before=OLD, after=NEW), Event.change("article", before=OLD, after=NEW)),
        (envelope("d", before=OLD), Event.change("article", before=OLD)),
        (envelope("t"), Event.unknown("article")),
        (envelope("m", message={"prefix": "x"}), None),
    ],
    ids=["create", "update", "delete", "truncate", "message"],
)
def test_an_operation_is_an_event_of_its_row(message: object, event: Event | None) -> None:
    """Bare or beside its schema, it is the same."""
    assert event_of(message) == event
    assert event_of({"schema": {"type": "struct"}, "payload": message}) == event


@pytest.mark.parametrize("identity", ["lsn:1", None])
def test_an_id_is_no_identity(identity: str | None) -> None:
    """All rows of one COPY have the same, and each is another row."""
    message = {**envelope("c", POSTGRES, after=NEW), "id": identity}

    event = event_of(message)

    assert event is not None
    assert event.id is None


@pytest.mark.parametrize("before", [None, {}, {"id": 1, "title": "", "shelf": None}], ids=["null", "empty", "made-up"])
def test_postgresql_does_not_know_the_row_before(before: object) -> None:
    """Without REPLICA IDENTITY FULL its log holds the key; Debezium makes up the rest, so that is taken out."""
    event = event_of(envelope("u", POSTGRES, before=before, after=NEW))

    assert event == Event.change("article", before={"id": 1}, after=NEW)


def test_a_row_that_is_gone_is_known_by_its_key() -> None:
    """The other columns of such an image are null, or defaults that were never there."""
    event = event_of(envelope("d", POSTGRES, before={"id": 1, "title": "", "shelf": None}))

    assert event == Event.change("article", before={"id": 1})


def test_a_connector_that_is_said_to_tell_whole_rows_is_believed() -> None:
    """Null is then null."""
    settings = Debezium(whole_before=("postgresql",))
    before = {"id": 1, "title": None, "shelf": 3}

    event = event_of(envelope("u", POSTGRES, before=before, after=NEW), settings)

    assert event == Event.change("article", before=before, after=NEW)


@pytest.mark.parametrize("operation", ["u", "d"])
def test_of_a_whole_connector_that_tells_nothing_nothing_is_known(operation: str) -> None:
    """An empty image says that somebody was there, and not how."""
    event = event_of(envelope(operation, after=None))

    assert event is not None
    assert event.topic == f"article.{'update' if operation == 'u' else 'delete'}"
    assert event.row is not None
    assert event.row.before == {}


def test_a_key_of_another_name_is_told() -> None:
    """What is no key may have been anything before."""
    settings = Debezium(key=("tenant", "number"))
    after = {"tenant": 1, "number": 2, "id": 3}

    event = event_of(envelope("u", POSTGRES, after=after), settings)

    assert event == Event.change("article", before={"tenant": 1, "number": 2}, after=after)


def test_both_keys_are_known_when_the_images_name_two() -> None:
    """Whoever depends on either is touched."""
    event = event_of(envelope("u", POSTGRES, before={"id": 8}, after=NEW))

    assert event == Event.change("article", before={"id": 8}, after=NEW)


@pytest.mark.parametrize(
    "placeholder",
    [
        UNAVAILABLE,
        base64.b64encode(UNAVAILABLE.encode()).decode(),
        [UNAVAILABLE],
        [base64.b64encode(UNAVAILABLE.encode()).decode()],
        list(UNAVAILABLE.encode()),
        {UNAVAILABLE: UNAVAILABLE},
    ],
    ids=["text", "bytes", "texts", "byte-arrays", "numbers", "hstore"],
)
def test_a_value_that_was_not_logged_is_unknown(placeholder: object) -> None:
    """It stands for a large value that did not change, in a column of any kind."""
    event = event_of(envelope("u", before={**OLD, "text": placeholder}, after={**NEW, "text": placeholder}))

    assert event == Event.change("article", before=OLD, after=NEW)


def test_debezium_may_write_another_placeholder() -> None:
    """Its own is then a value as any other."""
    settings = Debezium(unavailable="?")
    after = {"id": 1, "text": UNAVAILABLE}

    event = event_of(envelope("c", after={**after, "other": "?"}), settings)

    assert event == Event.change("article", after=after)


def test_a_snapshot_says_what_is_there_and_not_since_when() -> None:
    """After a lost position it tells rows that changed unseen, so it touches whatever such a change would."""
    event = event_of(envelope("r", after=NEW))

    assert event == Event.change("article", before={"id": 1}, after=NEW)
    assert event_of(envelope("r", after=NEW), Debezium(snapshots=False)) is None


@pytest.mark.parametrize(
    "message",
    [
        None,
        {"schema": None, "payload": None},
        {"ts_ms": 1565787098802},
        {"schema": {}, "payload": {"ts_ms": 1}},
        {"status": "BEGIN", "id": "571", "ts_ms": 1, "event_count": None},
        {"status": "END", "id": "571", "ts_ms": 1, "event_count": 2},
        {"source": MYSQL, "ts_ms": 1, "databaseName": "shop", "ddl": "ALTER TABLE article", "tableChanges": []},
    ],
    ids=["tombstone", "wrapped-tombstone", "heartbeat", "wrapped-heartbeat", "begin", "end", "schema"],
)
def test_what_is_about_no_row_is_passed_over(message: object) -> None:
    """To refuse it would stop Debezium, which sends it again and again and nothing after it."""
    assert event_of(message) is None


@pytest.mark.parametrize(
    ("message", "at"),
    [
        ([], ""),
        ({"payload": 7, "schema": {}}, "payload"),
        ({"before": None}, "op"),
        (envelope("x"), "op"),
        (envelope("cu"), "op"),
        ({**envelope("c"), "op": 7}, "op"),
        ({"op": "c", "after": NEW}, "source"),
        ({"op": "c", "after": NEW, "source": "shop"}, "source"),
        (envelope("c", {"connector": "mysql"}, after=NEW), "source.table"),
        (envelope("c", {"connector": "mysql", "table": [1]}, after=NEW), "source.table"),
        (envelope("c", {"connector": "mysql", "table": "a" * 300}, after=NEW), "source.table"),
        (envelope("c", after=[1]), "after"),
        (envelope("u", before="{", after=NEW), "before"),
        ({"schema": {}, "payload": envelope("x")}, "payload.op"),
        ({"schema": {}, "payload": envelope("c", {}, after=NEW)}, "payload.source.table"),
    ],
)
def test_a_malformed_envelope_names_the_field(message: object, at: str) -> None:
    """Its sender can then mend it."""
    with pytest.raises(Malformed) as caught:
        event_of(message)

    assert caught.value.at == at


@pytest.mark.parametrize(
    ("type_", "source", "expected"),
    [
        ("{table}", POSTGRES, "article"),
        ("{schema}.{table}", POSTGRES, "public.article"),
        ("{connector}.{name}.{db}.{table}", POSTGRES, "postgresql.shop.shop.article"),
        ("{schema|none}.{table}", MYSQL, "none.article"),
        ("{table}", {"connector": "mongodb", "db": "shop", "collection": "article"}, "article"),
        ("{table}", {**MYSQL, "table": "order items.*"}, "order%20items%2E%2A"),
        ("{schema}.{table}", {**POSTGRES, "schema": "a.b", "table": "c"}, "a%2Eb.c"),
        ("{schema}.{table}", {**POSTGRES, "schema": "a", "table": "b.c"}, "a.b%2Ec"),
    ],
)
def test_rows_are_named_by_a_template(type_: str, source: dict[str, Any], expected: str) -> None:
    """A dot in a name is none of the topic, so that two tables never get one name."""
    event = event_of(envelope("t", source), Debezium(type=type_))

    assert event == Event.unknown(expected)


@pytest.mark.parametrize(
    ("settings", "match"),
    [({"type": "{tabel}"}, "tabel"), ({"key": "id"}, "comma"), ({"whole_before": "mysql"}, "comma")],
)
def test_settings_that_cannot_hold_are_refused(settings: dict[str, Any], match: str) -> None:
    """When they are made, and not when the first change comes."""
    with pytest.raises(InvalidOption, match=match):
        Debezium(**settings)


def test_mongodb_writes_its_images_within_texts() -> None:
    """An update without a full document says of whom nobody knows."""
    source = {"connector": "mongodb", "db": "shop", "collection": "article"}

    told = event_of(envelope("c", source, after='{"_id": 1, "title": "new"}'), Debezium(key=("_id",)))
    untold = event_of(envelope("u", source, updateDescription={"updatedFields": "{}"}))

    assert told == Event.change("article", after={"_id": 1, "title": "new"})
    assert untold == Event.change("article", before={}, after={})


ATTRIBUTES = {
    "source": "/debezium/postgresql/shop",
    "iodebeziumop": "u",
    "iodebeziumconnector": "postgresql",
    "iodebeziumschema": "public",
    "iodebeziumtable": "article",
    "iodebeziumxmin": None,
}
TYPE = "io.debezium.connector.postgresql.DataChangeEvent"


@pytest.mark.parametrize(
    "data",
    [
        {"before": None, "after": NEW},
        {"schema": {"type": "struct"}, "payload": {"before": None, "after": NEW}},
        {"op": "u", "before": None, "after": NEW, "source": POSTGRES},
    ],
    ids=["attributes", "wrapped", "whole"],
)
def test_a_cloudevent_says_the_same(data: dict[str, Any]) -> None:
    """Its attributes name the operation and the table, or its data does."""
    event = Event(TYPE, data, id="name:shop;lsn:29274832;txId:565", headers=ATTRIBUTES)

    assert is_debezium(event)
    assert Debezium().event_of_cloudevent(event) == Event.change("article", before={"id": 1}, after=NEW)


@pytest.mark.parametrize(
    ("data", "headers", "at"),
    [
        ({"after": NEW}, {**ATTRIBUTES, "iodebeziumop": None}, "iodebeziumop"),
        ({"after": NEW}, {**ATTRIBUTES, "iodebeziumtable": None}, "iodebeziumtable"),
        ({"after": NEW}, {**ATTRIBUTES, "iodebeziumtable": "a" * 300}, "iodebeziumtable"),
        ({"op": "u", "source": {}, "after": NEW}, {}, "data.source.table"),
        ({"op": "u", "source": 7, "after": NEW}, {}, "data.source"),
        ({"after": 7}, ATTRIBUTES, "data.after"),
    ],
)
def test_a_malformed_cloudevent_names_the_field(data: dict[str, Any], headers: dict[str, Any], at: str) -> None:
    """As its sender knows it."""
    with pytest.raises(Malformed) as caught:
        Debezium().event_of_cloudevent(Event(TYPE, data, headers=headers))

    assert caught.value.at == at


@pytest.mark.parametrize(
    ("message", "is_one"),
    [
        (envelope("c"), True),
        ({"schema": {}, "payload": {}}, True),
        ({"ts_ms": 1}, True),
        ({"topic": "a", "op": "c"}, False),
        ({"payload": {}}, False),
        ({}, False),
        ([], False),
    ],
)
def test_an_envelope_is_told_from_a_message(message: object, is_one: bool) -> None:
    """A message has a topic, which no envelope has."""
    assert is_envelope(message) == is_one


async def test_a_list_that_the_row_may_have_left_is_touched() -> None:
    """What PostgreSQL made up must not say that the row stood elsewhere; and one object stays one object."""
    change = event_of(envelope("u", POSTGRES, before={"id": 1, "title": "", "shelf": 0}, after=NEW))
    assert change is not None
    async with Cache("memory:") as cache:
        await cache.put("shelf 3", 1, dep.Scope("article", where={"shelf": 3}))
        await cache.put("article 1", 1, dep.Id("article", 1))
        await cache.put("article 2", 1, dep.Id("article", 2))

        await cache.publish(change)

        assert not await cache.has("shelf 3")
        assert not await cache.has("article 1")
        assert await cache.has("article 2")


FIELD = st.sampled_from(["op", "before", "after", "source", "ts_ms", "schema", "payload", "table", "status", "id"])
ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from([*"curdtm", "BEGIN", "article", "{}", ""]) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELD, inner, max_size=6),
    max_leaves=12,
)


@given(ANY)
def test_whatever_is_sent_is_a_row_nothing_or_malformed(message: object) -> None:
    """No sender can cause another error."""
    try:
        event = event_of(message)
    except Malformed:
        return
    assert event is None or event.row is not None


@given(st.dictionaries(FIELD, ANY), st.dictionaries(st.sampled_from([*ATTRIBUTES]), ANY))
def test_whatever_cloudevent_is_sent_is_a_row_nothing_or_malformed(
    body: dict[str, Any], headers: dict[str, Any]
) -> None:
    """As above."""
    try:
        event = Debezium().event_of_cloudevent(Event(TYPE, body, headers=headers))
    except Malformed:
        return
    assert event is None or event.row is not None
