"""Notices: what happens, by a name from one table and key-values, for logs, metrics and terminals."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

logger = logging.getLogger("everfresh")

NOTICES: dict[str, str] = {
    "event.applied": "events were applied: topic, id, n_events, position, touched, suspect, n_widened, n_predicates",
    "source.suspect": "events of a source may have been lost: topics, reason, position, n_touched, n_suspect",
    "refresh.done": "a worker refreshed an entry: key, changed, version, build_s, position",
    "refresh.failed": "a worker's build raised: key, error, attempts, retry_in_s",
    "build.done": "a reader built an entry: key, changed, version, build_s, position",
    "build.failed": "a reader's build raised: key, error, attempts, retry_in_s",
    "lease.lost": "another took over what was built here, so that the value was not stored: key",
    "refresh.cold": "an entry was due that nobody read for its keep_warm, and was dropped: key",
    "job.expired": "nobody began a refresh within its job_expires, and the entry was dropped: key",
    "breaker.opened": "entries of a function failed one after the other, its refreshes pause: function, error, pause_s",
    "breaker.closed": "a build of a paused function succeeded, its refreshes go on: function",
    "predicate.failed": "a should_refresh or settled predicate raised, and counts as yes: function, key, topic, error",
    "predicate.never": "a should_refresh predicate has never said yes: function, n_runs",
    "scope.undescribed": "a value hangs on a list that nobody described, so it is not kept: key, type, names",
    "attention.failed": "what is read here could not be told to the store, and is told later: error",
    "worker.failed": "a worker could not reach its store and goes on: error",
    "revalidate.failed": "a refresh in the background raised: key, error",
    "store.bypassed": "the store did not answer, and a function was called for its reader alone: key",
    "listener.failed": "a listener of notices raised and is passed over; in the log alone: error, notice",
}
"""Every notice, and its fields."""

_WARNINGS = frozenset(name for name in NOTICES if name.endswith(".failed")) | {
    "breaker.opened",
    "job.expired",
    "predicate.never",
    "scope.undescribed",
}


class Notice(msgspec.Struct, frozen=True):
    """Something happened: a name from `NOTICES`, and its fields."""

    name: str
    fields: Mapping[str, Any]


class NoticeBoard:
    """Tells listeners and the log. A listener that raises is passed over and said to have failed."""

    def __init__(self) -> None:
        self._listeners: tuple[Callable[[Notice], None], ...] = ()
        self._lock = threading.Lock()

    def listen(self, listener: Callable[[Notice], None]) -> Callable[[], None]:
        """Call the listener with each notice, in whichever thread it arises; gives back how to stop."""
        with self._lock:
            self._listeners = (*self._listeners, listener)

        def remove() -> None:
            with self._lock:
                self._listeners = tuple(other for other in self._listeners if other is not listener)

        return remove

    def has_listeners(self, name: str) -> bool:
        """Whether anybody, or the log, takes notices of that name."""
        return bool(self._listeners) or logger.isEnabledFor(_level_of(name))

    def tell(self, name: str, **fields: Any) -> None:  # noqa: ANN401 - fields are of any type
        """Something happened."""
        level = _level_of(name)
        if logger.isEnabledFor(level):
            logger.log(level, "%s %s", name, fields, extra={"everfresh_notice": name, "everfresh_fields": fields})
        if not self._listeners:
            return
        notice = Notice(name, fields)
        for listener in self._listeners:
            try:
                listener(notice)
            except Exception as error:  # noqa: BLE001 - somebody else's code must not stop a build
                logger.warning("listener.failed %s", {"error": repr(error), "notice": name})


def _level_of(name: str) -> int:
    return logging.WARNING if name in _WARNINGS else logging.DEBUG
