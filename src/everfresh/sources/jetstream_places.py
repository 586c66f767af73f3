"""Places in a JetStream stream: how far a consumer has come, and whether messages went before it read them. Pure.

When messages go by limits or a purge, the server moves the consumer's floor over them as if they had been acknowledged.
So it is our own place, stored with what was applied, that is compared with what the stream still has. Where messages go
because they were acknowledged (work queues, interest), it is the server's floor.
"""

from __future__ import annotations

from typing import NamedTuple


class Place(NamedTuple):
    """All up to message `seq` has been acknowledged, of the stream and the consumer that were made at these times."""

    seq: int
    stream: str
    consumer: str

    def __str__(self) -> str:
        return f"{self.seq} {self.stream} {self.consumer}"


class Extent(NamedTuple):
    """The numbers of a stream's first and last message; `first` is one above `last` when it is empty."""

    first: int
    last: int
    goes_by_acknowledgement: bool


class Progress(NamedTuple):
    """How far a consumer is: all up to `floor` is acknowledged, so many wait, and so many are with consumers."""

    floor: int
    n_waiting: int
    n_open: int


def place_of(text: str) -> Place | None:
    """The place that was stored, None when it is none of ours."""
    parts = text.split(" ")
    if len(parts) != len(Place._fields) or not parts[0].isdecimal():
        return None
    return Place(int(parts[0]), parts[1], parts[2])


def floor_of(stream: Extent, consumer: Progress) -> int:
    """Up to where all is acknowledged; the stream was looked at before the consumer.

    With nothing waiting and nothing open it is the stream's end, whatever of that was for other subjects.
    """
    if not consumer.n_waiting and not consumer.n_open:
        return max(consumer.floor, stream.last)
    return consumer.floor


def loss_of(stream: Extent, known_floor: int, consumer: Progress | None) -> str:
    """Why messages above the floor that we know are gone, empty when none are."""
    floor = known_floor
    if stream.goes_by_acknowledgement and consumer is not None:
        floor = max(floor, consumer.floor)
    if stream.first <= floor + 1:
        return ""
    return f"messages {floor + 1} to {stream.first - 1} went before they were read"


def was_made_anew(stored: Place, created: str, last: int) -> bool:
    """Whether this is another stream than the one of which the place was stored."""
    return stored.stream != created or last < stored.seq
