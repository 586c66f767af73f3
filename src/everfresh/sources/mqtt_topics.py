"""Topics and messages of MQTT 5, in the words of events, and back. Pure.

`/` parts levels as `.` parts words; `+` is one level as `*` is one word; `#` stands at the end for any number.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from everfresh.matching.covering import covers
from everfresh.model.message import Message


class Stored(msgspec.Struct, frozen=True):
    """What is kept of a session: whose it is, what it was asked for, and whether it bears our mark."""

    client_id: str
    patterns: tuple[str, ...]
    is_marked: bool


def stored_of(text: str) -> Stored | None:
    """What was stored, None when it is none of ours."""
    try:
        return msgspec.json.decode(text, type=Stored)
    except msgspec.DecodeError:
        return None


def filter_of(pattern: str) -> str:
    """The narrowest filter that lets all topics of a pattern through."""
    words: list[str] = []
    for word in pattern.split("."):
        words.append({"*": "+"}.get(word, word))
        if word == "#":
            # What stands behind it cannot be said here.
            break
    return "/".join(words)


def pattern_of(topic_filter: str) -> str:
    """The pattern of what a filter lets through."""
    return ".".join({"+": "*"}.get(level, level) for level in topic_filter.split("/") if level)


def not_covered(patterns: Iterable[str], known: Sequence[str]) -> tuple[str, ...]:
    """The patterns that none of the known ones covers."""
    return tuple(one for one in patterns if not any(covers(wide, one) for wide in known))


def message_of(topic: str, body: bytes, properties: Any) -> Message:  # noqa: ANN401 - an untyped driver
    """A message as a source brings it; user properties are headers. Never raises."""
    headers: dict[str, str] = dict(getattr(properties, "UserProperty", ()))
    content_type = getattr(properties, "ContentType", None)
    if content_type:
        headers.setdefault("content-type", str(content_type))
    return Message(
        topic=".".join(level for level in topic.split("/") if level),
        body=body,
        headers=headers,
        id=headers.pop(ID, ""),
    )


ID = "everfresh-id"
"""The user property with the id of a message that was sent through a source."""
