"""Predicates: functions of users that say whether an event concerns one call of a cached function.

They run one after the other for each candidate, so they cost what there are of those. Each runs by itself, in an empty
context; one that raises counts as yes, and never stops the others.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextvars import Context
from functools import partial

from everfresh.cache.events import decode_event
from everfresh.cache.notices import NoticeBoard
from everfresh.cache.secrets import kept_secret, told_of
from everfresh.cache.spec import Spec
from everfresh.matching.shapes import Bucket
from everfresh.model.entry import Key, Lease
from everfresh.model.errors import ArgumentNotSupported
from everfresh.model.event import Event
from everfresh.protocol.applying import Candidate, Judge

# So often no by mere chance is rare; a predicate that compares what is never equal says it every time.
WARN_AFTER_RUNS = 1_000

Count = tuple[int, int]
"""How often a predicate was asked, and how often it said yes."""


class Predicates:
    """Runs the predicates of one cache's functions, and counts. Safe from every thread."""

    def __init__(self, functions: Mapping[str, Spec], board: NoticeBoard) -> None:
        self._functions = functions
        self._board = board
        self._lock = threading.Lock()
        self._counts: dict[str, Count] = {}
        self._warned: set[str] = set()

    def judge(self, request: Judge) -> Mapping[Bucket, frozenset[Key]]:
        """The candidates that none of the events touches, by bucket."""
        spared: dict[Bucket, set[Key]] = {}
        answers: dict[str, list[int]] = {}
        for candidate in request.candidates:
            events = [request.events[number] for number in request.numbers.get(candidate.bucket, ())]
            if events and not self._is_touched(candidate, events, answers):
                spared.setdefault(candidate.bucket, set()).add(candidate.key)
        self._take(answers)
        return {bucket: frozenset(keys) for bucket, keys in spared.items()}

    def counts(self) -> dict[str, Count]:
        """For each function that has a predicate, how often that was asked in this process, and how often it said yes.

        One that was never asked stands there too: no event had its topics, or no entry waits for them.
        """
        with self._lock:
            known = {name: (0, 0) for name, spec in self._functions.items() if spec.should_refresh is not None}
            return known | self._counts

    def is_awaited(self, spec: Spec, lease: Lease, value: object) -> bool | None:
        """Whether the value shows what the lease's event told of; None when the function does not say."""
        settled = spec.settled
        if settled is None or not lease.event:
            return None
        event = decode_event(lease.event)
        return self._says_yes(spec, lease.key, event, partial(settled, event, value))

    def _is_touched(self, candidate: Candidate, events: list[Event], answers: dict[str, list[int]]) -> bool:
        spec = self._functions.get(candidate.recipe.function)
        if spec is None or spec.should_refresh is None:
            return True
        try:
            arguments = spec.signature.decode(candidate.recipe.arguments)
        except ArgumentNotSupported:
            # Written for another signature: whoever builds it is told.
            return True
        told = {name: value for name, value in arguments.items() if name not in spec.signature.ignored}
        predicate = spec.should_refresh
        answered = answers.setdefault(spec.name, [0, 0])
        for event in events:
            is_yes = self._says_yes(spec, candidate.key, event, partial(predicate, event, **told))
            answered[0] += 1
            if is_yes:
                answered[1] += 1
                return True
        return False

    def _says_yes(self, spec: Spec, key: Key, event: Event, ask: Callable[[], bool]) -> bool:
        try:
            return bool(Context().run(ask))
        except Exception as error:  # noqa: BLE001 - somebody else's code; a needless refresh costs little
            if spec.signature.secret:
                kept_secret(error)
            self._board.tell("predicate.failed", function=spec.name, key=key, topic=event.topic, error=told_of(error))
            return True

    def _take(self, answers: dict[str, list[int]]) -> None:
        """Count what was answered; a lock for each answer would cost what many a predicate does."""
        never: list[tuple[str, int]] = []
        with self._lock:
            for name, (n_asked, n_yes) in answers.items():
                asked, yes = self._counts.get(name, (0, 0))
                self._counts[name] = (asked + n_asked, yes + n_yes)
                if not yes + n_yes and asked + n_asked >= WARN_AFTER_RUNS and name not in self._warned:
                    self._warned.add(name)
                    never.append((name, asked + n_asked))
        for name, n_runs in never:
            self._board.tell("predicate.never", function=name, n_runs=n_runs)
