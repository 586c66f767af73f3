"""Source: the seam between what brings messages in and what applies them.

An adapter is thin: it opens a connection, fetches messages in batches, and acknowledges them when it is told to. What
is read out of them, applied, kept aside, tried again and reported is the same for all, and stands in `consuming` and
`settling`.

Promises of an adapter
- A message is acknowledged to its broker only by `acknowledge`, and comes again, here or elsewhere, when it was not.
- `Batch.offset` stands only for messages that have been acknowledged, or are in that batch and those before it.
- When messages may have been lost that nobody fetched, the next batch says so (`Batch.gap`), and after another `open`
  again, until such a batch has been acknowledged.
- Nothing that a message holds makes `fetch` raise; only the connection does.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

import msgspec

from everfresh.model.event import Event
from everfresh.model.message import Message


class SourceUnavailable(Exception):
    """The source does not answer, or the connection broke; what was fetched and not acknowledged comes again."""


class Batch(msgspec.Struct, kw_only=True):
    """Messages in order, of one `fetch`.

    `offset` is how far the source has come once this batch is applied, None when it has no positions. `gap` says for
    people why messages before these may have been lost, empty when none were; `gap_topics` are the patterns
    that it concerns, empty for all that the source delivers. `lag` is how many wait behind these, None when nobody
    knows. `tags` are the adapter's own: what it needs to acknowledge.
    """

    messages: Sequence[Message] = ()
    offset: str | None = None
    gap: str = ""
    gap_topics: tuple[str, ...] = ()
    lag: int | None = None
    tags: Any = None


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """Where a connection begins: the stored offset, the topics to ask for, and the consumer's own name.

    `topics` are the patterns that the application's functions depend on, in their words (`*` one, `#` any number), and
    that of canaries when there are some.
    """

    offset: str | None
    topics: tuple[str, ...]
    consumer: str


class Stream(Protocol):
    """An open connection. Its operations come one after the other, each in a task of its own, with two exceptions.

    `acknowledge` may be called while `fetch` waits, and `send` while any of the others does.
    """

    async def fetch(self, n_max: int, wait_s: float) -> Batch:
        """What has come, at most `n_max` messages; waits up to `wait_s` seconds for the first, then gives none.

        Safe to cancel: what it had received comes with the next call, or again.

        Raises:
            SourceUnavailable: the connection broke.
        """
        ...

    async def acknowledge(self, batch: Batch) -> None:
        """The batch has been applied, and all before it: it need not come again.

        Raises:
            SourceUnavailable: it may come again.
        """
        ...

    async def widen(self, topics: Sequence[str]) -> Sequence[str]:
        """Ask for these topics too, from now on; answers with those that had not been asked for until now.

        What depends on the latter becomes suspect, as nobody has kept their earlier messages.

        Raises:
            SourceUnavailable: the connection broke.
        """
        ...

    async def send(self, message: Message) -> None:
        """Send a message through the source, so that it comes back by `fetch`: a canary. Durable when this returns.

        Raises:
            SourceUnavailable: it was not taken.
        """
        ...


class Format(Protocol):
    """Reads messages. `name` tells formats apart, in quarantine and on the command line."""

    @property
    def name(self) -> str:
        """Its name: `fedora`, `cloudevents`, or `module:attribute` of one's own."""
        ...

    def events_of(self, message: Message) -> Sequence[Event]:
        """The events that a message tells of; none for one that is passed over on purpose.

        Raises:
            Malformed: it cannot be read. Whatever else it raises is taken for the same.
        """
        ...


class Adapter(Protocol):
    """Opens connections to one source.

    `name` is the source's own and stays the same, as its offset, its quarantine and its reports stand under it.
    `delivers` are the patterns of the topics that come from it, in the words of events: ("#",) when it may be anything.
    """

    @property
    def name(self) -> str:
        """The source's name; a password never stands in it."""
        ...

    @property
    def delivers(self) -> tuple[str, ...]:
        """The patterns of what it delivers. A gap makes what depends on these suspect."""
        ...

    @property
    def format(self) -> Format:
        """What reads its messages."""
        ...

    def open(self, start: Start) -> AbstractAsyncContextManager[Stream]:
        """A connection from `start` on; what was lost before it is told by its first batch.

        It is entered and left in one task; what is done with the stream comes in others.

        Raises:
            SourceUnavailable: from entering it.
        """
        ...
