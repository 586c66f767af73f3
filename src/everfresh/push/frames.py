"""Frames: server-sent events as bytes. Pure.

A frame is one block of lines ended by LF, with exactly one `data:` line of JSON. JSON escapes every CR and LF inside
strings, so any text survives any parser. `id:` never stands without data: browsers differ in what they make of that.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum

import msgspec

from everfresh.model.entry import Entry
from everfresh.model.position import Position
from everfresh.push.direct import chunk_of
from everfresh.push.shared_gzip import block_of
from everfresh.push.topics import MAX_TOPICS, Topic

# What a browser waits before it connects again, unless a farewell said otherwise.
RETRY_MS = 3000
_NOWHERE = b"reset"


class Part(Enum):
    """What a frame carries: of one topic its value or only its state, or word about the stream itself."""

    VALUE = "value"
    STATE = "state"
    STREAM = "stream"


@dataclass(slots=True, kw_only=True, eq=False)
class Frame:
    """Bytes to send, the same for all who are sent them, and what a connection must know of them.

    `event` and `data`, which is JSON, are what `wire` writes. `at` is the position that a client has reached once it
    has the frame; None: the frame does not say. `changed_at` is that of the entry.
    """

    wire: bytes
    event: str = ""
    data: bytes = b""
    part: Part = Part.STREAM
    topic: str = ""
    version: int = 0
    at: Position | None = None
    changed_at: Position | None = None
    date: Position | None = field(init=False)
    """What makes it newer than another: of a value the commit that made it, of a state its own place in the feed."""
    _block: bytes = field(default=b"", init=False)
    _chunk: bytes = field(default=b"", init=False)

    def __post_init__(self) -> None:
        self.date = self.changed_at if self.part is Part.VALUE else self.at

    @property
    def chunk(self) -> bytes:
        """What `wire` is in a body that is sent in chunks, once for all who are sent it."""
        if not self._chunk:
            self._chunk = chunk_of(self.wire)
        return self._chunk

    @property
    def block(self) -> bytes:
        """The same compressed, by itself, once for all who are sent it."""
        if not self._block:
            self._block = block_of(self.wire)
        return self._block


def told(  # noqa: PLR0913 - what a frame says, and what is known of it
    event: str,
    data: object,
    *,
    at: Position | None = None,
    mark: bytes = b"",
    retry_ms: int | None = None,
    part: Part = Part.STREAM,
    topic: str = "",
    version: int = 0,
    changed_at: Position | None = None,
) -> Frame:
    """One server-sent event with `data` as JSON; its id is `at`, else `mark`, else it has none.

    Raises:
        TypeError: data has no JSON form.
        UnicodeEncodeError: a text in it has no UTF-8 form.
    """
    retry = b"" if retry_ms is None else b"retry: %d\n" % retry_ms
    mark = mark if at is None else at.text.encode()
    identity = b"id: %s\n" % mark if mark else b""
    encoded = msgspec.json.encode(data)
    return Frame(
        wire=b"%sevent: %s\n%sdata: %s\n\n" % (retry, event.encode(), identity, encoded),
        event=event,
        data=encoded,
        part=part,
        topic=topic,
        version=version,
        at=at,
        changed_at=changed_at,
    )


def hello(position: Position, *, is_reached: bool, heartbeat_s: float) -> Frame:
    """The first frame, with what a client should know of the stream.

    With `is_reached` the client has everything up to `position`. Browsers hide the time to wait from scripts, so the
    data has it too.
    """
    data = {**_place(position), "retry_ms": RETRY_MS, "heartbeat_s": heartbeat_s, "max_topics": MAX_TOPICS}
    return told("hello", data, at=position if is_reached else None, retry_ms=RETRY_MS)


def reset(position: Position) -> Frame:
    """What the client shows is worth nothing; whole states follow.

    Its id is no position: who loses the connection before it has the states would else come back with an older one,
    which counts for what it does not show any more.
    """
    return told("reset", _place(position), mark=_NOWHERE)


def heartbeat(position: Position | None) -> Frame:
    """Nothing happened; the client has everything up to `position` (None: that cannot be said now)."""
    return told("heartbeat", _place(position), at=position)


def bye(retry_ms: int) -> Frame:
    """The server ends the stream; come back after `retry_ms`."""
    return told("bye", {"retry_ms": retry_ms}, retry_ms=retry_ms)


def revoked(topics: Iterable[str]) -> Frame:
    """The client may follow these no longer."""
    return told("revoked", {"topics": sorted(topics)})


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
    return told("update", data, at=at, part=Part.VALUE, topic=name, version=entry.version, changed_at=entry.changed_at)


def state_frame(name: str, *, event: str, state: str, version: int, at: Position | None) -> Frame:
    """The topic's state without a value."""
    data = {"topic": name, "version": version, "state": state}
    return told(event, data, at=at, part=Part.STATE, topic=name, version=version)


def _place(position: Position | None) -> dict[str, str | None]:
    return {"position": None if position is None else position.text}
