"""RecordEvents: the events that a cache applies while a block runs."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from everfresh.cache.cache import Cache
from everfresh.model.event import Event
from everfresh.protocol.applying import Applied, Apply
from everfresh.testing.passing import WatchedStore


class RecordEvents:
    """Records what is published: `with record_events() as events:`."""

    def __init__(self, cache: Cache) -> None:
        self._engine = cache.engine

    @contextmanager
    def __call__(self) -> Generator[list[Event]]:
        """The events that are published in this process while the block runs, in the order of the store.

        They are in the list once they are applied: those of a transaction at its good end, and never if it is rolled
        back. `invalidate` names dependencies, and is no event.
        """
        events: list[Event] = []
        before = self._engine.store
        # Events have no listeners of their own, since notices must not carry bodies: they end up in logs.
        self._engine.store = WatchedStore(before, lambda request, answer: events.extend(_events_of(request, answer)))
        try:
            yield events
        finally:
            self._engine.store = before


def _events_of(request: object, answer: object) -> list[Event]:
    # What was refused, as the store knew more shapes, is applied again.
    if isinstance(request, Apply) and isinstance(answer, Applied) and not request.is_dry:
        return [mention.event for mention in request.mentions if mention.event is not None]
    return []
