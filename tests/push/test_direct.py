"""Writes past ASGI: the same bytes as by `send`, and only where the server shows what it looks at itself."""

import asyncio
from collections.abc import Mapping
from typing import Any, Self

import httpx2
import pytest

from everfresh import Key
from everfresh.asgi import Receive, Scope, Send
from everfresh.push import Topic, Updates
from everfresh.push.direct import chunk_of, response_of
from everfresh.testing.waiting import soon
from tests.push.fake import Call, FakeCache, calling
from tests.push.serving import serving, watching

TOPICS = {name: Topic(Key(name)) for name in ("a", "b")}


class Response(Call):
    """A call whose server shows the response, as uvicorn does; `written` is what went past `send`."""

    def __init__(self) -> None:
        super().__init__(1)
        self.flow = Flow()
        self.transport = self
        self.scope = {"method": "GET"}
        self.chunked_encoding: bool | None = True
        self.response_started = True
        self.response_complete = self.disconnected = False
        self.is_closed = False
        self.written: list[bytes] = []
        self.fault: Exception | None = None

    def write(self, data: bytes) -> None:
        if self.fault is not None:
            raise self.fault
        self.written.append(data)

    def abort(self) -> None:
        self.is_closed = True

    def is_closing(self) -> bool:
        return self.is_closed


class Flow:
    """Whether the client keeps up."""

    def __init__(self) -> None:
        self.write_paused = False


class Followed:
    """A cache with the topic `a`, and a stream of it that writes directly."""

    def __init__(self) -> None:
        self.cache = FakeCache()
        self.cache.commit("a", value="first")
        self.cache.batches.get_nowait()
        self.call = Response()
        self.sent: list[int] = []
        self.updates = Updates(self.cache, TOPICS, on_sent=lambda _, version: self.sent.append(version))

    async def __aenter__(self) -> Self:
        scope = {"type": "http", "method": "GET", "headers": [], "query_string": b"topic=a"}
        self.call.task = asyncio.create_task(self.updates(scope, self.call.receive, self.call.send))
        await soon(lambda: "first" in self.told, what="the stream has begun")
        return self

    async def __aexit__(self, *_: object) -> None:
        self.call.inbox.put_nowait({"type": "http.disconnect"})
        await asyncio.wait([self.call.task])

    @property
    def told(self) -> str:
        return b"".join(self.call.written).decode()

    @property
    def bodies(self) -> list[Mapping[str, Any]]:
        return [message for message in self.call.sent if message["type"] == "http.response.body"]


async def test_updates_go_past_send() -> None:
    """As chunks, which is what the head that went before promised."""
    async with Followed() as followed:
        followed.cache.commit("a", value="second")
        await soon(lambda: "second" in followed.told, what="the update was written")

        assert followed.bodies == []
        assert followed.sent == [1, 2]
        size, _, body = followed.call.written[-1].partition(b"\r\n")
        assert (int(size, 16), body[-4:]) == (len(body) - 2, b"\n\n\r\n")


async def test_who_does_not_keep_up_is_sent_the_newest_only() -> None:
    """While the server says so nothing is written; `send` waits for the client, and then has the newest."""
    async with Followed() as followed:
        followed.call.may_send.clear()
        followed.call.flow.write_paused = True
        n_written = len(followed.call.written)
        for value in ("second", "third", "fourth"):
            followed.cache.commit("a", value=value)
            await followed.cache.loaded("a")
        assert len(followed.call.written) == n_written

        followed.call.flow.write_paused = False
        followed.call.may_send.set()
        await soon(lambda: len(followed.bodies) == 2, what="what was kept was sent")

        told = b"".join(message["body"] for message in followed.bodies).decode()
        assert ("second" in told, "third" in told, "fourth" in told) == (True, False, True)


async def test_a_stream_whose_server_fails_ends() -> None:
    """One stream ends, and others go on."""
    async with Followed() as failing:
        failing.call.fault = RuntimeError("broken")
        async with calling(failing.updates, "topic=a") as other:
            await other.begun()
            failing.cache.commit("a", value="second")
            (update,) = await other.until("update")

            assert update.data["value"] == "second"
            async with asyncio.timeout(5):
                await asyncio.wait([failing.call.task])


