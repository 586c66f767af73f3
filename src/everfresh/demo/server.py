"""Serving an ASGI application on 127.0.0.1 so that it stops at once, open streams or not.

uvicorn waits for open responses before it ends the application, and an event stream never ends by itself. So the
server here lets go of the streams first, and whoever started it decides about signals.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator

import uvicorn
from starlette.types import ASGIApp

from everfresh import EverfreshError
from everfresh.model.marks import override

HOST = "127.0.0.1"
# What is still open after `drain` is a slow answer; nobody waits for it longer than this.
GRACE_S = 1


class PortInUse(EverfreshError):
    """Another program listens on the port."""

    code = "demo.port_in_use"


class NotStarted(EverfreshError):
    """The application failed while starting."""

    code = "demo.not_started"


def listen(port: int) -> socket.socket:
    """A socket that listens on 127.0.0.1; port 0 takes a free one.

    Raises:
        PortInUse: it is taken, or this user may not have it.
    """
    # Only a socket that says it is TCP gets TCP_NODELAY from asyncio; without, answers lie 40 ms in the kernel.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, port))
        listener.listen(1024)
    except OSError as exc:
        listener.close()
        raise PortInUse(f"port {port}: {exc.strerror}. Use another one with --port, or 0 for any free one.") from exc
    listener.settimeout(0)  # never blocks
    return listener


def address_of(listener: socket.socket) -> str:
    """Where the socket is reached: `http://127.0.0.1:<port>`."""
    return f"http://{HOST}:{listener.getsockname()[1]}"


class Server(uvicorn.Server):
    """A uvicorn server that drains its streams before it waits for open answers, and leaves signals alone."""

    def __init__(self, app: ASGIApp, *, drain: Callable[[], Awaitable[None]]) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                lifespan="on",
                log_config=None,
                access_log=False,
                ws="none",
                timeout_graceful_shutdown=GRACE_S,
            )
        )
        self._drain = drain
        self.listening = asyncio.Event()

    @override
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await super().startup(sockets=sockets)
        except SystemExit as exc:  # how uvicorn says that the lifespan failed; it has logged why
            raise NotStarted("the application did not start; the reason is above.") from exc
        self.listening.set()

    @override
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()  # first, so that a drained client does not come back here
        await self._drain()
        await super().shutdown(sockets=sockets)

    @override
    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """What makes the event loop: uvloop where it is installed, else None for asyncio's own."""
    return uvicorn.Config("", log_config=None).get_loop_factory()


@contextlib.asynccontextmanager
async def serving(server: Server, listener: socket.socket) -> AsyncGenerator[None]:
    """Serve while the block runs, which begins when the application has started.

    Raises:
        NotStarted: the application failed while starting.
    """
    running = asyncio.create_task(server.serve(sockets=[listener]))
    listening = asyncio.create_task(server.listening.wait())
    try:
        await asyncio.wait({running, listening}, return_when=asyncio.FIRST_COMPLETED)
        if not running.done():
            yield
    finally:
        listening.cancel()
        server.should_exit = True
        await running
