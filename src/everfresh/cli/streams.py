"""Streams: an application whose event streams end when its process does.

A server waits for open answers, and a stream of events never ends by itself. So each is told to end here, if its
application listens to that, as our own does (`push.ending`). Any other is ended by the server's side: the application
sees its client go. Either way the client hears when to come back, each at another moment.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import cast

from everfresh.asgi import Receive, Scope, Send
from everfresh.model.clock import Dice, fair_dice
from everfresh.push.ending import EXTENSION
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
        self._open: dict[asyncio.Task[object], Callable[[], object]] = {}
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
        for end in [*self._open.values()]:
            end()

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
        answer = _Answer(self, task, send)
        try:
            await self._app({**scope, "extensions": _offered(scope, answer.listen)}, receive, answer.send)
        except asyncio.CancelledError:
            # Cancelled once more it is by the server, whose patience has an end too.
            if answer.ends_itself or task not in self._open or not self._is_ending or task.uncancel():
                raise
            farewell = bye(_RETRY_FIRST_MS + int(_RETRY_SPREAD_MS * self._dice()))
            await send({"type": "http.response.body", "body": farewell.wire})
        finally:
            self.release(task)

    def hold(self, task: asyncio.Task[object], end: Callable[[], object]) -> None:
        """The task answers with a stream, which `end` ends."""
        self._open[task] = end
        if self._is_ending:
            end()

    def release(self, task: asyncio.Task[object]) -> None:
        """It does not any more."""
        self._open.pop(task, None)


class _Answer:
    """The answer to one request; an application that looks for the connection behind `send` finds it."""

    def __init__(self, streams: Streams, task: asyncio.Task[object], send: Send) -> None:
        self._streams = streams
        self._task = task
        self._send = send
        self.ends_itself = False

    @property
    def transport(self) -> object:
        """As uvicorn has it, and None where there is none."""
        return getattr(getattr(self._send, "__self__", None), "transport", None)

    @property
    def response(self) -> object:
        """The server's own, for who ends it: between its start and its end nothing is looked at here."""
        return getattr(self._send, "__self__", None) if self.ends_itself else None

    def listen(self, end: Callable[[], object]) -> None:
        """Call `end` at the end, instead of cutting the answer off."""
        self.ends_itself = True
        self._streams.hold(self._task, end)

    async def send(self, message: dict[str, object]) -> None:
        """Pass the message on to the server."""
        await self._send(message)
        if message["type"] == "http.response.start" and not self.ends_itself and _is_stream(message):
            self._streams.hold(self._task, self._task.cancel)
        elif message["type"] == "http.response.body" and not message.get("more_body", False):
            self._streams.release(self._task)


def _offered(scope: Scope, listen: Callable[[Callable[[], object]], None]) -> dict[str, object]:
    extensions = cast("Mapping[str, object]", scope.get("extensions") or {})
    return {**extensions, EXTENSION: listen}


def _is_stream(message: Mapping[str, object]) -> bool:
    headers = cast("Iterable[tuple[bytes, bytes]]", message.get("headers", ()))
    kinds = [value for name, value in headers if name.lower() == b"content-type"]
    return any(kind.lower().startswith(_EVENT_STREAM) for kind in kinds)
