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


class Predicates:
    """Runs the predicates of one cache's functions, and counts. Safe from every thread."""

    def __init__(self, functions: Mapping[str, Spec], board: NoticeBoard) -> None:
        self._functions = functions
        self._board = board
        self._lock = threading.Lock()
        self._n_runs: dict[str, int] = {}
        # Those that said yes once, and those that were warned of: neither is counted any further.
        self._is_done: set[str] = set()

    def judge(self, request: Judge) -> Mapping[Bucket, frozenset[Key]]:
        """The candidates that none of the events touches, by bucket."""
        spared: dict[Bucket, set[Key]] = {}
        for candidate in request.candidates:
            events = [request.events[number] for number in request.numbers.get(candidate.bucket, ())]
            if events and not self._is_touched(candidate, events):
                spared.setdefault(candidate.bucket, set()).add(candidate.key)
        return {bucket: frozenset(keys) for bucket, keys in spared.items()}

    def is_awaited(self, spec: Spec, lease: Lease, value: object) -> bool | None:
        """Whether the value shows what the lease's event told of; None when the function does not say."""
        settled = spec.settled
        if settled is None or not lease.event:
            return None
        event = decode_event(lease.event)
        return self._says_yes(spec, lease.key, event, partial(settled, event, value))

    def _is_touched(self, candidate: Candidate, events: list[Event]) -> bool:
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
        for event in events:
            is_yes = self._says_yes(spec, candidate.key, event, partial(predicate, event, **told))
            self._count(spec.name, is_yes=is_yes)
            if is_yes:
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

    def _count(self, name: str, *, is_yes: bool) -> None:
        if name in self._is_done:
            return
        with self._lock:
            n_runs = self._n_runs[name] = self._n_runs.get(name, 0) + 1
            if is_yes:
                self._is_done.add(name)
                return
            if n_runs < WARN_AFTER_RUNS or name in self._is_done:
                return
            self._is_done.add(name)
        self._board.tell("predicate.never", function=name, n_runs=n_runs)
