"""Listeners: who in this process is told of feed records, and what becomes of one that raises."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Protocol

from everfresh.model.entry import FeedRecord

_log = logging.getLogger("everfresh")


class Listener(Protocol):
    """Somebody who follows; called from any thread, must be quick and must not call the store."""

    def on_records(self, records: Sequence[FeedRecord]) -> bool | None:
        """Take the next records, in order; true if somebody has something to do now."""
        ...

    def on_reset(self) -> None:
        """Forget everything: records were lost."""
        ...

    def on_quiet(self) -> None:
        """No more is on its way for the moment; told by followers of a store that brings its feed."""
        return


class Listeners:
    """All who are told."""

    def __init__(self) -> None:
        self._listeners: tuple[Listener, ...] = ()
        # Reentrant: a watcher that is collected as garbage, in whatever this thread is doing, takes itself out.
        self._lock = threading.RLock()

    def add(self, listener: Listener) -> Callable[[], None]:
        """Tell the listener of everything from now on; gives back how to stop."""
        with self._lock:
            self._listeners = (*self._listeners, listener)

        def remove() -> None:
            with self._lock:
                self._listeners = tuple(other for other in self._listeners if other is not listener)

        return remove

    def tell(self, records: Sequence[FeedRecord]) -> bool:
        """Give the records to each, or word that they were lost when there are none; whether one is at work now."""
        is_at_work = False
        for listener in self._listeners:
            is_at_work |= _tell(listener, records)
        return is_at_work

    def tell_quiet(self) -> None:
        """Give each the word that no more is on its way for the moment."""
        for listener in self._listeners:
            try:
                listener.on_quiet()
            except Exception:  # noqa: BLE001 - the others still have to be told
                _log.exception("follower.listener_failed")


def _tell(listener: Listener, records: Sequence[FeedRecord]) -> bool:
    """What it raises stays its own affair.

    It may be a signal handler that has raised, in whatever the listener was doing: then that is lost for it.
    """
    try:
        if records:
            return listener.on_records(records) is True
        listener.on_reset()
    except Exception:  # noqa: BLE001 - the others still have to be told, and the step is done
        _log.exception("follower.listener_failed")
        if records:
            _tell(listener, ())
    return True
