"""Webhooks: from the headers and body of a request to events, by its media type. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from everfresh.model.event import Event
from everfresh.sources.cloudevents import binary_event, structured_event
from everfresh.sources.debezium import Debezium, is_debezium, is_envelope
from everfresh.sources.messages import decoded, event_of
from everfresh.sources.schemas import content_of_formats
from everfresh.sources.taken import MediaNotSupported, Taken, batch_taken, is_array, lines_taken, one_taken

_STRUCTURED = "application/cloudevents+json"
_BATCHED = "application/cloudevents-batch+json"
_JSON = "application/json"
LINES = ("application/x-ndjson", "application/jsonl")
"""The media types of newline-delimited JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Formats:
    """Reads CloudEvents in all their forms, plain messages and Debezium's envelopes, one or many in a request.

    `debezium` says how changes that it tells become row events.
    """

    debezium: Debezium = field(default_factory=Debezium)

    def read(self, headers: Mapping[str, str], body: bytes, *, n_max: int) -> Taken:
        """The events of a request, by its media type; see `Reader.read`."""
        media = media_type_of(headers)
        taken = self.cloudevents_of(media, headers, body, n_max=n_max)
        if taken is not None:
            return taken
        if media == _JSON:
            document = decoded(body)
            if is_array(document):
                return batch_taken(document, self._of_item, n_max=n_max)
            return one_taken(document, self._of_message)
        if media in LINES:
            return lines_taken(body, self._of_item, n_max=n_max)
        media_known = f"{_STRUCTURED}, {_BATCHED}, {_JSON} or {LINES[0]}"
        raise MediaNotSupported("content-type", f"{media!r} is not read. Send {media_known}, in UTF-8.")

    def cloudevents_of(self, media: str, headers: Mapping[str, str], body: bytes, *, n_max: int) -> Taken | None:
        """What CloudEvents in their three forms carry; None when it is none, by its media type and headers.

        Raises:
            TooManyEvents: a batch of more than `n_max`.
            Malformed: all of it is wrong.
        """
        if media == _STRUCTURED:
            return one_taken(decoded(body), self.of_cloudevent)
        if media == _BATCHED:
            return batch_taken(decoded(body), self.of_cloudevent, n_max=n_max)
        is_binary = any(name.startswith("ce-") for name in headers)
        if is_binary and (is_json(media) or not (media or body)):
            return one_taken(None, lambda _: self._changed(binary_event(headers, body)))
        return None

    def content(self, *, n_max: int) -> dict[str, object]:
        """What is read, for OpenAPI; see `Reader.content`."""
        return content_of_formats(n_max)

    def of_cloudevent(self, message: object) -> Event | None:
        """The event of a decoded CloudEvent, a change that Debezium tells in it included.

        Raises:
            Malformed: it is none.
        """
        return self._changed(structured_event(message))

    def _changed(self, event: Event) -> Event | None:
        return self.debezium.event_of_cloudevent(event) if is_debezium(event) else event

    def _of_item(self, message: object) -> Event | None:
        # Among others, null is the tombstone that follows a delete.
        return None if message is None else self._of_message(message)

    def _of_message(self, message: object) -> Event | None:
        return self.debezium.event_of(message) if is_envelope(message) else event_of(message)


def media_type_of(headers: Mapping[str, str]) -> str:
    """The media type of a request in lower case, without parameters.

    Raises:
        MediaNotSupported: it names a character set other than UTF-8, or the content is compressed.
    """
    encoding = headers.get("content-encoding", "").strip().lower()
    if encoding not in {"", "identity"}:
        # What is small when it comes could be any size once it is unpacked.
        raise MediaNotSupported("content-encoding", f"{encoding!r} is not read. Send the content as it is.")
    media, *parameters = (part.strip().lower() for part in headers.get("content-type", "").split(";"))
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name == "charset" and value.strip('"') not in {"utf-8", "utf8", "us-ascii"}:
            raise MediaNotSupported("content-type", f"charset {value!r} is not read. JSON is UTF-8.")
    return media


def is_json(media: str) -> bool:
    """Whether the media type is JSON, or a form of it, and no CloudEvents envelope."""
    return media == _JSON or (media.endswith("+json") and not media.startswith("application/cloudevents"))
