"""The tracker's HTTP API.

Questions are answered slowly on purpose: the answer is read first and sent after the delay, so that it may be out of
date when it arrives, as with any slow upstream. Changes are written, announced and answered at once: the demo
measures the way from a change to the browser, and a slow acknowledgement would only blur the figure.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncGenerator
from typing import TypeVar

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from everfresh.demo.tracker import changes
from everfresh.demo.tracker.announce import Announcer
from everfresh.demo.tracker.changes import Record
from everfresh.demo.tracker.model import Change, NewComment, NewIssue, Refused, UnknownIssue
from everfresh.demo.tracker.people import TEAM_BY_NAME
from everfresh.demo.tracker.storage import FILTERS, Storage

T = TypeVar("T")
MAX_ROWS = 500
MAX_DAYS = 90


class Slowness:
    """The delay of every answer: `delay_s`, give or take a third."""

    def __init__(self, delay_s: float, *, rng: random.Random) -> None:
        self._delay_s = delay_s
        self._rng = rng
        self._over = asyncio.Event()

    def next_delay_s(self) -> float:
        """How long the next answer takes."""
        return self._delay_s * self._rng.uniform(2 / 3, 4 / 3)

    async def wait(self) -> None:
        """Let the delay pass, or return as soon as the tracker stops."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._over.wait(), self.next_delay_s())

    async def end(self) -> None:
        """Let every answer go now: the tracker stops."""
        self._over.set()


class Api:
    """The endpoints; each answers JSON, errors as problem+json."""

    def __init__(self, storage: Storage, slowness: Slowness, announcer: Announcer | None) -> None:
        self._storage = storage
        self._slowness = slowness
        self._announcer = announcer

    async def issues(self, request: Request) -> Response:
        """GET /issues?team=&component=&state=&reviewer=&assignee=&limit=."""
        filters = {name: value for name, value in request.query_params.items() if name in FILTERS}
        found = self._storage.issues(filters, limit=_number(request, "limit", MAX_ROWS, most=MAX_ROWS))
        return await self._slowly(found)

    async def issue(self, request: Request) -> Response:
        """GET /issues/{key}."""
        return await self._slowly(self._storage.issue(request.path_params["key"]))

    async def activity(self, request: Request) -> Response:
        """GET /activity?team=&limit=."""
        limit = _number(request, "limit", 20, most=MAX_ROWS)
        return await self._slowly(self._storage.activity(_team(request), limit=limit))

    async def flow(self, request: Request) -> Response:
        """GET /flow?team=&days=."""
        days = _number(request, "days", 14, most=MAX_DAYS)
        return await self._slowly(self._storage.flow(_team(request), days=days, now=time.time()))

    async def create(self, request: Request) -> Response:
        """POST /issues."""
        new = await _decoded(request, NewIssue)
        prefix = TEAM_BY_NAME[new.team].prefix if new.team in TEAM_BY_NAME else ""
        key = self._storage.next_key(prefix) if prefix else ""
        return self._written(changes.create(new, key=key, now=time.time()), status=201)

    async def change(self, request: Request) -> Response:
        """PATCH /issues/{key}."""
        before = self._storage.issue(request.path_params["key"])
        record = changes.change(before, await _decoded(request, Change), now=time.time())
        return _json(before) if record is None else self._written(record)

    async def comment(self, request: Request) -> Response:
        """POST /issues/{key}/comments."""
        before = self._storage.issue(request.path_params["key"])
        record = changes.comment(before, await _decoded(request, NewComment), now=time.time())
        return self._written(record, status=201)

    async def _slowly(self, answer: object) -> Response:
        await self._slowness.wait()
        return _json(answer)

    def _written(self, record: Record, *, status: int = 200) -> Response:
        self._storage.write(record)
        if self._announcer is not None:
            self._announcer.wake()
        return _json(record.issue, status=status)


def create_tracker(storage: Storage, slowness: Slowness, announcer: Announcer | None) -> Starlette:
    """The tracker as an ASGI application; while it runs, the announcer does too."""
    api = Api(storage, slowness, announcer)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[None]:
        async with asyncio.TaskGroup() as group:
            announcing = [] if announcer is None else [group.create_task(announcer.run())]
            yield
            for task in announcing:
                task.cancel()

    routes = [
        Route("/issues", api.issues, methods=["GET"]),
        Route("/issues", api.create, methods=["POST"]),
        Route("/issues/{key}", api.issue, methods=["GET"]),
        Route("/issues/{key}", api.change, methods=["PATCH"]),
        Route("/issues/{key}/comments", api.comment, methods=["POST"]),
        Route("/activity", api.activity, methods=["GET"]),
        Route("/flow", api.flow, methods=["GET"]),
    ]
    return Starlette(routes=routes, lifespan=lifespan, exception_handlers={Refused: _refuse})


async def _refuse(_: Request, problem: Exception) -> Response:
    status = 404 if isinstance(problem, UnknownIssue) else 400
    body = {"type": "about:blank", "status": status, "title": "The request does not fit", "detail": str(problem)}
    return _json(body, status=status, media_type="application/problem+json")


async def _decoded(request: Request, kind: type[T]) -> T:
    # A form of another site can send text, but not this type without being asked first.
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise Refused("content-type: it is not JSON. Send application/json.")
    try:
        return msgspec.json.decode(await request.body(), type=kind)
    except msgspec.DecodeError as exc:
        raise Refused(f"body: {exc}") from exc


def _json(answer: object, *, status: int = 200, media_type: str = "application/json") -> Response:
    return Response(msgspec.json.encode(answer), status_code=status, media_type=media_type)


def _team(request: Request) -> str:
    team = request.query_params.get("team", "")
    if team not in TEAM_BY_NAME:
        raise Refused(f"team: {team!r} is unknown. Use one of {', '.join(TEAM_BY_NAME)}.")
    return team


def _number(request: Request, name: str, default: int, *, most: int) -> int:
    text = request.query_params.get(name, str(default))
    if not text.isascii() or not text.isdigit() or not 0 < int(text) <= most:
        raise Refused(f"{name}: {text[:20]!r} does not fit. Use a number from 1 to {most}.")
    return int(text)
