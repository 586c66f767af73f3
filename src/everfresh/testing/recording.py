"""RecordEvents: the events that a cache applies while a block runs."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TypeVar

from everfresh.cache.cache import Cache
from everfresh.model.event import Event
from everfresh.model.marks import override
from everfresh.protocol.applying import Applied, Apply
from everfresh.protocol.requests import Request
from everfresh.stores.store import StepListener, Store
from everfresh.stores.tables import LastRead

A = TypeVar("A")


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
        self._engine.store = _Recording(before, events.extend)
        try:
            yield events
        finally:
            self._engine.store = before


class _Recording(Store):
    """A store that tells of the events it applies."""

    def __init__(self, store: Store, tell: Callable[[list[Event]], None]) -> None:
        self._store = store
        self._tell = tell

    @property
    @override
    def is_shared(self) -> bool:
        return self._store.is_shared

    @override
    def carry_out(self, request: Request[A]) -> A:
        answer = self._store.carry_out(request)
        self._note(request, answer)
        return answer

    @override
    async def carry_out_async(self, request: Request[A]) -> A:
        answer = await self._store.carry_out_async(request)
        self._note(request, answer)
        return answer

    @override
    def version(self) -> int:
        return self._store.version()

    @override
    def ask_last_read(self, last_read: LastRead) -> None:
        self._store.ask_last_read(last_read)

    @override
    def listen(self, listener: StepListener) -> None:
        self._store.listen(listener)

    @override
    def close(self) -> None:
        self._store.close()

    def _note(self, request: object, answer: object) -> None:
        # What was refused, as the store knew more shapes, is applied again.
        if isinstance(request, Apply) and isinstance(answer, Applied) and not request.is_dry:
            self._tell([mention.event for mention in request.mentions if mention.event is not None])
