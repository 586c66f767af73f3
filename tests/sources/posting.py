"""A sender without a server: one call of an ASGI application, and what it answered."""

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from everfresh import Event, Position

Application = Callable[[Any, Any, Any], Awaitable[None]]
JSON = {"content-type": "application/json"}


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.body)
        return document


async def post(
    app: Application,
    body: bytes | Iterable[bytes],
    headers: Mapping[str, str] = JSON,
    *,
    path: str = "/",
    method: str = "POST",
    host: str = "192.0.2.1",
) -> Answer:
    """Send the body in pieces and give the answer."""
    pieces = [body] if isinstance(body, bytes) else list(body)
    inbox = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    inbox.append({"type": "http.request"})
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, object]:
        return inbox.pop(0)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    scope = {"type": "http", "method": method, "path": path, "headers": encoded, "client": (host, 1234)}
    await app(scope, receive, send)
    answered = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    whole = b"".join(message["body"] for message in sent[1:])
    return Answer(status=sent[0]["status"], headers=answered, body=whole)


@dataclass
class Published:
    """A cache that notes the events that it is given."""

    events: list[Event] = field(default_factory=list[Event])
    n_steps: int = 0

    async def publish(self, *events: Event) -> Position:
        self.events.extend(events)
        self.n_steps += 1
        return Position("e1", self.n_steps)
