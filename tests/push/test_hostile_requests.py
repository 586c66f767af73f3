"""Requests that no browser of ours makes, over a real server: each is answered, bounded, and tells nobody anything."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from everfresh import Cache, Key
from everfresh.push import Access, Topic, Updates
from everfresh.push.tokens import TopicTokens
from tests.push.serving import DEADLINE_S, serving
from tests.push.sse import parsed

TOKENS = TopicTokens({"k": "k" * 32})
ELSEWHERE = "https://app.example.com"
FOREIGN = "sec-fetch-site: cross-site\r\norigin: {}\r\ncookie: session=ann\r\n"
BODY = "transfer-encoding: chunked\r\n"


@pytest.fixture
async def cache() -> AsyncGenerator[Cache]:
    async with Cache("memory:") as cache:
        await cache.put("a", "secret")
        yield cache


@pytest.fixture
async def port(cache: Cache) -> AsyncGenerator[int]:
    """A server that knows any topic that begins with `a`, for cookies here and for tokens elsewhere."""
    access = Access(authorize=lambda _, names: names, tokens=TOKENS, origins=[ELSEWHERE])
    updates = Updates(cache, lambda name: Topic(Key("a")) if name.startswith("a") else None, access=access)
    async with serving(updates, updates.drain) as url:
        yield int(url.rpartition(":")[2])


def request(query: str, headers: str = "", method: str = "GET", version: str = "1.1") -> bytes:
    return f"{method} /?{query} HTTP/{version}\r\nhost: shop.example\r\n{headers}\r\n".encode()


class Answer:
    """What came back, as far as it was read."""

    def __init__(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first, *lines = head.decode("latin-1").split("\r\n")
        self.status = int(first.split()[1])
        self.headers = dict(line.lower().split(": ", 1) for line in lines if line)
        self.reader, self.writer = reader, writer

    async def body(self) -> bytes:
        """All of an answer that has a length."""
        async with asyncio.timeout(DEADLINE_S):
            return await self.reader.readexactly(int(self.headers["content-length"]))

    async def until(self, word: bytes) -> bytes:
        """What comes up to a word, without the sizes of chunks."""
        async with asyncio.timeout(DEADLINE_S):
            received = await self.reader.readuntil(word)
        return b"".join(line + b"\n" for line in received.split(b"\n") if not line.endswith(b"\r"))

    async def ends(self) -> bool:
        """Whether the server closes the connection."""
        async with asyncio.timeout(DEADLINE_S):
            try:
                return not (await self.reader.read()).startswith(b"HTTP/1.1 2")
            except ConnectionResetError:
                # So it does where something was sent that it has not read.
                return True


@asynccontextmanager
async def asking(port: int, sent: bytes) -> AsyncGenerator[Answer]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(sent)
        async with asyncio.timeout(DEADLINE_S):
            head = await reader.readuntil(b"\r\n\r\n")
        yield Answer(head, reader, writer)
    finally:
        writer.close()


@pytest.mark.parametrize(
    "headers",
    ["sec-fetch-site: cross-site\r\nsec-fetch-mode: no-cors\r\n", FOREIGN.format("https://evil.example")],
    ids=["image", "fetch"],
)
@pytest.mark.parametrize("query", ["topic=a", "topic=a&since=", f"topic=a&token={TOKENS.issue('a')}"])
async def test_a_page_of_another_origin_reads_nothing(port: int, headers: str, query: str) -> None:
    """With the visitor's cookies or with a token, as a stream, as a poll or as an image."""
    async with asking(port, request(query, headers)) as answer:
        assert answer.status == 403
        assert "access-control-allow-origin" not in answer.headers
        assert b"secret" not in await answer.body()


async def test_a_page_of_a_named_origin_reads_with_a_token_alone(port: int) -> None:
    """Cookies open nothing there, and browsers are never told to send them."""
    headers = FOREIGN.format(ELSEWHERE)
    async with asking(port, request("topic=a", headers)) as refused:
        assert refused.status == 401
        assert b"secret" not in await refused.body()

    async with asking(port, request(f"topic=a&token={TOKENS.issue('a')}", headers)) as stream:
        assert stream.headers["access-control-allow-origin"] == ELSEWHERE
        assert "access-control-allow-credentials" not in stream.headers
        assert b"secret" in await stream.until(b"secret")


async def test_a_browser_asks_before_it_sends_a_header_of_ours(port: int) -> None:
    """It is answered for pages that are let in, and like any other method else."""
    asks = "access-control-request-method: GET\r\naccess-control-request-headers: authorization\r\n"
    async with asking(port, request("topic=a", FOREIGN.format(ELSEWHERE) + asks, "OPTIONS")) as let_in:
        assert let_in.status == 204
        assert let_in.headers["access-control-allow-headers"] == "authorization, last-event-id"
        assert let_in.headers["access-control-allow-origin"] == ELSEWHERE
    async with asking(port, request("topic=a", FOREIGN.format("https://evil.example") + asks, "OPTIONS")) as refused:
        assert refused.status == 405
        assert "access-control-allow-origin" not in refused.headers


