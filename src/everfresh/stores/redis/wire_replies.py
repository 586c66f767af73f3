"""What every reply of a script holds: an answer, and what its step wrote into the feed.

A reply is one packed array, then the bytes that are no text, which it names by number. Of a step that writes, the array
has the feed records after the answer. When the store began another life `true` stands in their place, or what had been
lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, TypeVar

import msgspec

from everfresh.model.entry import FeedRecord, Key, Kind
from everfresh.protocol.requests import Request

A = TypeVar("A")
Reply = Sequence[bytes]


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """What an entry is, as its shard, the `source`, tells it to the `target`, which has a mirror of it at its `place`.

    `is_answer` tells what was asked for from what happened.
    """

    key: Key
    source: int
    target: int
    epoch: str
    sequence: int
    place_epoch: str
    place: int
    version: int
    digest: str
    changed_at: int
    is_put: bool = False
    stale_since: float | None = None
    expires_at: float | None = None
    cause: tuple[str, ...] = ()
    is_changed: bool = False
    is_settled: bool = False
    is_evicted: bool = False
    is_answer: bool = False


Pace = tuple[str, tuple[Key, ...], int, int, float]
"""A function, the entries of it that failed, how many failures and pauses there were, and the end of the last pause."""


class Decoded(msgspec.Struct, Generic[A], frozen=True):
    """An answer, and what the step wrote into the feed; with `is_new_life` all that was known of the store is over.

    `epoch` is the store's after a step that writes; a reading leaves it empty.
    """

    answer: A
    records: tuple[FeedRecord, ...] = ()
    is_new_life: bool = False
    epoch: str = ""
    at: float | None = None
    """The server's time, when a step that writes was carried out."""
    posted: tuple[Message, ...] = ()
    """What it has to tell other shards."""
    paces: tuple[Pace, ...] = ()
    """How refreshes of functions fail, as all shards are to know."""
    loss: str = ""
    """What was not there that had to be, so that another life began."""


class Record(msgspec.Struct, array_like=True):
    """A line of the feed."""

    sequence: int
    key: Key
    kind: Kind
    version: int
    digest: str


class Told(msgspec.Struct, Generic[A], array_like=True):
    """What is packed in a reply."""

    answer: A
    records: list[Record] | bool | str = False
    epoch: str = ""
    at: float | None = None
    posted: tuple[Message, ...] = ()
    paces: tuple[Pace, ...] = ()


def decoded(told: Told[Any], answer: A) -> Decoded[A]:
    """The answer with what else the reply told."""
    records = told.records
    if isinstance(records, list):
        found = records_of(records)
        return Decoded(answer, found, epoch=told.epoch, at=told.at, posted=told.posted, paces=told.paces)
    loss = records if isinstance(records, str) else ""
    return Decoded(answer, (), records is not False, told.epoch, told.at, told.posted, told.paces, loss)


def records_of(records: Iterable[Record]) -> tuple[FeedRecord, ...]:
    """The records as everybody knows them."""
    return tuple(FeedRecord(one.sequence, one.key, one.kind, one.version, one.digest) for one in records)


def answered(kind: Any, made: Callable[[Any], object] | None = None) -> Callable[[Any, Reply], Decoded[Any]]:  # noqa: ANN401 - a type
    """What reads an answer of that kind, and gives it as it is, or what is made of it."""
    decode = msgspec.msgpack.Decoder(Told[kind]).decode

    def read(_: Request[Any], reply: Reply) -> Decoded[Any]:
        told = decode(reply[0])
        return decoded(told, told.answer if made is None else made(told.answer))

    return read


def no_answer(_: object) -> None:
    """Of an answer that says only that it was done."""
