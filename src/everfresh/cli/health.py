"""Health: whether this process lives, and whether it is ready, each found out when it is asked.

- `/live`: the event loop turns, as it answers at all, and the worker's loops have gone round lately. Else only a new
  process helps. A store that does not answer makes no difference here: to start anew would not bring it back.
- `/ready`: all parts have started, the store answers a real request, the feed is followed up to what the store said,
  and the end is not asked for. Who serves readers that call their functions when the store is gone is ready without it,
  and says that it is degraded: else an outage of the store would take all who could serve out of service. Likewise,
  who only consumes is ready when each of its sources is connected and its events are applied; who serves too, is
  degraded without.
- `/metrics`: what Prometheus reads, where its library is installed.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from everfresh.asgi import Problem, Receive, Scope, Send, answer, live, refuse, request_of
from everfresh.cache import Cache
from everfresh.cache.secrets import told_of
from everfresh.cli.exposing import exposition
from everfresh.cli.places import Report
from everfresh.feed.streaming import StreamFollower
from everfresh.model.position import Position
from everfresh.refresh import Worker
from everfresh.sources.reports import problems

# Whoever probes waits a second or two.
ANSWER_S = 1.0
# A round waits for the store at most, which gives up within seconds.
QUIET_S = 30.0
_PAUSE_S = 0.005
_THERE_ARE = "There are GET /live and GET /ready, and GET /metrics where prometheus-client is installed."


class Health:
    """What there is to find out, and an ASGI application that answers it."""

    def __init__(
        self, cache: Cache, stopping: asyncio.Event, *, is_serving: bool = False, is_consuming: bool = False
    ) -> None:
        self._cache = cache
        self._is_serving = is_serving
        self._is_consuming = is_consuming
        self._needs_store = not is_serving or cache.on_store_failure != "call"
        self._stopping = stopping
        self.worker: Worker | None = None
        """The one whose loops are looked at."""
        self.waits_for: set[str] = set()
        """The parts that have not started yet."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI scope."""
        await probed(scope, receive, send, self.life, self.report)

    async def life(self) -> Report:
        """Whether this process lives."""
        return Report(reasons=self.dead())

    async def report(self) -> Report:
        """Whether it is ready."""
        failing = await self._failing()
        reasons = self.unready()
        degraded: list[str] = []
        (reasons if self._needs_store else degraded).extend(failing)
        (degraded if self._is_serving else reasons).extend(self._troubles())
        return Report(reasons=reasons, degraded=degraded, has_started=not self.waits_for)

    def dead(self) -> list[str]:
        """Why only a new process helps; nothing, if this one lives."""
        quiet_s = 0.0 if self.worker is None else self.worker.quiet_s
        return [f"worker: its loop has not gone round for {quiet_s:.0f} s"] if quiet_s > QUIET_S else []

    def unready(self) -> list[str]:
        """Why nothing should be asked of this process now, whatever its store does; nothing, if it may be."""
        reasons = [f"starting: {part}" for part in sorted(self.waits_for)]
        if self._stopping.is_set():
            reasons.append("stopping")
        return [*reasons, *self.dead()]

    def _troubles(self) -> list[str]:
        """What is wrong with the sources that this process is to consume."""
        return [f"source {problem}" for problem in problems()] if self._is_consuming else []

    async def _failing(self) -> list[str]:
        position: Position | None = None
        try:
            async with asyncio.timeout(ANSWER_S):
                position = await self._cache.position()
                while not self._follows(position):  # noqa: ASYNC110 - nobody tells how far the feed is followed
                    await asyncio.sleep(_PAUSE_S)
        except TimeoutError:
            return [f"{'store: no answer' if position is None else 'feed: not followed'} within {ANSWER_S:g} s"]
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the answer
            return [f"store: {told_of(error)}"]
        return []

    def _follows(self, position: Position) -> bool:
        engine = self._cache.engine
        if isinstance(engine.follower, StreamFollower):
            return engine.follower.is_current
        # A store of one process tells each step as it is taken.
        return not engine.store.is_shared or engine.follower.position.covers(position)


async def probed(
    scope: Scope,
    receive: Receive,
    send: Send,
    life: Callable[[], Awaitable[Report]],
    report: Callable[[], Awaitable[Report]],
) -> None:
    """Serve one ASGI scope of whoever asks for the health of what these tell of."""
    if scope["type"] == "lifespan":
        await live(receive, send)
        return
    if scope["type"] != "http":
        await send({"type": "websocket.close"})
        return
    match request_of(scope).method, scope["path"]:
        case ("GET" | "HEAD", "/live"):
            await _say(send, await life())
        case ("GET" | "HEAD", "/ready"):
            await _say(send, await report())
        case ("GET" | "HEAD", "/metrics") if (metrics := exposition()) is not None:
            headers = [(b"content-type", metrics.media_type.encode()), (b"cache-control", b"no-store")]
            await send({"type": "http.response.start", "status": HTTPStatus.OK.value, "headers": headers})
            await send({"type": "http.response.body", "body": metrics.page})
        case _:
            await refuse(send, Problem(HTTPStatus.NOT_FOUND, _THERE_ARE))


async def _say(send: Send, report: Report) -> None:
    status = HTTPStatus.SERVICE_UNAVAILABLE if report.reasons else HTTPStatus.OK
    document = {"ok": not report.reasons, "reasons": report.reasons, "degraded": report.degraded, "pid": os.getpid()}
    await answer(send, status, document, "application/json")
