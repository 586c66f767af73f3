"""The stream as browsers get it: a real server, real sockets, a real cache."""

import asyncio
import logging
import socket
import time
from collections.abc import AsyncGenerator
from datetime import timedelta
from pathlib import Path

import httpx2
import pytest
import uvloop
from starlette.applications import Starlette
from starlette.routing import Mount

from everfresh import FOREVER, Cache, Entry, Event, Key, dep
from everfresh.model.marks import override
from everfresh.push import Topic, Updates
from everfresh.refresh import Worker
from everfresh.testing.waiting import soon
from tests.push.serving import BUFFER_BYTES, DEADLINE_S, serving, watching
from tests.push.sse import Received

SOON = timedelta(milliseconds=40)
TOPICS = {name: Topic(Key(name)) for name in ("a", "b", "c")}


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return "memory:" if request.param == "memory" else f"sqlite:///{tmp_path / 'cache.db'}"


@pytest.fixture
async def cache(store: str) -> AsyncGenerator[Cache]:
    async with Cache(store) as cache:
        yield cache


@pytest.fixture
async def url(cache: Cache) -> AsyncGenerator[str]:
    updates = Updates(cache, TOPICS, heartbeat=SOON)
    async with serving(updates, updates.drain) as url:
        yield url


def values(received: list[Received]) -> list[tuple[str, object]]:
    return [(event.data["topic"], event.data["value"]) for event in received if event.event == "update"]


def states(received: list[Received]) -> list[tuple[str, str, str]]:
    return [(event.event, event.data["topic"], event.data["state"]) for event in received if "state" in event.data]


async def test_a_stream_begins_with_hello(cache: Cache, url: str) -> None:
    """At once, so that a proxy that buffers is noticed; and nobody on the way may keep or buffer it."""
    await cache.put("a", 1)
    position = await cache.position()

    async with watching(url, ["a"]) as client:
        hello = await client.next()

    assert client.response.headers["content-type"] == "text/event-stream"
    assert client.response.headers["cache-control"] == "no-store"
    assert client.response.headers["x-accel-buffering"] == "no"
    data = {"position": position.text, "retry_ms": 3000, "heartbeat_s": 0.04, "max_topics": 100}
    assert hello == Received(event="hello", data=data, id="", retry=3000)


async def test_only_the_topics_asked_for_arrive(cache: Cache, url: str) -> None:
    """Nobody is told of what they do not show."""
    async with watching(url, ["a", "c"]) as client:
        await client.begun()
        for name in ("b", "a", "b", "c"):
            await cache.put(name, name.upper())
        received = await client.until("update") + await client.until("update")

    assert values(received) == [("a", "A"), ("c", "C")]


async def test_an_update_is_what_the_cache_holds(cache: Cache, url: str) -> None:
    """Its id is a position that has it."""
    async with watching(url, ["a"]) as client:
        await client.begun()
        await cache.put("a", {"n": [1, "ä\n"]})
        update = (await client.until("update"))[-1]
    entry = await cache.stored("a")

    assert entry is not None
    assert update.id == entry.changed_at.text
    assert update.data == {
        "topic": "a",
        "version": entry.version,
        "state": "fresh",
        "built_at": entry.built_at,
        "build_s": entry.build_s,
        "digest": entry.digest,
        "value": {"n": [1, "ä\n"]},
    }


async def test_two_clients_share_what_is_rendered(cache: Cache) -> None:
    """Once for all who watch it."""
    rendered: list[int] = []

    def render(entry: Entry) -> str:
        rendered.append(entry.version)
        return f"<b>{entry.version}</b>"

    updates = Updates(cache, {"a": Topic(Key("a"), render)}.get)
    async with serving(updates, updates.drain) as url, watching(url, ["a"]) as one, watching(url, ["a"]) as other:
        await one.begun()
        await other.begun()
        await cache.put("a", 1)
        html = [(await client.next()).data["html"] for client in (one, other)]

    assert html == ["<b>1</b>", "<b>1</b>"]
    assert rendered == [1]


