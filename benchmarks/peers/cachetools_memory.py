"""cachetools, in threads: its caches are dicts that forget, and its decorator locks them.

With `condition` the decorator lets one thread call the function and the others wait for it. A value put by hand that
expires stands in a `TLRUCache`, which knows a lifetime for each; what does not expire is faster in an `LRUCache`.
"""

import threading
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.peers.adapter import MISSING, Adapter, Place
from cachetools import LRUCache, TLRUCache, cached

_MAX = 10_000_000


class Cachetools(Adapter):
    """One cache for each function, and two for what is put by hand."""

    offers = frozenset({"function", "manual", "bounds", "count"})

    def __init__(self) -> None:
        self._functions: list[Any] = []
        self._lock = threading.Lock()
        self._kept: LRUCache[str, Any] = LRUCache(_MAX)
        self._timed: TLRUCache[str, Any] = TLRUCache(_MAX, lambda _key, pair, now: now + pair[1])

    def cached(
        self, body: Callable[..., Any], *, tags: Sequence[str] = (), expires_s: float | None = None
    ) -> Callable[..., Any]:
        if tags or expires_s is not None:
            raise NotImplementedError
        self._functions.append(cached(LRUCache(_MAX), condition=threading.Condition())(body))
        return self._functions[-1]

    def invalidate_call(self, function: Any, *args: Any) -> None:
        with function.cache_lock:
            function.cache.pop(function.cache_key(*args), None)

    def get(self, key: str) -> Any:
        with self._lock:
            found = self._kept.get(key, MISSING)
            return self._timed.get(key, (found,))[0] if found is MISSING else found

    def put(self, key: str, value: Any, *, tags: Sequence[str] = (), expires_s: float | None = None) -> None:
        if tags:
            raise NotImplementedError
        with self._lock:
            if expires_s is None:
                self._kept[key] = value
            else:
                self._timed[key] = value, expires_s

    def delete(self, key: str) -> None:
        with self._lock:
            self._kept.pop(key, None)
            self._timed.pop(key, None)

    def n_kept(self) -> int:
        with self._lock:
            return len(self._kept) + len(self._timed) + sum(len(function.cache) for function in self._functions)

    def close(self) -> None:
        self._kept.clear()
        self._timed.clear()


def open_peer(_place: Place) -> Cachetools:
    """Open it."""
    return Cachetools()
