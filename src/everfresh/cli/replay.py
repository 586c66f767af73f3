"""Replay: recorded messages, published in order.

Blocking: the input may be a pipe that says nothing for hours, and Ctrl-C has to end the reading of it.
"""

from __future__ import annotations

import select
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from io import UnsupportedOperation
from itertools import islice
from typing import IO, Protocol, cast

from everfresh.cache import Cache, Notice
from everfresh.model.entry import Key
from everfresh.model.errors import EverfreshError
from everfresh.model.event import Event
from everfresh.sources.files import Line

# Each batch is one step of the store: enough that its cost is spread, few enough that it holds nobody up.
BATCH = 100

# A signal that comes in the moment before a read begins does not end that read, so none lasts longer.
_LONGEST_READ_S = 0.5


class Reporter(Protocol):
    """Where word of single lines goes."""

    def bad_line(self, number: int, problem: str) -> None:
        """The line holds no message, and is passed over."""
        ...


@dataclass(slots=True)
class Tally:
    """What became of a file: its messages, the entries that they touched, the lines that hold no message."""

    n_messages: int = 0
    n_bad_lines: int = 0
    touched: set[Key] = field(default_factory=set[Key])

    def messages(self, lines: Iterable[Line], reporter: Reporter) -> Iterator[tuple[int, Event]]:
        """The messages with their line numbers; other lines are reported and counted."""
        for number, content in lines:
            if isinstance(content, Event):
                yield number, content
            else:
                self.n_bad_lines += 1
                reporter.bad_line(number, content)

    def note(self, notice: Notice) -> None:
        """Listen to a cache, for what its events touch."""
        if notice.name == "event.applied":
            self.touched.update(notice.fields["touched"])


def lines_of(file: IO[bytes]) -> Iterator[bytes]:
    """The lines of a file as they come; however quiet it is, Ctrl-C ends this."""
    try:
        number = file.fileno()
    except UnsupportedOperation:
        number = None
    if number is None or sys.platform == "win32":
        yield from file
        return
    begun = b""
    while True:
        while not select.select([number], [], [], _LONGEST_READ_S)[0]:
            pass
        # At most one read; what it gave is all taken, so that nothing is left that `select` knows nothing of.
        read = cast("_ReadsOnce", file).read1(-1)
        if not read:
            break
        *lines, begun = (begun + read).split(b"\n")
        yield from lines
    if begun:
        yield begun


class _ReadsOnce(Protocol):
    """A buffered file."""

    def read1(self, size: int, /) -> bytes:
        """What is there, by one read at most."""
        ...


def publish(cache: Cache, lines: Iterable[Line], reporter: Reporter) -> Tally:
    """Publish the messages in order, some at a time, and close the cache.

    Raises:
        EverfreshError: publishing failed; a note on it says how many messages were published before.
    """
    tally = Tally()
    with cache:
        cache.listen(tally.note)
        messages = tally.messages(lines, reporter)
        while batch := [event for _, event in islice(messages, BATCH)]:
            try:
                cache.blocking.publish(*batch)
            except EverfreshError as error:
                error.add_note(f"Published before that: {tally.n_messages}.")
                raise
            tally.n_messages += len(batch)
    return tally