@pytest.mark.parametrize("is_header", [True, False], ids=["header", "query"])
async def test_who_comes_back_gets_exactly_what_is_newer(cache: Cache, url: str, is_header: bool) -> None:
    """And of the rest the state alone."""
    for name in ("a", "b", "c"):
        await cache.put(name, 1)
    cursor = (await cache.position()).text
    await cache.put("c", 2)
    await cache.put("a", 2)
    end = (await cache.position()).text

    header, query = (cursor, None) if is_header else (None, cursor)
    async with watching(url, ["a", "b", "c"], header=header, cursor=query) as client:
        received = await client.until("heartbeat")

    assert [event.event for event in received] == ["hello", "update", "update", "fresh", "heartbeat"]
    assert values(received) == [("c", 2), ("a", 2)]
    assert states(received)[-1] == ("fresh", "b", "fresh")
    assert [received[0].id, received[-1].id] == [cursor, end]


async def test_nothing_is_missed_between_rendering_and_connecting(cache: Cache, url: str) -> None:
    """The page carries the position that was read before it was rendered."""
    await cache.put("a", 1)
    position = await cache.position()
    await cache.put("a", 2)

    async with watching(url, ["a"], cursor=position.text) as client:
        received = await client.until("update")
        await cache.put("a", 3)
        received += await client.until("update")

    assert values(received) == [("a", 2), ("a", 3)]


@pytest.mark.parametrize("cursor", ["abc.1", "no position", "x" * 200])
async def test_a_cursor_that_nobody_knows_starts_over(cache: Cache, url: str, cursor: str) -> None:
    """Word of it, then whole states of all that was asked for."""
    await cache.put("a", 1)
    await cache.put("b", 1)

    async with watching(url, ["b", "c", "a"], header=cursor) as client:
        received = await client.until("heartbeat")

    assert [event.event for event in received] == ["hello", "reset", "update", "update", "stale", "heartbeat"]
    assert values(received) == [("a", 1), ("b", 1)]
    assert states(received)[-1] == ("stale", "c", "dropped")
    assert [event.id for event in received[:2]] == ["", "reset"]


async def test_another_store_starts_over(store: str, tmp_path: Path) -> None:
    """A store that lost its memory begins another life, whose positions mean something else."""
    async with Cache(f"sqlite:///{tmp_path / 'old.db'}") as old:
        for n in range(3):
            await old.put("a", n)
        cursor = await old.position()

    async with Cache(store) as cache:
        await cache.put("a", "new")
        updates = Updates(cache, TOPICS)
        async with serving(updates, updates.drain) as url, watching(url, ["a"], header=cursor.text) as client:
            received = await client.until("update")

    assert [event.event for event in received] == ["hello", "reset", "update"]
    assert values(received) == [("a", "new")]


async def test_a_quiet_stream_has_heartbeats_that_move_the_cursor(cache: Cache, url: str) -> None:
    """So the cursor of an idle client never ages, and a dead link is noticed."""
    async with watching(url, ["a"]) as client:
        await client.begun()
        first = (await client.until("heartbeat"))[-1]
        await cache.put("b", 1)
        position = await cache.position()
        while (beat := (await client.until("heartbeat"))[-1]).id != position.text:
            assert beat == first

    assert beat.data == {"position": position.text}


async def test_stale_fresh_and_failed_are_told(store: str) -> None:
    """Word of a state has no value; a build that comes out equal sends none."""
    answers = ["one", "one", "", "two"]
    go_on = asyncio.Semaphore(1)
    async with Cache(store) as cache:

        @cache.cached(depends_on=[dep.Topic("t")], stale_if_error=FOREVER, stale_while_revalidate=FOREVER)
        async def shown() -> str:
            await go_on.acquire()
            if answer := answers.pop(0):
                return answer
            raise OSError("away")

        await shown()
        updates = Updates(cache, {"w": Topic(shown.key())})
        async with serving(updates, updates.drain) as url, Worker(cache), watching(url, ["w"]) as client:
            await client.begun()
            await cache.publish(Event("t"))
            received = await client.until("stale")
            for ends in ("fresh", "failed", "update"):
                go_on.release()
                received += await client.until(ends)
                if ends == "fresh":
                    await cache.publish(Event("t"))

    assert [event for event, _, _ in states(received) if event != "stale"] == ["fresh", "failed", "update"]
    # The next try is due in milliseconds; where word of the failure comes late, it has begun.
    assert {state for event, _, state in states(received) if event == "failed"} <= {"dirty", "building"}
    assert values(received) == [("w", "two")]
    assert received[-1].data["state"] == "fresh"


