"""Stores that pass each request on to another one: what happens on the way is theirs to say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from everfresh.model.marks import override
from everfresh.protocol.requests import Request
from everfresh.stores.store import StepListener, Store
from everfresh.stores.tables import LastRead

A = TypeVar("A")


class PassingStore(Store):
    """Passes everything on as it is."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @property
    @override
    def is_shared(self) -> bool:
        return self._store.is_shared

    @override
    def carry_out(self, request: Request[A]) -> A:
        return self._store.carry_out(request)

    @override
    async def carry_out_async(self, request: Request[A]) -> A:
        return await self._store.carry_out_async(request)

    @override
    def version(self) -> int:
        return self._store.version()

    @override
    def listen(self, listener: StepListener) -> None:
        self._store.listen(listener)

    @override
    def ask_last_read(self, last_read: LastRead) -> None:
        self._store.ask_last_read(last_read)

    @override
    def close(self) -> None:
        self._store.close()


class WatchedStore(PassingStore):
    """Tells of each request and its answer."""

    def __init__(self, store: Store, on_answer: Callable[[Request[Any], Any], None]) -> None:
        super().__init__(store)
        self._on_answer = on_answer

    @override
    def carry_out(self, request: Request[A]) -> A:
        answer = super().carry_out(request)
        self._on_answer(request, answer)
        return answer

    @override
    async def carry_out_async(self, request: Request[A]) -> A:
        answer = await super().carry_out_async(request)
        self._on_answer(request, answer)
        return answer
