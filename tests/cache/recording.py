"""What the store of a cache is asked, seen from outside: a store in front of the store."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from everfresh import Cache
from everfresh.protocol.requests import Request

A = TypeVar("A")
Q = TypeVar("Q", bound=Request[Any])


class Recorded:
    """The requests, in order."""

    def __init__(self) -> None:
        self.all: list[Request[Any]] = []

    def of(self, kind: type[Q]) -> list[Q]:
        """Those of one kind."""
        return [request for request in self.all if isinstance(request, kind)]

    def clear(self) -> None:
        """Forget them."""
        self.all.clear()


class _Recorder:
    """Hands everything on to a store, and notes requests."""

    def __init__(self, store: Any, recorded: Recorded) -> None:  # noqa: ANN401 - a store, with what each kind has besides
        self._store = store
        self._recorded = recorded

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - as above
        return getattr(self._store, name)

    def carry_out(self, request: Request[A]) -> A:
        self._recorded.all.append(request)
        return self._store.carry_out(request)

    async def carry_out_async(self, request: Request[A]) -> A:
        self._recorded.all.append(request)
        return await self._store.carry_out_async(request)


@contextmanager
def recording(cache: Cache) -> Iterator[Recorded]:
    """Note what the functions of the cache ask its store while the block runs."""
    recorded = Recorded()
    store = cache.engine.store
    cache.engine.store = _Recorder(store, recorded)  # type: ignore[assignment]  # it hands on whatever is asked
    try:
        yield recorded
    finally:
        cache.engine.store = store
