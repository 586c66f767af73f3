"""Event: a statement that something changed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from everfresh.model.errors import InvalidEvent

# AMQP carries at most 255 bytes of routing key; a topic must fit through every bus.
MAX_TOPIC_BYTES = 255
# What follows the type in the topic of a row that was created, updated or deleted.
CHANGES = ("create", "update", "delete")
# Half of a surrogate pair has no UTF-8, so no bus and no store could hold it.
_TOPIC = re.compile(r"[^\s.*#\ud800-\udfff]+(?:\.[^\s.*#\ud800-\udfff]+)*")


class Row(msgspec.Struct, frozen=True):
    """What a row event says of its row; an absent field is unknown, which is not null.

    `before` or `after` is None when the row did not exist then; with `changed`, it may also be that nobody said how it
    was. A field that is not in `changed` has the same value in both. `unknown` says that any rows of the type may have
    changed in any way.

    With `described`, the images hold derived values of these names, and not the row: they speak to the scopes whose
    conditions are on these names, and to nothing else. With `unknown` too, they speak to all scopes of the type.
    """

    type: str
    before: Mapping[str, Any] | None = None
    after: Mapping[str, Any] | None = None
    changed: frozenset[str] | None = None
    unknown: bool = False
    described: frozenset[str] | None = None


class Event(msgspec.Struct, frozen=True):
    """Something changed: a topic, a body, and for a row its images before and after.

    Raises:
        InvalidEvent: the topic is missing or malformed, or the body is no mapping.
    """

    topic: str
    body: Mapping[str, Any] = msgspec.field(default_factory=dict[str, Any])
    id: str | None = None
    headers: Mapping[str, Any] = msgspec.field(default_factory=dict[str, Any])
    row: Row | None = None

    def __post_init__(self) -> None:
        check_topic(self.topic)
        _check_body(self.topic, self.body)

    @classmethod
    def change(
        cls,
        type: str,  # noqa: A002 - the public word for it
        *,
        before: Mapping[str, Any] | None = None,
        after: Mapping[str, Any] | None = None,
        changed: Iterable[str] | None = None,
    ) -> Event:
        """A row of `type` was created (no `before`), deleted (no `after`) or updated.

        Images may be partial. With `changed`, the fields that changed, one event can speak for many rows.
        The topic is `type.create`, `type.delete` or `type.update`; the body holds the images.

        Raises:
            InvalidEvent: neither image and no `changed`; an image is no mapping; `changed` is one text.
        """
        if before is None and after is None and changed is None:
            msg = f"event {type}: nothing is said to have changed. Give before, after or changed; or use Event.unknown."
            raise InvalidEvent(msg)
        _check_images(type, before, after, changed)
        what = "update"
        if changed is None and (before is None or after is None):
            what = "create" if before is None else "delete"
        fields = None if changed is None else frozenset(changed)
        body: dict[str, Any] = {"before": before, "after": after}
        if fields is not None:
            body["changed"] = sorted(fields)
        return cls(f"{type}.{what}", body, row=Row(type, before, after, fields))

    @classmethod
    def unknown(cls, type: str) -> Event:  # noqa: A002 - the public word for it
        """Any rows of `type` may have changed in any way: a truncate, raw SQL, an overflow.

        It touches all that depends on rows of the type, by topic too: whoever waits for `type.update` is touched, and
        predicates on these topics are not asked.
        """
        return cls(f"{type}.unknown", row=Row(type, unknown=True))


def _check_images(type_: str, before: object, after: object, changed: object) -> None:
    for name, image in (("before", before), ("after", after)):
        if image is not None and not isinstance(image, Mapping):
            msg = f"event {type_}: {name} is {type(image).__name__}. Use a mapping of field names to values."
            raise InvalidEvent(msg)
    if isinstance(changed, str):
        # It would be read as the set of its letters, which nobody watches.
        msg = f"event {type_}: changed is the text {changed!r}. Give field names: changed=[{changed!r}]."
        raise InvalidEvent(msg)


def check_topic(topic: object) -> None:
    """Accept a topic of dotted, non-empty words without wildcards.

    Raises:
        InvalidEvent: it is something else.
    """
    if not isinstance(topic, str) or not topic:
        msg = f"event: the topic is {topic!r}. Give dotted words, for example 'bugzilla.bug.update'."
        raise InvalidEvent(msg)
    # What is not printable would reach terminals and logs.
    if not topic.isprintable() or _TOPIC.fullmatch(topic) is None or len(topic.encode()) > MAX_TOPIC_BYTES:
        msg = (
            f"event: topic {topic[:80]!r} is malformed. Use dotted words without spaces, '*' or '#', "
            f"at most {MAX_TOPIC_BYTES} bytes."
        )
        raise InvalidEvent(msg)


def _check_body(topic: str, body: object) -> None:
    if not isinstance(body, Mapping):
        msg = f"event {topic}: the body is {type(body).__name__}. Use a mapping of field names to values."
        raise InvalidEvent(msg)
