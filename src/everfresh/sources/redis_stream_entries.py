"""Entries of a Redis stream as messages, and back. Pure.

An entry is a flat list of fields. Read by itself are

- our own layout and its like: `body` (or `data`, `value`, `payload`), and beside it `topic`, `id`, `headers` (JSON);
- Debezium Server's: a field `value` beside a `key`, its headers in capitals (`extended`), or one field whose name is
  the key (`compact`); it writes the text `default` for null;
- anything else: all fields together are the body.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import msgspec

from everfresh.model.message import Message

Entry = Mapping[bytes, bytes]

_NULL = b"default"


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryFields:
    """Which fields of an entry say what. The first of `body` that is there is it; the others may be missing."""

    topic: str = "topic"
    body: Sequence[str] = ("body", "data", "value", "payload")
    id: str = "id"
    headers: str = "headers"

    def message_of(self, stream: str, entry_id: str, entry: Entry) -> Message:
        """The entry as a message; its topic is the stream's name where it names none. Never raises."""
        fields = {_text(name): value for name, value in entry.items()}
        body_field = next((name for name in self.body if name in fields), None)
        if body_field is None and len(fields) == 1:
            (body_field,) = fields
            return Message(topic=stream, body=_whole(fields[body_field]), id=entry_id)
        if body_field is None:
            topic = _text(fields.pop(self.topic, b"")) or stream
            return Message(topic=topic, body=_object(fields), id=entry_id)
        body = fields.pop(body_field)
        return Message(
            topic=_text(fields.pop(self.topic, b"")) or stream,
            id=_text(fields.pop(self.id, b"")) or entry_id,
            body=_whole(body) if body_field == "value" else body,
            headers=self._headers(fields),
        )

    def entry_of(self, message: Message) -> dict[str, bytes | str]:
        """The fields of an entry that is read as this message."""
        written: dict[str, bytes | str] = {self.topic: message.topic, self.body[0]: message.body}
        if message.id:
            written[self.id] = message.id
        if message.headers:
            written[self.headers] = msgspec.json.encode(dict(message.headers))
        return written

    def _headers(self, fields: dict[str, bytes]) -> dict[str, str]:
        told = fields.pop(self.headers, None)
        headers = {name: _text(value) for name, value in fields.items()}
        if told is None:
            return headers
        try:
            decoded = cast("object", msgspec.json.decode(told))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            decoded = None
        if not isinstance(decoded, dict):
            return {**headers, self.headers: _text(told)}
        return headers | {name: _header(value) for name, value in cast("dict[str, object]", decoded).items()}


def check_fields(fields: EntryFields) -> str:
    """What is wrong with them, empty when nothing is."""
    body: Collection[str] = fields.body
    if isinstance(body, str) or not body:
        return "body names fields in order of preference: write ('body',), with the comma"
    return ""


def _whole(body: bytes) -> bytes:
    # No JSON begins like this; it is Debezium's word for null, which follows a delete.
    return b"null" if body == _NULL else body


def _object(fields: Mapping[str, bytes]) -> bytes:
    return msgspec.json.encode({name: _text(value) for name, value in fields.items()})


def _header(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _text(value: bytes) -> str:
    return value.decode(errors="replace")
