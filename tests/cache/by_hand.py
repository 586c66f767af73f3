"""The operations of a cache in either colour, called alike."""
# ruff: noqa: ANN401 - values of any type are what is tested

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from everfresh import Cache


class ByHand:
    """Each operation as a coroutine, whatever the colour."""

    def __init__(self, cache: Cache, *, is_async: bool) -> None:
        self.cache = cache
        self.is_async = is_async
        self._target: Any = cache if is_async else cache.blocking

    def __getattr__(self, name: str) -> Callable[..., Coroutine[Any, Any, Any]]:
        operation = getattr(self._target, name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            result = operation(*args, **kwargs)
            return await result if asyncio.iscoroutine(result) else result

        return call

    @asynccontextmanager
    async def block(self) -> AsyncIterator[Any]:
        """A transaction."""
        if self.is_async:
            async with self.cache.transaction() as block:
                yield block
        else:
            with self.cache.blocking.transaction() as blocking_block:
                yield blocking_block
