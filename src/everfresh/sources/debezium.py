"""Change events of Debezium, as its Server sends them by HTTP, as row events. Pure.

An envelope says `op`, `before`, `after` and `source`, bare, under `payload` beside its `schema`, or as the data of a
CloudEvent whose attributes say the rest. What it seems to say and does not know is taken out here:

- An image `before` is whole only where the connector sees whole rows. PostgreSQL without REPLICA IDENTITY FULL logs the
  key alone; Debezium fills the other columns with null, and a NOT NULL one with "", 0 or its default.
- A value that the database did not log again stands there as a placeholder.
- An `id` is no identity: all rows of one COPY have one position in the log.
"""

from __future__ import annotations

import base64
import hashlib
import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import cast

from everfresh.model.errors import InvalidEvent
from everfresh.model.event import Event
from everfresh.sources.messages import Malformed, decoded, kind_of, object_of, text_of
from everfresh.sources.options import texts
from everfresh.sources.templates import Template

UNAVAILABLE = "__debezium_unavailable_value"
"""What Debezium writes for a value that was not logged, unless `unavailable.value.placeholder` says otherwise."""

# Their logs hold whole rows, or Debezium refuses to start.
_WHOLE_BEFORE = frozenset({"mysql", "mariadb", "sqlserver", "oracle", "db2"})
_NAMES = frozenset({"connector", "name", "db", "schema", "table"})
# Documents of MongoDB stand in a collection.
_OTHER_NAMES = {"table": "collection"}
_TYPE = "io.debezium."
_ATTRIBUTE = "iodebezium"
_OPERATION = "iodebeziumop"
# What else comes the same way: heartbeats, the ends of transactions, changes of the schema.
_TRANSACTION = ("BEGIN", "END")
_SCHEMA_CHANGE = ("ddl", "tableChanges")

