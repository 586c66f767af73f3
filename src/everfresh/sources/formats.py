"""Formats: from a message of a bus to its events, by name. Pure.

A message has a topic of its own, so more is read here than of a request: a body alone is an event. What a message does
not say is not made up, an id least of all.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

from everfresh.model.errors import InvalidOption
from everfresh.model.event import Event
from everfresh.model.message import Message
from everfresh.sources.debezium import Debezium
from everfresh.sources.fedora import Fedora
from everfresh.sources.messages import Malformed, decoded, event_of, object_of, topic_named
from everfresh.sources.source import Format
from everfresh.sources.taken import ReadItem, Taken, batch_taken, is_array, lines_taken, one_taken
from everfresh.sources.webhooks import LINES, Formats

# A message of more is taken for a mistake; see Hook.max_events.
_MAX_EVENTS = 10_000
_CLOUDEVENT = "ce-"
# The bindings of CloudEvents for HTTP and NATS, for Kafka, and both spellings of that for AMQP.
_PREFIXES = (_CLOUDEVENT, "ce_", "cloudevents:", "cloudevents_")
# That for MQTT 5 has none: these four are required, and nobody else has them all.
_REQUIRED = frozenset({"specversion", "id", "source", "type"})
_ENVELOPE = frozenset({"topic", "body", "id", "headers", "priority", "queue"})
_FEDORA = "fedora_messaging_"
_JSON = "application/json"


class PartlyRead(Malformed):
    """Some of a message are events, the rest is none: the events are applied, and the message is kept."""

    def __init__(self, error: Malformed, events: Sequence[Event]) -> None:
        super().__init__(error.at, error.problem)
        self.events = events


@dataclass(frozen=True, slots=True)
class Plain:
    """A JSON object under the message's own topic, or the object `{topic, body}` of `fedora-messaging record`."""

    @property
    def name(self) -> str:
        """`plain`."""
        return "plain"

    def events_of(self, message: Message) -> Sequence[Event]:
        """The one event; see `Format`."""
        return (_plain_event(message, decoded(message.body or b"{}")),)


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudEvents:
    """CloudEvents 1.0: structured and batched by media type or shape, binary by headers; Debezium's changes too."""

    formats: Formats = field(default_factory=Formats)

    @property
    def name(self) -> str:
        """`cloudevents`."""
        return "cloudevents"

    def events_of(self, message: Message) -> Sequence[Event]:
        """The events, which are many in a batch; see `Format`."""
        taken = _cloudevents_of(self.formats, message, _lowered(message.headers))
        return _events_of(_body_taken(message.body, self.formats.of_cloudevent) if taken is None else taken)


@dataclass(frozen=True, slots=True, kw_only=True)
class DebeziumChanges:
    """Change events of Debezium, bare or as CloudEvents; `debezium` says how they become row events."""

    debezium: Debezium = field(default_factory=Debezium)

    @property
    def name(self) -> str:
        """`debezium`."""
        return "debezium"

    def events_of(self, message: Message) -> Sequence[Event]:
        """The row event, none for a tombstone or a heartbeat, many of a batch; see `Format`."""
        if not message.body:
            return ()
        formats = Formats(debezium=self.debezium)

        def read(document: object) -> Event | None:
            return formats.of_cloudevent(document) if _is_cloudevent(document) else self.debezium.event_of(document)

        taken = _cloudevents_of(formats, message, _lowered(message.headers))
        return _events_of(_body_taken(message.body, read) if taken is None else taken)


@dataclass(frozen=True, slots=True, kw_only=True)
class Auto:
    """Any of them, by the media type, the headers and the shape of each message; an array is a batch."""

    formats: Formats = field(default_factory=Formats)

    @property
    def name(self) -> str:
        """`auto`."""
        return "auto"

    def events_of(self, message: Message) -> Sequence[Event]:
        """The events; see `Format`."""
        headers = _lowered(message.headers)
        taken = _cloudevents_of(self.formats, message, headers)
        if taken is not None:
            return _events_of(taken)
        if any(name.startswith(_FEDORA) for name in headers):
            return Fedora().events_of(message)

        def read(document: object) -> Event | None:
            return self._event_of(message, document)

        if _media_of(headers) in LINES:
            return _events_of(lines_taken(message.body, read, n_max=_MAX_EVENTS))
        return _events_of(_body_taken(message.body or b"{}", read))

    def _event_of(self, message: Message, document: object) -> Event | None:
        if document is None:
            # The tombstone that follows a delete.
            return None
        if _is_cloudevent(document):
            return self.formats.of_cloudevent(document)
        if _is_change(document):
            return self.formats.debezium.event_of(document)
        return _plain_event(message, document)


