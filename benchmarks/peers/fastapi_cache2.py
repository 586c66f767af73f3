"""fastapi-cache2 on Redis: `@cache(expire=)` around a function, as around a route.

By its documentation all that it drops before its time goes by namespace or by key, through the backend's `clear`.
There is no lock, no tag, and nothing to put by hand but through the backend, which is its own.
"""

from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.peers.adapter import Adapter, Place
from benchmarks.peers.redis_records import n_records
from fastapi_cache import FastAPICache
from fastapi_cache.backends.redis import RedisBackend
from fastapi_cache.decorator import cache
from redis import asyncio as aioredis

EXPIRE_S = 3600
_PREFIX = "fastapi-cache"


class FastapiCache(Adapter):
    """fastapi-cache2 with its Redis backend."""

    is_async = True
    offers = frozenset({"function", "processes", "count"})

    def __init__(self, url: str) -> None:
        self._url = url
        self._client = aioredis.from_url(url)
        FastAPICache.reset()
        FastAPICache.init(RedisBackend(self._client), prefix=_PREFIX)

    def cached(
        self, body: Callable[..., Any], *, tags: Sequence[str] = (), expires_s: float | None = None
    ) -> Callable[..., Any]:
        """In a namespace of its own, since its keys tell functions apart by their plain name."""
        if tags:
            raise NotImplementedError
        return cache(expire=round(expires_s or EXPIRE_S), namespace=body.__qualname__)(body)

    async def invalidate_call(self, function: Callable[..., Any], *args: Any) -> None:
        """Clear its key, as the builder of keys gives it."""
        build = FastAPICache.get_key_builder()
        key = build(function, f"{_PREFIX}:{function.__qualname__}", args=args, kwargs={})
        await FastAPICache.get_backend().clear(key=str(key))

    def n_kept(self) -> int:
        """What the database holds."""
        return n_records(self._url)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()


def open_peer(place: Place) -> FastapiCache:
    """All of one database."""
    return FastapiCache(place.redis_url)