Fields = Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Debezium:
    """How change events become row events.

    `type` names the rows, from `{connector}`, `{name}` (the topic prefix), `{db}`, `{schema}` and `{table}`; of MongoDB
    `{table}` is the collection. `key` are the fields that identify a row of any type: the database tells a change of
    them as a delete and a create. `whole_before` are the connectors whose images `before` are whole; add
    `"postgresql"` once every table has REPLICA IDENTITY FULL. With `snapshots=False`, rows that are read when Debezium
    starts are passed over. `unavailable` is the placeholder that Debezium was told to write.

    Raises:
        InvalidOption: `type` names something else, or `key` or `whole_before` is one text.
    """

    type: str = "{table}"
    key: Collection[str] = ("id",)
    whole_before: Collection[str] = _WHOLE_BEFORE
    snapshots: bool = True
    unavailable: str = UNAVAILABLE
    _template: Template = field(init=False, repr=False, compare=False)
    _placeholders: tuple[object, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for option, value in (("key", self.key), ("whole_before", self.whole_before)):
            texts(value, option=option)
        template = Template(self.type, "type", _NAMES.__contains__)
        object.__setattr__(self, "_template", template)
        object.__setattr__(self, "_placeholders", _placeholders(self.unavailable))

    def event_of(self, message: object) -> Event | None:
        """The row event of a decoded envelope; None for what is about no row, such as a heartbeat.

        Raises:
            Malformed: it is no envelope, or says not enough.
        """
        if message is None:
            # A tombstone, which follows a delete.
            return None
        fields, at = _unwrapped(object_of(message, "", "a change event"))
        try:
            if "op" not in fields and _is_beside(fields):
                return None
            operation = text_of(fields, "op")
            source = object_of(fields.get("source"), "source", "the source")
            return self._event(operation, source, fields, "source.")
        except Malformed as error:
            raise (error.inside(at) if at else error) from error

    def event_of_cloudevent(self, event: Event) -> Event | None:
        """The row event of a CloudEvent whose data is a change; see `is_debezium`.

        Raises:
            Malformed: it says not enough.
        """
        fields, _ = _unwrapped(event.body)
        try:
            if "source" in fields:
                source, at = object_of(fields["source"], "source", "the source"), "source."
            else:
                source, at = _attributes(event), _ATTRIBUTE
            operation = text_of(fields if "op" in fields else event.headers, "op" if "op" in fields else _OPERATION)
            return self._event(operation, source, fields, at)
        except Malformed as error:
            raise (error if error.at.startswith(_ATTRIBUTE) else error.inside("data")) from error

    def _event(self, operation: str, source: Fields, fields: Fields, at: str) -> Event | None:
        if operation == "m" or (operation == "r" and not self.snapshots):
            return None
        if operation not in "crudt" or len(operation) != 1:
            raise Malformed("op", f"{operation[:20]!r} is no operation. There are c, u, d, r, t and m.")
        try:
            type_ = self._type(source, at)
            if operation == "t":
                return Event.unknown(type_)
            return self._change(type_, operation, source, fields)
        except InvalidEvent as error:
            raise Malformed(f"{at}table", str(error)) from error

    def _change(self, type_: str, operation: str, source: Fields, fields: Fields) -> Event:
        after = self._known(_image(fields, "after"))
        if operation == "c":
            return Event.change(type_, after=after)
        before = self._known(_image(fields, "before"))
        if source.get("connector") not in self.whole_before or not before:
            # Who was where is unknown, but it was the same row: another key would have come as a delete.
            known = before if operation == "d" else {**after, **before}
            before = {name: known[name] for name in self.key if name in known}
        if operation == "d":
            return Event.change(type_, before=before)
        # A row that is read for a snapshot may have been there before, or not: nobody says how.
        return Event.change(type_, before=before, after=after)

    def _type(self, source: Fields, at: str) -> str:
        def lookup(name: str) -> object:
            return source.get(name) or source.get(_OTHER_NAMES.get(name, name))

        try:
            return self._template.filled(lookup)
        except Malformed as error:
            raise Malformed(at + error.at, error.problem) from error

    def _known(self, image: Fields) -> dict[str, object]:
        placeholders = self._placeholders
        return {name: value for name, value in image.items() if value not in placeholders}


def is_debezium(event: Event) -> bool:
    """Whether a CloudEvent is a change that Debezium tells."""
    return event.topic.startswith(_TYPE)


def is_envelope(message: object) -> bool:
    """Whether a decoded message that is no plain one looks like an envelope, or like what comes beside them."""
    if not isinstance(message, dict) or "topic" in message:
        return False
    fields = cast("dict[str, object]", message)
    return "op" in fields or "ts_ms" in fields or ("schema" in fields and "payload" in fields)


def _unwrapped(fields: Fields) -> tuple[Fields, str]:
    """The envelope itself, and where it stands."""
    if "payload" not in fields or "op" in fields:
        return fields, ""
    payload = fields["payload"]
    return ({} if payload is None else object_of(payload, "payload", "the payload")), "payload"


def _attributes(event: Event) -> Fields:
    """What a CloudEvent's attributes say of the source."""
    return {
        name.removeprefix(_ATTRIBUTE): value for name, value in event.headers.items() if name.startswith(_ATTRIBUTE)
    }


def _is_beside(fields: Fields) -> bool:
    """Whether it is no change of a row: nothing at all, a heartbeat, the end of a transaction, another schema."""
    return (
        fields.keys() <= {"ts_ms"}
        or fields.get("status") in _TRANSACTION
        or any(name in fields for name in _SCHEMA_CHANGE)
    )


def _image(fields: Fields, name: str) -> Fields:
    """The image, empty where nobody says how it was; MongoDB's are JSON within a text."""
    image = fields.get(name)
    if isinstance(image, str):
        try:
            image = decoded(image.encode("utf-8", "surrogatepass"))
        except Malformed as error:
            raise Malformed(name, error.problem) from error
    if image is None:
        return {}
    if not isinstance(image, dict):
        raise Malformed(name, f"must be a JSON object or null, not {kind_of(image)}")
    return cast("dict[str, object]", image)


def _placeholders(text: str) -> tuple[object, ...]:
    """The placeholder as columns of each kind hold it; so Debezium's UnchangedToastedPlaceholder has it."""
    octets = text.encode()
    encoded = base64.b64encode(octets).decode()
    # As Java names a UUID by bytes alone.
    named = uuid.UUID(bytes=hashlib.md5(octets, usedforsecurity=False).digest(), version=3)
    return (text, encoded, [text], [encoded], list(octets), [str(named)], {text: text})
