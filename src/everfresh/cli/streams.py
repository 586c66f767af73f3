"""Streams: an application whose event streams end when its process does.

A server waits for open answers, and a stream of events never ends by itself. So each is ended here, by the server's
side: the application sees its client go, and the client hears when to come back, each at another moment.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import cast

from everfresh.asgi import Receive, Scope, Send
from everfresh.model.clock import Dice, fair_dice
from everfresh.push.frames import bye

App = Callable[[Scope, Receive, Send], Awaitable[None]]

_RETRY_FIRST_MS = 1000
_RETRY_SPREAD_MS = 4000
_EVENT_STREAM = b"text/event-stream"


class Streams:
    """The application; `held` is waited for before it is told to shut down, as others may need what it closes."""

    def __init__(self, app: App, held: Callable[[], Awaitable[object]], *, dice: Dice = fair_dice) -> None:
        self._app = app
        self._held = held
        self._dice = dice
        self._open: dict[asyncio.Task[object], Send] = {}
        self._is_ending = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI scope."""
        match scope["type"]:
            case "http":
                await self._serve(scope, receive, send)
            case "lifespan":
                await self._app(scope, self._holding(receive), send)
            case _:
                await self._app(scope, receive, send)

    def end(self) -> None:
        """End all streams, and those that begin from now on."""
        self._is_ending = True
        for task in self._open:
            task.cancel()

    def _holding(self, receive: Receive) -> Receive:
        async def held() -> Mapping[str, object]:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                await self._held()
            return message

        return held

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        # A server runs each request in a task of its own.
        task = cast("asyncio.Task[object]", asyncio.current_task())

        async def minded(message: dict[str, object]) -> None:
            await send(message)
            if message["type"] == "http.response.start" and _is_stream(message):
                self._open[task] = send
                if self._is_ending:
                    task.cancel()
            elif message["type"] == "http.response.body" and not message.get("more_body", False):
                self._open.pop(task, None)

        try:
            await self._app(scope, receive, minded)
        except asyncio.CancelledError:
            # Cancelled once more it is by the server, whose patience has an end too.
            if task not in self._open or not self._is_ending or task.uncancel():
                raise
            farewell = bye(_RETRY_FIRST_MS + int(_RETRY_SPREAD_MS * self._dice()))
            await send({"type": "http.response.body", "body": farewell.wire})
        finally:
            self._open.pop(task, None)


def _is_stream(message: Mapping[str, object]) -> bool:
    headers = cast("Iterable[tuple[bytes, bytes]]", message.get("headers", ()))
    kinds = [value for name, value in headers if name.lower() == b"content-type"]
    return any(kind.lower().startswith(_EVENT_STREAM) for kind in kinds)