async def test_word_comes_of_an_entry_that_is_dropped(cache: Cache, url: str) -> None:
    """The page shows something that is no longer there; and again what takes its place."""
    await cache.put("a", 1)
    async with watching(url, ["a"]) as client:
        await client.begun()
        await cache.delete("a")
        received = await client.until("stale")
        await cache.put("a", 1)
        received += await client.until("update")

    assert states(received) == [("stale", "a", "dropped"), ("update", "a", "fresh")]


async def test_what_another_process_commits_arrives(tmp_path: Path) -> None:
    """A cache of its own on the same file is another process as far as the store can tell."""
    url_of_store = f"sqlite:///{tmp_path / 'cache.db'}"
    async with Cache(url_of_store) as here, Cache(url_of_store) as there:
        updates = Updates(here, TOPICS)
        async with serving(updates, updates.drain) as url, watching(url, ["a"]) as client:
            await client.begun()
            await there.put("a", 1)
            received = await client.until("update")

    assert values(received) == [("a", 1)]


async def test_a_slow_reader_skips_to_the_newest(cache: Cache) -> None:
    """What it did not read in time is not sent at all, and does not wait in memory."""
    n_versions, size = 100, 128 * 1024
    updates = Updates(cache, TOPICS)
    async with serving(updates, updates.drain) as url:
        host, port = url.removeprefix("http://").split(":")
        with socket.socket() as slow:
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
            slow.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(slow, (host, int(port)))
            await loop.sock_sendall(slow, f"GET /?topic=a HTTP/1.1\r\nhost: {host}\r\n\r\n".encode())
            # The head of the answer and hello; from here on it does not read.
            assert b"event: hello" in await loop.sock_recv(slow, 1024)
            async with watching(url, ["a"]) as quick:
                await quick.begun()
                for n in range(1, n_versions + 1):
                    await cache.put("a", [n, "x" * size])
                while (await quick.until("update"))[-1].data["value"][0] != n_versions:
                    pass

            received, n_bytes = b"", 0
            last = f'"value":[{n_versions},'.encode()
            async with asyncio.timeout(DEADLINE_S):
                while last not in received:
                    piece = await loop.sock_recv(slow, 1 << 16)
                    n_bytes += len(piece)
                    received = received[-100:] + piece

    assert n_bytes < n_versions * size / 4


async def test_draining_says_goodbye_and_ends(cache: Cache) -> None:
    """The server stops at once, with streams open."""
    updates = Updates(cache, TOPICS)
    async with serving(updates, updates.drain) as url:
        async with watching(url, ["a"]) as one, watching(url, ["b"]) as other:
            await one.begun()
            await other.begun()
            began = time.monotonic()
            await updates.drain()
            ends = [await one.rest(), await other.rest()]
        async with httpx2.AsyncClient(trust_env=False) as client:
            refused = await client.get(url, params={"topic": "a"})
    took_s = time.monotonic() - began

    for received in ends:
        retry_ms = received[0].retry or 0
        assert [(event.event, event.data) for event in received] == [("bye", {"retry_ms": retry_ms})]
        assert 1000 <= retry_ms <= 5000
    assert refused.status_code == 503
    assert refused.headers["retry-after"] == "5"
    assert took_s < 2


