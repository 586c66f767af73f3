"""Readers of streams: thousands of browsers in one process, which count what arrives and how late.

Each event carries its number as `"s":00000042`, so that one look tells a reader which it got, whatever server it came
from; the publisher is in this process too, so both ends of a delay are read from one clock.
"""

import asyncio
import socket
import time
from array import array
from collections.abc import Callable, Sequence
from typing import cast

from everfresh.model.marks import override

DEADLINE_S = 60.0
_MARK = b'"s":'
_N_DIGITS = 8
_CONNECTS_PER_S = 1_500
_N_IN_A_STORM = 512
# So small that a reader who stops is noticed after kilobytes.
_STALLING_BUFFER_BYTES = 4_096


def body_of(number: int, n_bytes: int) -> bytes:
    """A document of so many bytes that carries its number."""
    head = b'{%b%d,"p":"' % (_MARK, number + 10 ** (_N_DIGITS - 1))
    return head + b"x" * (n_bytes - len(head) - 2) + b'"}'


class Crowd:
    """All readers, and what they have seen together."""

    def __init__(self) -> None:
        self.readers: list[Reader] = []
        self.sent_at: dict[int, float] = {}
        self.delays_s = array("d")
        self.n_deliveries = 0
        self.n_opened = 0
        self.last_at = 0.0
        self.changed = asyncio.Event()

    async def connect(self, n: int, port: int, request: bytes, *, n_stalling: int = 0) -> None:
        """Open so many streams, evenly; the last `n_stalling` are able to stall soon."""
        began, first = time.monotonic(), len(self.readers)
        for place in range(n):
            ahead_s = place / _CONNECTS_PER_S - (time.monotonic() - began)
            if ahead_s > 0.005:
                await asyncio.sleep(ahead_s)
            self.readers.append(await self._open(port, request, is_stalling=place >= n - n_stalling))
        await self.until(lambda: self.n_opened >= first + n, what="every stream has begun")

    async def storm(self, n: int, port: int, request: bytes) -> None:
        """Open so many streams, as fast as they are taken."""
        gate = asyncio.Semaphore(_N_IN_A_STORM)

        async def one() -> None:
            async with gate:
                self.readers.append(await self._open(port, request, is_stalling=False))

        async with asyncio.TaskGroup() as group:
            for _ in range(n):
                group.create_task(one())

    def leave(self) -> None:
        """Every reader closes its stream."""
        for reader in self.readers:
            reader.transport.abort()

    async def until(self, is_so: Callable[[], bool], what: str) -> None:
        """Wait until it is so."""
        try:
            async with asyncio.timeout(DEADLINE_S):
                while not is_so():
                    self.changed.clear()
                    await self.changed.wait()
        except TimeoutError:
            raise TimeoutError(f"not within {DEADLINE_S} s: {what}") from None

    def forget(self) -> None:
        """Begin to count anew."""
        self.delays_s = array("d")
        self.n_deliveries = 0

    async def _open(self, port: int, request: bytes, *, is_stalling: bool) -> "Reader":
        loop = asyncio.get_running_loop()
        plug = socket.socket()
        plug.setblocking(False)  # noqa: FBT003 - as Python has it
        if is_stalling:
            plug.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _STALLING_BUFFER_BYTES)
        await loop.sock_connect(plug, ("127.0.0.1", port))
        _, reader = await loop.create_connection(lambda: Reader(self, request), sock=plug)
        return reader


class Reader(asyncio.Protocol):
    """One stream."""

    __slots__ = ("_crowd", "_request", "_rest", "is_open", "is_stalled", "newest", "transport")

    def __init__(self, crowd: Crowd, request: bytes) -> None:
        self.newest = -1
        self.is_open = self.is_stalled = False
        self._crowd = crowd
        self._request = request
        self._rest = b""
        self.transport: asyncio.Transport

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.write(self._request)

    def stall(self) -> None:
        """Read no more."""
        self.is_stalled = True
        self.transport.pause_reading()

    @override
    def data_received(self, data: bytes) -> None:
        crowd = self._crowd
        if not self.is_open:
            if not data.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(f"refused: {data[:200]!r}")
            self.is_open = True
            crowd.n_opened += 1
            crowd.changed.set()
        if self._rest:
            data = self._rest + data
        place = data.find(_MARK)
        while place >= 0 and place + len(_MARK) + _N_DIGITS <= len(data):
            end = place + len(_MARK) + _N_DIGITS
            number = int(data[place + len(_MARK) : end])
            self._take(number, crowd)
            place, last = data.find(_MARK, end), end
            data = data if place >= 0 else data[last:]
        # The start of a mark that is cut in two.
        self._rest = data[place:] if place >= 0 else data[-(len(_MARK) - 1) :]

    def _take(self, number: int, crowd: Crowd) -> None:
        if number < self.newest:
            raise RuntimeError(f"{number} after {self.newest}")
        self.newest = number
        crowd.n_deliveries += 1
        now = time.monotonic()
        crowd.last_at = now
        sent_at = crowd.sent_at.get(number)
        if sent_at is not None and not self.is_stalled:
            crowd.delays_s.append(now - sent_at)
        crowd.changed.set()


class Publisher:
    """One connection on which events are posted, one answer awaited before the next."""

    def __init__(self, crowd: Crowd, port: int, path: str) -> None:
        self._crowd = crowd
        self._port = port
        self._path = path
        self._number = 0

    async def open(self) -> None:
        """Connect."""
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)

    async def publish(self, n_bytes: int, path: str = "") -> int:
        """Publish the next event; gives its number."""
        self._number += 1
        body = body_of(self._number, n_bytes)
        number = self._number + 10 ** (_N_DIGITS - 1)
        head = f"POST {path or self._path} HTTP/1.1\r\nhost: b\r\ncontent-type: application/json\r\n"
        self._crowd.sent_at[number] = time.monotonic()
        self._writer.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        answer = await asyncio.wait_for(self._reader.readuntil(b"\r\n\r\n"), DEADLINE_S)
        length = answer.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]
        if length:
            await self._reader.readexactly(int(length))
        if not answer.startswith(b"HTTP/1.1 20"):
            raise RuntimeError(f"refused: {answer!r}")
        return number

    async def publish_evenly(self, *, per_s: float, n: int, n_bytes: int) -> int:
        """Publish so many, so many a second or as fast as they are taken; gives the last number."""
        began, number = time.monotonic(), 0
        for place in range(n):
            ahead_s = place / per_s - (time.monotonic() - began)
            if ahead_s > 0:
                await asyncio.sleep(ahead_s)
            number = await self.publish(n_bytes)
        return number

    def close(self) -> None:
        """End the connection."""
        self._writer.close()


def at_rank(values: Sequence[float], rank: float) -> float:
    """The value below which that part of all lies."""
    return sorted(values)[min(int(len(values) * rank), len(values) - 1)]
