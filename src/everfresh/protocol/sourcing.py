"""Requests about sources: how far each has come, how it fares, and messages that nobody could read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from everfresh.model.message import Message
from everfresh.protocol.requests import Request

MAX_REPORTS = 32
"""Of how many consumers a source's reports are kept; one with another name at each start must not fill the store."""

QUARANTINE_BYTES = 67_108_864
"""So much is kept of what nobody could read, if nobody says otherwise."""


class Offset(msgspec.Struct, frozen=True):
    """How far a source has come: all of it up to `text` has been applied. What `text` means the source alone knows.

    It is written in the step that applies what it stands for (`Apply.offsets`), and of later ones over the earlier.
    """

    source: str
    text: str


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """How a source fares, as one of its consumers tells now and then.

    `topics` are the patterns of what it delivers, ("#",) when it may be anything. `last_event_at` and `last_canary_at`
    are seconds since 1970 by the store's clock, None when none came. `lag` is how many messages wait at the source,
    None when nobody knows. `problem` says for people what is wrong; empty when nothing is. Counts are those of the
    consumer since it began. `predicates` says of each function that has one how often it was asked in the consumer's
    process, and how often it said yes.
    """

    source: str
    consumer: str
    is_connected: bool
    topics: tuple[str, ...]
    last_event_at: float | None = None
    last_canary_at: float | None = None
    lag: int | None = None
    problem: str = ""
    n_events: int = 0
    n_unreadable: int = 0
    n_gaps: int = 0
    predicates: Mapping[str, tuple[int, int]] = msgspec.field(default_factory=dict[str, tuple[int, int]])


@dataclass(frozen=True, slots=True)
class Tell(Request[float]):
    """Keep the report, in place of the consumer's last one; answered with the store's time.

    Of each source those of the `MAX_REPORTS` consumers are kept that told last.
    """

    report: Report


class Reported(msgspec.Struct, frozen=True):
    """A report, and when it was told, by the store's clock."""

    report: Report
    at: float


class SourceState(msgspec.Struct, frozen=True, kw_only=True):
    """A source: its stored offset, None when it has none; its consumers' reports, newest first; its quarantine."""

    source: str
    offset: str | None
    reports: tuple[Reported, ...]
    n_quarantined: int


class Sources(msgspec.Struct, frozen=True):
    """All sources that the store knows, by name, and its time."""

    states: tuple[SourceState, ...]
    now: float


@dataclass(frozen=True, slots=True)
class ReadSources(Request[Sources]):
    """All that is known of these sources, or of all; of one that nobody knows, nothing."""

    names: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Forget(Request[int]):
    """Forget how far these sources have come, and their reports; answered with how many had either.

    Who consumes one of them again begins as at its first start. Messages in quarantine stay.
    """

    sources: tuple[str, ...]


class Unreadable(msgspec.Struct, frozen=True, kw_only=True):
    """A message that was no event. `id` is made of the source and the message, so that one that comes again is one.

    `format` names what read it, `reason` says what was wrong, `at` when it came first, by the store's clock. `place` is
    its place in the order in which they came, as the store says.
    """

    id: str
    source: str
    format: str
    reason: str
    message: Message
    at: float = 0.0
    place: int = 0


@dataclass(frozen=True, slots=True)
class Quarantine(Request[int]):
    """Keep messages that are no events; the oldest go that are too many, or too much. Answered with how many went.

    The newest stay, at most `n_max`, which have at most `max_bytes` as they are kept, with their headers and reasons;
    both count over all sources. One that is there already stays as it is.
    """

    messages: tuple[Unreadable, ...]
    n_max: int = 1_000
    max_bytes: int = QUARANTINE_BYTES


@dataclass(frozen=True, slots=True)
class ReadQuarantine(Request[tuple[Unreadable, ...]]):
    """Messages in quarantine, oldest first: those with these ids, or at most `n_max` of a source or of all.

    Without ids, the answer is a page: those behind the place `after`, and none after that which exceeds `max_bytes`.
    Who wants all goes on behind the last one, until nothing comes.
    """

    ids: tuple[str, ...] | None = None
    source: str | None = None
    n_max: int = 1_000
    after: int = 0
    max_bytes: int = 4_194_304


@dataclass(frozen=True, slots=True)
class Release(Request[int]):
    """Forget messages in quarantine; answered with how many were there."""

    ids: tuple[str, ...]
