"""Event streams end when the process does, and other answers do not."""

import asyncio
from collections.abc import Mapping
from types import SimpleNamespace
from typing import ClassVar

import pytest

from everfresh.asgi import Receive, Scope, Send
from everfresh.cli.streams import Streams
from everfresh.push.direct import response_of
from everfresh.push.ending import at_end

STREAM = [(b"Content-Type", b"text/event-stream; charset=utf-8")]
BYE = b'retry: 3000\nevent: bye\ndata: {"retry_ms":3000}\n\n'
PAGE = [(b"content-type", b"text/html")]


class Visit:
    """One request, answered as far as the test lets it."""

    def __init__(self, headers: list[tuple[bytes, bytes]] = STREAM) -> None:
        self._headers = headers
        self.has_begun = asyncio.Event()
        self.goes_on = asyncio.Event()
        self.sent: list[dict[str, object]] = []
        self.was_cancelled = False

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer in two parts."""
        await send({"type": "http.response.start", "status": 200, "headers": self._headers})
        await send({"type": "http.response.body", "body": b"first", "more_body": True})
        self.has_begun.set()
        try:
            await self.goes_on.wait()
        except asyncio.CancelledError:
            self.was_cancelled = True
            raise
        await send({"type": "http.response.body", "body": b"last"})

    async def send(self, message: dict[str, object]) -> None:
        """Take what the server would send."""
        self.sent.append(message)

    def begin(self, streams: Streams) -> asyncio.Task[None]:
        """Serve the request as servers do, in a task of its own."""
        return asyncio.create_task(streams({"type": "http"}, never, self.send))


async def never() -> Mapping[str, object]:
    """Nothing comes."""
    return await asyncio.get_running_loop().create_future()


async def nothing() -> None:
    """Nothing is waited for."""


def streams_of(visit: Visit) -> Streams:
    return Streams(visit.app, nothing, dice=lambda: 0.5)


async def test_a_stream_ends_with_a_word_when_to_come_back() -> None:
    """The application sees its client go; the client sees a whole answer."""
    visit = Visit()
    streams = streams_of(visit)
    task = visit.begin(streams)
    await visit.has_begun.wait()
    streams.end()
    await task

    assert visit.was_cancelled
    assert visit.sent[-1] == {"type": "http.response.body", "body": BYE}


async def test_a_stream_that_begins_later_ends_at_once() -> None:
    """On a connection that was open."""
    visit = Visit()
    streams = streams_of(visit)
    streams.end()
    await visit.begin(streams)

    assert visit.sent[-1]["body"] == BYE


async def test_any_other_answer_is_finished() -> None:
    """Within the patience of the server."""
    visit = Visit(PAGE)
    streams = streams_of(visit)
    task = visit.begin(streams)
    await visit.has_begun.wait()
    streams.end()
    visit.goes_on.set()
    await task

    assert visit.sent[-1] == {"type": "http.response.body", "body": b"last"}


async def test_a_stream_that_has_ended_is_forgotten() -> None:
    """Its task may do something else by then."""
    visit = Visit()
    streams = streams_of(visit)
    task = visit.begin(streams)
    visit.goes_on.set()
    await task
    streams.end()

    assert (visit.sent[-1]["body"], task.cancelled()) == (b"last", False)


async def test_a_server_that_cancels_a_stream_is_obeyed() -> None:
    """Only our own cancellation becomes a farewell."""
    visit = Visit()
    task = visit.begin(streams_of(visit))
    await visit.has_begun.wait()
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert visit.sent[-1]["body"] == b"first"


async def test_the_application_shuts_down_after_what_it_is_held_for() -> None:
    """It may close what others still use."""
    ended, told = asyncio.Event(), asyncio.Queue[str]()
    messages = iter(["lifespan.startup", "lifespan.shutdown"])

    async def receive() -> Mapping[str, object]:
        return {"type": next(messages)}

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for _ in range(2):
            told.put_nowait(str((await receive())["type"]))

    living = asyncio.create_task(Streams(app, ended.wait)({"type": "lifespan"}, receive, Visit().send))
    first = await told.get()
    await asyncio.sleep(0)
    was_held = told.empty()
    ended.set()
    await living

    assert (first, was_held, told.get_nowait()) == ("lifespan.startup", True, "lifespan.shutdown")


async def test_other_scopes_are_passed_on() -> None:
    """As they are."""
    seen: list[object] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["type"])

    await Streams(app, nothing)({"type": "websocket"}, never, Visit().send)

    assert seen == ["websocket"]


async def test_a_stream_that_listens_ends_itself() -> None:
    """It is told, and not cut: what it says last is its own affair."""
    told, has_begun = asyncio.Event(), asyncio.Event()
    visit = Visit()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        at_end(scope, told.set)
        await send({"type": "http.response.start", "status": 200, "headers": STREAM})
        has_begun.set()
        await told.wait()
        await send({"type": "http.response.body", "body": b"my own goodbye"})

    streams = Streams(app, nothing)
    task = visit.begin(streams)
    await has_begun.wait()
    streams.end()
    await task

    assert visit.sent[-1]["body"] == b"my own goodbye"


async def test_a_stream_that_begins_to_listen_late_is_told_at_once() -> None:
    """On a connection that was open."""
    told = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        at_end(scope, told.set)
        await told.wait()

    streams = Streams(app, nothing)
    streams.end()
    await streams({"type": "http"}, never, Visit().send)

    assert told.is_set()


async def test_a_stream_that_listens_and_does_not_end_is_cut_by_the_server() -> None:
    """Whose patience has an end; nothing is written into its answer then."""
    visit = Visit()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        at_end(scope, lambda: None)
        await visit.app(scope, receive, send)

    streams = Streams(app, nothing)
    task = visit.begin(streams)
    await visit.has_begun.wait()
    streams.end()
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert visit.sent[-1]["body"] == b"first"


async def test_a_stream_that_ends_itself_is_written_past_send() -> None:
    """As under the server alone. Of any other nobody would notice the end."""
    found: list[object] = []

    class Cycle:
        transport = asyncio.Transport()
        flow = SimpleNamespace(write_paused=False)
        scope: ClassVar = {"method": "GET"}
        chunked_encoding = response_started = True
        response_complete = disconnected = False

        async def send(self, message: dict[str, object]) -> None:
            pass

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        found.append(response_of(send))
        at_end(scope, found.clear)
        found.append(response_of(send))

    cycle = Cycle()
    await Streams(app, nothing)({"type": "http"}, never, cycle.send)

    assert found == [None, cycle]


async def test_the_connection_behind_is_to_be_found() -> None:
    """So that a client that reads nothing can be cut off, buffer and all."""
    found: list[object] = []

    class Cycle:
        transport = "the connection"

        async def send(self, message: dict[str, object]) -> None:
            pass

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        found.append(send.__self__.transport)  # type: ignore[attr-defined] # as uvicorn has it

    await Streams(app, nothing)({"type": "http"}, never, Cycle().send)
    await Streams(app, nothing)({"type": "http"}, never, never)  # type: ignore[arg-type] # any function

    assert found == ["the connection", None]
