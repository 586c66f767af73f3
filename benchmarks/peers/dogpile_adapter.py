"""dogpile.cache, in threads; the modules beside this one say on which backend.

A region has one lifetime for all that is in it, so what is put with another one stands in a region of its own, as the
documentation has it.
"""

from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.peers.adapter import MISSING, Adapter
from dogpile.cache import make_region
from dogpile.cache.api import NO_VALUE


class Dogpile(Adapter):
    """Regions of one backend."""

    offers = frozenset({"function", "manual", "many", "count"})

    def __init__(self, configure: Callable[[Any, float | None], Any]) -> None:
        self._configure = configure
        self._region = configure(make_region(), None)
        self._timed: dict[float, Any] = {}

    def cached(
        self, body: Callable[..., Any], *, tags: Sequence[str] = (), expires_s: float | None = None
    ) -> Callable[..., Any]:
        if tags or expires_s is not None:
            raise NotImplementedError
        return self._region.cache_on_arguments()(body)

    def invalidate_call(self, function: Any, *args: Any) -> None:
        function.invalidate(*args)

    def get(self, key: str) -> Any:
        found = self._region.get(key)
        if found is NO_VALUE:
            rest = (region.get(key) for region in self._timed.values())
            found = next((one for one in rest if one is not NO_VALUE), NO_VALUE)
        return MISSING if found is NO_VALUE else found

    def put(self, key: str, value: Any, *, tags: Sequence[str] = (), expires_s: float | None = None) -> None:
        if tags:
            raise NotImplementedError
        if expires_s is None:
            self._region.set(key, value)
            return
        if expires_s not in self._timed:
            self._timed[expires_s] = self._configure(make_region(), expires_s)
        self._timed[expires_s].set(key, value)

    def delete(self, key: str) -> None:
        for region in (self._region, *self._timed.values()):
            region.delete(key)

    def get_many(self, keys: Sequence[str]) -> list[Any]:
        return [MISSING if found is NO_VALUE else found for found in self._region.get_multi(keys)]

    def close(self) -> None:
        """It has nothing to close."""
