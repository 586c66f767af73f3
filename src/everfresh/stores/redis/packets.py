"""Packets: what the tasks of one event loop ask at the same time travels together.

A command by itself costs the driver seventy microseconds, and the system a write and a read; sixteen in one packet cost
little more than one. Who asks while nobody else does is not kept waiting: that command goes at once.

Rules
- A reply belongs to whoever asked, an error among the replies too.
- All go on one line, one packet behind the other: the server carries out one command at a time anyway.
- Nobody's cancellation cuts off the others: the reply of one who has gone is read and let go.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from redis import exceptions

from everfresh.stores.redis.failures import DRIVER_ERRORS
from everfresh.stores.redis.identity import ANY, Identity
from everfresh.stores.redis.loop_lines import Asked, LoopLine

# More in one packet spare little, and the first would wait for the last.
MAX_COMMANDS = 16
# A few keep the server busy while replies are read; what comes meanwhile is sent together.
MAX_PACKETS = 4


class Packets:
    """All packets of a client of the driver; `timeout_s` is how long one may take."""

    def __init__(self, client: Any, timeout_s: float, identity: Identity = ANY) -> None:  # noqa: ANN401 - the driver's clients share no type
        self._pool: Any = client.connection_pool
        self._identity = identity
        self._timeout_s = timeout_s
        self._waiting: deque[Asked] = deque()
        self._line: LoopLine | None = None
        # Lines that were lost, to be given back to the driver.
        self._lost: list[LoopLine] = []
        # The loop itself does not hold it.
        self._opening: asyncio.Task[None] | None = None
        self._is_called = False

    @property
    def has_line(self) -> bool:
        """Whether a connection stands open; for tests."""
        return self._line is not None

    async def ask(self, commands: bytes, n_replies: int = 1) -> list[Any]:
        """The replies to the commands. Raises the driver's errors."""
        asked = Asked(commands, n_replies)
        self._waiting.append(asked)
        line = self._line
        if len(self._waiting) == 1 and line is not None and not line.n_under_way:
            self._send_off()
        else:
            self._call()
        return await asked.replied

    def _call(self) -> None:
        """Send off what waits, once whoever runs in this turn of the loop has asked too."""
        if not self._is_called and (self._line is None or self._line.n_under_way < MAX_PACKETS):
            self._is_called = True
            asyncio.get_running_loop().call_soon(self._send_off)

    def _send_off(self) -> None:
        self._is_called = False
        line = self._line
        while self._waiting and self._opening is None:
            if line is None:
                self._opening = asyncio.get_running_loop().create_task(self._open())
            elif line.n_under_way >= MAX_PACKETS:
                return
            elif self._leads_elsewhere(line):
                line = None
            elif some := self._next():
                line.send(some)

    def _leads_elsewhere(self, line: LoopLine) -> bool:
        """Whether the line is to be let go, as another run of the server was looked at since it was opened."""
        try:
            is_of_another = self._identity.is_of_another(line.connection)
        except DRIVER_ERRORS as error:
            # Nobody has looked who answers now.
            self._fail(error)
            return False
        if is_of_another:
            self._let_go(line)
        return is_of_another

    def _next(self) -> Sequence[Asked]:
        """Those who come next; not those who have gone, as all have when the loop ends."""
        some: list[Asked] = []
        while self._waiting and len(some) < MAX_COMMANDS:
            asked = self._waiting.popleft()
            if not asked.replied.done():
                some.append(asked)
        return some

    def _fail(self, error: Exception) -> None:
        while self._waiting:
            self._waiting.popleft().fail(error)

    async def _open(self) -> None:
        try:
            await self._give_back()
            connection = await self._pool.get_connection()
            is_of_master = getattr(self._pool, "is_master", False)
            self._line = LoopLine(connection, self._timeout_s, self._note_end, is_of_master=is_of_master)
        except Exception as error:  # noqa: BLE001 - everybody who waits is told
            self._fail(error)
        finally:
            self._opening = None
            if self._line is None:
                # The loop ends.
                for asked in self._waiting:
                    asked.replied.cancel()
                self._waiting.clear()
            elif self._waiting:
                self._call()

    def _note_end(self) -> None:
        line = self._line
        if line is not None and not line.is_sound:
            self._line = None
            self._lost.append(line)
        if self._waiting:
            self._call()

    def _let_go(self, line: LoopLine) -> None:
        """Send nothing there any more; what is under way is told so."""
        line.lose(exceptions.ConnectionError("the line was let go"))

    async def forget_idle(self) -> None:
        """Close the line, if nobody uses it."""
        line = self._line
        if line is not None and not line.n_under_way:
            self._let_go(line)
        await self._give_back()

    async def _give_back(self) -> None:
        while self._lost:
            connection = self._lost.pop().connection
            await connection.disconnect(nowait=True)
            await self._pool.release(connection)


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