@pytest.mark.parametrize(
    "name", ["a%0d%0aevent:%20evil%0d%0a%0d%0a", "a%00", "a%ed%a0%80", "a%ff", "a%2561", "a%e2%80%a8"]
)
async def test_a_name_of_any_letters_is_one_line_of_json(port: int, name: str) -> None:
    """Ends of lines, zeros, and what is no text, wherever a name is repeated."""
    async with asking(port, request(f"topic={name}&topic=z{name}")) as stream:
        received = parsed(await stream.until(b'secret"}\n\n'))
    async with asking(port, request(f"topic=z{name}")) as unknown:
        refused = json.loads(await unknown.body())

    assert [event.event for event in received] == ["hello", "revoked", "update"]
    assert received[1].data["topics"] == ["z" + received[2].data["topic"]]
    assert (unknown.status, set(refused)) == (404, {"title", "status", "detail", "field"})
    assert not any(header.startswith("event") for header in unknown.headers)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (request("&".join(f"topic=a{n}" for n in range(5_000))), 414),
        (request("&".join(f"topic=a{n}" for n in range(101))), 400),
        (request("topic=a" + "a" * 40_000), 414),
        (request(f"topic=a&token={'a' * 20_000}"), 401),
        (request("topic=a", f"last-event-id: {'1' * 1_000_000}\r\n"), 431),
        (request("topic=a", "cookie: a=b\r\n" * 6_000), 431),
    ],
    ids=["topics", "101-topics", "topic", "token", "cursor", "cookies"],
)
async def test_what_is_too_much_is_refused(port: int, sent: bytes, status: int) -> None:
    """Nothing of it is kept."""
    async with asking(port, sent) as answer:
        assert answer.status == status


@pytest.mark.parametrize(
    "cursor", ["abc.1", "{}.999999999999999999", "a." + "9" * 4_000, "-".join(["a.1"] * 900), "%0d%0a"]
)
@pytest.mark.parametrize("how", ["since", "last_event_id"])
async def test_a_forged_cursor_starts_over(cache: Cache, port: int, cursor: str, how: str) -> None:
    """Of another life, beyond the end, or nothing at all: it is never believed, and never an error."""
    epoch = (await cache.position()).epoch
    async with asking(port, request(f"topic=a&{how}={cursor.format(epoch)}")) as answer:
        received = await (answer.body() if how == "since" else answer.until(b"secret"))

    assert answer.status == 200
    assert b"reset" in received
    assert b"secret" in received


@pytest.mark.parametrize("method", ["GET", "POST", "HEAD", "PUT"])
@pytest.mark.parametrize("query", ["topic=a", "topic=a&since="])
async def test_a_body_without_end_is_not_read(port: int, method: str, query: str) -> None:
    """Nothing here has one: the answer says so at once, and the connection ends."""
    async with asking(port, request(query, BODY, method) + b"5\r\nhello\r\n") as answer:
        assert answer.status == (400 if method == "GET" else 405)
        assert answer.headers["connection"] == "close"
        assert await answer.ends()


async def test_who_announces_a_body_and_sends_none_is_not_waited_for(port: int) -> None:
    """Nor asked to go on."""
    async with asking(port, request("topic=a", "content-length: 5\r\nexpect: 100-continue\r\n")) as answer:
        assert answer.status == 400
        assert await answer.ends()


async def test_a_second_request_on_the_connection_of_a_stream_waits_for_its_end(cache: Cache, port: int) -> None:
    """Its answer never stands among the events."""
    async with asking(port, request("topic=a") + request("topic=zzz") * 3) as stream:
        await stream.until(b'secret"}\n\n')
        await cache.put("a", "next")
        received = await stream.until(b'next"}\n\n')

    assert [event.event for event in parsed(received)] == ["update"]


@pytest.mark.parametrize("method", ["HEAD", "POST", "OPTIONS", "PURGE"])
async def test_a_stream_is_read_with_get(port: int, method: str) -> None:
    """Nothing else opens one."""
    async with asking(port, request("topic=a", method=method)) as answer:
        assert (answer.status, answer.headers["allow"]) == (405, "get")


async def test_a_client_of_old_is_served(port: int) -> None:
    """A proxy may speak HTTP/1.0."""
    async with asking(port, request("topic=a", version="1.0")) as stream:
        assert stream.status == 200
        assert b"secret" in await stream.until(b"secret")
