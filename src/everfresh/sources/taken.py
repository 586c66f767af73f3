"""What a request carries: events, and what of it is none. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeGuard, cast

from everfresh.model.event import Event
from everfresh.sources.messages import Malformed, decoded, kind_of

ReadItem = Callable[[object], Event | None]
"""The event of one decoded item; None for one that is passed over on purpose. Raises Malformed."""


class MediaNotSupported(Exception):
    """A media type, or an encoding of the content, that no event is read from. `at` names the header."""

    def __init__(self, at: str, problem: str) -> None:
        super().__init__(f"{at}: {problem}")
        self.at = at


class TooManyEvents(Exception):
    """More items in one request than are taken at once; none of them was read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """An item of a batch that is no event.

    `number` counts from 0, `error` says what is wrong, `item` is what was sent: a decoded JSON value, or the bytes of
    a line or a body that is no JSON. `headers` are those of the request that say how a whole body is to be read.
    """

    number: int
    error: Malformed
    item: object
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(slots=True, kw_only=True)
class Taken:
    """The events of a request in order, what is none of them, and how many items were passed over on purpose."""

    events: list[Event] = field(default_factory=list[Event])
    refused: list[Refused] = field(default_factory=list[Refused])
    n_passed_over: int = 0


class Reader(Protocol):
    """Says which events a request carries."""

    def read(self, headers: Mapping[str, str], body: bytes, *, n_max: int) -> Taken:
        """The events of a request; `headers` has lower-case names, `n_max` bounds the items of a batch.

        Raises:
            MediaNotSupported: it is of a kind that is not read here.
            TooManyEvents: a batch of more than `n_max`.
            Malformed: all of it is wrong; in a batch, items that are wrong are told beside those that are not.
        """
        ...

    def content(self, *, n_max: int) -> dict[str, object]:
        """The `content` of an OpenAPI request body: what is read, by media type, at most `n_max` items at once."""
        ...


def is_array(document: object) -> TypeGuard[list[object]]:
    """Whether a decoded document is an array."""
    return isinstance(document, list)


def one_taken(item: object, read: ReadItem) -> Taken:
    """What a request carries that is no batch.

    Raises:
        Malformed: it is no event.
    """
    event = read(item)
    return Taken(n_passed_over=1) if event is None else Taken(events=[event])


def batch_taken(document: object, read: ReadItem, *, n_max: int) -> Taken:
    """What a JSON array carries.

    Raises:
        Malformed: it is no array.
        TooManyEvents: of more than `n_max` items.
    """
    if not is_array(document):
        raise Malformed("", f"a batch must be a JSON array, not {kind_of(document)}")
    return items_taken(document, read, n_max=n_max)


def lines_taken(body: bytes, read: ReadItem, *, n_max: int) -> Taken:
    """What newline-delimited JSON carries, one item a line; empty lines are passed over and count as no item.

    Raises:
        TooManyEvents: of more than `n_max` items.
    """
    lines = [line for line in body.split(b"\n") if line.strip()]
    return items_taken(lines, lambda line: read(decoded(cast("bytes", line))), n_max=n_max)


def items_taken(items: Sequence[object], read: ReadItem, *, n_max: int) -> Taken:
    """What the items carry: one that is wrong is told with its number, and takes no other with it.

    Raises:
        TooManyEvents: more than `n_max` items.
    """
    if len(items) > n_max:
        raise TooManyEvents(f"{len(items)} events in one request, and at most {n_max} are taken at once.")
    taken = Taken()
    for number, item in enumerate(items):
        try:
            event = read(item)
        except Malformed as error:
            taken.refused.append(Refused(number=number, error=error.inside(f"[{number}]"), item=item))
            continue
        if event is None:
            taken.n_passed_over += 1
        else:
            taken.events.append(event)
    return taken
