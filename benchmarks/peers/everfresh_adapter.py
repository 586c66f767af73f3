"""Everfresh, in both colours; the modules beside this one say on which store."""

import functools
import inspect
import sqlite3
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from typing import Any

from benchmarks.peers.adapter import MISSING, Adapter

from everfresh import Cache, Event, NotInCache, dep, track

_OFFERS = {"function", "manual", "tag", "tag_function", "many_function", "nested", "lists", "bounds", "count"}
# The event that says that what a call was built from has changed.
_CHANGED = "source.changed"


class _Everfresh(Adapter):
    """What does not depend on the colour.

    Where processes share a store on Redis, publishing waits until all of them have heard of it: that is the documented
    way to have nobody anywhere served an older value once it is back.
    """

    def __init__(self, url: str, *, is_shared: bool, is_acknowledged: bool = False) -> None:
        self.offers = frozenset({*_OFFERS, "processes"} if is_shared else _OFFERS)
        self._url = url
        self._cache = Cache(url)
        self._acknowledged = is_acknowledged

    def cached(
        self, body: Callable[..., Any], *, tags: Sequence[str] = (), expires_s: float | None = None
    ) -> Callable[..., Any]:
        if tags:
            return self._cache.cached(expires=expires_s)(_tagged(body, tags))
        where = {name: dep.arg(name) for name in inspect.signature(body).parameters}
        changed = dep.Topic(_CHANGED, where={"of": body.__qualname__, **where})
        return self._cache.cached(depends_on=[changed], expires=expires_s)(body)

    def invalidate_call(self, function: Any, *args: Any) -> Any:
        body = function.__wrapped__
        names = inspect.signature(body).parameters
        event = Event(_CHANGED, {"of": body.__qualname__, **dict(zip(names, args, strict=True))})
        return self._publisher.publish(event, acknowledged=self._acknowledged)

    def invalidate_tag(self, tag: str) -> Any:
        return self._publisher.invalidate(dep.Tag(tag), acknowledged=self._acknowledged)

    def put(self, key: str, value: Any, *, tags: Sequence[str] = (), expires_s: float | None = None) -> Any:
        return self._publisher.put(key, value, *map(dep.Tag, tags), expires=expires_s)

    def delete(self, key: str) -> Any:
        return self._publisher.delete(key)

    def call_many(self, function: Any, arguments: Sequence[Any]) -> Any:
        return function.many(arguments)

    def lists(self, load: Callable[..., Any]) -> Callable[..., Any]:
        where = {"section": dep.arg("section"), "price": dep.lt(dep.arg("limit"))}
        return self._cache.cached(depends_on=[dep.Scope("item", where)])(load)

    def item_changed(self, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> Any:
        event = Event.change("item", before=before, after=after)
        return self._publisher.publish(event, acknowledged=self._acknowledged)

    def n_kept(self) -> int:
        """All rows of all tables, all members of all of Redis' keys; of memory, all members of all tables of the store.

        The feed is left out: a log of the newest 10,000 changes, however many there were.
        """
        if self._url.startswith("sqlite:"):
            return _rows(self._url.removeprefix("sqlite:///"))
        return _members(self._url) if self._url.startswith("redis:") else _parts(self._cache.engine.store)

    @property
    def _publisher(self) -> Any:
        raise NotImplementedError


class Everfresh(_Everfresh):
    """In threads."""

    @property
    def _publisher(self) -> Any:
        return self._cache.blocking

    def get(self, key: str) -> Any:
        try:
            return self._cache.blocking.get(key)
        except NotInCache:
            return MISSING

    def close(self) -> None:
        self._cache.close()


class EverfreshAsync(_Everfresh):
    """In an event loop."""

    is_async = True

    @property
    def _publisher(self) -> Any:
        return self._cache

    async def get(self, key: str) -> Any:
        try:
            return await self._cache.get(key)
        except NotInCache:
            return MISSING

    async def close(self) -> None:
        await self._cache.aclose()


def _tagged(body: Callable[..., Any], tags: Sequence[str]) -> Callable[..., Any]:
    """A body that says by itself what it is built from, as an application's would in its first line."""
    names = list(inspect.signature(body).parameters)

    def say(args: Sequence[Any]) -> None:
        values = dict(zip(names, args, strict=True))
        track(*(dep.Tag(tag.format(**values)) for tag in tags))

    if inspect.iscoroutinefunction(body):

        @functools.wraps(body)
        async def tagged_async(*args: Any) -> Any:
            say(args)
            return await body(*args)

        return tagged_async

    @functools.wraps(body)
    def tagged(*args: Any) -> Any:
        say(args)
        return body(*args)

    return tagged


def _rows(path: str) -> int:
    with closing(sqlite3.connect(path)) as connection:
        tables = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
        counting = (f'SELECT count(*) FROM "{name}"' for (name,) in tables if name != "feed")  # noqa: S608 - its own
        return sum(connection.execute(statement).fetchone()[0] for statement in counting)


def _members(url: str) -> int:
    import redis  # noqa: PLC0415 - only where the store is there

    with redis.Redis.from_url(url) as client:
        sizes: dict[Any, Callable[[Any], Any]] = {
            b"hash": client.hlen,
            b"set": client.scard,
            b"zset": client.zcard,
            b"stream": lambda _: 0,
            b"list": client.llen,
        }
        return sum(sizes.get(client.type(key), lambda _: 1)(key) for key in client.scan_iter(count=10_000))


def _parts(store: Any) -> int:
    """All members of all containers of its tables, and of those in them."""
    n, known, left = 0, set[int](), [store._tables]  # noqa: SLF001 - to count what nobody else can see
    while left:
        part = left.pop()
        if id(part) in known:
            continue
        known.add(id(part))
        if isinstance(part, dict):
            n += len(part)
            left += part.values()
        elif isinstance(part, list | set | frozenset | deque):
            n += len(part)
            left += part
        elif type(part).__module__.startswith("everfresh.") and hasattr(part, "__dict__"):
            left += [one for name, one in vars(part).items() if name != "_feed"]
    return n
