"""Updates that say what a test tells them to, at the moment that it says so."""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from everfresh.asgi import Receive, Scope, Send, request_of


@dataclass
class Asked:
    """A request, and what is still to be sent to it."""

    topics: list[str]
    cursor: str
    query: dict[str, list[str]]
    frames: asyncio.Queue[bytes | None] = field(default_factory=asyncio.Queue)
    is_open: bool = True


class Scripted:
    """An ASGI application that keeps who asks, and sends them frames."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Cut everybody off and begin anew."""
        for asked in getattr(self, "streams", ()):
            asked.frames.put_nowait(None)
        self.streams: list[Asked] = []
        self.polls: list[Asked] = []
        self.stream_status = 200
        self.poll_status = 200
        self.poll_headers: dict[str, str] = {}
        self.answers: list[dict[str, Any]] = []
        self.is_silent = False

    async def drain(self) -> None:
        """End all streams."""
        for asked in self.streams:
            asked.frames.put_nowait(None)

    async def tell(self, event: str, data: object, at: str = "") -> None:
        """Send a frame to all who listen."""
        for asked in self.open():
            asked.frames.put_nowait(frame(event, data, at))

    async def cut(self) -> None:
        """End all streams without a word."""
        await self.drain()

    def open(self) -> list[Asked]:
        """Who listens."""
        return [asked for asked in self.streams if asked.is_open]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        query = parse_qs(request_of(scope).query_string.decode(), keep_blank_values=True)
        if "since" in query:
            await self._poll(Asked(query["topic"], query["since"][0], query), send)
        else:
            await self._stream(Asked(query["topic"], query["last_event_id"][0], query), receive, send)

    async def _poll(self, asked: Asked, send: Send) -> None:
        self.polls.append(asked)
        answer = self.answers.pop(0) if self.answers else {"cursor": asked.cursor, "events": [], "retry_ms": 500}
        body = json.dumps(answer if self.poll_status == 200 else {"status": self.poll_status}).encode()
        kind = "application/json" if self.poll_status == 200 else "application/problem+json"
        headers = {"content-type": kind, **self.poll_headers}
        encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": self.poll_status, "headers": encoded})
        await send({"type": "http.response.body", "body": body})

    async def _stream(self, asked: Asked, receive: Receive, send: Send) -> None:
        self.streams.append(asked)
        status = self.stream_status
        headers = [(b"content-type", b"text/event-stream" if status == 200 else b"application/problem+json")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        gone = asyncio.create_task(_gone(receive, asked))
        try:
            if status == 200:
                if not self.is_silent:
                    await _send(send, frame("hello", {"position": "e1.1", "retry_ms": 50, "heartbeat_s": 20}))
                while (wire := await asked.frames.get()) is not None:
                    await _send(send, wire)
        finally:
            asked.is_open = False
            gone.cancel()
        await send({"type": "http.response.body", "body": b""})


def frame(event: str, data: object, at: str = "") -> bytes:
    """A frame as bytes."""
    identity = f"id: {at}\n" if at else ""
    return f"event: {event}\n{identity}data: {json.dumps(data)}\n\n".encode()


async def _send(send: Send, wire: bytes) -> None:
    await send({"type": "http.response.body", "body": wire, "more_body": True})


async def _gone(receive: Receive, asked: Asked) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    asked.frames.put_nowait(None)
