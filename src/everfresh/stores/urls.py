"""Store URLs: `memory:`, `sqlite:///relative/path`, `sqlite:////absolute/path`, and those of Redis."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

from everfresh.model.clock import Clock, wall_clock
from everfresh.model.errors import StoreUrlInvalid
from everfresh.stores.memory import MemoryStore
from everfresh.stores.sqlite import SqliteStore
from everfresh.stores.store import Store
from everfresh.stores.tables import NO_ROOM_LIMIT, Room

_KNOWN = "Use 'memory:', 'sqlite:///cache.db', 'sqlite:////var/lib/app/cache.db' or 'redis://host:6379/0'."
_OF_REDIS = frozenset(
    {"redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster"}
)


def open_store(url: object, *, clock: Clock = wall_clock, room: Room = NO_ROOM_LIMIT) -> Store:
    """The store that the URL names, holding no more than there is room for.

    Raises:
        StoreUrlInvalid: it names none.
        StoreUnavailable: it cannot be opened or written.
        StoreForeign: the file is not an Everfresh store.
    """
    if not isinstance(url, str):
        msg = f"store URL: {type(url).__name__} is none. {_KNOWN}"
        raise StoreUrlInvalid(msg)
    if url == "memory:":
        return MemoryStore(clock=clock, room=room)
    scheme, _, rest = url.partition(":")
    if scheme == "sqlite":
        return SqliteStore(_sqlite_path(rest), clock=clock, room=room)
    if scheme in _OF_REDIS:
        return _redis_store(url, clock, room)
    # Nothing after the scheme is shown: it may hold a password.
    msg = f"store URL {scheme[:20]!r}...: there is no store of this kind. {_KNOWN}"
    raise StoreUrlInvalid(msg)


def _sqlite_path(rest: str) -> Path:
    path = unquote(rest.removeprefix("///"))
    if not rest.startswith("///") or not path.strip("/") or "\0" in path or "?" in rest or "#" in rest:
        msg = f"store URL 'sqlite:'...: three slashes and a path are needed, or four for an absolute one. {_KNOWN}"
        raise StoreUrlInvalid(msg)
    return Path(path)


def _redis_store(url: str, clock: Clock, room: Room) -> Store:
    try:
        # Who has no Redis needs no driver for it.
        from everfresh.stores.redis import RedisStore, ShardedStore, address_of  # noqa: PLC0415
    except ModuleNotFoundError as error:
        if error.name not in {"redis", "hiredis"}:
            raise
        msg = "store URL: the driver for Redis is not installed. Install it: pip install 'everfresh[redis]'"
        raise StoreUrlInvalid(msg) from error
    # The machines of one store need not agree on the time: the server's counts, but for tests.
    of_server = None if clock is wall_clock else clock
    address = address_of(url)
    if address.shards > 1:
        return ShardedStore(address, clock=of_server, room=room)
    return RedisStore(address, clock=of_server, room=room)
