"""A real server in the test's own event loop, and a client that reads its streams."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterable, Mapping
from typing import Any

import httpx2
import uvicorn

from tests.push.sse import Reader, Received

# Far above what anything here takes; a test that waits longer has found a bug.
DEADLINE_S = 20
# Small, so that a client that does not read is noticed after kilobytes and not after megabytes.
BUFFER_BYTES = 16_384

Application = Callable[[Any, Any, Any], Awaitable[None]]
Drain = Callable[[], Awaitable[None]]


class Server(uvicorn.Server):
    """uvicorn that drains streams before it waits for open responses, and leaves signals to the test runner."""

    def __init__(self, app: Application, drain: Drain | None) -> None:
        super().__init__(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=5))
        self.listening = asyncio.Event()
        self._drain = drain

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._drain is not None:
            await self._drain()
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


@contextlib.asynccontextmanager
async def serving(app: Application, drain: Drain | None = None) -> AsyncGenerator[str]:
    """Serve while the block runs; gives the address."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        server = Server(app, drain)
        running = asyncio.create_task(server.serve([listener]))
        try:
            async with asyncio.timeout(DEADLINE_S):
                await server.listening.wait()
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            async with asyncio.timeout(DEADLINE_S):
                await running


class Watching:
    """A client's end of one stream."""

    def __init__(self, response: httpx2.Response, n_topics: int) -> None:
        self.n_topics = n_topics
        self.response = response
        self._pieces = response.aiter_bytes()
        self._reader = Reader()
        self._received: list[Received] = []

    async def next(self) -> Received:
        """The next event, whatever it is."""
        async with asyncio.timeout(DEADLINE_S):
            while not self._received:
                self._received += self._reader.feed(await anext(self._pieces))
        return self._received.pop(0)

    async def until(self, event: str) -> list[Received]:
        """The events up to and with the first of that name."""
        received = [await self.next()]
        while received[-1].event != event:
            received.append(await self.next())
        return received

    async def begun(self) -> list[Received]:
        """The events up to the first word of each topic."""
        received: list[Received] = []
        while len({event.data["topic"] for event in received if "topic" in event.data}) < self.n_topics:
            received.append(await self.next())
        return received

    async def rest(self) -> list[Received]:
        """All that comes until the server ends the stream."""
        received = self._received
        async with asyncio.timeout(DEADLINE_S):
            async for piece in self._pieces:
                received += self._reader.feed(piece)
        return received


@contextlib.asynccontextmanager
async def watching(
    url: str,
    topics: Iterable[str],
    *,
    cursor: str | None = None,
    header: str | None = None,
    more_headers: Mapping[str, str] | None = None,
) -> AsyncGenerator[Watching]:
    """Follow the topics while the block runs."""
    params: list[tuple[str, str | int | float | None]] = [("topic", topic) for topic in topics]
    if cursor is not None:
        params.append(("last_event_id", cursor))
    headers = {**(more_headers or {}), **({} if header is None else {"last-event-id": header})}
    async with (
        httpx2.AsyncClient(timeout=DEADLINE_S, trust_env=False) as client,
        client.stream("GET", url, params=params, headers=headers) as response,
    ):
        assert response.status_code == 200, await response.aread()
        yield Watching(response, len(params) - (cursor is not None))
