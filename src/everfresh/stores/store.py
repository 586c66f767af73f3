"""Store: the seam between the rules and where entries are kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar, runtime_checkable

from everfresh.model.entry import FeedRecord, Key
from everfresh.protocol.acknowledging import Behind
from everfresh.protocol.applying import Apply, Candidates
from everfresh.protocol.bringing import Brought
from everfresh.protocol.inspecting import Count, Explain, ListEntries
from everfresh.protocol.queueing import Distrust, Enqueue, Note, Retry, TakeDue
from everfresh.protocol.requests import (
    Begin,
    Commit,
    Delete,
    Extend,
    Fail,
    GiveUp,
    Load,
    LoadMany,
    Put,
    ReadFeed,
    Register,
    Request,
)
from everfresh.protocol.sourcing import Forget, Quarantine, ReadQuarantine, ReadSources, Release, Tell
from everfresh.stores import asking, building, changing, queueing, sourcing
from everfresh.stores.tables import LastRead, Tables

A = TypeVar("A")

StepListener = Callable[[Sequence[FeedRecord]], object]


class Store(Protocol):
    """Carries out each request as one atomic step; holds no policy.

    `is_shared` says whether other processes may change it behind this one's back. A listener is called after each step
    of this process that wrote feed records, before the step's answer is given, with the records; with none of them when
    the store lost its memory. It must be quick, and must not raise nor call a store that is not shared.
    """

    @property
    def is_shared(self) -> bool:
        """Whether other processes may write to it."""
        ...

    def carry_out(self, request: Request[A]) -> A:
        """Carry out one request; safe from every thread.

        Raises:
            StoreUnavailable: it could not be carried out and had no effect; asking again is safe.
            StoreClosed: the store was closed.
        """
        ...

    async def carry_out_async(self, request: Request[A]) -> A:
        """The same without keeping the event loop waiting."""
        ...

    def version(self) -> int:
        """A number that is another one after anybody wrote to a shared store; the same for ever for any other."""
        ...

    def listen(self, listener: StepListener) -> None:
        """Call the listener after each step."""
        ...

    def ask_last_read(self, last_read: LastRead) -> None:
        """Ask this, before an entry is dropped for want of room, when it was last read."""
        ...

    def close(self) -> None:
        """Let go of the store; repeating is safe."""
        ...


class News(NamedTuple):
    """What a stream brought: records in order, none of them lost; or, with `is_reset`, that some were.

    Who follows may rely on having been told of everything, once told of these, until `current_until` by
    `time.monotonic`; but who could not when they came only when there are no more of them.
    """

    records: tuple[FeedRecord, ...]
    is_reset: bool
    current_until: float
    is_at_end: bool = True


@runtime_checkable
class BringingStore(Protocol):
    """A store over a network that can bring entries along with its feed."""

    async def read_along(self, request: ReadFeed, keys: Sequence[Key]) -> Brought:
        """The feed, and those of the entries that can be had without further ado.

        Raises:
            StoreError: as the step by itself.
        """
        ...


class FeedStream(Protocol):
    """One follower's place in the feed of a store that brings it."""

    def give_way(self) -> None:
        """What was taken last has set somebody to work, who needs the same interpreter now."""
        return

    def take(self) -> News:
        """What comes next; waits for it, but comes back in time to renew the lease. What was taken before was told.

        Raises:
            StoreUnavailable: the stream has broken off. Open another; it goes on there, or begins with a reset.
            StoreClosed: the store was closed.
        """
        ...

    def close(self) -> None:
        """Nobody follows here any more; from any thread, and `take` comes back soon. Repeating is safe."""
        ...


@runtime_checkable
class StreamingStore(Store, Protocol):
    """A store that brings its feed, so that followers need not look."""

    def stream(self) -> FeedStream:
        """The one follower's place in the feed: where it was last, and before that at its end."""
        ...


# One step for each request. The values cannot be typed more narrowly in one table: each takes its own request.
STEPS: dict[type[Request[Any]], Callable[[Tables, Any], Any]] = {
    Load: building.load,
    LoadMany: building.load_many,
    Begin: building.begin,
    Commit: building.commit,
    Fail: building.fail,
    GiveUp: building.give_up,
    Extend: building.extend,
    TakeDue: queueing.take_due,
    Enqueue: queueing.enqueue,
    Retry: queueing.retry,
    Note: queueing.note,
    Distrust: queueing.distrust,
    Candidates: changing.candidates,
    Apply: changing.apply,
    Register: changing.register,
    Put: changing.put,
    Delete: changing.delete,
    ReadFeed: asking.read_feed,
    Behind: asking.behind,
    ListEntries: asking.list_entries,
    Count: asking.count,
    Explain: asking.explain,
    Tell: sourcing.tell,
    ReadSources: sourcing.read_sources,
    Forget: sourcing.forget,
    Quarantine: sourcing.quarantine,
    ReadQuarantine: sourcing.read_quarantine,
    Release: sourcing.release,
}
_LOOKING = frozenset(
    {Load, LoadMany, ReadFeed, Behind, Candidates, ListEntries, Count, Explain, ReadSources, ReadQuarantine}
)


def is_reading(request: Request[Any]) -> bool:
    """Whether the step leaves the store as it is."""
    return type(request) in _LOOKING or (isinstance(request, Apply) and request.is_dry)
