"""Updates: the ASGI application that browsers follow."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import timedelta
from http import HTTPStatus

from everfresh.asgi import Problem, Receive, Request, Scope, Send, answer, answer_empty, live, refuse, request_of
from everfresh.model.clock import Dice, fair_dice, seconds_of, wall_clock
from everfresh.model.errors import InvalidOption, StoreError
from everfresh.model.position import Position
from everfresh.push.access import Access, Grant
from everfresh.push.bounds import ending_of, refusal_of
from everfresh.push.connection import Connection
from everfresh.push.ending import at_end
from everfresh.push.following import Following, Run
from everfresh.push.frames import revoked
from everfresh.push.limits import Counted, Limits, Place, Polls, TooMany
from everfresh.push.owing import Followed
from everfresh.push.polling import Polled, Recent, polled
from everfresh.push.pulse import Pace, Vital
from everfresh.push.resume import Start, start_of
from everfresh.push.shared_gzip import is_accepted
from everfresh.push.stream import Manner, OnSent, Stream
from everfresh.push.tally import Tally
from everfresh.push.topics import Asked, Cursor, Resolve, Topic, asked_of

_log = logging.getLogger("everfresh.push")

# A third of what the shortest common proxy waits for a byte (nginx: 60 s), with room for one that is late.
_HEARTBEAT = timedelta(seconds=20)
# A phone in a tunnel is back within this, or will have to come back anyway.
_PATIENCE = timedelta(seconds=30)
# So long a stream lasts: who comes back is checked anew, and finds the process that has the fewest.
_LIFETIME = timedelta(minutes=15)
# Each lasts a little less than that, by chance, so that those who came together do not come back together.
_LIFETIME_SPREAD = 0.2
# A client that reads has its farewell after one round trip; one that does not is not worth a slow shutdown.
_GRACE = timedelta(seconds=1)
_RETRY_AFTER = {"retry-after": "5"}
# How often a client asks to whom no stream comes through, spread by chance.
_POLL_FIRST_MS = 4000
_POLL_SPREAD_MS = 2000
# Rights that are other ones each time they are asked for are no answer.
_N_ASKED = 5


Granted = tuple[Grant, Mapping[str, Topic], Collection[str]]
"""What is granted, the topics of that, and the names of the rest."""


class Updates:
    """An ASGI application: `GET ?topic=a&topic=b` is a stream of server-sent events with what happens to those topics.

    `topics` says what a name stands for; an unknown one is answered with 404. Who may follow them is said by `access`:
    everybody, if nothing is; how many streams there may be, by `limits`. A client that takes nothing for as long as
    `patience` is cut off, and each stream ends after at most its `lifetime`: the client comes back by itself. With
    `compress` streams are sent as gzip to who accepts it, compressed once for all. `on_sent(topic, version)` is called
    each time a value was handed to the server for one client. Mount it beside middleware, not behind it: some of it
    holds streams back. Each process follows the feed once, however many streams are open, and only while one is.

    Raises:
        InvalidOption: a duration is not above zero.
    """

    def __init__(  # noqa: PLR0913 - each option is a decision of its own
        self,
        cache: Followed,
        topics: Resolve | Mapping[str, Topic],
        *,
        access: Access | None = None,
        limits: Limits | None = None,
        heartbeat: timedelta = _HEARTBEAT,
        patience: timedelta = _PATIENCE,
        lifetime: timedelta = _LIFETIME,
        compress: bool = False,
        on_sent: OnSent | None = None,
        dice: Dice = fair_dice,
    ) -> None:
        self.tally = Tally()
        """What became of its streams, in numbers."""
        self._cache = cache
        self._resolve: Resolve = topics if callable(topics) else topics.get
        self._access = access or Access()
        self._is_for_all = access is None
        self._counted = Counted(limits or Limits())
        self._polls = Polls(limits or Limits())
        self._pace = Pace(
            heartbeat_s=_above_zero(heartbeat, option="heartbeat"),
            patience_s=_above_zero(patience, option="patience"),
            lifetime_s=_above_zero(lifetime, option="lifetime"),
        )
        self._compresses = compress
        self._manner = Manner(on_sent=on_sent, dice=dice, tally=self.tally)
        self._following = Following(cache, self._pace, self.tally)
        self._recent = Recent(lambda: self._following.showcase)
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

    @property
    def n_streams(self) -> int:
        """How many streams are open."""
        return len(self._streams)

    async def drain(self, grace: timedelta = _GRACE) -> None:
        """Say goodbye on every stream and end it; new ones are refused from now on.

        Call it in the server's event loop before the server waits for its connections: servers wait for open streams,
        and ASGI's own shutdown message comes only after them. A client that does not read is cut off after `grace`.
        """
        self._is_draining = True
        for stream in [*self._streams]:
            stream.end()
        if not self._streams:
            return
        try:
            async with asyncio.timeout(seconds_of(grace, option="grace")):
                await self._all_ended.wait()
        except TimeoutError:
            for stream in [*self._streams]:
                stream.cut()
            await self._all_ended.wait()

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = request_of(scope)
        preflight = self._access.preflight(request)
        if preflight is not None:
            await answer_empty(send, preflight)
            return
        try:
            asked = self._asked(request)
            if isinstance(asked, Problem):
                problem: Problem | None = asked
            elif asked.is_poll:
                problem = await self._answer(asked, request, send)
            else:
                # Counted before anybody is asked: what strangers can have asked at once has a bound too.
                with self._counted.open(request) as place:
                    problem = await self._follow(asked, request, place, scope, receive, send)
        except StoreError as error:
            problem = _unavailable(str(error))
        except TooMany as error:
            headers = {"retry-after": str(error.wait_s)}
            problem = Problem(HTTPStatus.TOO_MANY_REQUESTS, str(error), headers=headers)
        if problem is not None:
            self.tally.refused[problem.status.value] += 1
            ending = ending_of(request, scope.get("http_version"))
            headers = {**problem.headers, **self._access.headers(request), **ending}
            await refuse(send, replace(problem, headers=headers))

    def _asked(self, request: Request) -> Asked | Problem:
        refusal = refusal_of(request)
        asked = asked_of(request, self._resolve) if refusal is None else refusal
        return _unavailable("the server is shutting down") if self._is_draining and isinstance(asked, Asked) else asked

    async def _answer(self, asked: Asked, request: Request, send: Send) -> Problem | None:
        now = asyncio.get_running_loop().time()
        self._polls.come(request, now)
        granted = await self._granted(asked, request)
        if isinstance(granted, Problem):
            return granted
        self._polls.come_as(granted[0].user, now)
        document = await self._polled(asked, request, granted)
        if isinstance(document, Problem):
            return document
        self.tally.n_polls += 1
        await answer(send, HTTPStatus.OK, document, "application/json", self._access.headers(request))
        return None

    async def _polled(self, asked: Asked, request: Request, granted: Granted) -> Polled | Problem:
        retry_ms = _POLL_FIRST_MS + int(_POLL_SPREAD_MS * self._manner.dice())
        for _ in range(_N_ASKED):
            grant, topics, refused = granted
            first = (revoked(refused),) if refused else ()
            document = await polled(self._cache, topics, asked.cursor, first, showcase=self._recent, retry_ms=retry_ms)
            # What was read may be newer than a change of rights after the question.
            again = await self._granted(asked, request) if grant.subjects else granted
            if isinstance(again, Problem):
                return again
            if again[1].keys() == topics.keys():
                return document
            granted = again
        return _unavailable("what may be followed changes all the time")

    async def _granted(self, asked: Asked, request: Request) -> Granted | Problem:
        """What is granted; a problem when there is nothing."""
        grant = await self._access.grant(request, asked.names, self._cache)
        if isinstance(grant, Problem):
            return grant
        if grant.expires_at is not None and grant.expires_at <= wall_clock():
            return Problem(HTTPStatus.UNAUTHORIZED, "The grant is over. Sign in, or ask for another token.")
        unknown = asked.names - asked.topics.keys()
        if unknown and (self._is_for_all or unknown == asked.names):
            # Who may not ask for a name is not told whether it stands for anything.
            return Problem(HTTPStatus.NOT_FOUND, f"Nothing is offered here under {min(unknown)[:80]!r}.", at="topic")
        refused = [name for name in asked.names if name not in grant.topics or name in unknown]
        if not refused:
            return grant, asked.topics, ()
        return grant, {name: topic for name, topic in asked.topics.items() if name not in refused}, refused

    async def _follow(
        self, asked: Asked, request: Request, place: Place, scope: Scope, receive: Receive, send: Send
    ) -> Problem | None:
        run = await self._following.join()
        try:
            # What changes while this is asked is told by the feed, which is followed already.
            mark = run.fanout.mark
            granted = await self._granted(asked, request)
            if isinstance(granted, Problem):
                return granted
            grant, topics, refused = granted
            place.of(grant.user)
            start = await self._start(asked.cursor, run)
            stream = self._opened(start, run, request, asked.names, grant, refused)
            try:
                # Registered before anything is read, and before anything is waited for: no commit falls in between.
                run.fanout.add(stream, topics, grant.subjects, mark=mark)
                self._begin(stream, run, scope)
                catch_up = _catch_up(stream, stream.generation, run, topics, start)
                # A stream is long, and there are thousands: what is kept here is kept in each.
                del asked, granted, grant, start, topics, refused
                await stream.run(receive, send, catch_up, self._headers(request))
            finally:
                self._close(stream, run)
            return None
        finally:
            await self._following.leave(run)

    async def _start(self, cursor: Cursor, run: Run) -> Start:
        # What was handed out is known to have been: only of what lies beyond has the store to be asked.
        is_known = not isinstance(cursor, Position) or run.fanout.position.covers(cursor)
        newest = run.fanout.position if is_known else await self._cache.position()
        handed_out = run.fanout.position
        return start_of(cursor, newest=newest, handed_out=handed_out, heartbeat_s=self._pace.heartbeat_s)

    def _opened(
        self,
        start: Start,
        run: Run,
        request: Request,
        names: Collection[str],
        grant: Grant,
        refused: Collection[str],
    ) -> Stream:
        now = asyncio.get_running_loop().time()
        lifetime_s = self._pace.lifetime_s * (1 - _LIFETIME_SPREAD * self._manner.dice())
        vital = Vital(beats_at=now + self._pace.heartbeat_s, ends_at=now + lifetime_s)

        async def recheck() -> Grant | Problem:
            granted = await self._access.grant(request, names, self._cache)
            if isinstance(granted, Grant):
                _bound(vital, granted)
                run.pulse.look_again(stream)
            return granted

        _bound(vital, grant)
        accepted = self._compresses and is_accepted(request.texts().get("accept-encoding", ""))
        first = (*start.frames, revoked(refused)) if refused else start.frames
        stream = Stream(
            Connection(first, cursor=start.cursor, tally=self.tally),
            manner=self._manner,
            vital=vital,
            is_gzip=accepted,
            recheck=recheck if grant.subjects else None,
        )
        return stream

    def _headers(self, request: Request) -> list[tuple[bytes, bytes]]:
        return [(name.encode(), value.encode()) for name, value in self._access.headers(request).items()]

    def _begin(self, stream: Stream, run: Run, scope: Scope) -> None:
        run.pulse.put(stream)
        self._streams.add(stream)
        self.tally.n_opened += 1
        at_end(scope, stream.end)
        if self._is_draining:
            stream.end()

    def _close(self, stream: Stream, run: Run) -> None:
        run.fanout.remove(stream)
        run.pulse.remove(stream)
        if stream in self._streams:
            self._streams.discard(stream)
            self.tally.ended[stream.ended_as] += 1
        if self._is_draining and not self._streams:
            self._all_ended.set()


async def _catch_up(stream: Stream, generation: int, run: Run, topics: Mapping[str, Topic], start: Start) -> None:
    try:
        owed = await run.fanout.owed(stream, topics, start)
    except StoreError:
        _log.exception("catch_up.failed")
        stream.end()
    else:
        stream.settle(owed, generation=generation)


def _bound(vital: Vital, grant: Grant) -> None:
    """End no later than the grant."""
    if grant.expires_at is not None:
        left_s = grant.expires_at - wall_clock()
        vital.ends_at = min(vital.ends_at, asyncio.get_running_loop().time() + left_s)


def _unavailable(why: str) -> Problem:
    return Problem(
        HTTPStatus.SERVICE_UNAVAILABLE, f"No stream now: {why}. Come back in a few seconds.", headers=_RETRY_AFTER
    )


def _above_zero(duration: timedelta, *, option: str) -> float:
    seconds = seconds_of(duration, option=option)
    if seconds <= 0:
        raise InvalidOption(f"{option}: {seconds} s would send without end. Use at least a second.")
    return seconds
