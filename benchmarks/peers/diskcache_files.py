"""diskcache, in threads and processes.

Its documentation joins three decorators, so that one caller computes and the others find its result: a look-up that
stores nothing, a lock that processes share, and the one that looks up and stores. The lock expires, or the death of
who holds it would lock the function for ever.
"""

from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.peers.adapter import MISSING, Adapter, Place
from diskcache import Cache, Lock, barrier

_LOCK_S = 10


class Diskcache(Adapter):
    """One cache for all."""

    offers = frozenset({"function", "manual", "tag", "processes", "bounds", "count"})

    def __init__(self, folder: str) -> None:
        self._cache: Any = Cache(f"{folder}/diskcache", tag_index=True)

    def cached(
        self, body: Callable[..., Any], *, tags: Sequence[str] = (), expires_s: float | None = None
    ) -> Callable[..., Any]:
        if tags or expires_s is not None:
            # Its decorator takes one tag for all calls.
            raise NotImplementedError
        inner = self._cache.memoize()(body)
        return self._cache.memoize(expire=0)(barrier(self._cache, Lock, expire=_LOCK_S)(inner))

    def invalidate_call(self, function: Any, *args: Any) -> None:
        self._cache.delete(function.__cache_key__(*args))

    def invalidate_tag(self, tag: str) -> None:
        self._cache.evict(tag)

    def get(self, key: str) -> Any:
        return self._cache.get(key, MISSING)

    def put(self, key: str, value: Any, *, tags: Sequence[str] = (), expires_s: float | None = None) -> None:
        if len(tags) > 1:
            raise NotImplementedError
        self._cache.set(key, value, expire=expires_s, tag=tags[0] if tags else None)

    def delete(self, key: str) -> None:
        self._cache.delete(key)

    def n_kept(self) -> int:
        return len(self._cache)

    def close(self) -> None:
        self._cache.close()


def open_peer(place: Place) -> Diskcache:
    """Open it at the place."""
    return Diskcache(place.folder)
