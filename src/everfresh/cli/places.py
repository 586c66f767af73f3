"""Places: processes that serve one address side by side, and what each and their parent tell one another.

The parent (`keeping`) starts each with the same command line and a place in its environment. Between the two there is a
pair of sockets: the process tells when it has started, and how it is when it is asked; when either side is gone, the
other one sees the end of the stream.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable

import msgspec

_VARIABLE = "EVERFRESH_PLACE"
_ASK = b"how are you?\n"


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """How a process is: what keeps it from being asked, what is missing though it may be, and whether it has begun."""

    reasons: list[str]
    degraded: list[str] = []
    has_started: bool = True


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """The place of one process among those of its parent; `listener` is a socket that all share, if they have to."""

    number: int
    host: str
    port: int
    channel: int
    listener: int | None = None

    def environment(self) -> dict[str, str]:
        """This process's own, for one that takes the place; a service manager hears from the parent alone."""
        mine = {name: value for name, value in os.environ.items() if name not in {"NOTIFY_SOCKET", "WATCHDOG_USEC"}}
        return {**mine, _VARIABLE: msgspec.json.encode(self).decode()}

    def descriptors(self) -> tuple[int, ...]:
        """What is handed over to whoever takes the place."""
        return (self.channel,) if self.listener is None else (self.channel, self.listener)


def taken_place() -> Place | None:
    """The place that this process was started for, told once; what it starts has none."""
    text = os.environ.pop(_VARIABLE, None)
    return None if text is None else msgspec.json.decode(text, type=Place)


class Parent:
    """A process's end of the stream."""

    def __init__(self, channel: int, report: Callable[[], Awaitable[Report]]) -> None:
        self._channel = channel
        self._report = report
        self._writer: asyncio.StreamWriter | None = None

    async def answer(self) -> None:
        """Answer the parent until it is gone."""
        reader, self._writer = await asyncio.open_unix_connection(sock=socket.socket(fileno=self._channel))
        try:
            # It may have started before this.
            await self.tell()
            while await reader.readline():
                await self.tell()
        except ConnectionError:
            return
        finally:
            self._writer.close()

    async def tell(self) -> None:
        """Tell how this process is, if the parent listens by now."""
        report = await self._report()
        if self._writer is not None:
            self._writer.write(msgspec.json.encode(report) + b"\n")


class Link:
    """The parent's end."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._writer: asyncio.StreamWriter | None = None
        self._waiting: set[asyncio.Future[Report]] = set()
        self.started = asyncio.Event()
        """Set when the process has said that it has started."""
        self.heard_at = asyncio.get_running_loop().time()

    async def listen(self) -> None:
        """Take what the process tells, until it is gone."""
        reader, self._writer = await asyncio.open_unix_connection(sock=self._channel)
        try:
            while line := await reader.readline():
                self._take(msgspec.json.decode(line, type=Report))
        except ConnectionError:
            return
        finally:
            self._writer.close()

    async def ask(self, *, within_s: float) -> Report:
        """How the process is.

        Raises:
            TimeoutError: it does not say.
        """
        told: asyncio.Future[Report] = asyncio.get_running_loop().create_future()
        self._waiting.add(told)
        try:
            async with asyncio.timeout(within_s):
                if self._writer is not None:
                    self._writer.write(_ASK)
                return await told
        finally:
            self._waiting.discard(told)

    def _take(self, report: Report) -> None:
        self.heard_at = asyncio.get_running_loop().time()
        if report.has_started:
            self.started.set()
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(report)