async def test_the_feed_is_read_once_and_only_while_somebody_follows(cache: Cache) -> None:
    """A client that leaves is noticed, and the last one ends the reading."""
    opened: list[str] = []
    ended = asyncio.Event()

    class Watched:
        position, stored, watching = cache.position, cache.stored, cache.watching

        def feed(self, after: object = None) -> "Watched":
            self.inner = cache.feed(after)  # type: ignore[arg-type]
            return self

        async def __aenter__(self) -> object:
            opened.append("feed")
            return await self.inner.__aenter__()

        async def __aexit__(self, *error: object) -> None:
            await self.inner.__aexit__(None, None, None)
            ended.set()

    updates = Updates(Watched(), TOPICS)  # type: ignore[arg-type]
    async with serving(updates, updates.drain) as url:
        async with watching(url, ["a"]) as one, watching(url, ["b"]) as other:
            await one.begun()
            await other.begun()
            assert not ended.is_set()
        async with asyncio.timeout(DEADLINE_S):
            await ended.wait()
        assert opened == ["feed"]

        async with watching(url, ["a"]) as again:
            await again.begun()
            await cache.put("a", 1)
            assert values(await again.until("update")) == [("a", 1)]


async def test_what_was_sent_is_told(cache: Cache) -> None:
    """Topic and version of each value, for each client; nothing else."""
    sent: list[tuple[str, int]] = []
    updates = Updates(cache, TOPICS, heartbeat=SOON, on_sent=lambda topic, version: sent.append((topic, version)))
    async with serving(updates, updates.drain) as url, watching(url, ["a", "b"]) as client:
        await client.until("heartbeat")
        await cache.put("b", "one")
        await client.until("update")
        await cache.put("b", "two")
        await client.until("update")
        await cache.delete("b")
        await client.until("stale")

    assert sent == [("b", 1), ("b", 2)]


async def test_a_topic_that_cannot_be_shown_does_not_stop_the_others(
    cache: Cache, caplog: pytest.LogCaptureFixture
) -> None:
    """It is shown as failed, and the log says why."""

    def broken(entry: Entry) -> str:
        raise LookupError(f"no template for {entry.key}")

    topics = {"broken": Topic(Key("a"), broken), "well": Topic(Key("a"))}
    updates = Updates(cache, topics)
    async with serving(updates, updates.drain) as url, watching(url, ["broken", "well"]) as client:
        await client.begun()
        await cache.put("a", 1)
        received = [await client.next(), await client.next()]

    assert sorted(states(received)) == [("failed", "broken", "failed"), ("update", "well", "fresh")]
    assert "render.failed" in caplog.text
    assert "no template for a" in caplog.text


@pytest.mark.parametrize(
    ("method", "query", "status", "word"),
    [
        ("GET", "topic=a&topic=x", 404, "'x'"),
        ("GET", "", 400, "?topic=NAME"),
        ("GET", "&".join(f"topic=t{n}" for n in range(101)), 400, "at most 100"),
        ("HEAD", "topic=a", 405, ""),
        ("POST", "topic=a", 405, "GET"),
    ],
    ids=["unknown", "none", "too-many", "head", "post"],
)
async def test_a_refusal_is_a_problem_document(url: str, method: str, query: str, status: int, word: str) -> None:
    """It says what to do."""
    async with httpx2.AsyncClient(trust_env=False) as client:
        answer = await client.request(method, f"{url}/?{query}")

    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers.get("allow") == ("GET" if status == 405 else None)
    if method != "HEAD":
        assert answer.json()["status"] == status
        assert word in answer.json()["detail"]


async def test_it_mounts_in_starlette(cache: Cache) -> None:
    """As a route of an application, without a class of the framework's."""
    from starlette.applications import Starlette  # noqa: PLC0415 - only here
    from starlette.routing import Route  # noqa: PLC0415 - only here

    updates = Updates(cache, TOPICS)
    app = Starlette(routes=[Route("/updates", updates)])
    async with serving(app, updates.drain) as url, watching(f"{url}/updates", ["a"]) as client:
        await client.begun()
        await cache.put("a", 1)
        received = await client.until("update")

    assert values(received) == [("a", 1)]


