"""Webhooks: from the headers and body of a request to events, by its media type. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from everfresh.model.event import Event
from everfresh.sources.cloudevents import batched_events, binary_event, structured_event
from everfresh.sources.messages import decoded, event_of

_STRUCTURED = "application/cloudevents+json"
_BATCHED = "application/cloudevents-batch+json"
_JSON = "application/json"


class MediaNotSupported(Exception):
    """A media type that no event is read from."""


def events_in(headers: Mapping[str, str], body: bytes) -> list[Event]:
    """The events that a request carries; `headers` has lower-case names.

    Raises:
        MediaNotSupported: the media type is none of those of the HTTP binding of CloudEvents, nor JSON.
        Malformed: the body or a `ce-` header is wrong; no event of it is taken.
    """
    media = media_type_of(headers.get("content-type", ""))
    if media == _STRUCTURED:
        return [structured_event(decoded(body))]
    if media == _BATCHED:
        return batched_events(decoded(body))
    is_binary = any(name.startswith("ce-") for name in headers)
    if is_binary and (is_json(media) or not (media or body)):
        return [binary_event(headers, body)]
    if media == _JSON:
        return [event_of(decoded(body))]
    msg = f"content-type {media or 'missing'!r}: send {_STRUCTURED}, {_BATCHED} or {_JSON}, in UTF-8"
    raise MediaNotSupported(msg)


def media_type_of(content_type: str) -> str:
    """The media type in lower case, without parameters.

    Raises:
        MediaNotSupported: it names a character set other than UTF-8.
    """
    media, *parameters = (part.strip().lower() for part in content_type.split(";"))
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name == "charset" and value.strip('"') not in {"utf-8", "utf8", "us-ascii"}:
            msg = f"content-type: charset {value!r} is not read. JSON is UTF-8."
            raise MediaNotSupported(msg)
    return media


def is_json(media: str) -> bool:
    """Whether the media type is JSON, or a form of it, and no CloudEvents envelope."""
    return media == _JSON or (media.endswith("+json") and not media.startswith("application/cloudevents"))
