"""CloudEvents 1.0 (cloudevents.io, HTTP binding) in structured, batched and binary form. Pure.

An event's topic is the `type`, its body the `data`; the other attributes become headers under their own names. An
`id` is the sender's word that a retry is a retry, so a missing one is refused and never made up.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from urllib.parse import unquote

from everfresh.model.event import Event
from everfresh.sources.messages import Malformed, decoded, object_of, text_of, topic_named

_VERSION = "1.0"
_HEADER = "ce-"
_NOT_HEADERS = frozenset({"specversion", "id", "type", "data", "data_base64"})


def structured_event(message: object) -> Event:
    """The event of one decoded `application/cloudevents+json` document.

    Raises:
        Malformed: an attribute is missing or wrong, or the data is no JSON object.
    """
    attributes = object_of(message, "", "an event")
    return _event(attributes, _data(attributes))


def binary_event(headers: Mapping[str, str], body: bytes) -> Event:
    """The event whose attributes are `ce-` headers (names in lower case) and whose data is the JSON body.

    Raises:
        Malformed: an attribute is missing or wrong, or the body is no JSON object.
    """
    attributes = {
        name.removeprefix(_HEADER): _unquoted(name, value)
        for name, value in headers.items()
        if name.startswith(_HEADER)
    }
    data = object_of(decoded(body or b"{}"), "data", "the data")
    return _event(attributes, data, prefix=_HEADER)


def _event(attributes: Mapping[str, object], data: Mapping[str, object], *, prefix: str = "") -> Event:
    try:
        _check_version(text_of(attributes, "specversion"))
        identity, topic = text_of(attributes, "id"), text_of(attributes, "type")
        text_of(attributes, "source")
        headers = {name: value for name, value in attributes.items() if name not in _NOT_HEADERS}
        with topic_named("type"):
            return Event(topic, data, id=identity, headers=headers)
    except Malformed as error:
        raise Malformed(prefix + error.at, error.problem) from error


def _check_version(version: str) -> None:
    if version != _VERSION:
        raise Malformed("specversion", f"{version[:20]!r} is not read here, {_VERSION!r} is")


def _data(attributes: Mapping[str, object]) -> Mapping[str, object]:
    data = attributes.get("data")
    if "data_base64" not in attributes:
        return {} if data is None else object_of(data, "data", "the data")
    if data is not None:
        raise Malformed("data_base64", "stands beside data; send one of them")
    try:
        text = base64.b64decode(text_of(attributes, "data_base64"), validate=True)
        return object_of(decoded(text), "data_base64", "the data")
    except ValueError as error:
        raise Malformed("data_base64", f"is not base64 ({error})") from error
    except Malformed as error:
        raise Malformed("data_base64", error.problem) from error


def _unquoted(name: str, value: str) -> str:
    try:
        return unquote(value, errors="strict")
    except UnicodeDecodeError as error:
        raise Malformed(name, f"is not percent-encoded UTF-8 ({error})") from error
