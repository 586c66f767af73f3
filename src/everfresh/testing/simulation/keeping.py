"""Keeping: what is stored goes only for a reason."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from everfresh.model.clock import Clock
from everfresh.model.entry import FeedRecord, Key, Kind, Lease, OnChange, Terms
from everfresh.protocol.queueing import Note, TookDue
from everfresh.protocol.requests import Delete, Request
from everfresh.testing.simulation.promise import Broken, Promise


class Keeping:
    """Checks that what its function refreshes is KEPT. A store with little room may drop anything."""

    def __init__(self, terms: Mapping[str, Terms], clock: Clock, *, has_room: bool) -> None:
        self._clock = clock
        self._has_room = has_room
        self._terms = terms
        self._refreshed = {name for name, one in terms.items() if one.on_change is OnChange.REFRESH}
        self._read_at: dict[str, float] = {}
        self._watched_until: dict[str, float] = {}
        # Since when, at the earliest, a refresh may wait for somebody to begin it.
        self._waits_since: dict[str, float] = {}
        self._failed: set[str] = set()

    def follow(self, request: Request[Any], answer: Any, dropped: set[Key]) -> None:  # noqa: ANN401 - any type
        """Check what the step dropped that had a value."""
        match request:
            case Note(reads=reads, watched=watched):
                for key, at in reads.items():
                    self._read_at[key] = max(self._read_at.get(key, 0.0), at)
                for key, until in watched.items():
                    self._watched_until[key] = max(self._watched_until.get(key, 0.0), until)
            case Delete(keys):
                dropped = dropped.difference(keys)
            case _:
                pass
        if isinstance(answer, Lease):
            # A reader's, whose coming is noted with a new entry at least.
            self._read_at.setdefault(answer.key, self._clock())
            self._begin(answer.key)
        elif isinstance(answer, TookDue):
            for due in answer.due:
                self._begin(due.lease.key)
            self._check_time(answer)
            dropped = dropped.difference(answer.expired, answer.cold)
        unfounded = sorted(dropped & self._refreshed)
        if unfounded and self._has_room:
            raise Broken(Promise.KEPT, f"{unfounded} are dropped by {type(request).__name__}, for no reason")

    def hear(self, record: FeedRecord) -> None:
        """Take in what was told of an entry."""
        match record.kind:
            case Kind.FAILED:
                self._waits_since[record.key] = self._clock()
                self._failed.add(record.key)
            case Kind.STALE if record.key in self._failed:
                # The try that failed is over; this is a job of its own.
                self._waits_since[record.key] = self._clock()
                self._failed.remove(record.key)
            case Kind.STALE:
                self._waits_since.setdefault(record.key, self._clock())
            case Kind.DROPPED:
                self._read_at.pop(record.key, None)
                self._watched_until.pop(record.key, None)
            case _:
                pass

    def begin_anew(self) -> None:
        """The store has begun a new life; what it still holds was read when it was."""
        self._waits_since.clear()
        self._failed.clear()

    def _begin(self, key: Key) -> None:
        """Somebody begins to build it, so nothing waits for that."""
        self._waits_since.pop(key, None)
        self._failed.discard(key)

    def _check_time(self, took: TookDue) -> None:
        now = self._clock()
        for key in took.cold:
            keep_s, is_watched = self._terms[key].keep_warm_s, self._watched_until.get(key, 0.0) > now
            if keep_s is None or is_watched or now - self._read_at.get(key, 0.0) <= keep_s:
                raise Broken(Promise.KEPT, f"{key} is dropped as cold, and was read at {self._read_at.get(key)}")
        for key in took.expired:
            wait_s = self._terms[key].job_expires_s
            if wait_s is None or now - self._waits_since.get(key, 0.0) <= wait_s:
                raise Broken(Promise.KEPT, f"{key} is dropped as expired, and waits since {self._waits_since.get(key)}")
