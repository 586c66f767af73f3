"""Places in a JetStream stream: how far a consumer has come, and whether messages went before it read them. Pure.

When messages go by limits or a purge, the server moves the consumer's floor over them as if they had been acknowledged.
So it is our own place, stored with what was applied, that is compared with what the stream still has: at its beginning,
and within it, where messages are deleted by hand or superseded by later ones of their subject.

Where messages go because they were acknowledged (work queues, interest), what is gone says nothing. There it is what
the server has given that is counted: it numbers what it gives to a consumer, and a number of the stream that has none
was passed over.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import NamedTuple

ALL_SUBJECTS = ">"


class Place(NamedTuple):
    """All up to message `seq` has been acknowledged, of the stream and the consumer that were made at these times.

    `n_skipped` is how many the consumer had passed over, `subjects` are those that it chooses.
    """

    seq: int
    stream: str
    consumer: str
    n_skipped: int
    subjects: str

    def __str__(self) -> str:
        return " ".join(map(str, self))


class Extent(NamedTuple):
    """The numbers of a stream's first and last message; `first` is one above `last` when it is empty.

    `holes` are the numbers between them that have no message, as far as anybody asked.
    """

    first: int
    last: int
    goes_by_acknowledgement: bool
    holes: Collection[int] = ()


class Progress(NamedTuple):
    """How far a consumer is: all up to `floor` is acknowledged, so many wait, and so many are with consumers.

    `n_skipped` is how many of the stream's messages it has passed over; what is given again makes it less. None where
    others of the stream are not for it.
    """

    floor: int
    n_waiting: int
    n_open: int
    n_skipped: int | None = None


class Followed:
    """What is known of the stream: all up to `floor` is acknowledged, or was told to be lost."""

    def __init__(self, floor: int = 0, n_skipped: int | None = None) -> None:
        self.floor = floor
        self.n_skipped = n_skipped
        self._n_foreseen = 0
        self._done: set[int] = set()
        self._told: set[int] = set()

    def acknowledged(self, numbers: Iterable[int]) -> None:
        """These need not come again, whatever is below them."""
        self._done.update(number for number in numbers if number > self.floor)

    def moved_to(self, floor: int) -> None:
        """All up to there is acknowledged."""
        if floor > self.floor:
            self.floor = floor
            self._done = {number for number in self._done if number > floor}
            self._told = {number for number in self._told if number > floor}

    def losses(self, stream: Extent, consumer: Progress | None, here: Collection[int]) -> list[str]:
        """What went before it was read, each told once; `here` is held by this process.

        Were that lost with this process, the stored offset would tell.
        """
        known = self._done.union(here)
        losses = [self._before(stream, consumer, known)]
        if not stream.goes_by_acknowledgement:
            losses.append(self._within(stream, known))
        elif consumer is not None and consumer.n_skipped is not None:
            losses.append(self._passed_over(consumer.n_skipped))
        return [loss for loss in losses if loss]

    def _before(self, stream: Extent, consumer: Progress | None, known: set[int]) -> str:
        floor = self.floor
        if stream.goes_by_acknowledgement and consumer is not None:
            floor = max(floor, consumer.floor)
        n_gone = stream.first - 1 - floor
        if n_gone <= 0:
            return ""
        n_missing = n_gone - sum(floor < one < stream.first for one in known)
        if not n_missing:
            return ""
        self.moved_to(stream.first - 1)
        self._n_foreseen += n_missing
        return f"messages {floor + 1} to {stream.first - 1} went before they were read"

    def _within(self, stream: Extent, known: set[int]) -> str:
        lost = {number for number in stream.holes if number > self.floor} - known - self._told
        if not lost:
            return ""
        self._told |= lost
        return f"{len(lost)} from {min(lost)} on were deleted or superseded before they were read"

    def _passed_over(self, n_skipped: int) -> str:
        before, self.n_skipped = self.n_skipped, n_skipped
        n_new = 0 if before is None else max(0, n_skipped - before)
        n_foreseen = min(n_new, self._n_foreseen)
        self._n_foreseen -= n_foreseen
        if n_new == n_foreseen:
            return ""
        return f"{n_new - n_foreseen} of its messages went before they were read"


def place_of(text: str) -> Place | None:
    """The place that was stored, None when it is none of ours."""
    parts = text.split(" ")
    if len(parts) != len(Place._fields):
        return None
    seq, stream, consumer, n_skipped, subjects = parts
    # What was given again may outweigh what was passed over.
    if not seq.isdecimal() or not n_skipped.removeprefix("-").isdecimal():
        return None
    return Place(int(seq), stream, consumer, int(n_skipped), subjects)


def floor_of(stream: Extent, consumer: Progress) -> int:
    """Up to where all is acknowledged; the stream's last message was asked for before the consumer.

    With nothing waiting and nothing open it is the stream's end, whatever of that was for other subjects.
    """
    if not consumer.n_waiting and not consumer.n_open:
        return max(consumer.floor, stream.last)
    return consumer.floor


def was_made_anew(stored: Place, created: str, last: int) -> bool:
    """Whether this is another stream than the one of which the place was stored."""
    return stored.stream != created or last < stored.seq
