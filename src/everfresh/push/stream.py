"""Stream: sends one client what its connection keeps for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress

from everfresh.asgi import ClientGone, Receive, Send, minding
from everfresh.model.clock import Dice
from everfresh.model.position import Position
from everfresh.push.connection import Connection
from everfresh.push.frames import Frame, Part, bye, heartbeat
from everfresh.push.resume import Start

OnSent = Callable[[str, int], None]

# Exactly this content type: a stream is UTF-8 by definition. The last header keeps proxies from buffering.
_HEADERS = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store"), (b"x-accel-buffering", b"no")]
# Clients that were told goodbye come back spread over this time, not all at once.
_RETRY_FIRST_MS = 1000
_RETRY_SPREAD_MS = 4000


class Stream:
    """One open response. Offering never waits; `run` sends, and skips to the newest when the client reads slowly."""

    def __init__(
        self, start: Start, *, handed_out: Callable[[], Position], heartbeat_s: float, on_sent: OnSent, dice: Dice
    ) -> None:
        self._connection = Connection(start.frames, cursor=start.cursor)
        self._handed_out = handed_out
        self._heartbeat_s = heartbeat_s
        self._on_sent = on_sent
        self._dice = dice
        self._wake = asyncio.Event()
        self._cut = asyncio.Event()

    def offer(self, frame: Frame) -> None:
        """Send the frame unless the client has a newer one of its topic."""
        if self._connection.offer(frame):
            self._wake.set()

    @property
    def generation(self) -> int:
        """How often the stream was restarted."""
        return self._connection.generation

    def restart(self, first: Frame) -> int:
        """Send `first`; nothing sent before counts any more. The new generation waits for `settle`."""
        generation = self._connection.restart(first)
        self._wake.set()
        return generation

    def settle(self, owed: Iterable[Frame], *, generation: int) -> None:
        """Send what the client is owed, then what came meanwhile, then whatever comes."""
        self._connection.settle(owed, generation=generation)
        self._wake.set()

    def end(self) -> None:
        """Say goodbye and end."""
        self._connection.end(bye(_RETRY_FIRST_MS + int(_RETRY_SPREAD_MS * self._dice())))
        self._wake.set()

    def cut(self) -> None:
        """End now, whatever the client has not read."""
        self._cut.set()

    async def run(self, receive: Receive, send: Send, beside: Coroutine[None, None, None]) -> None:
        """Send until the client is gone, or goodbye is said, or the stream is cut; `beside` runs meanwhile."""
        async with asyncio.TaskGroup() as group:
            helper = group.create_task(beside)
            ends = [group.create_task(end) for end in (self._write(send), _gone(receive), _set(self._cut))]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            for task in (helper, *ends):
                task.cancel()

    async def _write(self, send: Send) -> None:
        send = minding(send)
        with suppress(ClientGone):
            await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
            await self._write_frames(send)
            await send({"type": "http.response.body", "body": b""})

    async def _write_frames(self, send: Send) -> None:
        while True:
            self._wake.clear()
            while (frame := self._connection.take()) is not None:
                await self._send_frame(frame, send)
            if self._connection.is_ended:
                return
            await self._wait(send)

    async def _wait(self, send: Send) -> None:
        try:
            async with asyncio.timeout(self._heartbeat_s):
                await self._wake.wait()
        except TimeoutError:
            position = self._connection.position(self._handed_out())
            await self._send_frame(heartbeat(position), send)

    async def _send_frame(self, frame: Frame, send: Send) -> None:
        await send({"type": "http.response.body", "body": frame.wire, "more_body": True})
        if frame.part is Part.VALUE:
            self._on_sent(frame.topic, frame.version)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _set(event: asyncio.Event) -> None:
    await event.wait()
