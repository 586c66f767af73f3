"""Packets: what the tasks of one event loop ask at the same time travels together.

A command by itself costs the driver seventy microseconds, and the system a write and a read; sixteen in one packet cost
little more than one. Who asks while nobody else does is not kept waiting: that command goes at once.

Rules
- A reply belongs to whoever asked, an error among the replies too.
- Where a connection breaks, all whose replies are still to come are told so: each may have been carried out, or not.
- Nobody's cancellation cuts off the others: the reply of one who has gone is read and let go.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from functools import lru_cache
from math import inf
from typing import Any

from redis import exceptions

from everfresh.stores.redis.identity import ANY, Identity

# More in one packet spare little, and the first would wait for the last.
MAX_COMMANDS = 16
# The server carries out one at a time; a few keep it busy while replies are read.
MAX_PACKETS = 4


class _Asked:
    """Commands of one who asks, and where the replies go."""

    __slots__ = ("commands", "n_replies", "replied")

    def __init__(self, commands: bytes, n_replies: int) -> None:
        self.commands = commands
        self.n_replies = n_replies
        self.replied: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()


class Packets:
    """All packets of a client of the driver; `timeout_s` is how long one may take."""

    def __init__(self, client: Any, timeout_s: float, identity: Identity = ANY) -> None:  # noqa: ANN401 - the driver's clients share no type
        self._pool: Any = client.connection_pool
        self._identity = identity
        self._timeout_s = timeout_s
        # Taken out of the driver's pool, and kept: to put one back and take it out again costs as much as a command.
        self._idle: list[Any] = []
        self._waiting: deque[_Asked] = deque()
        self._n_under_way = 0
        # The loop itself holds none of them.
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_called = False

    async def ask(self, commands: bytes, n_replies: int = 1) -> list[Any]:
        """The replies to the commands. Raises the driver's errors."""
        asked = _Asked(commands, n_replies)
        if self._n_under_way or self._waiting:
            self._waiting.append(asked)
            self._call()
        else:
            self._n_under_way += 1
            await self._carry([asked])
        return await asked.replied

    def _call(self) -> None:
        """Send off what waits, once whoever runs in this turn of the loop has asked too."""
        if not self._is_called and self._n_under_way < MAX_PACKETS:
            self._is_called = True
            asyncio.get_running_loop().call_soon(self._send_off)

    def _send_off(self) -> None:
        self._is_called = False
        while self._n_under_way < MAX_PACKETS and (some := self._next()):
            self._n_under_way += 1
            task = asyncio.get_running_loop().create_task(self._carry(some))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _next(self) -> list[_Asked]:
        """Those who come next; not those who have gone, as all have when the loop ends."""
        some: list[_Asked] = []
        while self._waiting and len(some) < MAX_COMMANDS:
            asked = self._waiting.popleft()
            if not asked.replied.done():
                some.append(asked)
        return some

    async def _carry(self, some: Sequence[_Asked]) -> None:
        """Carry them there and back. It is counted as under way by whoever calls this."""
        try:
            await self._carry_out(some)
        except Exception as error:  # noqa: BLE001 - everybody in the packet is told
            for asked in some:
                if not asked.replied.done():
                    asked.replied.set_exception(error)
        finally:
            for asked in some:
                # The loop ends, or whoever carries it was cancelled.
                asked.replied.cancel()
            self._n_under_way -= 1
            if self._waiting:
                self._call()

    async def _carry_out(self, some: Sequence[_Asked]) -> None:
        connection = self._idle.pop() if self._idle else await self._opened()
        try:
            async with asyncio.timeout(self._timeout_s):
                if self._identity.is_of_another(connection):
                    await connection.disconnect(nowait=True)
                    await connection.connect()
                await connection.send_packed_command(
                    (b"".join([asked.commands for asked in some]),), check_health=False
                )
                for asked in some:
                    await _read(connection, asked)
        except TimeoutError as error:
            await self._drop(connection)
            msg = "no reply in time"
            raise exceptions.TimeoutError(msg) from error
        except BaseException:
            # What is left of the replies would be taken for the next command's.
            await self._drop(connection)
            raise
        self._idle.append(connection)

    async def _opened(self) -> Any:  # noqa: ANN401 - as above
        connection = await self._pool.get_connection()
        # The packet's timeout holds for all of it. The driver's own take a task for each packet, and a timer for each
        # reply, which costs as much as the command.
        connection.socket_timeout = None
        return connection

    async def forget_idle(self) -> None:
        """Close the connections that nobody uses."""
        while self._idle:
            await self._drop(self._idle.pop())

    async def _drop(self, connection: Any) -> None:  # noqa: ANN401 - as above
        connection.socket_timeout = self._timeout_s
        await connection.disconnect(nowait=True)
        await self._pool.release(connection)


async def _read(connection: Any, asked: _Asked) -> None:  # noqa: ANN401 - as above
    """Read the replies to the commands, all of them, though the first may be an error."""
    replies: list[Any] = []
    failed: exceptions.ResponseError | None = None
    for _ in range(asked.n_replies):
        try:
            replies.append(await connection.read_response(timeout=inf))
        except exceptions.ResponseError as error:
            failed = failed or error
    if asked.replied.done():
        return
    if failed is None:
        asked.replied.set_result(replies)
    else:
        asked.replied.set_exception(failed)


def command_of(names: tuple[str, ...], arguments: Sequence[bytes]) -> bytes:
    """A command as the server reads it: its name and what always goes with that, then the arguments."""
    parts = [_beginning(names, len(arguments))]
    parts += [b"$%d\r\n%b\r\n" % (len(argument), argument) for argument in arguments]
    return b"".join(parts)


@lru_cache(maxsize=256)
def _beginning(names: tuple[str, ...], n_arguments: int) -> bytes:
    encoded = [name.encode() for name in names]
    parts = [b"$%d\r\n%b\r\n" % (len(name), name) for name in encoded]
    return b"*%d\r\n" % (len(names) + n_arguments) + b"".join(parts)
