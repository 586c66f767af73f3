"""Stream: sends one client what its connection keeps for it.

An open stream is one task, the server's own, that waits for the client to leave. Whoever offers also writes: past the
server's `send` where it shows its transport (see direct.py); else by a second task, which lives while something is
being sent. On Python 3.12 and later that runs at once, and has ended when the call returns unless the server says that
the client's buffers are full; so a delivery costs no turn of the event loop. On 3.11 it runs in the loop's next turn.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Sequence
from contextvars import copy_context
from dataclasses import dataclass

from everfresh.asgi import Problem, Receive, Send, Transport, transport_of
from everfresh.model.clock import Dice
from everfresh.model.position import Position
from everfresh.push.access import Grant
from everfresh.push.connection import Connection
from everfresh.push.direct import Response, chunk_of, response_of
from everfresh.push.frames import Frame, Part, bye, revoked
from everfresh.push.pulse import Vital
from everfresh.push.shared_gzip import HEAD, Checksum
from everfresh.push.tally import End, Tally

_log = logging.getLogger("everfresh.push")

OnSent = Callable[[str, int], None]
Headers = Sequence[tuple[bytes, bytes]]

# Exactly this content type: a stream is UTF-8 by definition. The last header keeps proxies from buffering.
_HEADERS = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store"), (b"x-accel-buffering", b"no")]
_GZIP = [(b"content-encoding", b"gzip"), (b"vary", b"accept-encoding")]
# Clients that were told goodbye come back spread over this time, not all at once.
_RETRY_FIRST_MS = 1000
_RETRY_SPREAD_MS = 4000
# Who has only lasted long enough comes back soon: lifetimes are spread already.
_RETURN_FIRST_MS = 100
_RETURN_SPREAD_MS = 900
# In the turn after the connection is closed a server has told so.
_TOLD_IN_S = 0.1
# What servers take before they say that a client is slow; the rest of what waits may still be overtaken by newer.
_MOST_BYTES = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """What all streams of an application have in common."""

    on_sent: OnSent | None
    dice: Dice
    tally: Tally


class Stream:
    """One open response. Offering never waits; what a slow client does not take is overtaken by the newest."""

    __slots__ = (
        "_checksum",
        "_connection",
        "_context",
        "_is_finished",
        "_is_waiting",
        "_is_writing",
        "_loop",
        "_manner",
        "_receive",
        "_recheck",
        "_response",
        "_send",
        "_task",
        "_writing",
        "ended_as",
        "vital",
    )

    def __init__(
        self,
        connection: Connection,
        *,
        manner: Manner,
        vital: Vital,
        is_gzip: bool = False,
        recheck: Callable[[], Awaitable[Grant | Problem]] | None = None,
    ) -> None:
        self._connection = connection
        self.ended_as = End.LEFT
        """How it ended, once it has: as the first call that ended it had it, or else by its client."""
        self.vital = vital
        self._manner = manner
        self._recheck = recheck
        self._checksum = Checksum() if is_gzip else None
        self._loop = asyncio.get_running_loop()
        self._is_finished = self._is_waiting = False
        self._is_writing = False
        # The server's, while it waits for the client to leave.
        self._task: asyncio.Task[object] | None = None
        self._send: Send | None = None
        self._receive: Receive | None = None
        self._response: Response | None = None
        # What `send` finds there is of this request, whoever offers.
        self._context = copy_context()
        self._writing: asyncio.Task[None] | None = None

    def offer(self, frame: Frame) -> bool:
        """Keep the frame to be sent, unless the client has a newer one of its topic; whether it was kept."""
        return self._connection.offer(frame)

    def deliver(self, frame: Frame) -> None:
        """Offer the frame, and flush: but in one step where nothing waits and the client keeps up, as mostly."""
        response = self._response
        if (
            response is None
            or self._is_writing
            or self._checksum is not None
            or response.flow.write_paused
            or response.disconnected
            or not self._connection.passes(frame)
        ):
            self._connection.offer(frame)
            self.flush()
        else:
            self._write_now((frame,), frame.chunk, response)

    def flush(self) -> None:
        """Send what is kept, now or as soon as what is being sent has gone."""
        if not self._is_writing and self._send is not None:
            frames = self._connection.take(_MOST_BYTES)
            if frames:
                self._begin(frames, self._send)

    @property
    def generation(self) -> int:
        """How often the stream was restarted."""
        return self._connection.generation

    def restart(self, first: Frame) -> int:
        """Send `first`; nothing sent before counts any more. The new generation waits for `settle`."""
        generation = self._connection.restart(first)
        self.flush()
        return generation

    def settle(self, owed: Iterable[Frame], *, generation: int) -> None:
        """Send what the client is owed, then what came meanwhile, then whatever comes."""
        self._connection.settle(owed, generation=generation)
        self.flush()

    async def recheck(self) -> Grant | Problem:
        """What the client may see now."""
        return Grant(()) if self._recheck is None else await self._recheck()

    def hold(self) -> None:
        """Send nothing until `release` was called as often."""
        self._connection.hold()

    def release(self, gone: Collection[str], is_over: bool) -> None:  # noqa: FBT001 - both as `drop` gives them
        """Go on; the client is told what is gone, and of that nothing else. `is_over`: nothing is left."""
        self._manner.tally.n_revoked += len(gone)
        if is_over and gone:
            self._ends(End.REVOKED)
        self._connection.release(gone)
        if gone:
            word = revoked(gone)
            tell = self._connection.end if is_over else self._connection.say
            tell(word)
        self.flush()

    def beat(self, handed_out: Position, word: Callable[[Position], Frame]) -> None:
        """Send word of the position that the client has reached, if nothing else is to be sent."""
        transport = self._transport()
        if transport is not None and transport.is_closing():
            # Not every server, nor every loop, says so.
            self._leave_soon()
            return
        position = self._connection.position(handed_out)
        if position is not None:
            self._connection.say(word(position))
            self.flush()

    def end(self) -> None:
        """Say goodbye and end."""
        self._ends(End.TOLD)
        self._say_goodbye(_RETRY_FIRST_MS, _RETRY_SPREAD_MS)

    def expire(self) -> None:
        """Say goodbye, since it has lasted long enough, and end."""
        self._ends(End.EXPIRED)
        self._say_goodbye(_RETURN_FIRST_MS, _RETURN_SPREAD_MS)

    def cut(self) -> None:
        """End now, whatever the client has not read."""
        self._ends(End.STALLED)
        transport = self._transport()
        if transport is not None:
            # The server's buffer goes with it. Only closed, it would be kept for as long as the client stalls.
            transport.abort()
        self._leave_soon()

    async def run(
        self, receive: Receive, send: Send, catch_up: Coroutine[None, None, None], headers: Headers = ()
    ) -> None:
        """Send until the client is gone, or goodbye is said, or the stream is cut; `catch_up` runs first."""
        task = self._task = asyncio.current_task()
        try:
            try:
                await self._start(receive, send, headers)
                self.flush()
                await catch_up
                self._is_waiting = True
                # Who sends a body after all, as HTTP/2 lets them without a word, would be read without end.
                while (message := await receive())["type"] != "http.disconnect" and not message.get("body"):
                    pass
                if self._is_finished:
                    # It was ended in this very task, which has not heard of its cancellation yet.
                    await asyncio.sleep(0)
            finally:
                catch_up.close()
                self._task = self._send = self._receive = self._response = None
                await self._stop_writing()
        except asyncio.CancelledError:
            # Our own way to end the wait; cancelled once more it is by the server.
            if not self._is_finished or task is None or task.uncancel():
                raise
        except OSError:
            # As ASGI has it since 2.4 for a client that is gone.
            return

    async def _start(self, receive: Receive, send: Send, headers: Headers) -> None:
        # What was answered before on this connection may fill its buffers still.
        self._receive, self.vital.sending_since = receive, self._loop.time()
        encoding = _GZIP if self._checksum is not None else []
        await send({"type": "http.response.start", "status": 200, "headers": [*_HEADERS, *encoding, *headers]})
        self.vital.sending_since = None
        self._send, self._response = send, response_of(send)

    def _begin(self, frames: Sequence[Frame], send: Send) -> None:
        response = self._response
        if response is not None:
            frames = self._write_through(frames, response)
        if frames:
            self._begin_task(frames, send)

    def _write_through(self, frames: Sequence[Frame], response: Response) -> Sequence[Frame]:
        """Write these, and what is kept, while the client keeps up; gives what is left."""
        connection = self._connection
        while frames and not (response.flow.write_paused or response.disconnected or connection.is_ended):
            is_shared = self._checksum is None and len(frames) == 1
            self._write_now(frames, frames[0].chunk if is_shared else chunk_of(self._joined(frames)), response)
            if self._response is None:
                return ()
            frames = connection.take(_MOST_BYTES)
        return frames

    def _write_now(self, frames: Sequence[Frame], chunk: bytes, response: Response) -> None:
        try:
            response.transport.write(chunk)
            if self._manner.on_sent is not None:
                _tell(self._manner.on_sent, frames)
        except Exception:  # noqa: BLE001 - a fault of the server, or of `on_sent`; one stream ends by it
            self._give_up()

    def _begin_task(self, frames: Sequence[Frame], send: Send) -> None:
        loop = self._loop
        self._is_writing = True
        if sys.version_info >= (3, 12):
            writing = asyncio.Task(self._write(frames, send), loop=loop, context=self._context, eager_start=True)
        else:
            writing = loop.create_task(self._write(frames, send), context=self._context)
        # Mostly all is sent by now.
        if self._is_writing:
            self._writing = writing
            self.vital.sending_since = loop.time()

    async def _write(self, frames: Sequence[Frame], send: Send) -> None:
        try:
            await self._write_all(frames, send)
        except OSError:
            # The client is gone.
            self._leave()
        except Exception:  # noqa: BLE001 - a fault of the server, or of `on_sent`; one stream ends by it
            self._give_up()
        finally:
            self._is_writing = False
            if self._writing is not None:
                self._writing = None
                self.vital.sending_since = None

    async def _write_all(self, frames: Sequence[Frame], send: Send) -> None:
        """Send these, and what is kept meanwhile, until nothing is."""
        while frames:
            plain = self._checksum is None and len(frames) == 1
            body = frames[0].wire if plain else self._joined(frames)
            await send({"type": "http.response.body", "body": body, "more_body": True})
            if self._manner.on_sent is not None:
                _tell(self._manner.on_sent, frames)
            frames = self._connection.take(_MOST_BYTES)
            if self._writing is not None:
                # The client takes what it is sent.
                self.vital.sending_since = self._loop.time()
        if self._connection.is_ended:
            await send({"type": "http.response.body", "body": self._checksum.end() if self._checksum else b""})
            self._leave()

    def _joined(self, frames: Sequence[Frame]) -> bytes:
        checksum = self._checksum
        if checksum is None:
            return b"".join([frame.wire for frame in frames])
        head = b"" if checksum.n_bytes else HEAD
        for frame in frames:
            checksum.add(frame.wire)
        return head + b"".join([frame.block for frame in frames])

    def _ends(self, how: End) -> None:
        if self.ended_as is End.LEFT:
            self.ended_as = how

    def _say_goodbye(self, first_ms: int, spread_ms: int) -> None:
        self._connection.end(bye(first_ms + int(spread_ms * self._manner.dice())))
        self.flush()

    def _transport(self) -> Transport | None:
        return transport_of(self._send) or transport_of(self._receive)

    def _give_up(self) -> None:
        transport = self._transport()
        if transport is not None and transport.is_closing() and self._is_waiting:
            # The client is gone.
            self._send = self._response = None
            self._leave_soon()
            return
        _log.exception("stream.failed")
        self._response = None
        self._leave()

    def _leave_soon(self) -> None:
        """Leave, as the connection is closed, but not before the server knows it.

        Who returns before that is reported to have forgotten the end. But a server may tell only a later request, which
        the client sent behind this one.
        """
        if self._is_waiting and transport_of(self._receive) is not None:
            self._loop.call_later(_TOLD_IN_S, self._leave)
        else:
            self._leave()

    def _leave(self) -> None:
        """End the wait for the client to leave."""
        self._is_finished = True
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _stop_writing(self) -> None:
        writing = self._writing
        if writing is not None:
            writing.cancel()
            await asyncio.wait([writing])


def _tell(on_sent: OnSent, frames: Iterable[Frame]) -> None:
    for frame in frames:
        if frame.part is Part.VALUE:
            on_sent(frame.topic, frame.version)
