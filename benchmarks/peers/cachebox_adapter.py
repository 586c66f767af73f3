"""cachebox, in both colours; its decorator locks each key by itself.

A value put by hand that expires stands in a `VTTLCache`, which knows a lifetime for each and is swept every second;
what does not expire is faster in an `LRUCache`.
"""

from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.peers.adapter import MISSING, Adapter
from benchmarks.peers.in_loop import InLoop
from cachebox import LRUCache, VTTLCache, cached, make_key


class Cachebox(Adapter):
    """One cache for each function, and two for what is put by hand."""

    offers = frozenset({"function", "manual", "bounds", "count"})

    def __init__(self) -> None:
        self._functions: list[Any] = []
        self._kept: Any = LRUCache(0)
        self._timed: Any = VTTLCache(0, sweep_interval=1)

    def cached(
        self, body: Callable[..., Any], *, tags: Sequence[str] = (), expires_s: float | None = None
    ) -> Callable[..., Any]:
        if tags or expires_s is not None:
            raise NotImplementedError
        self._functions.append(cached(LRUCache(0))(body))
        return self._functions[-1]

    def invalidate_call(self, function: Any, *args: Any) -> Any:
        function.cache.pop(make_key(*args), None)

    def get(self, key: str) -> Any:
        found = self._kept.get(key, MISSING)
        return self._timed.get(key, MISSING) if found is MISSING else found

    def put(self, key: str, value: Any, *, tags: Sequence[str] = (), expires_s: float | None = None) -> Any:
        if tags:
            raise NotImplementedError
        if expires_s is None:
            self._kept[key] = value
        else:
            self._timed.insert(key, value, expires_s)

    def delete(self, key: str) -> Any:
        self._kept.pop(key, None)
        self._timed.pop(key, None)

    def n_kept(self) -> int:
        return len(self._kept) + len(self._timed) + sum(len(function.cache) for function in self._functions)

    def close(self) -> Any:
        self._kept.clear()
        self._timed.clear()


class CacheboxAsync(InLoop, Cachebox):
    """The same in an event loop; only its decorator knows of one."""
