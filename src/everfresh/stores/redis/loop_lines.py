"""LoopLine: one connection of an event loop, on which packets go out without waiting for the replies of those before.

The driver opens the connection: it knows TLS, passwords, and who the master is. From then on the bytes are read here.
Through the driver each packet takes a task, a timer, and a reader that is woken for it, fifty microseconds together;
here replies are handed out as they come in, and one timer watches the oldest packet.

Rules
- Replies come in the order of the commands, so each belongs to whoever is next.
- Where a line breaks, or a packet has no reply in time, all whose replies are still to come are told so: each may have
  been carried out, or not. Nothing is sent on that line any more.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, cast

import hiredis
from redis import exceptions
from redis.asyncio.connection import DefaultParser

from everfresh.model.marks import override

_NOTHING = object()


class Asked:
    """Commands of one who asks, and where the replies go."""

    __slots__ = ("_failed", "_replies", "commands", "n_replies", "replied")

    def __init__(self, commands: bytes, n_replies: int) -> None:
        self.commands = commands
        self.n_replies = n_replies
        self.replied: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        self._replies: list[Any] = []
        self._failed: Exception | None = None

    def take(self, reply: object) -> bool:
        """Take the next reply; whether it was the last. All are read, though the first may be an error."""
        if isinstance(reply, Exception):
            self._failed = self._failed or reply
        self._replies.append(reply)
        if len(self._replies) < self.n_replies:
            return False
        # Who was cancelled has gone.
        if self._failed is not None:
            self.fail(self._failed)
        elif not self.replied.done():
            self.replied.set_result(self._replies)
        return True

    def fail(self, error: Exception) -> None:
        """Nothing comes any more."""
        if not self.replied.done():
            self.replied.set_exception(error)


class LoopLine(asyncio.Protocol):
    """A connection of the driver, from now on read here. `on_end` is called when a packet has ended, or all have."""

    def __init__(self, connection: Any, timeout_s: float, on_end: Callable[[], None], *, is_of_master: bool) -> None:  # noqa: ANN401 - the driver's connections share no type
        self.connection = connection
        self.is_sound = True
        """Whether more can be sent."""
        self._loop = asyncio.get_running_loop()
        self._timeout_s = timeout_s
        self._on_end = on_end
        self._is_of_master = is_of_master
        # Until when there have to be all replies of a packet, and whose they are.
        self._packets: deque[tuple[float, deque[Asked]]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        error_of: Any = cast("Any", DefaultParser).parse_error
        self._parser: Any = hiredis.Reader(
            protocolError=exceptions.InvalidResponse, replyError=error_of, notEnoughData=_NOTHING
        )
        # The driver offers no other way to them.
        self._transport: Any = connection._writer.transport  # noqa: SLF001
        self._drivers: Any = self._transport.get_protocol()
        self._transport.set_protocol(self)

    @property
    def n_under_way(self) -> int:
        """How many packets are."""
        return len(self._packets)

    def send(self, some: Sequence[Asked]) -> None:
        """Send what they ask as one packet."""
        ends_at = self._loop.time() + self._timeout_s
        self._packets.append((ends_at, deque(some)))
        if self._timer is None:
            self._timer = self._loop.call_at(ends_at, self._look)
        self._transport.write(b"".join([asked.commands for asked in some]))

    def lose(self, error: Exception) -> None:
        """Close it, and tell all who still wait."""
        if not self.is_sound:
            return
        self.is_sound = False
        if self._timer is not None:
            self._timer.cancel()
        packets, self._packets = self._packets, deque()
        for _, some in packets:
            for asked in some:
                asked.fail(error)
        self._transport.abort()
        self._on_end()

    @override
    def data_received(self, data: bytes) -> None:
        n_before = len(self._packets)
        try:
            self._parser.feed(data)
            while self.is_sound and (reply := self._parser.gets()) is not _NOTHING:
                self._give(reply)
        except exceptions.RedisError as error:
            self.lose(error)
        if len(self._packets) < n_before and self.is_sound:
            self._on_end()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        error = exceptions.ConnectionError("the connection was closed" if exc is None else f"it was cut: {exc}")
        error.__cause__ = exc
        self.lose(error)
        # Whoever closes the driver's connection waits for that.
        self._drivers.connection_lost(exc)

    @override
    def pause_writing(self) -> None:
        """Few packets are under way, so it ends by itself."""

    @override
    def resume_writing(self) -> None:
        """As above."""

    def _give(self, reply: Any) -> None:  # noqa: ANN401 - as above
        if isinstance(reply, hiredis.PushNotification):
            return
        if not self._packets:
            msg = "a reply came that nobody asked for"
            raise exceptions.InvalidResponse(msg)
        if self._is_of_master and isinstance(reply, exceptions.ReadOnlyError):
            # The next connection asks the sentinels who is the master now.
            msg = "the server is no master any more"
            raise exceptions.ConnectionError(msg)
        if isinstance(reply, exceptions.ConnectionError):
            raise reply
        (_, some) = self._packets[0]
        if some[0].take(reply):
            some.popleft()
            if not some:
                self._packets.popleft()

    def _look(self) -> None:
        """See that the oldest packet is in time; it is not moved each time that one ends."""
        self._timer = None
        if not self._packets:
            return
        ends_at = self._packets[0][0]
        if self._loop.time() < ends_at:
            self._timer = self._loop.call_at(ends_at, self._look)
        else:
            self.lose(exceptions.TimeoutError("no reply in time"))
