"""A step of the store that stands still until the test lets it go: a store in front of the store."""
# ruff: noqa: ANN401 - a store, with what each kind has besides

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from everfresh import Cache
from everfresh.protocol.requests import Request

DEADLINE_S = 20.0


class Halt:
    """Where one step of asynchronous code stands still: the `n`th of its kind, from 1."""

    def __init__(self, kind: type[Request[Any]], n: int) -> None:
        self._kind = kind
        self._n_left = n
        self._reached = asyncio.Event()
        self._is_free = asyncio.Event()
        self._error: Exception | None = None

    async def reached(self) -> None:
        """Said in the test: the step is under way, and has done nothing yet."""
        async with asyncio.timeout(DEADLINE_S):
            await self._reached.wait()

    def let_go(self, error: Exception | None = None) -> None:
        """The step goes on, and is done, or fails with the error and does nothing."""
        self._error = error
        self._is_free.set()

    async def pass_by(self, request: Request[Any]) -> None:
        """Said by the store: here comes a step."""
        if isinstance(request, self._kind):
            self._n_left -= 1
            if self._n_left == 0:
                self._reached.set()
                await self._is_free.wait()
                if self._error is not None:
                    raise self._error


class _Halting:
    """Hands everything on to a store; some of it later."""

    def __init__(self, store: Any, halt: Halt) -> None:
        self._store = store
        self._halt = halt

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def carry_out_async(self, request: Request[Any]) -> Any:
        await self._halt.pass_by(request)
        return await self._store.carry_out_async(request)


@contextmanager
def halting(cache: Cache, kind: type[Request[Any]], n: int = 1) -> Iterator[Halt]:
    """Have the `n`th such step of the cache stand still while the block runs."""
    halt, store = Halt(kind, n), cache.engine.store
    cache.engine.store = _Halting(store, halt)  # type: ignore[assignment]  # it hands on whatever is asked
    try:
        yield halt
    finally:
        cache.engine.store = store
