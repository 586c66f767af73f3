"""Requests: what the rules ask of the world, and what they are answered.

Each request to a store is one atomic step. `ask` is the one place where a request's type meets its answer's type.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator
from dataclasses import dataclass
from enum import Enum
from typing import Any, Generic, TypeVar

import msgspec

from everfresh.matching.shapes import Group, Shape
from everfresh.model.entry import PLAIN_TERMS, Entry, FeedRecord, Key, Lease, Recipe, Terms
from everfresh.model.position import Position

A = TypeVar("A")
T = TypeVar("T")


class Request(Generic[A]):
    """Something the rules want done; answered with an `A`."""

    __slots__ = ()


# The driver answers whatever the request asks for, so the generator's send type cannot be narrower than Any; `ask`
# gives it back its type.
Steps = Generator[Request[Any], Any, T]


def ask(request: Request[A]) -> Steps[A]:
    """Yield the request and give back its answer, typed."""
    answer: A = yield request
    return answer


# ---------------------------------------------------------------------------------------------------- to the store


# These two are made at each read; a dataclass that is frozen takes four times as long.
class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """An entry as it stands, or None; the newest position, and the sequence of the events applied last.

    `unsettled` are the entries below that are not fresh. `broken` answers a failure that has paused the refreshes of
    its function: its name and for how many seconds.
    """

    entry: Entry | None
    position: Position
    applied: int
    now: float
    recipe: Recipe | None = None
    unsettled: tuple[Key, ...] = ()
    is_leased: bool = False
    broken: tuple[str, float] | None = None


class Load(Request[Loaded], msgspec.Struct, frozen=True):
    """Read one entry. A value with another `fingerprint` is not there; None accepts any."""

    key: Key
    fingerprint: str | None = None


@dataclass(frozen=True, slots=True)
class LoadMany(Request[tuple[Loaded, ...]]):
    """Read several entries as of one moment, in order; `Load` for each."""

    keys: tuple[Key, ...]
    fingerprint: str | None = None


@dataclass(frozen=True, slots=True)
class NotNeeded:
    """The entry became good enough in the meantime."""


@dataclass(frozen=True, slots=True)
class Busy:
    """Another build holds the entry until then, by the store's clock."""

    now: float
    until: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Begin(Request[Lease | NotNeeded | Busy]):
    """Take the lease of an entry; register the declared shapes in the same step.

    Not needed when the entry is fresh, or good as of `good_from` or later; None begins whatever the state. An entry
    that was not there stands in the buckets of `watched` from now on: those of predicates, which look at builds too.
    """

    key: Key
    recipe: Recipe
    fingerprint: str
    shapes: tuple[Shape, ...]
    lease_s: float
    good_from: int | None
    terms: Terms = PLAIN_TERMS
    watched: tuple[Group, ...] = ()


ABSENT = ""
"""Stands for the digest of an entry that was not there."""


@dataclass(frozen=True, slots=True)
class Seen:
    """An entry that was read during a build, by the digest of the value that was seen, or ABSENT."""

    key: Key
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """What a build gave.

    `good_from` is below the lease's position when something older was read on the way; `expires_at` is the earliest end
    of what was read, None when nothing ends. `is_makeshift` says that a nested build failed and the function went on
    without it; `is_error` that the value is an error which may be cached; `is_private` that nothing may be stored.
    `is_awaited` is whether the value shows what the lease's event told of, None when nobody can say.
    """

    value: bytes
    digest: str
    groups: tuple[Group, ...]
    seen: tuple[Seen, ...]
    good_from: int
    build_s: float
    expires_at: float | None = None
    is_makeshift: bool = False
    is_error: bool = False
    is_private: bool = False
    is_awaited: bool | None = None


@dataclass(frozen=True, slots=True)
class Committed:
    """The build was taken; `is_stored` is False when it was outrun and its function drops on change.

    With `is_recovery` it is the first after failures that had paused the refreshes of its function.
    """

    entry: Entry
    is_changed: bool
    is_stored: bool = True
    is_recovery: bool = False


@dataclass(frozen=True, slots=True)
class Overtaken:
    """The lease is no longer the builder's; nothing was changed."""

    position: Position
    now: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit(Request[Committed | Overtaken]):
    """Store a built value with its dependencies and its feed record.

    With `retry_in_s` the value is makeshift: it is stored, but the entry stays dirty and is built again after that.
    `builder` says for people who built it.
    """

    lease: Lease
    built: Built
    fingerprint: str
    terms: Terms = PLAIN_TERMS
    retry_in_s: float | None = None
    builder: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fail(Request[Loaded]):
    """End a lease without a value. Answered like `Load`, with the last good value, which is kept; there may be none.

    With `retry_in_s` None the entry is listed as failed until an event or a person retries it. `roll`, from 0 to 1,
    spreads the pause of a function whose entries all fail. With `is_shared` a run failed that was for others too, and
    for which of them, nobody knows: that is no attempt of the entry, and says nothing of the function.
    """

    lease: Lease
    fingerprint: str | None
    reason: str
    retry_in_s: float | None
    roll: float = 1.0
    is_shared: bool = False


@dataclass(frozen=True, slots=True)
class GiveUp(Request[None]):
    """Give a lease back at once: the build was cancelled."""

    lease: Lease


