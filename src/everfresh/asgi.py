"""The little of ASGI that Everfresh's own applications need: its types, a request, a body within bounds, an answer.

Plain ASGI, so that they run under any server and mount in any framework, and nothing has to be installed for them.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Protocol, cast

import msgspec

Scope = Mapping[str, object]
Receive = Callable[[], Awaitable[Mapping[str, object]]]
Send = Callable[[dict[str, object]], Awaitable[None]]

PROBLEM_JSON = "application/problem+json"

# Longer names of hosts are cut: they are chosen by strangers.
_MAX_NAME = 64
# One network of this size is one household or one server; its addresses are free.
_IPV6_PREFIX = 64


class Request(msgspec.Struct, frozen=True):
    """The part of an HTTP scope that is looked at, as the server gives it."""

    method: str
    headers: list[tuple[bytes, bytes]] = []
    query_string: bytes = b""
    path: str = "/"
    root_path: str = ""
    client: Any = None  # a host and a port, or whatever else a server knows of who sent it

    def texts(self) -> dict[str, str]:
        """The headers as text by lower-case name; of equal names the first."""
        return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in reversed(self.headers)}

    @property
    def own_path(self) -> str:
        """The path below where the application is mounted."""
        return self.path.removeprefix(self.root_path) or "/"

    @property
    def host(self) -> str:
        """The address that sent it, as the server tells it; empty when it does not."""
        match self.client:
            case [str(host), *_]:
                return host
            case _:
                return ""


def network_of(host: str) -> str:
    """Whose address that is, to count by: that of IPv4, the network of IPv6; what is no address stands for itself."""
    if ":" in host:
        try:
            address = ipaddress.IPv6Address(host.partition("%")[0])
        except ValueError:
            return host[:_MAX_NAME]
        mapped = address.ipv4_mapped
        if mapped is not None:
            return str(mapped)
        return str(ipaddress.IPv6Network((int(address), _IPV6_PREFIX), strict=False))
    return host[:_MAX_NAME]


@dataclass(frozen=True, slots=True)
class Problem:
    """A refusal. `at` names the field, header or parameter that is wrong, if it is one; `more` is told beside it."""

    status: HTTPStatus
    detail: str
    at: str = ""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    more: Mapping[str, object] = field(default_factory=dict[str, object])

    def document(self) -> dict[str, object]:
        """The refusal as RFC 9457 writes it."""
        fields = {"field": self.at} if self.at else {}
        return {"title": self.status.phrase, "status": self.status.value, "detail": self.detail, **fields, **self.more}


class BodyTooLarge(Exception):
    """The body has more bytes than are taken; the rest was not read."""


class ClientGone(Exception):
    """The client left before all was received, or sent."""


def minding(send: Send) -> Send:
    """The same, raising ClientGone when the server says so: since ASGI 2.4 by an OSError, or not at all."""

    async def minded(message: dict[str, object]) -> None:
        try:
            await send(message)
        except OSError as error:
            raise ClientGone from error

    return minded


class Transport(Protocol):
    """A server's end of a connection."""

    def abort(self) -> None:
        """Close it now; what the client has not read is thrown away."""
        ...

    def is_closing(self) -> bool:
        """Whether it is closed, or will be."""
        ...


def transport_of(call: Send | Receive | None) -> Transport | None:
    """The connection behind `send` or `receive`, where the server shows it, as uvicorn does, and nobody wraps them."""
    transport = getattr(getattr(call, "__self__", None), "transport", None)
    return cast("Transport", transport) if callable(getattr(transport, "abort", None)) else None


def request_of(scope: Scope) -> Request:
    """The request that an `http` scope describes."""
    return msgspec.convert(scope, Request)


async def read_body(receive: Receive, *, max_bytes: int, grow: Callable[[int], None] | None = None) -> bytes:
    """The request's body, counted while it comes in, whatever its headers say of its length.

    `grow` is told how many bytes more are held, and may raise to refuse them.

    Raises:
        BodyTooLarge: it goes beyond `max_bytes`.
        ClientGone: it was not sent to its end.
    """
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        piece = cast("bytes", message.get("body", b""))
        if grow is not None:
            grow(len(piece))
        body += piece
        if len(body) > max_bytes:
            raise BodyTooLarge
        if not message.get("more_body", False):
            return bytes(body)


async def answer(
    send: Send, status: HTTPStatus, document: object, media_type: str, headers: Mapping[str, str] | None = None
) -> None:
    """Answer with the document as JSON, not to be stored by anybody."""
    body = msgspec.json.encode(document)
    texts = {
        "content-type": media_type,
        "content-length": str(len(body)),
        "cache-control": "no-store",
        # Old browsers would else look for script or style in whatever strangers had echoed.
        "x-content-type-options": "nosniff",
    }
    await _send_all(send, status, {**texts, **(headers or {})}, body)


async def answer_empty(send: Send, headers: Mapping[str, str]) -> None:
    """Answer that all is well, and nothing else is to be said."""
    await _send_all(send, HTTPStatus.NO_CONTENT, headers, b"")


async def _send_all(send: Send, status: HTTPStatus, headers: Mapping[str, str], body: bytes) -> None:
    encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status.value, "headers": encoded})
    await send({"type": "http.response.body", "body": body})


async def refuse(send: Send, problem: Problem) -> None:
    """Answer with the problem."""
    await answer(send, problem.status, problem.document(), PROBLEM_JSON, problem.headers)


async def live(receive: Receive, send: Send, at_end: Callable[[], Awaitable[None]] | None = None) -> None:
    """Follow the server's lifespan; `at_end` runs before the shutdown is confirmed."""
    while (await receive())["type"] == "lifespan.startup":
        await send({"type": "lifespan.startup.complete"})
    if at_end is not None:
        await at_end()
    await send({"type": "lifespan.shutdown.complete"})
