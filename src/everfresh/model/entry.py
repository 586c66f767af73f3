"""Entry: a stored result. Lease: the right to build one. FeedRecord: what became of one."""

from __future__ import annotations

from enum import Enum
from typing import NewType

import msgspec

from everfresh.model.position import Position

Key = NewType("Key", str)
"""The canonical text of a call, or the name under which a value was put."""


class State(str, Enum):  # noqa: UP042 - StrEnum changes format(); the plain text is wanted everywhere
    """How an entry stands to the events applied so far."""

    FRESH = "fresh"
    SUSPECT = "suspect"
    DIRTY = "dirty"
    BUILDING = "building"
    FAILED = "failed"


class OnChange(str, Enum):  # noqa: UP042 - as above
    """What an event does to an entry that it touches."""

    REFRESH = "refresh"
    DROP = "drop"


class Recipe(msgspec.Struct, frozen=True):
    """What a worker needs to build an entry again: the function's name and its encoded arguments."""

    function: str
    arguments: bytes


class Terms(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a function declares about its entries' life in the store; kept with each entry. Durations in seconds.

    `debounce_s` is how long the queue waits for further events, `max_wait_s` how long at most after the first. After an
    event the entry is looked at again after each of the delays in `settle_s`, until its value has changed, or, with
    `keeps_event`, until the build says that it shows what the event told of. A refresh that nobody began for
    `job_expires_s` is given up, and an entry that nobody read for `keep_warm_s` is not refreshed: it is dropped. What
    is not refreshed by time is dropped `linger_s` after its end: so long it may still be served.
    """

    on_change: OnChange = OnChange.REFRESH
    priority: int = 0
    expires_s: float | None = None
    debounce_s: float = 0.0
    max_wait_s: float | None = None
    settle_s: tuple[float, ...] = ()
    keeps_event: bool = False
    job_expires_s: float | None = None
    keep_warm_s: float | None = None
    linger_s: float = 0.0


PLAIN_TERMS = Terms()


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A stored result as one step of the store saw it.

    `value` is msgpack, of the error that the function raised when `is_error`; `position` is what the value is good as
    of; `changed_at` is the commit that last changed the value. Times are unix seconds by the store's clock.
    `expires_at` is the end of its lifetime, `look_at` when to look again for what its last event told of. `reason` says
    why the entry is not fresh, or the last error.
    """

    key: Key
    function: str
    state: State
    version: int
    value: bytes
    digest: str
    position: Position
    changed_at: Position
    built_at: float
    build_s: float
    stale_since: float | None = None
    reason: str = ""
    attempts: int = 0
    retry_at: float | None = None
    expires_at: float | None = None
    look_at: float | None = None
    is_error: bool = False

    def ends_at(self) -> float | None:
        """When it is over by time: its lifetime, or a further look that its last event asks for."""
        if self.look_at is None:
            return self.expires_at
        return self.look_at if self.expires_at is None else min(self.expires_at, self.look_at)

    def is_over(self, now: float) -> bool:
        """Whether it is over by time."""
        end = self.ends_at()
        return end is not None and end <= now


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    """The exclusive, expiring right to build one entry.

    `token` fences: a commit with a token that is no longer the entry's changes nothing. `begun` is the position at
    which the build began, `begun_at` the time, `attempts` the builds that failed since the last event, `n_died` how
    many builders before this one ended with their process. `event` is the encoded event that the build answers, for
    functions that ask for it; `cause` the chain of builds whose own events led to this one.
    """

    key: Key
    token: int
    begun: Position
    until: float
    begun_at: float = 0.0
    attempts: int = 0
    n_died: int = 0
    event: bytes | None = None
    cause: tuple[str, ...] = ()


class Kind(str, Enum):  # noqa: UP042 - as above
    """What became of an entry.

    changed: a new value was committed. fresh: it was settled with an equal value. stale: it became suspect or dirty.
    failed: a build failed. dropped: the entry is gone.
    """

    CHANGED = "changed"
    FRESH = "fresh"
    STALE = "stale"
    FAILED = "failed"
    DROPPED = "dropped"


class FeedRecord(msgspec.Struct, frozen=True):
    """One line of the store's ordered log; `sequence` is its place in the epoch."""

    sequence: int
    key: Key
    kind: Kind
    version: int
    digest: str
