"""Frames: server-sent events as bytes. Pure.

A frame is one block of lines ended by LF, with exactly one `data:` line of JSON. JSON escapes every CR and LF inside
strings, so any text survives any parser. `id:` never stands without data: browsers differ in what they make of that.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import msgspec

from everfresh.model.entry import Entry
from everfresh.model.position import Position
from everfresh.push.topics import Topic

# What a browser waits before it connects again, unless a farewell said otherwise.
RETRY_MS = 3000


class Part(Enum):
    """What a frame carries: of one topic its value or only its state, or word about the stream itself."""

    VALUE = "value"
    STATE = "state"
    STREAM = "stream"


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """Bytes to send, and what a connection must know of them.

    `at` is the position that a client has reached once it has the frame; None: the frame does not say. `changed_at`
    is that of the entry.
    """

    wire: bytes
    part: Part = Part.STREAM
    topic: str = ""
    version: int = 0
    at: Position | None = None
    changed_at: Position | None = None


def encode(event: str, data: object, *, at: Position | None = None, retry_ms: int | None = None) -> bytes:
    """One server-sent event with `data` as JSON.

    Raises:
        TypeError: data has no JSON form.
        UnicodeEncodeError: a text in it has no UTF-8 form.
    """
    retry = b"" if retry_ms is None else b"retry: %d\n" % retry_ms
    identity = b"" if at is None else b"id: %s\n" % at.text.encode()
    return b"%sevent: %s\n%sdata: %s\n\n" % (retry, event.encode(), identity, msgspec.json.encode(data))


def hello(position: Position, *, is_reached: bool) -> Frame:
    """The first frame. With `is_reached` the client has everything up to `position`."""
    at = position if is_reached else None
    return Frame(wire=encode("hello", _place(position), at=at, retry_ms=RETRY_MS), at=at)


def reset(position: Position) -> Frame:
    """What the client shows is worth nothing; whole states follow. It has reached nothing yet, so no id."""
    return Frame(wire=encode("reset", _place(position)))


def heartbeat(position: Position | None) -> Frame:
    """Nothing happened; the client has everything up to `position` (None: that cannot be said now)."""
    return Frame(wire=encode("heartbeat", _place(position), at=position), at=position)


def bye(retry_ms: int) -> Frame:
    """The server ends the stream; come back after `retry_ms`."""
    return Frame(wire=encode("bye", {}, retry_ms=retry_ms))


def value_frame(name: str, topic: Topic, entry: Entry, *, at: Position | None) -> Frame:
    """The entry's value and state, as the topic shows it.

    Raises:
        Exception: whatever `topic.render` raises, or the value has no JSON form.
    """
    data: dict[str, object] = {
        "topic": name,
        "version": entry.version,
        "state": entry.state.value,
        "built_at": entry.built_at,
        "build_s": entry.build_s,
        "digest": entry.digest,
    }
    if topic.render is None:
        data["value"] = msgspec.msgpack.decode(entry.value)
    else:
        data["html"] = topic.render(entry)
    return Frame(
        wire=encode("update", data, at=at),
        part=Part.VALUE,
        topic=name,
        version=entry.version,
        at=at,
        changed_at=entry.changed_at,
    )


def state_frame(name: str, *, event: str, state: str, version: int, at: Position | None) -> Frame:
    """The topic's state without a value."""
    wire = encode(event, {"topic": name, "version": version, "state": state}, at=at)
    return Frame(wire=wire, part=Part.STATE, topic=name, version=version, at=at)


def _place(position: Position | None) -> dict[str, str | None]:
    return {"position": None if position is None else position.text}
