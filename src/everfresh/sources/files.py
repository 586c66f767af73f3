"""Recorded messages: one JSON object a line, as `fedora-messaging record` writes them.

What a row event says of its row stands under `row`, which others pass over.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from everfresh.model.event import Event, Row
from everfresh.sources.messages import Malformed, decoded, event_of, object_of

Line = tuple[int, Event | str]
"""The number of a line, from 1, and its event, or what is wrong with it."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def read_lines(file: Iterable[bytes]) -> Iterator[Line]:
    """The events of a file opened in binary mode, in order, while it is read. Empty lines are passed over."""
    for number, line in enumerate(file, start=1):
        text = line.removeprefix(_BYTE_ORDER_MARK).strip() if number == 1 else line.strip()
        if text:
            yield number, _event_or_problem(text)


def written(event: Event) -> bytes:
    """The line of an event, with its end; `read_lines` reads an equal one.

    Raises:
        Malformed: something in it has no JSON.
    """
    fields: dict[str, Any] = {
        "topic": event.topic,
        "body": event.body,
        "id": event.id,
        "headers": event.headers,
        # Whoever reads these with the library of Fedora messaging needs it.
        "queue": None,
    }
    if event.row is not None:
        fields["row"] = event.row
    try:
        return msgspec.json.encode(fields) + b"\n"
    except (TypeError, ValueError, OverflowError) as error:
        raise Malformed("", f"it cannot be written as JSON ({error})") from error


def _event_or_problem(text: bytes) -> Event | str:
    try:
        message = object_of(decoded(text), "", "a message")
        event = event_of(message)
        row = message.get("row")
        return event if row is None else msgspec.structs.replace(event, row=_row(row))
    except Malformed as error:
        return str(error)


def _row(row: object) -> Row:
    try:
        return msgspec.convert(row, Row)
    except msgspec.ValidationError as error:
        raise Malformed("row", str(error)) from error
