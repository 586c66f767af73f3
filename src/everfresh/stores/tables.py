"""Tables: what the atomic steps need of a store's data, and the rows in them.

ADR-0012. The steps are written once, in `building` and `changing`, over these tables; `memory` holds them as dicts
under a lock, `sqlite` as SQL in one transaction. A row that a step has seen is the same object until the step ends.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec

from everfresh.matching.shapes import Bucket, Group, Shape, ShapeId
from everfresh.matching.triage import Probe
from everfresh.model.entry import PLAIN_TERMS, FeedRecord, Key, Kind, OnChange, Recipe, State, Terms
from everfresh.protocol.inspecting import Counted, Listed
from everfresh.protocol.requests import Seen
from everfresh.protocol.scheduling import Pace
from everfresh.stores.source_tables import QuarantineTable, SourceTable


@dataclass(slots=True, kw_only=True)
class Row:
    """One entry, without its value. `recipe` is None for a value that was put; `version` 0 means: no value yet.

    `token` is None when nobody holds the lease; `n_died` counts the leases that ran out, one after the other. `due` is
    when the queue should look at the entry: for a refresh, or when a lease expires; None when it need not. `rank`
    orders those that are due, the lowest first. `queued_at` is when the first event came that no build has answered;
    `event_at` when the last came that the value may not show yet, and `event` is that event, encoded. `n_bytes` is the
    size of the value. `builder` says who built the value, and before there is one, who queued it.
    """

    key: Key
    recipe: Recipe | None
    state: State = State.BUILDING
    fingerprint: str = ""
    digest: str = ""
    version: int = 0
    good_from: int = 0
    changed_at: int = 0
    built_at: float = 0.0
    build_s: float = 0.0
    groups: tuple[Group, ...] = ()
    seen: tuple[Seen, ...] = ()
    terms: Terms = PLAIN_TERMS
    stale_since: float | None = None
    reason: str = ""
    attempts: int = 0
    retry_at: float | None = None
    due: float | None = None
    token: int | None = None
    until: float = 0.0
    begun: int = 0
    n_died: int = 0
    expires_at: float | None = None
    rank: float = 0.0
    queued_at: float | None = None
    event_at: float | None = None
    event: bytes | None = None
    cause: tuple[str, ...] = ()
    history: tuple[str, ...] = ()
    builder: str = ""
    is_error: bool = False
    n_bytes: int = 0
    read_at: float = 0.0
    watched_until: float = 0.0

    def function(self) -> str:
        """The function's name; empty for a value that was put."""
        return "" if self.recipe is None else self.recipe.function

    @property
    def is_wanted(self) -> bool:
        """Whether it has no value yet, and is to get one though no reader waits for it."""
        return self.version == 0 and bool(self.builder)

    def is_leased(self, now: float) -> bool:
        """Whether somebody holds the right to build it."""
        return self.token is not None and self.until > now

    def is_gone(self, now: float) -> bool:
        """Whether there is nothing to serve, now or later: no value yet, or one that was put and is outdated.

        Nobody builds a put value anew, so one that may not be served is as good as gone.
        """
        return self.version == 0 or (self.recipe is None and (self.stale_since is not None or self.has_expired(now)))

    def has_expired(self, now: float) -> bool:
        """Whether it is over by time."""
        if self.expires_at is not None and self.expires_at <= now:
            return True
        look_at = self.look_at(now)
        return look_at is not None and look_at <= now

    def state_at(self, now: float) -> State:
        """Its state, for people: what is over by time waits to be built, though nobody may have seen to that yet."""
        return State.DIRTY if self.state is State.FRESH and self.has_expired(now) else self.state

    def look_at(self, now: float) -> float | None:
        """When somebody is to look again for what its last event told of; None when nobody is, or somebody looks.

        Where no worker runs, it is the next reader.
        """
        if self.event_at is None or self.stale_since is not None or self.is_leased(now):
            return None
        return self.due

    def time_to_go(self) -> float | None:
        """When it is dropped by time: a value whose lifetime has run out, and that nobody will build unasked."""
        if self.expires_at is None or (self.recipe is not None and self.terms.on_change is OnChange.REFRESH):
            return None
        end = self.expires_at + self.terms.linger_s
        return end if end < math.inf else None


@dataclass(slots=True, kw_only=True)
class Counters:
    """The numbers of a store.

    `n_entries` and `n_bytes` count the entries and the bytes of their values. `sequence` is the newest position and
    `applied` that of the last events; `fired_floor` is where fired marks begin to be complete, `feed_floor` where the
    feed does; `version_floor` is the highest version of any dropped entry.
    """

    epoch: str
    sequence: int = 0
    applied: int = 0
    fired_floor: int = 0
    feed_floor: int = 0
    version_floor: int = 0
    token: int = 0
    n_entries: int = 0
    n_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Room:
    """How much a store may hold; None for no limit. Bytes are those of the values."""

    max_entries: int | None = None
    max_bytes: int | None = None


NO_ROOM_LIMIT = Room()
MARKS_KEPT_FOR_LEASES = 4
"""How many times as many fired marks as ever are kept for builds under way; beyond that, those count as outrun."""
LastRead = Callable[[Key], float | None]
"""When an entry was last read, as far as it is known here and the store was not told yet."""


