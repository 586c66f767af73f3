"""Very many clients of event streams in one event loop, each of which reads all that comes, to its end."""

import asyncio
import resource
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from everfresh.testing.waiting import DEADLINE_S

# At once; the rest waits for its turn, so that no backlog overflows.
N_KNOCKING = 100


@dataclass
class Reader(asyncio.Protocol):
    """One client: all that it was sent, and whether that came to its end."""

    request: bytes
    awaits: bytes
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    received: bytearray = field(default_factory=bytearray)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.received += data
        if not self.begun.is_set() and self.awaits in self.received:
            self.begun.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set()
        self.begun.set()

    @property
    def is_whole(self) -> bool:
        """Whether the answer came to its own end; a connection that only broke off leaves it open."""
        return self.received.endswith(b"0\r\n\r\n")


@asynccontextmanager
async def crowd(url: str, n: int, *, awaits: bytes = b"event: hello") -> AsyncGenerator[list[Reader]]:
    """That many clients of one stream, each of which has been sent `awaits`."""
    _allow_files(n + 200)
    parts = urlsplit(url)
    request = f"GET {parts.path}?{parts.query} HTTP/1.1\r\nhost: {parts.netloc}\r\n\r\n".encode()
    loop = asyncio.get_running_loop()
    transports: list[asyncio.BaseTransport] = []
    readers: list[Reader] = []
    knocking = asyncio.Semaphore(N_KNOCKING)

    async def come() -> None:
        async with knocking:
            transport, reader = await loop.create_connection(
                lambda: Reader(request, awaits), parts.hostname or "", parts.port or 80
            )
            transports.append(transport)
            readers.append(reader)
            await reader.begun.wait()
            assert awaits in reader.received, bytes(reader.received)

    try:
        async with asyncio.timeout(2 * DEADLINE_S), asyncio.TaskGroup() as coming:
            for _ in range(n):
                coming.create_task(come())
        yield readers
    finally:
        for transport in transports:
            transport.close()


async def all_ended(readers: list[Reader]) -> None:
    """Wait until no client is left."""
    async with asyncio.timeout(DEADLINE_S):
        for reader in readers:
            await reader.ended.wait()


def _allow_files(n: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < n:
        resource.setrlimit(resource.RLIMIT_NOFILE, (n, hard))
