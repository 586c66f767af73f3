"""aiocache on `SimpleMemoryCache`: a dict of one process.

By its documentation: `cached_stampede` locks a call against others, for `lease` seconds at most, so the lease is
longer than any body here. There are no tags; what a decorator stored is dropped by its key, from its own `.cache`.
"""

from collections.abc import Callable, Sequence
from typing import Any

from aiocache import Cache, cached_stampede
from benchmarks.peers.adapter import MISSING, Adapter, Place

LEASE_S = 10


def key_of(function: Callable[..., Any], *args: Any) -> str:
    """The key of a call: the `key_builder` of all functions here."""
    return f"{function.__module__}.{function.__qualname__}{args!r}"


class Aiocache(Adapter):
    """aiocache with one of its backends."""

    is_async = True
    offers = frozenset({"function", "manual", "many", "count"})

    def __init__(self, **backend: Any) -> None:
        self._backend = backend
        self.caches = [self._opened()]

    def _opened(self) -> Any:
        options = dict(self._backend)
        return Cache(options.pop("cache"), **options)

    def cached(
        self, body: Callable[..., Any], *, tags: Sequence[str] = (), expires_s: float | None = None
    ) -> Callable[..., Any]:
        """With its lock."""
        if tags:
            raise NotImplementedError
        made = cached_stampede(lease=LEASE_S, ttl=expires_s, key_builder=key_of, **self._backend)(body)
        self.caches.append(made.cache)
        return made

    async def invalidate_call(self, function: Callable[..., Any], *args: Any) -> None:
        """Delete its key."""
        await function.cache.delete(key_of(function, *args))  # type: ignore[attr-defined]

    async def get(self, key: str) -> Any:
        """What was put there, or MISSING."""
        return await self.caches[0].get(key, default=MISSING)

    async def put(self, key: str, value: Any, *, tags: Sequence[str] = (), expires_s: float | None = None) -> None:
        """Set it."""
        if tags:
            raise NotImplementedError
        await self.caches[0].set(key, value, ttl=expires_s)

    async def delete(self, key: str) -> None:
        """Delete it."""
        await self.caches[0].delete(key)

    async def get_many(self, keys: Sequence[str]) -> list[Any]:
        """By `multi_get`, which gives None for what is not there."""
        return [MISSING if value is None else value for value in await self.caches[0].multi_get(keys)]

    def n_kept(self) -> int:
        """All keys of its dicts."""
        return sum(len(cache._cache) for cache in self.caches)  # noqa: SLF001 - it counts nowhere else

    async def close(self) -> None:
        """Close its connections, where it has any."""
        for cache in self.caches:
            await cache.close()


def open_peer(place: Place) -> Aiocache:  # noqa: ARG001 - it shares nothing
    """A cache of its own for each function, and one for values put by hand."""
    return Aiocache(cache=Cache.MEMORY)
