"""theine, in both colours; its decorator lets one call compute, and takes a function that names the key.

It documents no way to drop one call of a decorated function; what is used here is the cache that the decorator keeps.
"""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from benchmarks.peers.adapter import MISSING, Adapter
from benchmarks.peers.in_loop import InLoop
from theine import Cache, Memoize

_MAX = 1_000_000


class Theine(Adapter):
    """One cache for each function, and one for what is put by hand."""

    offers = frozenset({"function", "manual", "bounds", "count"})

    def __init__(self) -> None:
        self._functions: list[Any] = []
        self._kept: Any = Cache(_MAX)

    def cached(
        self, body: Callable[..., Any], *, tags: Sequence[str] = (), expires_s: float | None = None
    ) -> Callable[..., Any]:
        if tags or expires_s is not None:
            raise NotImplementedError
        function: Any = Memoize(_MAX, None)(body)
        function.key(_key)
        self._functions.append(function)
        return function

    def invalidate_call(self, function: Any, *args: Any) -> Any:
        function._cache.delete(_key(*args))  # noqa: SLF001 - see above

    def get(self, key: str) -> Any:
        found, is_there = self._kept.get(key)
        return found if is_there else MISSING

    def put(self, key: str, value: Any, *, tags: Sequence[str] = (), expires_s: float | None = None) -> Any:
        if tags:
            raise NotImplementedError
        self._kept.set(key, value, None if expires_s is None else timedelta(seconds=expires_s))

    def delete(self, key: str) -> Any:
        self._kept.delete(key)

    def n_kept(self) -> int:
        return len(self._kept) + sum(len(function._cache) for function in self._functions)  # noqa: SLF001 - see above

    def close(self) -> Any:
        self._kept.close()


class TheineAsync(InLoop, Theine):
    """The same in an event loop; only its decorator knows of one."""


def _key(*args: Any) -> Any:
    return args[0] if len(args) == 1 else args
