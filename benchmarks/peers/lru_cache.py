"""functools.lru_cache: the limit, with nothing but `cache_clear()` against old values."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from benchmarks.peers.adapter import Adapter, Place


class LruCache(Adapter):
    """One cache for each function."""

    offers = frozenset({"function", "bounds", "count"})

    def __init__(self) -> None:
        self._functions: list[Any] = []

    def cached(
        self, body: Callable[..., Any], *, tags: Sequence[str] = (), expires_s: float | None = None
    ) -> Callable[..., Any]:
        if tags or expires_s is not None:
            raise NotImplementedError
        self._functions.append(lru_cache(maxsize=None)(body))
        return self._functions[-1]

    def invalidate_call(self, function: Any, *args: Any) -> None:
        """It can only drop all calls at once."""
        function.cache_clear()

    def n_kept(self) -> int:
        return sum(function.cache_info().currsize for function in self._functions)

    def close(self) -> None:
        for function in self._functions:
            function.cache_clear()


def open_peer(_place: Place) -> LruCache:
    """Open it."""
    return LruCache()
