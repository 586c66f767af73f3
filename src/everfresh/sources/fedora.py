"""Fedora: the wire format of Fedora's message bus, read and written without its own library. Pure.

The routing key is the topic, the body is one JSON object, and the headers say which schema it follows, how severe it
is, and when it was sent. `id` is the AMQP property `message_id`. A message that was recorded by `fedora-messaging
record` and read from its file is the same event as the one read from the bus.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

import msgspec

from everfresh.model.event import Event
from everfresh.model.message import Message
from everfresh.sources.messages import decoded, event_of

# How severe, as numbers: debug, info, warning, error.
INFO = 20
# What follows no schema of its own.
_ANY_SCHEMA = "base.message"
_OURS = "fedora_messaging_"
# The other headers with this beginning are numbers, or true for each user, package or image that a message is about.
_TEXTS = frozenset({f"{_OURS}schema", f"{_OURS}schema_package"})
# A property, and no header, so it is in no recorded message.
_PROPERTY = "content-type"


@dataclass(frozen=True, slots=True)
class Fedora:
    """Reads messages of Fedora's bus."""

    @property
    def name(self) -> str:
        """Its name."""
        return "fedora"

    def events_of(self, message: Message) -> Sequence[Event]:
        """The one event, as `fedora-messaging record` would have written it; see `Format`."""
        headers = {name: _value(name, text) for name, text in message.headers.items() if name != _PROPERTY}
        fields = {"topic": message.topic, "body": decoded(message.body), "headers": headers, "id": message.id or None}
        return (event_of(fields),)


class FedoraMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message as it is given to a driver of AMQP: where to, what, and its properties."""

    routing_key: str
    body: bytes
    headers: Mapping[str, Any]
    message_id: str
    content_type: str = "application/json"
    content_encoding: str = "utf-8"
    # It survives a restart of the broker.
    delivery_mode: int = 2


def fedora_message(event: Event, *, id: str, sent_at: datetime, severity: int = INFO) -> FedoraMessage:  # noqa: A002 - its name on the wire
    """The event as Fedora's library would send it. What it has of its own, an id or headers, stands.

    `sent_at` has a time zone. The official client reads it as a message without a schema of its own.

    Raises:
        TypeError: the body holds what JSON cannot.
    """
    headers = {
        f"{_OURS}schema": _ANY_SCHEMA,
        f"{_OURS}severity": severity,
        "sent-at": sent_at.isoformat(timespec="seconds"),
        **event.headers,
    }
    return FedoraMessage(
        routing_key=event.topic,
        body=msgspec.json.encode(event.body),
        headers=headers,
        message_id=id if event.id is None else event.id,
    )


def _value(name: str, text: str) -> object:
    """The value of a header that is no text on the bus."""
    if name != "priority" and (not name.startswith(_OURS) or name in _TEXTS):
        return text
    try:
        return cast("object", msgspec.json.decode(text))
    except msgspec.DecodeError:
        return text
