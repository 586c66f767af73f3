"""Serving an ASGI application by uvicorn, as one part of a process that has other parts and its own signals."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Generator

import uvicorn

from everfresh.cli.streams import App
from everfresh.model.marks import override

# The date in answers is renewed every tenth tick.
_TICK_S = 0.1


class NotStarted(Exception):
    """The application failed while it started; uvicorn has logged why."""


class Server(uvicorn.Server):
    """Serves until `until` is set; then takes no more, calls `at_end`, and gives open answers `grace_s` seconds."""

    def __init__(
        self,
        app: App,
        *,
        until: asyncio.Event,
        grace_s: int,
        on_started: Callable[[], None] | None = None,
        at_end: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=grace_s))
        self._until = until
        self._on_started = on_started
        self._at_end = at_end

    @override
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await super().startup(sockets=sockets)
        except SystemExit:  # how uvicorn says that the lifespan failed
            raise NotStarted("the application did not start; the reason is above.") from None
        if self._on_started is not None:
            self._on_started()

    @override
    async def main_loop(self) -> None:
        # As uvicorn's own, but for the end, which it would see a tenth of a second later.
        n_ticks = 0
        while not (await self.on_tick(n_ticks) or self._until.is_set()):
            n_ticks += 1
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_TICK_S):
                    await self._until.wait()

    @override
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()  # first, so that who is sent away does not come back here
        if self._at_end is not None:
            self._at_end()
        await super().shutdown(sockets=sockets)

    @override
    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield
