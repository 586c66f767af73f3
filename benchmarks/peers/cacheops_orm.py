"""django-cacheops: functions that are cached like a queryset, and dropped when a row of it is saved or deleted.

By its documentation: `@cached_as(queryset)` as a local function, so that only what the arguments select invalidates
it; `lock=True` against stampedes; `keep_fresh=True`, which does not store what was invalidated while it was computed;
and `CACHEOPS_INSIDEOUT`, whose index does not grow. A call depends on a fact with its name, a tag is a fact with the
tag's name, and both are invalidated by saving that fact. Locks are held for 60 s at most, which is no option.
"""

import inspect
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

from benchmarks.peers.adapter import MISSING, Place
from benchmarks.peers.django_project import (
    APP,
    DjangoAdapter,
    check_once,
    items_of,
    model,
    name_of,
    open_project,
    save_fact,
)
from benchmarks.peers.redis_records import n_records

TIMEOUT_S = 3600
# Who waits for a lock waits in Redis, for a minute at most; the client's own patience is shorter unless it is told.
_WAITS = {"socket_timeout": 90}


class Cacheops(DjangoAdapter):
    """django-cacheops on its Redis."""

    offers = frozenset({"function", "manual", "tag_function", "lists", "processes", "count"})

    def __init__(self, url: str, *, is_locked: bool) -> None:
        # It reads the settings when it is imported.
        import cacheops  # noqa: PLC0415
        from cacheops.redis import redis_client  # noqa: PLC0415

        # Its client is made when it is first used, and two threads that do so at once get one that is closed.
        redis_client.ping()
        self._url = url
        self._library: Any = cacheops
        self._options = {"lock": is_locked, "keep_fresh": is_locked}

    def cached(
        self, body: Callable[..., Any], *, tags: Sequence[str] = (), expires_s: float | None = None
    ) -> Callable[..., Any]:
        """As the facts of the call and of its tags."""
        parameters = tuple(inspect.signature(body).parameters)
        timeout_s = round(expires_s or TIMEOUT_S)
        facts = model("Fact").objects

        def function(*args: Any) -> Any:
            filled = dict(zip(parameters, args, strict=True))
            names = [name_of(function, args), *(tag.format(**filled) for tag in tags)]
            samples = [facts.filter(name=name) for name in names]
            return self._library.cached_as(*samples, timeout=timeout_s, extra=name_of(body, ()), **self._options)(body)(
                *args
            )

        function.__qualname__ = body.__qualname__
        return function

    def invalidate_call(self, function: Callable[..., Any], *args: Any) -> None:
        """Save the fact of the call."""
        save_fact(name_of(function, args))

    def invalidate_tag(self, tag: str) -> None:
        """Save the fact of that name."""
        save_fact(tag)

    def get(self, key: str) -> Any:
        """What was put there, or MISSING."""
        try:
            return self._library.cache.get(key)
        except self._library.CacheMiss:
            return MISSING

    def put(self, key: str, value: Any, *, tags: Sequence[str] = (), expires_s: float | None = None) -> None:
        """Set it in what the documentation calls the simple cache."""
        if tags:
            raise NotImplementedError
        self._library.cache.set(key, value, timeout=None if expires_s is None else round(expires_s))

    def delete(self, key: str) -> None:
        """Delete it."""
        self._library.cache.delete(key)

    def lists(self, load: Callable[..., Any]) -> Callable[..., Any]:
        """As the queryset of the list; by its documentation only the equality makes it finer."""

        def listed(section: str, limit: int) -> Any:
            sample = items_of(section, limit)
            return self._library.cached_as(sample, **self._options)(load)(section, limit)

        return listed

    def n_kept(self) -> int:
        """What the database holds."""
        return n_records(self._url)


def open_peer(place: Place, *, is_locked: bool = True) -> Cacheops:
    """All of one database of Redis, and one of SQLite."""
    check_once()
    parts = urlsplit(place.redis_url)
    open_project(
        place,
        "cacheops",
        CACHEOPS_REDIS={"host": parts.hostname, "port": parts.port, "db": int(parts.path.strip("/") or 0), **_WAITS},
        CACHEOPS_INSIDEOUT=True,
        CACHEOPS={f"{APP}.*": {"ops": (), "timeout": TIMEOUT_S}},
    )
    return Cacheops(place.redis_url, is_locked=is_locked)
