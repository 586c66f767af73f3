"""Waits: one thread waits for the streams of all shards at once.

One server is asked by one blocking read for all streams. The nodes of a Cluster refuse that, as the streams are in
several slots, though they may be on one node: there each shard has a connection that waits. What came is told early;
what it is worth, a step of that shard will say.
"""

from __future__ import annotations

import select
import selectors
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from everfresh.model.entry import FeedRecord
from everfresh.stores.redis.clients import BlockingClient, Clients
from everfresh.stores.redis.early import N_EARLY, early
from everfresh.stores.redis.failures import DRIVER_ERRORS
from everfresh.stores.redis.packets import command_of
from everfresh.stores.redis.shard import Shard

# Longer than renewals are apart, so that they are what ends a wait.
_BLOCK_MS = 20_000
_READ = ("XREAD", "BLOCK", str(_BLOCK_MS), "COUNT", str(N_EARLY), "STREAMS")


class Waits:
    """Those of one follower, for one thread; `close` may come from another."""

    def __init__(self, shards: Sequence[Shard], *, is_together: bool) -> None:
        self._selector = selectors.DefaultSelector()
        self._bell, self._ringer = socket.socketpair()
        self._selector.register(self._bell, selectors.EVENT_READ)
        groups = [list(shards)] if is_together else [[shard] for shard in shards]
        self._lines = [_Line(group, self._selector) for group in groups]

    def wait(self, until: float) -> dict[Shard, tuple[FeedRecord, ...]]:
        """What the streams of which shards brought; waits for that no longer than until then.

        Raises the driver's errors.
        """
        for line in self._lines:
            line.ask()
        found: dict[Shard, tuple[FeedRecord, ...]] = {}
        for key, _ in self._selector.select(max(0.0, until - time.monotonic())):
            heard: Callable[[], dict[Shard, tuple[FeedRecord, ...]]] | None = key.data
            if heard is not None:
                found |= heard()
        return found

    def pause(self, pause_s: float) -> None:
        """Come back when that time is over, or somebody rings."""
        select.select([self._bell], [], [], pause_s)

    def ring(self) -> None:
        """Have whoever waits come back; from any thread."""
        with suppress(OSError):
            self._ringer.send(b"x")

    def close(self) -> None:
        """Close all connections; by the thread that waits, or when none does. Repeating is safe."""
        for line in self._lines:
            line.drop()
        self._selector.close()
        self._bell.close()
        self._ringer.close()


class _Line:
    """A connection that waits for the streams of some shards."""

    def __init__(self, shards: Sequence[Shard], selector: selectors.BaseSelector) -> None:
        self._shards = {f"{shard.key[:-1]}x".encode(): shard for shard in shards}
        self._first = shards[0]
        self._selector = selector
        self._node: Clients | None = None
        self._client: BlockingClient | None = None
        self._connection: Any = None
        self._is_asked = False

    def ask(self) -> None:
        """Begin to wait, if it does not yet."""
        node = self._first.standing.place().node
        if node is not self._node:
            self.drop()
            self._client = node.another()
            self._connection = self._client.connection()
            self._selector.register(_socket_of(self._connection), selectors.EVENT_READ, self.heard)
            self._node = node
        if not self._is_asked:
            after = [shard.followed.after() for shard in self._shards.values()]
            command = command_of(_READ, [*self._shards, *after])
            self._connection.send_packed_command((command,), check_health=False)
            self._is_asked = True

    def heard(self) -> dict[Shard, tuple[FeedRecord, ...]]:
        """The shards whose streams have something, with the first of it."""
        if not self._connection.can_read(0):
            return {}
        self._is_asked = False
        found: Mapping[bytes, Sequence[Any]] = self._connection.read_response() or {}
        return {self._shards[name]: early(items) for name, items in found.items()}

    def drop(self) -> None:
        """Close it; the next to ask opens another."""
        if self._connection is not None:
            with suppress(KeyError, ValueError):
                self._selector.unregister(_socket_of(self._connection))
        client, self._client, self._connection, self._node = self._client, None, None, None
        self._is_asked = False
        if client is not None:
            with suppress(*DRIVER_ERRORS):
                client.close()


def _socket_of(connection: Any) -> Any:  # noqa: ANN401 - the driver has no other way to wait for several
    return connection._sock  # noqa: SLF001
