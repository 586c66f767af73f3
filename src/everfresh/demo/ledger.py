"""What became of each event: a pure book that the terminal writes into and reads lines from.

An event is *settled* when every entry that it touched, directly or not, is good as of the event: refreshed with
another value, or cut off as equal, or failed, or dropped. It is *done* when, besides, every widget that it refreshed
was sent to a browser, or there is no browser, or none took it within `PATIENCE_S`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from everfresh import Entry, Key, Position, State

# A browser on this machine takes a frame within milliseconds; one that does not shows other widgets.
PATIENCE_S = 1.0


class Outcome(Enum):
    """What an event did to an entry, in the words of the terminal."""

    REFRESHED = "refreshed"
    EQUAL = "equal"
    FAILED = "failed"
    DROPPED = "dropped"


@dataclass(slots=True, kw_only=True)
class _Open:
    topic: str
    position: Position
    applied_at: float
    waiting: set[Key]
    outcomes: dict[Key, Outcome] = field(default_factory=dict)
    unsent: dict[str, int] = field(default_factory=dict)
    sent: list[str] = field(default_factory=list)
    sent_at: float = 0.0
    settled_at: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """One event's line: how many entries came out how, and how long the last widget took from event to browser."""

    topic: str
    n_touched: int
    outcomes: Mapping[Outcome, int]
    widgets: tuple[str, ...]
    to_browser_s: float | None
    settled_s: float


class Ledger:
    """Events that are not done yet. `name_of` says which entries are widgets, and what those are called."""

    def __init__(self, name_of: Mapping[Key, str]) -> None:
        self._name_of = name_of
        self._open: list[_Open] = []
        self._last_sent: dict[str, tuple[int, float]] = {}

    def applied(self, topic: str, position: Position, touched: Iterable[Key], *, now: float) -> None:
        """An event was applied and touched these entries, directly or not."""
        self._open.append(_Open(topic=topic, position=position, applied_at=now, waiting=set(touched), settled_at=now))

    def stored(self, key: Key, entry: Entry | None, *, now: float) -> None:
        """The store holds this for the key now."""
        for event in self._open:
            if key in event.waiting and (outcome := outcome_of(event.position, entry)) is not None:
                event.waiting.discard(key)
                event.outcomes[key] = outcome
                event.settled_at = now
                if entry is not None and outcome is Outcome.REFRESHED and key in self._name_of:
                    self._expect(event, self._name_of[key], entry.version)

    def sent(self, name: str, version: int, *, now: float) -> None:
        """A widget of this version was sent to a browser."""
        self._last_sent[name] = (version, now)
        for event in self._open:
            if event.unsent.get(name, version + 1) <= version:
                del event.unsent[name]
                _note_sent(event, name, now)

    def done(self, *, now: float, n_browsers: int) -> list[Done]:
        """The events that are done, in the order in which they were applied; they are forgotten."""
        patient = [event for event in self._open if _is_open(event, now=now, n_browsers=n_browsers)]
        finished = [event for event in self._open if event not in patient]
        self._open = patient
        return [_line(event) for event in finished]

    def _expect(self, event: _Open, name: str, version: int) -> None:
        sent_version, at = self._last_sent.get(name, (0, 0.0))
        if sent_version >= version and at >= event.applied_at:
            _note_sent(event, name, at)
        else:
            event.unsent[name] = version


def outcome_of(position: Position, entry: Entry | None) -> Outcome | None:
    """What an event at `position` did to an entry that it touched; None: that is not settled yet."""
    if entry is None:
        return Outcome.DROPPED
    if entry.state is State.FAILED or (entry.attempts and entry.retry_at is not None):
        return Outcome.FAILED
    if entry.state is not State.FRESH and not entry.position.covers(position):
        return None
    return Outcome.EQUAL if position.covers(entry.changed_at) else Outcome.REFRESHED


def _note_sent(event: _Open, name: str, at: float) -> None:
    event.sent.append(name)
    event.sent_at = max(event.sent_at, at)


def _is_open(event: _Open, *, now: float, n_browsers: int) -> bool:
    if event.waiting:
        return True
    return bool(event.unsent) and n_browsers > 0 and now - event.settled_at < PATIENCE_S


def _line(event: _Open) -> Done:
    return Done(
        topic=event.topic,
        n_touched=len(event.outcomes),
        outcomes=Counter(event.outcomes.values()),
        widgets=(*event.sent, *event.unsent),
        to_browser_s=event.sent_at - event.applied_at if event.sent else None,
        settled_s=event.settled_at - event.applied_at,
    )
