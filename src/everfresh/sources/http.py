"""A webhook endpoint: CloudEvents, or plain JSON messages, become published events."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Protocol

from everfresh.asgi import (
    BodyTooLarge,
    ClientGone,
    Problem,
    Receive,
    Request,
    Scope,
    Send,
    answer,
    live,
    read_body,
    refuse,
    request_of,
)
from everfresh.model.errors import InvalidOption, StoreError
from everfresh.model.event import Event
from everfresh.model.position import Position
from everfresh.sources.messages import Malformed
from everfresh.sources.webhooks import MediaNotSupported, events_in

_log = logging.getLogger("everfresh.sources")

# What the hooks of well-known services stay below; a body is held in memory until it is complete.
_MAX_BYTES = 1_048_576
# A sender keeps what was not accepted, and tries again after so many seconds.
_RETRY_AFTER = {"retry-after": "5"}


class Publisher(Protocol):
    """What a source needs of a cache."""

    async def publish(self, *events: Event) -> Position:
        """Apply the events in one step."""
        ...


class EventsEndpoint:
    """An ASGI application: `POST` takes CloudEvents 1.0 (structured, batched, binary) or one message as plain JSON.

    The answer is 202 once the events are applied, with the position of that. Everything else is a problem (RFC 9457)
    and nothing was applied: 400 names the field that is wrong, 503 asks to come back. Who retries does no harm.

    Raises:
        InvalidOption: `max_bytes` is not above zero.
    """

    def __init__(self, cache: Publisher, *, max_bytes: int = _MAX_BYTES) -> None:
        if max_bytes <= 0:
            raise InvalidOption(f"max_bytes: {max_bytes} takes no event. Use at least 1024.")
        self._cache = cache
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI scope."""
        if scope["type"] == "lifespan":
            await live(receive, send)
        elif scope["type"] == "http":
            await self._serve(request_of(scope), receive, send)
        else:
            await send({"type": "websocket.close"})

    async def _serve(self, request: Request, receive: Receive, send: Send) -> None:
        try:
            outcome = await self._outcome(request, receive)
        except ClientGone:
            return
        if isinstance(outcome, Problem):
            await refuse(send, outcome)
        else:
            await answer(send, HTTPStatus.ACCEPTED, {"position": outcome.text}, "application/json")

    async def _outcome(self, request: Request, receive: Receive) -> Position | Problem:
        if request.method != "POST":
            detail = f"{request.method}: events are sent with POST."
            return Problem(HTTPStatus.METHOD_NOT_ALLOWED, detail, headers={"allow": "POST"})
        try:
            body = await read_body(receive, max_bytes=self._max_bytes)
            return await self._cache.publish(*events_in(request.texts(), body))
        except BodyTooLarge:
            detail = f"The body has more than {self._max_bytes} bytes. Send fewer events at once."
            # The server throws away what still comes. To close on the sender instead would often cost it this answer.
            return Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail)
        except MediaNotSupported as error:
            return Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, str(error), at="content-type")
        except Malformed as error:
            return Problem(HTTPStatus.BAD_REQUEST, str(error), at=error.at)
        except StoreError as error:
            _log.warning("publish.failed %s", {"error": repr(error)})
            return Problem(HTTPStatus.SERVICE_UNAVAILABLE, f"Not applied: {error}", headers=_RETRY_AFTER)
