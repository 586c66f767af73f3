"""Store URLs: `memory:`, `sqlite:///relative/path`, `sqlite:////absolute/path`."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from everfresh.model.clock import Clock, wall_clock
from everfresh.model.errors import StoreUrlInvalid
from everfresh.stores.memory import MemoryStore
from everfresh.stores.sqlite import SqliteStore
from everfresh.stores.store import Store

_KNOWN = "Use 'memory:', 'sqlite:///cache.db' or 'sqlite:////var/lib/app/cache.db'."


def open_store(url: str, *, clock: Clock = wall_clock) -> Store:
    """The store that the URL names.

    Raises:
        StoreUrlInvalid: it names none.
        StoreUnavailable: it cannot be opened or written.
        StoreForeign: the file is not an Everfresh store.
    """
    parts = urlsplit(url)
    if url == "memory:":
        return MemoryStore(clock=clock)
    if parts.scheme == "sqlite":
        return SqliteStore(_sqlite_path(url), clock=clock)
    msg = f"store URL {_without_password(url)!r}: there is no store of this kind. {_KNOWN}"
    raise StoreUrlInvalid(msg)


def _sqlite_path(url: str) -> Path:
    parts = urlsplit(url)
    path = unquote(parts.path)
    if parts.netloc or not path.startswith("/") or path == "/" or parts.query or parts.fragment:
        msg = f"store URL {url!r}: three slashes and a path are needed, or four for an absolute one. {_KNOWN}"
        raise StoreUrlInvalid(msg)
    return Path(path[1:])


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    if "@" not in parts.netloc:
        return url
    return url.replace(parts.netloc.rpartition("@")[0], "***")