@dataclass(frozen=True, slots=True)
class Extend(Request[bool]):
    """Renew leases for `lease_s` seconds from now. Answered with whether all of them still held."""

    leases: tuple[Lease, ...]
    lease_s: float


@dataclass(frozen=True, slots=True)
class Limit:
    """How fast the entries of one function may be refreshed, over all processes; None for no limit."""

    n_at_once: int | None = None
    per_s: float | None = None


UNLIMITED = Limit()


@dataclass(frozen=True, slots=True)
class Register(Request[None]):
    """Make shapes known, so that from now on events fire their buckets."""

    shapes: tuple[Shape, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Put(Request[bool]):
    """Store a value without a recipe. Refused (False) when it was touched, or deleted, after `fence`: it is gone then.

    A fence of another life of the store refuses too: nobody knows what fired since.
    """

    key: Key
    value: bytes
    digest: str
    groups: tuple[Group, ...]
    fence: Position | None
    expires_s: float | None


@dataclass(frozen=True, slots=True)
class Delete(Request[int]):
    """Remove entries; answered with how many there were. With `outruns` puts with older fences are refused since."""

    keys: tuple[Key, ...]
    outruns: bool = True


@dataclass(frozen=True, slots=True)
class FeedBatch:
    """Records in order and the position after them. With `is_reset`, some were lost: start over from `position`."""

    records: tuple[FeedRecord, ...]
    position: Position
    is_reset: bool = False


@dataclass(frozen=True, slots=True)
class ReadFeed(Request[FeedBatch]):
    """The feed after a position, at most `n_max` records; None asks only where the feed ends."""

    after: Position | None
    n_max: int = 1_000


# --------------------------------------------------------------------------------------------------- to the driver


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(ABC):
    """A cached function with its arguments, as the rules need it."""

    key: Key
    fingerprint: str
    shapes: tuple[Shape, ...]
    policy: Policy
    watched: tuple[Group, ...] = ()

    @property
    @abstractmethod
    def recipe(self) -> Recipe:
        """What a worker needs to build it again; most reads never need it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How old a value may be served, in seconds: while its refresh is due or running, and while its build fails.

    With `is_strict`, what a build calls on the way is read strictly too, whatever its own functions declare.
    """

    stale_while_revalidate_s: float = 0.0
    stale_if_error_s: float = 0.0
    is_strict: bool = False


class OnStoreFailure(str, Enum):  # noqa: UP042 - StrEnum changes format(); the plain text is wanted everywhere
    """What readers do when the store does not answer."""

    CALL = "call"
    RAISE = "raise"


NOTHING_OLD = Bounds()
STRICT = Bounds(is_strict=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What a function declares about its entries."""

    bounds: Bounds = NOTHING_OLD
    terms: Terms = PLAIN_TERMS
    limit: Limit = UNLIMITED
    lease_s: float = 10.0
    wait_timeout_s: float = 60.0
    on_store_failure: OnStoreFailure = OnStoreFailure.CALL
    max_attempts: int = 8
    first_retry_s: float = 0.5
    longest_retry_s: float = 300.0


@dataclass(frozen=True, slots=True)
class Build(Request[Built]):
    """Run the user's function; what it raises is raised at the `yield`.

    With `is_strict`, what it calls is not served old values either, not even in place of a build that fails.
    """

    call: Call
    lease: Lease
    is_strict: bool = False


@dataclass(frozen=True, slots=True)
class BuildMany(Request[tuple[Built | Exception, ...]]):
    """Run a function that loads many keys at once; answered with a value or an error for each call, in order."""

    calls: tuple[Call, ...]
    leases: tuple[Lease, ...]
    is_strict: bool = False


@dataclass(frozen=True, slots=True)
class BuildAlone(Request[tuple[Built | Exception, ...]]):
    """The same while the store does not answer: nothing is told to it. Readers of one process share what was built."""

    calls: tuple[Call, ...]
    is_strict: bool = False


@dataclass(frozen=True, slots=True)
class Recall(Request[tuple[Entry, float] | None]):
    """What this process held near when it lost sight of the store, and for how many seconds nobody vouches for it."""

    key: Key


@dataclass(frozen=True, slots=True)
class Wait(Request[None]):
    """Come back when the entry's lease may have ended, at the latest after `timeout_s`.

    Raises at the `yield` what the build raised, when it failed in this process and no event was applied after it began
    and before `arrived`, the newest events that whoever waits must not miss, in the same life of the store.
    """

    key: Key
    timeout_s: float
    arrived: Position


@dataclass(frozen=True, slots=True)
class Revalidate(Request[None]):
    """See to it that the entry is refreshed in the background; do not wait for it."""

    call: Call


@dataclass(frozen=True, slots=True)
class Resolve(Request[Call | None]):
    """The call of a recipe; None when this process does not have the function."""

    key: Key
    recipe: Recipe


@dataclass(frozen=True, slots=True)
class Bring(Request[None]):
    """Read the call strictly, for what this does to the store; what its function raises is raised."""

    call: Call


@dataclass(frozen=True, slots=True)
class Roll(Request[float]):
    """A number from 0 to 1, each as likely."""
