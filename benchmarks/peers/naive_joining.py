"""The naive one that lets callers join a build under way, whenever it began. For the tests, as that is."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

from benchmarks.peers.adapter import Place
from benchmarks.peers.naive import Naive


class Joining(Naive):
    """One build for all who ask while it runs."""

    def cached(
        self, body: Callable[..., Any], *, tags: Sequence[str] = (), expires_s: float | None = None
    ) -> Callable[..., Any]:
        stored = super().cached(body, tags=tags, expires_s=expires_s)
        lock, running = threading.Lock(), dict[tuple[Any, ...], Future[Any]]()

        def calling(*args: Any) -> Any:
            with lock:
                is_first = args not in running
                found = running.setdefault(args, Future())
            if is_first:
                found.set_result(stored(*args))
                with lock:
                    del running[args]
            return found.result()

        calling.__name__ = stored.__name__
        return calling


def open_peer(place: Place) -> Joining:
    """Open it at the place."""
    return Joining(place.folder)
