"""Messages: an event in the JSON form of `fedora-messaging record`: topic, body, id, headers. Pure."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import cast

import msgspec

from everfresh.model.errors import InvalidEvent
from everfresh.model.event import Event


class Malformed(Exception):
    """What was sent is no event. `at` names the field that is wrong, empty for all of it."""

    def __init__(self, at: str, problem: str) -> None:
        super().__init__(f"{at}: {problem}" if at else problem)
        self.at = at
        self.problem = problem

    def inside(self, place: str) -> Malformed:
        """The same problem, of a part at `place`."""
        return Malformed(f"{place}.{self.at}" if self.at else place, self.problem)


def decoded(text: bytes) -> object:
    """The JSON value that the text writes.

    Raises:
        Malformed: it is no JSON, or not UTF-8.
    """
    try:
        return cast("object", msgspec.json.decode(text))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed("", f"this is not JSON ({error})") from error


def event_of(message: object) -> Event:
    """The event that a decoded message describes. What it does not say, such as an id, is not made up.

    Raises:
        Malformed: it describes none.
    """
    fields = object_of(message, "", "a message")
    topic = text_of(fields, "topic")
    body = object_of(fields.get("body", {}), "body", "the body")
    headers = object_of(fields.get("headers") or {}, "headers", "the headers")
    identity = None if fields.get("id") is None else text_of(fields, "id")
    try:
        return Event(topic, body, id=identity, headers=headers)
    except InvalidEvent as error:
        raise Malformed("topic", str(error)) from error


@contextmanager
def topic_named(at: str) -> Generator[None]:
    """Report a topic that is none as the field that the sender knows it by.

    Raises:
        Malformed: an event could not be made in the block.
    """
    try:
        yield
    except InvalidEvent as error:
        raise Malformed(at, str(error)) from error


def object_of(value: object, at: str, what: str) -> Mapping[str, object]:
    """The value as the JSON object that it must be.

    Raises:
        Malformed: it is another kind of value.
    """
    if not isinstance(value, dict):
        raise Malformed(at, f"{what} must be a JSON object, not {kind_of(value)}")
    return cast("dict[str, object]", value)


def text_of(fields: Mapping[str, object], field: str) -> str:
    """The non-empty text of a required field.

    Raises:
        Malformed: it is missing, empty or no text.
    """
    value = fields.get(field)
    if value is None:
        raise Malformed(field, "required, and missing")
    if not isinstance(value, str):
        raise Malformed(field, f"must be a text, not {kind_of(value)}")
    if not value:
        raise Malformed(field, "required, and empty")
    return value


def kind_of(value: object) -> str:
    """The kind of a JSON value, in words."""
    kinds: dict[type, str] = {dict: "an object", list: "an array", str: "a text", bool: "a boolean", type(None): "null"}
    return kinds.get(type(value), "a number")