@pytest.mark.parametrize(("accepted", "encoding"), [("gzip", "gzip"), ("identity", None)])
async def test_who_takes_gzip_gets_it_event_by_event(cache: Cache, accepted: str, encoding: str | None) -> None:
    """The same blocks for all, and a whole file at the end."""
    updates = Updates(cache, TOPICS, compress=True)
    async with (
        serving(updates, updates.drain) as url,
        watching(url, ["a"], more_headers={"accept-encoding": accepted}) as one,
        watching(url, ["a"], more_headers={"accept-encoding": accepted}) as other,
    ):
        for client in (one, other):
            await client.begun()
        await cache.put("a", "ä" * 5_000)
        received = [await client.until("update") for client in (one, other)]
        await updates.drain()
        received.append(await one.rest())

    assert one.response.headers.get("content-encoding") == encoding
    assert [values(events) for events in received] == [[("a", "ä" * 5_000)], [("a", "ä" * 5_000)], []]
    assert received[-1][-1].event == "bye"


class Log(logging.Handler):
    """What was logged."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[str] = []

    @override
    def emit(self, record: logging.LogRecord) -> None:
        self.told.append(record.getMessage())


async def cut_off(cache: Cache, log: logging.Handler | None = None) -> bytes:
    """The end of what a client has that stops reading, and is cut off; the server writes to the log too."""
    updates = Updates(cache, TOPICS, patience=SOON)
    async with serving(updates, updates.drain) as url:
        if log is not None:
            # It has arranged its loggers by now.
            logging.getLogger("uvicorn.error").addHandler(log)
        host, port = url.removeprefix("http://").split(":")
        with socket.socket() as slow:
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
            slow.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(slow, (host, int(port)))
            await loop.sock_sendall(slow, f"GET /?topic=a HTTP/1.1\r\nhost: {host}\r\n\r\n".encode())
            assert b"event: hello" in await loop.sock_recv(slow, 1024)
            async with watching(url, ["a"]) as quick:
                await quick.begun()
                n = 0
                async with asyncio.timeout(DEADLINE_S):
                    while updates.n_streams > 1:
                        n += 1
                        await cache.put("a", [n, "x" * 128 * 1024])
                        await quick.until("update")
            last = b""
            async with asyncio.timeout(DEADLINE_S):
                while piece := await loop.sock_recv(slow, 1 << 16):
                    last = (last + piece)[-16:]
    return last


async def test_a_reader_that_takes_nothing_is_cut_off(cache: Cache) -> None:
    """The server keeps nothing for it: it ends in the middle, without goodbye or the end of the answer."""
    assert not (await cut_off(cache)).endswith(b"0\r\n\r\n")


@pytest.mark.parametrize("is_mounted", [False, True], ids=["alone", "mounted"])
async def test_who_leaves_with_a_request_behind_the_stream_is_noticed(cache: Cache, is_mounted: bool) -> None:
    """The server tells that request alone that its client is gone, and nobody ever the stream."""
    await cache.put("a", 1)
    updates = Updates(cache, TOPICS, heartbeat=SOON)
    async with serving(Starlette(routes=[Mount("/", updates)]) if is_mounted else updates) as url:
        host, port = url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        request = f"GET /?topic=a HTTP/1.1\r\nhost: {host}\r\n\r\n".encode()
        writer.write(request)
        await reader.readuntil(b"event: update")
        writer.write(request)
        await writer.drain()
        writer.transport.abort()

        await soon(lambda: updates.n_streams == 0, what="the stream has ended")
        async with asyncio.timeout(DEADLINE_S):
            await updates.drain()


def test_the_server_finds_nothing_wrong_with_that() -> None:
    """Its log would fill with each phone that is put into a pocket. Its usual loop tells of an end one turn later."""
    log = Log()

    async def cut() -> None:
        async with Cache("memory:") as cache:
            await cut_off(cache, log)

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(cut())
    finally:
        logging.getLogger("uvicorn.error").removeHandler(log)
    assert log.told == []