def format_of(given: Format | str) -> Format:
    """The format itself, or that of a name; see `format_named`."""
    return format_named(given) if isinstance(given, str) else given


def keeps_topics(reading: Format) -> bool:
    """Whether the events of a message surely have its own topic, so that what the bus calls it is what functions name.

    A CloudEvent, a change of Debezium and an envelope have topics of their own. A format of one's own says so by an
    attribute of this name.
    """
    return isinstance(reading, Fedora) or getattr(reading, "keeps_topics", False) is True


def format_named(name: str) -> Format:
    """The format of a name: `auto`, `plain`, `fedora`, `cloudevents`, `debezium`, or `module:attribute` of one's own.

    What `module:attribute` names has `events_of`, or is a class of such without arguments. Its `name` should be
    the same text, so that what it could not read is tried again with it.

    Raises:
        InvalidOption: there is no such format.
    """
    known: dict[str, Callable[[], Format]] = {
        "auto": Auto,
        "plain": Plain,
        "fedora": Fedora,
        "cloudevents": CloudEvents,
        "debezium": DebeziumChanges,
    }
    if name in known:
        return known[name]()
    module, colon, attribute = name.partition(":")
    if not colon or not module or not attribute:
        raise InvalidOption(f"format: {name!r} is none. There are {', '.join(sorted(known))}, or 'module:attribute'.")
    try:
        found: object = importlib.import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise InvalidOption(f"format: {name!r} cannot be imported ({error}).") from error
    # Nothing else is called: the name may come from a store.
    made = found() if isinstance(found, type) and hasattr(found, "events_of") else found
    if not callable(getattr(made, "events_of", None)) or not isinstance(getattr(made, "name", None), str):
        raise InvalidOption(f"format: {name!r} has no events_of and name. See everfresh.sources.source.Format.")
    return cast("Format", made)


def _plain_event(message: Message, document: object) -> Event:
    body = object_of(document, "body", "the body")
    if _is_envelope(body):
        return event_of(body)
    return _event(message, body, message.headers)


def _event(message: Message, body: Mapping[str, object], headers: Mapping[str, object]) -> Event:
    with topic_named("topic"):
        return Event(message.topic, body, id=message.id or None, headers=headers)


def _is_envelope(body: Mapping[str, object]) -> bool:
    """Whether it is an event with its own topic, and not a body that happens to have a field of that name."""
    return isinstance(body.get("topic"), str) and isinstance(body.get("body"), dict) and body.keys() <= _ENVELOPE


def _is_cloudevent(document: object) -> bool:
    return isinstance(document, dict) and cast("dict[str, object]", document).keys() >= _REQUIRED


def _is_change(document: object) -> bool:
    """Whether it is a change that Debezium tells; a body with its own `op` or `payload` is none."""
    if not isinstance(document, dict):
        return False
    fields = cast("dict[str, object]", document)
    payload = fields.get("payload")
    if "op" not in fields and isinstance(payload, dict):
        fields = cast("dict[str, object]", payload)
    return "op" in fields and isinstance(fields.get("source"), dict)


def _body_taken(body: bytes, read: ReadItem) -> Taken:
    """What a JSON document tells; an array is a batch."""
    document = decoded(body)
    return batch_taken(document, read, n_max=_MAX_EVENTS) if is_array(document) else one_taken(document, read)


def _cloudevents_of(formats: Formats, message: Message, headers: Mapping[str, str]) -> Taken | None:
    # Many messages have none.
    if not headers:
        return None
    media = _media_of(headers)
    attributes = _attributes(headers)
    if not attributes:
        return formats.cloudevents_of(media, {}, message.body, n_max=_MAX_EVENTS)
    return formats.cloudevents_of(media or _JSON, attributes, message.body, n_max=_MAX_EVENTS)


def _attributes(headers: Mapping[str, str]) -> dict[str, str]:
    """The attributes of a CloudEvent in binary form, named as by HTTP; empty when it is none."""
    for prefix in _PREFIXES:
        found = {name.removeprefix(prefix): value for name, value in headers.items() if name.startswith(prefix)}
        if found:
            break
    else:
        if not headers.keys() >= _REQUIRED:
            return {}
        found, prefix = {name: value for name, value in headers.items() if name != "content-type"}, ""
    # By HTTP and NATS alone they are percent-encoded.
    is_encoded = prefix == _CLOUDEVENT
    return {_CLOUDEVENT + name: value if is_encoded else value.replace("%", "%25") for name, value in found.items()}


def _lowered(headers: Mapping[str, str]) -> Mapping[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _media_of(headers: Mapping[str, str]) -> str:
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def _events_of(taken: Taken) -> Sequence[Event]:
    if taken.refused:
        raise PartlyRead(taken.refused[0].error, taken.events)
    return taken.events
