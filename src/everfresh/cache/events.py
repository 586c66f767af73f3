"""Events as bytes, for entries whose functions ask which event they have to show.

An event is written as plain msgpack when it comes back equal, which holds for whatever came as JSON; else part by part,
as arguments are, so that its tuples, dates and numbers keep their types.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from everfresh.cache.recipes import pack_argument, unpack_argument
from everfresh.model.errors import ArgumentNotSupported
from everfresh.model.event import Event, Row

# Begins no msgpack, by its specification.
_PART_BY_PART = b"\xc1"
_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Event)


def encode_event(event: Event) -> bytes:
    """The event as bytes; empty when something in it cannot be written."""
    try:
        data = _ENCODER.encode(event)
        if _DECODER.decode(data) == event:
            return data
    except (TypeError, ValueError, OverflowError):
        # Objects and large numbers take the long way.
        pass
    try:
        return _PART_BY_PART + pack_argument(_parts(event))
    except ArgumentNotSupported:
        return b""


def decode_event(data: bytes) -> Event:
    """The event of the bytes; one with objects of classes in it comes back as plain data."""
    if not data.startswith(_PART_BY_PART):
        return _DECODER.decode(data)
    topic, body, id_, headers, row = unpack_argument(data[1:], Any)
    return Event(topic, body, id_, headers, None if row is None else _row(*row))


def _row(
    type_: str,
    before: Any,  # noqa: ANN401 - as written
    after: Any,  # noqa: ANN401 - as written
    changed: Any,  # noqa: ANN401 - as written
    unknown: bool,  # noqa: FBT001 - as written
    described: Any = None,  # noqa: ANN401 - as written; older stores do not have it
) -> Row:
    return Row(type_, before, after, _set(changed), unknown, _set(described))


def _set(names: Any) -> frozenset[str] | None:  # noqa: ANN401 - as written
    # A set becomes a list when there are objects beside it.
    return None if names is None else frozenset(names)


def _parts(event: Event) -> list[object]:
    row = event.row
    parts: list[object] | None = None
    if row is not None:
        parts = [row.type, _dict(row.before), _dict(row.after), row.changed, row.unknown, row.described]
    return [event.topic, dict(event.body), event.id, dict(event.headers), parts]


def _dict(image: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return None if image is None else dict(image)
