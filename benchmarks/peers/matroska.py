"""matroska-cache on Redis: values put by hand, with the names of what they depend on.

By its documentation: `put(key, data, *dependencies, expires=)` and `invalidate(*dependencies)`. Lists are described
once by `Scopes`; saving an object calls `invalidate_for`, which finds the lists it is in now, and invalidates its
`Id`, which finds those that held it. There is no decorator and no lock.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks.peers.adapter import MISSING, Adapter, Place
from benchmarks.peers.redis_records import n_records
from matroska_cache import MatroskaCache, NotInCache, dep
from matroska_cache.backends.redis import RedisBackend
from redis import Redis

EXPIRES_S = 3600
_ITEM = "item"


def _section_of(item: Mapping[str, Any], **_: Any) -> dict[str, Any]:
    return {"section": item["section"]}


class Matroska(Adapter):
    """matroska-cache with its one backend."""

    offers = frozenset({"manual", "tag", "lists", "processes", "count"})

    def __init__(self, url: str) -> None:
        self._url = url
        self._client = Redis.from_url(url, decode_responses=True)
        self._cache = MatroskaCache(RedisBackend(self._client, prefix="cache"))
        self._scopes = dep.Scopes(_ITEM, production_mode=False)
        self._scopes.describes("section", watch_modified=("section", "price"))(_section_of)

    def get(self, key: str) -> Any:
        """What was put there, or MISSING."""
        try:
            return self._cache.get(key)
        except NotInCache:
            return MISSING

    def put(self, key: str, value: Any, *, tags: Sequence[str] = (), expires_s: float | None = None) -> None:
        """Put it; it asks for whole seconds."""
        self._cache.put(key, value, *map(dep.Tag, tags), expires=round(expires_s or EXPIRES_S))

    def delete(self, key: str) -> None:
        """Delete it."""
        self._cache.delete(key)

    def invalidate_tag(self, tag: str) -> None:
        """Invalidate what depends on it."""
        self._cache.invalidate(dep.Tag(tag))

    def lists(self, load: Callable[..., Any]) -> Callable[..., Any]:
        """Put with the scope of the section, since scopes know equality only, and with the id of each item in it."""

        def listed(section: str, limit: int) -> Any:
            key = f"{load.__qualname__}:{section}:{limit}"
            found = self.get(key)
            if found is MISSING:
                found = load(section, limit)
                rows = [dep.Id(_ITEM, row) for row in found]
                self._cache.put(key, found, *rows, *self._scopes.condition(section=section), expires=EXPIRES_S)
            return found

        return listed

    def item_changed(self, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> None:
        """As after saving or deleting an object."""
        item = after or before or {}
        self._cache.invalidate(dep.Id(_ITEM, item["id"]))
        modified = {name for name in item if before[name] != after[name]} if before and after else None
        self._scopes.invalidate_for(item, self._cache, modified)

    def n_kept(self) -> int:
        """What the database holds."""
        return n_records(self._url)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def open_peer(place: Place) -> Matroska:
    """All of one database."""
    return Matroska(place.redis_url)