def nobody_knows(_: Key) -> float | None:
    """Nothing is known but what the store was told."""
    return None


class Journal(msgspec.Struct):
    """What one step has written so far: its feed records, in order."""

    now: float
    records: list[FeedRecord] = []


class Rows(Protocol):
    """Entries and their values."""

    def row(self, key: Key) -> Row | None:
        """The entry's row."""
        ...

    def save(self, row: Row) -> None:
        """Write the row, new or changed."""
        ...

    def remove(self, row: Row) -> None:
        """Delete the row and its value; its links are gone already."""
        ...

    def value(self, row: Row) -> bytes:
        """The value; only of a row that has one."""
        ...

    def set_value(self, row: Row, value: bytes) -> None:
        """Store the value; the row is saved already, with its `n_bytes`."""
        ...

    def keys(self, after: Key, n_max: int) -> Sequence[Key]:
        """The keys after that one, in the order of their texts."""
        ...

    def any_stale(self, keys: Sequence[Key]) -> bool:
        """Whether one of the entries that are there is not known to be up to date."""
        ...

    def oldest_lease(self, now: float) -> int | None:
        """The position at which the oldest live lease began."""
        ...


class Queue(Protocol):
    """What is due, how fast functions may be refreshed, and who may go when room is needed."""

    def due(self, now: float, quotas: Mapping[str, int], n_max: int) -> tuple[list[Row], float | None]:
        """The due rows of the functions, lowest rank first, and when the next one falls due.

        Of each function at most its quota. The empty name stands for values that were put, which fall due when they
        expire. What the quotas hold back does not count as due next.
        """
        ...

    def n_leased(self, function: str, now: float) -> int:
        """How many entries of the function are being built."""
        ...

    def pace(self, function: str) -> Pace:
        """How the function's refreshes went lately; `NO_PACE` when nothing is noted."""
        ...

    def set_pace(self, function: str, pace: Pace) -> None:
        """Note it; `NO_PACE` needs no place."""
        ...

    def coldest(self, n_max: int) -> list[Row]:
        """The rows with a value that were read longest ago, the longest first."""
        ...


class Census(Protocol):
    """What people ask."""

    def listed(self, function: str | None, state: State | None, after: Key, n_max: int, now: float) -> list[Listed]:
        """Entries in the order of their keys."""
        ...

    def counted(self, function: str | None, now: float) -> Counted:
        """How many there are."""
        ...


class Index(Protocol):
    """Which entries stand in a bucket, when it last fired, and which shapes are known."""

    def members(self, bucket: Bucket) -> Sequence[Key]:
        """The entries in the bucket."""
        ...

    def conditions(self, stem: Bucket) -> Sequence[tuple[Bucket, tuple[str, ...]]]:
        """The buckets of a filtered shape that begin with the stem and have members, with their operands."""
        ...

    def members_of_shape(self, shape: ShapeId) -> Sequence[Key]:
        """The entries in any bucket of the shape."""
        ...

    def relink(self, row: Row, groups: tuple[Group, ...]) -> None:
        """Take the entry out of its buckets and put it into those of the groups; sets `row.groups`.

        The operands of a filtered bucket are kept with it, from its first member to its last.
        """
        ...

    def fire(self, marks: Iterable[Bucket | ShapeId], sequence: int) -> None:
        """Note that the buckets, or whole shapes, fired."""
        ...

    def keep_probe(self, probe: Probe, sequence: int) -> None:
        """Keep what an event said about a stem, for the builds under way."""
        ...

    def probes(self, stem: Bucket, after: int) -> Iterable[Probe]:
        """What events after the position said about the stem."""
        ...

    def last_fired(self, marks: Iterable[Bucket | ShapeId]) -> int:
        """The newest position at which one of them fired; 0 for never."""
        ...


class Shapes(Protocol):
    """The shapes that the store knows, in the order in which it learnt them."""

    def known(self, start: int) -> tuple[Shape, ...]:
        """Those from number `start` on."""
        ...

    def n_known(self) -> int:
        """How many there are."""
        ...

    def born(self, shape: ShapeId) -> int | None:
        """The position of the events applied last when the shape was learnt; None when it is not known."""
        ...

    def learn(self, shape: Shape, born: int) -> None:
        """Add a shape."""
        ...


class Log(Protocol):
    """The feed."""

    def append(self, record: FeedRecord) -> None:
        """Add a record."""
        ...

    def since(self, sequence: int, n_max: int) -> list[FeedRecord]:
        """The records after the sequence, in order."""
        ...


def new_epoch() -> str:
    """A name for one life of a store."""
    return secrets.token_hex(8)


class Tables(Rows, Queue, Index, Census, Shapes, Log, SourceTable, QuarantineTable, Protocol):
    """All tables of a store, within one step."""

    counters: Counters
    journal: Journal
    room: Room
    last_read: LastRead


def record(tables: Tables, row: Row, kind: Kind) -> int:
    """Write the feed record of what became of the row; answered with its sequence."""
    counters = tables.counters
    counters.sequence += 1
    # An entry without a value had one before, maybe: its record must not go back behind that.
    made = FeedRecord(counters.sequence, row.key, kind, row.version or counters.version_floor, row.digest)
    tables.append(made)
    tables.journal.records.append(made)
    return counters.sequence
