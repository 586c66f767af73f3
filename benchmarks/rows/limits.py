"""Limits: what a store's bare bones take. A dict, a SQLite table, a socket to Redis; no expiry, no promise, no checks.

Each has the same four methods, and coroutine functions of the same names for awaiters. They need the standard library
alone, so that they can be measured in the process of any peer.
"""

import asyncio
import socket
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit


class DictLimit:
    """A dict, and for each tag the keys that have it."""

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}
        self._keys_of: defaultdict[str, set[str]] = defaultdict(set)
        self.read = self._values.get

    def read_many(self, keys: Sequence[str]) -> list[Any]:
        """The value of each key."""
        get = self._values.get
        return [get(key) for key in keys]

    def write(self, key: str, value: Any, tags: Sequence[str] = ()) -> None:
        """Keep a value."""
        self._values[key] = value
        for tag in tags:
            self._keys_of[tag].add(key)

    def drop(self, tag: str) -> None:
        """Remove all that has the tag."""
        for key in self._keys_of.pop(tag, ()):
            self._values.pop(key, None)

    def close(self) -> None:
        """There is nothing to close."""


class FileLimit:
    """One table of a SQLite file, and one more for tags; with a log, committed at each write."""

    def __init__(self, folder: str) -> None:
        self._connection = sqlite3.connect(Path(folder) / "limit.db", isolation_level=None)
        self._connection.executescript(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;"
            "CREATE TABLE kept (key TEXT PRIMARY KEY, value) WITHOUT ROWID;"
            "CREATE TABLE tagged (tag TEXT, key TEXT, PRIMARY KEY (tag, key)) WITHOUT ROWID;"
        )

    def read(self, key: str) -> Any:
        """The value of a key."""
        return self._connection.execute("SELECT value FROM kept WHERE key = ?", (key,)).fetchone()[0]

    def read_many(self, keys: Sequence[str]) -> dict[str, Any]:
        """The value of each key."""
        marks = ", ".join("?" * len(keys))
        return dict(self._connection.execute(f"SELECT key, value FROM kept WHERE key IN ({marks})", keys))  # noqa: S608 - question marks

    def write(self, key: str, value: Any, tags: Sequence[str] = ()) -> None:
        """Keep a value."""
        connection = self._connection
        if not tags:
            connection.execute("INSERT OR REPLACE INTO kept VALUES (?, ?)", (key, value))
            return
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT OR REPLACE INTO kept VALUES (?, ?)", (key, value))
        connection.executemany("INSERT OR IGNORE INTO tagged VALUES (?, ?)", [(tag, key) for tag in tags])
        connection.execute("COMMIT")

    def drop(self, tag: str) -> None:
        """Remove all that has the tag."""
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.execute("DELETE FROM kept WHERE key IN (SELECT key FROM tagged WHERE tag = ?)", (tag,))
        self._connection.execute("DELETE FROM tagged WHERE tag = ?", (tag,))
        self._connection.execute("COMMIT")

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


class RedisLimit:
    """A socket to Redis that says GET, MGET, SET, SADD and UNLINK, and reads what is answered."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._socket = socket.create_connection((parts.hostname or "127.0.0.1", parts.port or 6379))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._file = self._socket.makefile("rb")
        if parts.path.strip("/"):
            self.ask(("SELECT", parts.path.strip("/")))

    def ask(self, *commands: Sequence[Any]) -> list[Any]:
        """Send all commands in one packet, and give their replies."""
        self._socket.sendall(b"".join(map(packed, commands)))
        return [self._reply() for _ in commands]

    def _reply(self) -> Any:
        line = self._file.readline()
        kind, rest = line[:1], line[1:-2]
        if kind == b"$":
            n = int(rest)
            return None if n < 0 else self._file.read(n + 2)[:-2]
        if kind == b"*":
            return [self._reply() for _ in range(int(rest))]
        return plain_reply(kind, rest)

    def read(self, key: str) -> Any:
        """The value of a key."""
        return self.ask(("GET", key))[0]

    def read_many(self, keys: Sequence[str]) -> Any:
        """The value of each key."""
        return self.ask(("MGET", *keys))[0]

    def write(self, key: str, value: str, tags: Sequence[str] = ()) -> None:
        """Keep a value."""
        self.ask(("SET", key, value), *(("SADD", tag, key) for tag in tags))

    def drop(self, tag: str) -> None:
        """Remove all that has the tag."""
        (keys,) = self.ask(("SMEMBERS", tag))
        self.ask(("UNLINK", tag, *keys))

    def close(self) -> None:
        """Close the socket."""
        self._file.close()
        self._socket.close()


class AsyncRedisLimit:
    """The same by asyncio's own streams."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._place = (parts.hostname or "127.0.0.1", parts.port or 6379, parts.path.strip("/"))
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter

    async def connect(self) -> None:
        """Once, in the loop that will ask."""
        host, port, database = self._place
        self._reader, self._writer = await asyncio.open_connection(host, port, limit=2**22)
        if database:
            await self.ask(("SELECT", database))

    async def ask(self, *commands: Sequence[Any]) -> list[Any]:
        """Send all commands in one packet, and give their replies."""
        self._writer.write(b"".join(map(packed, commands)))
        return [await self._reply() for _ in commands]

    async def _reply(self) -> Any:
        line = await self._reader.readline()
        kind, rest = line[:1], line[1:-2]
        if kind == b"$":
            n = int(rest)
            return None if n < 0 else (await self._reader.readexactly(n + 2))[:-2]
        if kind == b"*":
            return [await self._reply() for _ in range(int(rest))]
        return plain_reply(kind, rest)

    async def read(self, key: str) -> Any:
        """The value of a key."""
        return (await self.ask(("GET", key)))[0]

    async def read_many(self, keys: Sequence[str]) -> Any:
        """The value of each key."""
        return (await self.ask(("MGET", *keys)))[0]

    async def write(self, key: str, value: str, tags: Sequence[str] = ()) -> None:
        """Keep a value."""
        await self.ask(("SET", key, value), *(("SADD", tag, key) for tag in tags))

    async def drop(self, tag: str) -> None:
        """Remove all that has the tag."""
        (keys,) = await self.ask(("SMEMBERS", tag))
        await self.ask(("UNLINK", tag, *keys))

    async def close(self) -> None:
        """Close the socket."""
        self._writer.close()
        await self._writer.wait_closed()


class Awaited:
    """Another limit, for awaiters: each call is one bare await."""

    def __init__(self, limit: DictLimit | FileLimit) -> None:
        self.read = _awaited(limit.read)
        self.read_many = _awaited(limit.read_many)
        self.write = _awaited(limit.write)
        self.drop = _awaited(limit.drop)
        self.close = _awaited(limit.close)


def packed(command: Sequence[Any]) -> bytes:
    """A command as Redis reads it."""
    words = [word if isinstance(word, bytes) else str(word).encode() for word in command]
    return b"".join([b"*%d\r\n" % len(words), *(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)])


def plain_reply(kind: bytes, rest: bytes) -> int | bytes:
    """A reply of one line. Raises OSError for an error."""
    if kind == b":":
        return int(rest)
    if kind == b"+":
        return rest
    raise OSError(f"Redis said {(kind + rest)!r}")


def _awaited(function: Callable[..., Any]) -> Callable[..., Any]:
    async def call(*args: Any) -> Any:
        return function(*args)

    return call
