"""Entries that events touch, one each: fresh ones, or those that an earlier event has made dirty already."""

import time
from collections.abc import Sequence

from benchmarks.filling import fill

from everfresh import Cache, Event, dep


class Touching:
    """A cache with `n` entries, `n_touched` of which the events touch, `n_at_once` events in each publish."""

    def __init__(self, url: str, n: int, n_touched: int) -> None:
        self.cache = Cache(url, near=0)
        self.n_touched = n_touched
        fill(self.cache, n - n_touched, lambda number: [dep.Id("article", -1 - number)])

        @self.cache.cached(depends_on=[dep.Id("article", dep.arg("number"))])
        def article(number: int) -> str:
            return f"article {number}"

        self._article = article
        self._events = [
            Event.change("article", before={"id": number, "state": 1}, after={"id": number, "state": 2})
            for number in range(n_touched)
        ]
        self.freshen()

    def freshen(self) -> None:
        """Build whatever is not fresh."""
        for number in range(self.n_touched):
            self._article(number)

    def touch(self, n_at_once: int = 1) -> float:
        """Publish one event for each of the entries; gives the seconds for one event."""
        events = self._events
        chunks: list[Sequence[Event]] = [events[k : k + n_at_once] for k in range(0, len(events), n_at_once)]
        publish = self.cache.blocking.publish
        started = time.perf_counter()
        for chunk in chunks:
            publish(*chunk)
        return (time.perf_counter() - started) / len(events)
