"""Updates: the ASGI application that browsers follow."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import AsyncExitStack
from datetime import timedelta
from http import HTTPStatus

from everfresh.asgi import Problem, Receive, Scope, Send, live, refuse, request_of
from everfresh.model.clock import Dice, fair_dice, seconds_of
from everfresh.model.errors import InvalidOption, StoreError
from everfresh.model.position import Position
from everfresh.push.fanout import Fanout, Followed
from everfresh.push.following import Following
from everfresh.push.resume import Start, start_of
from everfresh.push.stream import OnSent, Stream
from everfresh.push.topics import Asked, Resolve, Topic, asked_of

_log = logging.getLogger("everfresh.push")

# Half of what the shortest common proxy waits for a byte (nginx: 60 s), with room for one that is late.
_HEARTBEAT = timedelta(seconds=20)
# A client that reads has its farewell after one round trip; one that does not is not worth a slow shutdown.
_GRACE = timedelta(seconds=1)
_RETRY_AFTER = {"retry-after": "5"}


class Updates:
    """An ASGI application: `GET ?topic=a&topic=b` is a stream of server-sent events with what happens to those topics.

    `topics` says what a name stands for; an unknown one is answered with 404. Mount it beside middleware, not behind
    it: some of it holds streams back. `on_sent(topic, version)` is called each time a value was handed to the server
    for one client. Each process follows the feed once, however many streams are open, and only while one is.

    Raises:
        InvalidOption: the heartbeat is not above zero.
    """

    def __init__(
        self,
        cache: Followed,
        topics: Resolve | Mapping[str, Topic],
        *,
        heartbeat: timedelta = _HEARTBEAT,
        on_sent: OnSent | None = None,
        dice: Dice = fair_dice,
    ) -> None:
        self._cache = cache
        self._resolve: Resolve = topics if callable(topics) else topics.get
        self._heartbeat_s = _above_zero(seconds_of(heartbeat, option="heartbeat"))
        self._on_sent: OnSent = on_sent or _ignore
        self._dice = dice
        self._following = Following(cache)
        self._streams: set[Stream] = set()
        self._is_draining = False
        self._all_ended = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI scope."""
        if scope["type"] == "lifespan":
            await live(receive, send, self.drain)
        elif scope["type"] == "http":
            await self._serve(scope, receive, send)
        else:
            await send({"type": "websocket.close"})

    async def drain(self, grace: timedelta = _GRACE) -> None:
        """Say goodbye on every stream and end it; new ones are refused from now on.

        Call it in the server's event loop before the server waits for its connections: servers wait for open streams,
        and ASGI's own shutdown message comes only after them. A client that does not read is cut off after `grace`.
        """
        self._is_draining = True
        for stream in self._streams:
            stream.end()
        if not self._streams:
            return
        try:
            async with asyncio.timeout(seconds_of(grace, option="grace")):
                await self._all_ended.wait()
        except TimeoutError:
            for stream in self._streams:
                stream.cut()
            await self._all_ended.wait()

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = asked_of(request_of(scope), self._resolve)
        if isinstance(asked, Problem):
            await refuse(send, asked)
        elif self._is_draining:
            await refuse(send, _unavailable("the server is shutting down"))
        else:
            async with AsyncExitStack() as stack:
                try:
                    fanout = await stack.enter_async_context(self._following.shared())
                    newest = await self._cache.position()
                except StoreError as error:
                    await refuse(send, _unavailable(str(error)))
                    return
                await self._stream(asked, fanout, newest, receive, send)

    async def _stream(self, asked: Asked, fanout: Fanout, newest: Position, receive: Receive, send: Send) -> None:
        start = start_of(asked.cursor, newest=newest, handed_out=fanout.position)
        stream = Stream(
            start,
            handed_out=lambda: fanout.position,
            heartbeat_s=self._heartbeat_s,
            on_sent=self._on_sent,
            dice=self._dice,
        )
        # Registered before anything is read, and before anything is waited for: no commit falls in between.
        fanout.add(stream, asked.topics)
        self._streams.add(stream)
        if self._is_draining:
            stream.end()
        try:
            # Looked at, an entry is refreshed before others, and is never dropped as cold.
            with self._cache.watching(*(topic.key for topic in asked.topics.values())):
                await stream.run(receive, send, _catch_up(stream, stream.generation, fanout, asked, start))
        finally:
            fanout.remove(stream)
            self._streams.discard(stream)
            if self._is_draining and not self._streams:
                self._all_ended.set()


async def _catch_up(stream: Stream, generation: int, fanout: Fanout, asked: Asked, start: Start) -> None:
    try:
        owed = await fanout.owed(asked.topics, start)
    except StoreError:
        _log.exception("catch_up.failed")
        stream.end()
    else:
        stream.settle(owed, generation=generation)


def _unavailable(why: str) -> Problem:
    return Problem(
        HTTPStatus.SERVICE_UNAVAILABLE, f"No stream now: {why}. Come back in a few seconds.", headers=_RETRY_AFTER
    )


def _above_zero(heartbeat_s: float) -> float:
    if heartbeat_s <= 0:
        raise InvalidOption(f"heartbeat: {heartbeat_s} s would send without end. Use at least a second.")
    return heartbeat_s


def _ignore(topic: str, version: int) -> None:
    """Nobody wants to know."""
