"""Places in a Redis stream: how far a group has come, and whether entries went before it read them. Pure.

Entries go by XTRIM, by MAXLEN and MINID of XADD, and by XDEL, and the group is told nothing. What can be known:

- A trim takes the oldest. While an entry at or below the last delivered one is there, none above it was trimmed.
- When all those are gone, the counters tell: what was ever added, less what the group has read, less what is there, is
  what it lost. The group's counter is worth no more than that: some servers never make up for a loss, others do, and
  one that starts again from its log begins too low. So it is compared with what the sum was when all had been read,
  and that is kept in the offset. After a restart of the server a loss may be told that was none.
- An XDEL leaves the highest id that it took.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Id(NamedTuple):
    """An entry's id: milliseconds, and a number within them."""

    ms: int
    number: int

    def __str__(self) -> str:
        return f"{self.ms}-{self.number}"

    @property
    def before(self) -> Id:
        """The highest id below this one."""
        if self.number:
            return Id(self.ms, self.number - 1)
        return Id(self.ms - 1, _MOST) if self.ms else ZERO


_MOST = 2**64 - 1
ZERO = Id(0, 0)


class Offset(NamedTuple):
    """Everything up to `id` has been acknowledged; the counters are wrong by `n_lost`, and all of that is known."""

    id: Id
    n_lost: int = 0

    def __str__(self) -> str:
        return f"{self.id} {self.n_lost}" if self.n_lost else str(self.id)


class Extent(NamedTuple):
    """What a stream holds: `first` is None when it is empty, `deleted` the highest id that XDEL took."""

    length: int
    n_added: int
    first: Id | None
    last: Id
    deleted: Id


class Progress(NamedTuple):
    """How far a group has come: the last id it was given, and how many entries; None when the server does not know."""

    delivered: Id
    n_read: int | None


class Loss(NamedTuple):
    """What a look found: a reason for people, empty when nothing was lost; and what to compare the next look with."""

    gap: str
    n_lost: int


def id_of(text: bytes | str) -> Id:
    """The id that a server wrote.

    Raises:
        ValueError: it is none.
    """
    ms, _, number = (text if isinstance(text, str) else text.decode()).partition("-")
    return Id(int(ms), int(number or 0))


def offset_of(text: str) -> Offset | None:
    """The offset that was stored, None when it is none of ours."""
    place, _, n_lost = text.partition(" ")
    try:
        return Offset(id_of(place), int(n_lost or 0))
    except ValueError:
        return None


def extent_of(told: Mapping[bytes, Any]) -> Extent:
    """What XINFO STREAM told.

    Raises:
        KeyError: the server is older than Redis 7.
    """
    return Extent(
        length=told[b"length"],
        n_added=told[b"entries-added"],
        first=id_of(told[b"recorded-first-entry-id"]) if told[b"length"] else None,
        last=id_of(told[b"last-generated-id"]),
        deleted=id_of(told[b"max-deleted-entry-id"]),
    )


def progress_of(told: Mapping[bytes, Any]) -> Progress:
    """What XINFO GROUPS told of a group."""
    return Progress(id_of(told[b"last-delivered-id"]), told[b"entries-read"])


def offset_now(progress: Progress, least_pending: Id | None, n_lost: int) -> Offset:
    """Up to where everything is acknowledged, when this is the least id that is not."""
    return Offset(progress.delivered if least_pending is None else least_pending.before, n_lost)


def loss_of(stream: Extent, group: Progress, known: Loss, told: Id) -> Loss:
    """Whether entries went that the group was never given; `told` is the highest deleted one that was reported."""
    if stream.deleted > max(group.delivered, told):
        return Loss(f"entries up to {stream.deleted} were deleted before the group had read them", known.n_lost)
    if stream.last <= group.delivered:
        return Loss("", known.n_lost if group.n_read is None else max(0, stream.n_added - group.n_read))
    if stream.first is not None and stream.first <= group.delivered:
        return Loss("", known.n_lost)
    if group.n_read is not None:
        n_lost = max(0, stream.n_added - group.n_read - stream.length)
        if n_lost <= known.n_lost:
            return Loss("", n_lost)
        return Loss(f"{n_lost - known.n_lost} entries were trimmed before the group had read them", n_lost)
    if stream.n_added == stream.length:
        return Loss("", known.n_lost)
    return Loss(f"entries between {group.delivered} and {stream.first or stream.last} may have been trimmed", 0)


def loss_since(stream: Extent, offset: Id) -> str:
    """Why entries after an offset may be gone, in a stream whose group is gone; empty when none are."""
    if stream.last < offset:
        return f"the stream was made anew, or lost its newest entries: it ends at {stream.last}, below {offset}"
    if stream.deleted > offset:
        return f"entries up to {stream.deleted} were deleted since {offset}"
    # How many were ever added says nothing: it begins anew with a stream that was deleted.
    if stream.last != offset and (stream.first is None or stream.first > offset):
        return f"entries between {offset} and {stream.first or stream.last} were trimmed, or the stream was made anew"
    return ""
