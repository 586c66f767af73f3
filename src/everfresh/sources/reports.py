"""Reports: how a consumer of a source fares, for its store, for metrics and for whoever waits for it."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager

from everfresh.protocol.sourcing import Report

logger = logging.getLogger("everfresh.sources")

NOTICES: dict[str, str] = {
    "source.connected": "a connection to a source stands: source",
    "source.lost": "a source does not answer, and is tried again: source, error, retry_in_s",
    "source.silent": "a source gave nothing, not even a canary, and is opened anew: source, silent_s",
    "source.gap": "messages may have been lost, and what depends on them is built anew: source, reason, topics",
    "source.deaf": "a canary could not be sent: source, error",
    "source.waits": "the store does not answer, and nothing is acknowledged meanwhile: source, error",
    "message.unreadable": "a message was no event, and is kept in quarantine: source, id, topic, reason",
    "message.more_unreadable": "so were more of the same batch: source, n_more",
    "quarantine.full": "the oldest messages in quarantine were dropped for newer ones: source, n_dropped",
    "report.failed": "a report could not be told to the store: source, error",
}
"""What is logged about sources, under `everfresh.sources`, and its fields."""

_QUIET = frozenset({"source.connected"})


class Status:
    """How one consumer of a source fares, in the event loop that runs; times are seconds of its clock."""

    def __init__(self, source: str, consumer: str, topics: tuple[str, ...]) -> None:
        self.source = source
        self.consumer = consumer
        self.topics = topics
        self._now = asyncio.get_running_loop().time
        self.is_connected = False
        self.has_connected = False
        """Whether a connection has stood at any time."""
        self.trouble_with_source = ""
        self.trouble_with_store = ""
        self.silence = ""
        """That it gave nothing, until something comes."""
        self.deafness = ""
        """Why the last canary could not be sent."""
        self.lag: int | None = None
        self.n_events = 0
        self.n_unreadable = 0
        self.n_gaps = 0
        self.event_at: float | None = None
        self.canary_at: float | None = None
        self.is_news = asyncio.Event()
        """Set when something changed that should be told at once."""

    @property
    def event_age_s(self) -> float | None:
        """How long ago the last message came, None when none has."""
        return None if self.event_at is None else self._now() - self.event_at

    @property
    def canary_age_s(self) -> float | None:
        """How long ago the last canary came, None when none has."""
        return None if self.canary_at is None else self._now() - self.canary_at

    @property
    def problem(self) -> str:
        """What is wrong, for people; empty when nothing is."""
        found = dict.fromkeys((self.silence, self.trouble_with_source, self.trouble_with_store))
        return "; ".join(text for text in found if text)

    def connected(self) -> None:
        """A connection stands."""
        self.is_connected = self.has_connected = True
        self.trouble_with_source = ""
        self.is_news.set()
        self.log("source.connected")

    def lost(self, problem: str, retry_in_s: float) -> None:
        """There is no connection any more, or none could be made."""
        self.is_connected = False
        self.trouble_with_source = problem
        self.is_news.set()
        self.log("source.lost", error=problem, retry_in_s=round(retry_in_s, 1))

    def silent(self, silent_s: float) -> None:
        """Nothing has come for too long."""
        why = f"; a canary could not be sent: {self.deafness}" if self.deafness else ", not even what should have"
        self.silence = f"nothing has come for {silent_s:.0f} s{why}"
        self.is_news.set()
        self.log("source.silent", silent_s=round(silent_s))

    def deaf(self, error: str) -> None:
        """A canary could not be sent."""
        self.deafness = error
        self.log("source.deaf", error=error)

    def heard(self) -> None:
        """Something has come."""
        if self.silence:
            self.silence = ""
            self.is_news.set()

    def gap(self, reason: str, topics: tuple[str, ...]) -> None:
        """Messages may have been lost."""
        self.n_gaps += 1
        self.is_news.set()
        self.log("source.gap", reason=reason, topics=topics)

    def store_failed(self, error: str) -> None:
        """The store does not answer."""
        if not self.trouble_with_store:
            self.log("source.waits", error=error)
        self.trouble_with_store = f"the store does not answer: {error}"

    def store_answers(self) -> None:
        """The store answers."""
        self.trouble_with_store = ""

    def log(self, name: str, **fields: object) -> None:
        """Say it in the log; `name` is one of `NOTICES`."""
        level = logging.INFO if name in _QUIET else logging.WARNING
        logger.log(level, "%s %s", name, {"source": self.source, **fields})

    def report(self, ahead_s: float | None, predicates: Mapping[str, tuple[int, int]]) -> Report:
        """All of it for the store, whose clock is ahead of the loop's by so many seconds, None when nobody knows."""

        def by_store(at: float | None) -> float | None:
            return None if at is None or ahead_s is None else at + ahead_s

        return Report(
            source=self.source,
            consumer=self.consumer,
            is_connected=self.is_connected,
            topics=self.topics,
            last_event_at=by_store(self.event_at),
            last_canary_at=by_store(self.canary_at),
            lag=self.lag,
            problem=self.problem,
            n_events=self.n_events,
            n_unreadable=self.n_unreadable,
            n_gaps=self.n_gaps,
            predicates=predicates,
        )

    @contextmanager
    def listed(self) -> Generator[None]:
        """Among the statuses of the process while the block runs."""
        with _lock:
            _statuses.append(self)
        try:
            yield
        finally:
            with _lock:
                _statuses.remove(self)


_statuses: list[Status] = []
_lock = threading.Lock()


def statuses() -> list[Status]:
    """The consumers that run in this process."""
    with _lock:
        return list(_statuses)


def problems() -> list[str]:
    """What is wrong with them, one text each that has something wrong, or has never connected yet."""
    found: list[str] = []
    for status in statuses():
        problem = status.problem or ("" if status.has_connected else "not connected yet")
        if problem:
            found.append(f"{status.source}: {problem}")
    return found