async def test_a_client_that_is_gone_is_no_failure(caplog: pytest.LogCaptureFixture) -> None:
    """Between the end of a connection and word of it, writes fail; who returned then would be said to be at fault."""
    async with Followed() as followed:
        followed.call.is_closed, followed.call.fault = True, RuntimeError("the handler is closed")
        followed.cache.commit("a", value="second")
        await followed.cache.loaded("a")
        assert not followed.call.task.done()

    assert caplog.text == ""
    assert followed.updates.n_streams == 0


async def test_goodbye_ends_the_response_by_send() -> None:
    """The last chunk is the server's own, so that it knows that the response is complete."""
    async with Followed() as followed:
        await followed.updates.drain()

        assert [message["more_body"] for message in followed.bodies[:-1]] == [True]
        assert b"event: bye" in followed.bodies[0]["body"]
        assert not followed.bodies[-1].get("more_body", False)


@pytest.mark.parametrize(
    "change",
    [
        {"chunked_encoding": False},
        {"chunked_encoding": None},
        {"response_started": False},
        {"response_complete": True},
        {"disconnected": True},
        {"flow": None},
        {"transport": None},
        {"scope": {"method": "HEAD"}},
    ],
    ids=str,
)
def test_only_a_response_in_chunks_is_written_to(change: dict[str, object]) -> None:
    """Anything else would break what the server promised the client."""
    response = Response()
    assert response_of(response.send) is not None

    for name, value in change.items():
        setattr(response, name, value)
    assert response_of(response.send) is None


def test_what_passes_for_a_method_is_no_server() -> None:
    """A proxy that shows all of its method's attributes would be passed by."""

    class Proxy:
        def __init__(self, behind: Any) -> None:  # noqa: ANN401 - whatever it stands for
            self._behind = behind

        def __getattr__(self, name: str) -> object:
            return getattr(self._behind, name)

        async def __call__(self, message: dict[str, object]) -> None:
            await self._behind(message)

    assert response_of(Proxy(Response().send)) is None


async def test_a_wrapped_send_is_called() -> None:
    """Middleware sees all that it would see."""
    response = Response()

    async def send(message: Mapping[str, Any]) -> None:
        await response.send(message)

    assert response_of(send) is None


@pytest.mark.parametrize("is_wrapped", [False, True], ids=["direct", "by send"])
async def test_a_real_client_gets_the_same(is_wrapped: bool) -> None:
    """By uvicorn, whether its `send` is called or not."""
    cache = FakeCache()
    cache.commit("a", value="first")
    cache.batches.get_nowait()
    updates = Updates(cache, TOPICS)
    seen: list[bool] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async def wrapped(message: dict[str, object]) -> None:
            await send(message)
            if message["type"] == "http.response.start":
                seen.append(response_of(send) is not None)

        await updates(scope, receive, wrapped if is_wrapped else send)

    async with serving(app, updates.drain) as url, watching(url, ["a"]) as client:
        await client.begun()
        for value in ("second", "é" * 40_000, {"html": "\r\n0\r\n\r\n"}):
            cache.commit("a", value=value)
            assert (await client.until("update"))[-1].data["value"] == value
        await updates.drain()
        assert (await client.rest())[-1].event == "bye"
    # What the tests of the way past `send` rest on: this server shows its responses.
    assert seen == ([True] if is_wrapped else [])


async def test_a_head_has_no_body() -> None:
    """It is answered as before."""
    updates = Updates(FakeCache(), TOPICS)
    async with serving(updates, updates.drain) as url, httpx2.AsyncClient(trust_env=False) as client:
        answer = await client.head(url, params={"topic": "a"})
        assert answer.status_code == 405
        assert answer.content == b""


def test_a_chunk_says_its_length() -> None:
    """In hexadecimal, of bytes."""
    assert chunk_of("é".encode() * 16) == b"20\r\n" + "é".encode() * 16 + b"\r\n"
