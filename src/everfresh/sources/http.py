"""Events by HTTP: ASGI applications that publish what is sent to them."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from everfresh.asgi import Problem, Receive, Request, Scope, Send, answer, live, refuse, request_of
from everfresh.model.clock import Clock, wall_clock
from everfresh.model.errors import InvalidOption
from everfresh.sources.hooks import Hook
from everfresh.sources.intake import Intake
from everfresh.sources.joining import Joining, Publisher
from everfresh.sources.openapi import document_of
from everfresh.sources.room import Room

__all__ = ["EventsEndpoint", "Hook", "Hooks", "Publisher"]

# Sixteen bodies of the size that is taken, or very many small ones. Decoded, the worst take 25 times as much.
_MAX_HELD_BYTES = 16_777_216
_OPENAPI = "/openapi.json"


class Hooks:
    """An ASGI application: `POST` to each path publishes what its hook takes, `GET /openapi.json` describes them all.

    The answer is 202 once the events are applied, with the position of that. Everything else is a problem (RFC 9457):
    400 names the field that is wrong, 401 is for who has no key, 413 and 415 for what is not read, 429 and 503 say
    when to come back. Of a batch the events are applied, and what is none is told by its number. Who sends again does
    no harm. All requests together hold at most `max_held_bytes`; `clock` gives seconds since 1970.

    Raises:
        InvalidOption: no hook, a path that does not begin with a slash, or `max_held_bytes` is not above zero.
    """

    def __init__(
        self,
        cache: Publisher,
        hooks: Mapping[str, Hook],
        *,
        max_held_bytes: int = _MAX_HELD_BYTES,
        clock: Clock = wall_clock,
    ) -> None:
        for path in hooks or ("",):
            if not path.startswith("/"):
                raise InvalidOption(f"hooks: {path!r} is no path. Write {{'/events': Hook()}}.")
        room, joining = Room(max_held_bytes), Joining(cache)
        self._intakes = {path: Intake(hook, room, joining, clock) for path, hook in hooks.items()}
        self._document = document_of(hooks)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI scope."""
        request = await _request(scope, receive, send)
        if request is None:
            return
        intake = self._intakes.get(request.own_path)
        if intake is not None:
            await intake.serve(request, receive, send)
        elif request.own_path == _OPENAPI:
            await _describe(request, send, {**self._document, "servers": [{"url": request.root_path or "/"}]})
        else:
            await refuse(send, Problem(HTTPStatus.NOT_FOUND, "There is no hook at this path."))


class EventsEndpoint:
    """An ASGI application of one hook, wherever it is mounted; see `Hooks`, whose answers and options it has.

    `GET` on its path with `/openapi.json` after it describes it, if that is routed here too.

    Raises:
        InvalidOption: `max_held_bytes` is not above zero.
    """

    def __init__(
        self,
        cache: Publisher,
        hook: Hook | None = None,
        *,
        max_held_bytes: int = _MAX_HELD_BYTES,
        clock: Clock = wall_clock,
    ) -> None:
        self._hook = hook or Hook()
        self._intake = Intake(self._hook, Room(max_held_bytes), Joining(cache), clock)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI scope."""
        request = await _request(scope, receive, send)
        if request is None:
            return
        if request.path.endswith(_OPENAPI):
            path = request.path.removesuffix(_OPENAPI) or "/"
            await _describe(request, send, document_of({path: self._hook}))
        else:
            await self._intake.serve(request, receive, send)


async def _request(scope: Scope, receive: Receive, send: Send) -> Request | None:
    """The request of an HTTP scope; another scope is served here."""
    if scope["type"] == "http":
        return request_of(scope)
    if scope["type"] == "lifespan":
        await live(receive, send)
    else:
        await send({"type": "websocket.close"})
    return None


async def _describe(request: Request, send: Send, document: Mapping[str, object]) -> None:
    if request.method == "GET":
        await answer(send, HTTPStatus.OK, document, "application/json")
    else:
        detail = f"{request.method}: the description is read with GET."
        await refuse(send, Problem(HTTPStatus.METHOD_NOT_ALLOWED, detail, headers={"allow": "GET"}))
