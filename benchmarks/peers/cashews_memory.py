"""cashews on `mem://`: an LRU dict of one process, with tags.

By its documentation: `@cache(ttl=, key=, tags=)` with `@cache.locked(ttl=)` around it against stampedes. `lock=True`
would do the same, but holds a killed builder's lock for as long as the value may live. Tags are dropped by
`delete_tags`, keys by `delete`. The dict holds 1,000 values by default; here as many as any benchmark puts.
"""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.peers.adapter import MISSING, Adapter, Place
from cashews import Cache

TTL_S = 3600
LOCK_S = 10
# How often a waiter looks whether the lock is free: by default it asks without a pause.
LOOKS_EVERY_S = 0.02


class Cashews(Adapter):
    """cashews with one of its backends."""

    is_async = True
    offers = frozenset({"function", "manual", "tag", "tag_function", "many", "bounds", "count"})

    def __init__(self, url: str, *, is_locked: bool = True, **options: Any) -> None:
        self.cache: Any = Cache()
        self.backend = self.cache.setup(url, **options)
        self._is_locked = is_locked
        self._templates: dict[str, str] = {}
        self._registered: set[str] = set()

    async def begin(self) -> None:
        """Connect."""
        await self.cache.init()

    def cached(
        self, body: Callable[..., Any], *, tags: Sequence[str] = (), expires_s: float | None = None
    ) -> Callable[..., Any]:
        """Locked around cached, both under one template of the key."""
        name = f"{body.__module__}.{body.__qualname__}"
        template = ":".join([name, *(f"{{{parameter}}}" for parameter in inspect.signature(body).parameters)])
        made = self.cache(ttl=expires_s or TTL_S, key=template, tags=tuple(tags))(body)
        if self._is_locked:
            made = self.cache.locked(ttl=LOCK_S, key=template, check_interval=LOOKS_EVERY_S)(made)
        self._templates[name] = template
        return made

    async def invalidate_call(self, function: Callable[..., Any], *args: Any) -> None:
        """Delete its key."""
        template = self._templates[f"{function.__module__}.{function.__qualname__}"]
        parameters = inspect.signature(function).parameters
        await self.cache.delete(template.format(**dict(zip(parameters, args, strict=True))))

    async def invalidate_tag(self, tag: str) -> None:
        """Delete all that has it."""
        await self.cache.delete_tags(tag)

    async def get(self, key: str) -> Any:
        """What was put there, or MISSING."""
        return await self.cache.get(key, default=MISSING)

    async def put(self, key: str, value: Any, *, tags: Sequence[str] = (), expires_s: float | None = None) -> None:
        """Set it; a tag is registered for the keys that are like its first one up to their last part."""
        for tag in tags:
            if tag not in self._registered:
                self._registered.add(tag)
                self.cache.register_tag(tag, f"{key.rpartition(':')[0]}:{{last}}" if ":" in key else "{last}")
        await self.cache.set(key, value, expire=expires_s, tags=tuple(tags))

    async def delete(self, key: str) -> None:
        """Delete it."""
        await self.cache.delete(key)

    async def get_many(self, keys: Sequence[str]) -> list[Any]:
        """By `get_many`."""
        return list(await self.cache.get_many(*keys, default=MISSING))

    def n_kept(self) -> int:
        """All keys of its dict, and what stands in the sets of its tags."""
        held = self.backend.store.values()
        return sum(len(value) if isinstance(value, set) else 1 for _, value in list(held))

    async def close(self) -> None:
        """Close its connections, and end its tasks."""
        await self.cache.close()


def open_peer(place: Place, *, is_locked: bool = True) -> Cashews:  # noqa: ARG001 - it shares nothing
    """A cache that forgets nothing for want of room."""
    return Cashews("mem://", is_locked=is_locked, size=1_000_000)
