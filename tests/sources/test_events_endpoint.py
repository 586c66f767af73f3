"""The webhook endpoint over a real server, with a real cache; and what a server does only once in a while."""

import asyncio
import json
from collections.abc import AsyncGenerator
from pathlib import Path

import httpx2
import pytest

from everfresh import Cache, Event, Position, StoreClosed, StoreUnavailable, dep
from everfresh.sources.http import EventsEndpoint, Hook
from tests.push.fake import calling
from tests.push.serving import DEADLINE_S, serving

MAX_BYTES = 4096
WHOLE = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "data": {"x": 1}}


@pytest.fixture(params=["memory", "sqlite"])
async def cache(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Cache]:
    url = "memory:" if request.param == "memory" else f"sqlite:///{tmp_path / 'cache.db'}"
    async with Cache(url) as cache:
        yield cache


@pytest.fixture
async def client(cache: Cache) -> AsyncGenerator[httpx2.AsyncClient]:
    async with (
        serving(EventsEndpoint(cache, Hook(max_bytes=MAX_BYTES))) as url,
        httpx2.AsyncClient(base_url=url, trust_env=False, timeout=DEADLINE_S) as client,
    ):
        yield client


async def send(client: httpx2.AsyncClient, media: str, document: object, **headers: str) -> httpx2.Response:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return await client.post("/", content=json.dumps(document), headers={"content-type": media, **names})


@pytest.mark.parametrize(
    ("media", "document", "headers"),
    [
        ("application/json", {"topic": "t", "body": {"x": 1}}, {}),
        ("application/cloudevents+json", WHOLE, {}),
        ("application/cloudevents-batch+json", [WHOLE], {}),
        ("application/json", {"x": 1}, {"ce_specversion": "1.0", "ce_id": "1", "ce_source": "/s", "ce_type": "t"}),
    ],
    ids=["plain", "structured", "batched", "binary"],
)
async def test_an_accepted_event_is_applied(
    cache: Cache, client: httpx2.AsyncClient, media: str, document: object, headers: dict[str, str]
) -> None:
    """202 comes after it; from its position on nobody is served what it outdated."""
    await cache.put("touched", 1, dep.Topic("t", where={"x": 1}))
    await cache.put("other", 1, dep.Topic("t", where={"x": 2}))

    answer = await send(client, media, document, **headers)

    assert answer.status_code == 202
    assert not await cache.has("touched")
    assert await cache.has("other")
    assert (await cache.position()).covers(Position.parse(answer.json()["position"]))


async def test_an_empty_batch_is_accepted(client: httpx2.AsyncClient) -> None:
    """So CloudEvents has it."""
    answer = await send(client, "application/cloudevents-batch+json", [])

    assert answer.status_code == 202
    assert Position.parse(answer.json()["position"])


async def test_a_batch_with_malformed_events_says_which(cache: Cache, client: httpx2.AsyncClient) -> None:
    """The others are applied, so that none of them waits for its sender to mend one."""
    await cache.put("touched", 1, dep.Topic("t"))

    answer = await send(client, "application/cloudevents-batch+json", [{**WHOLE, "id": ""}, WHOLE, 7])

    assert answer.status_code == 400
    assert not await cache.has("touched")
    problem = answer.json()
    assert problem["field"] == "[0].id"
    assert (problem["n_applied"], problem["n_failed"]) == (1, 2)
    assert problem["failed"] == [
        {"index": 0, "field": "id", "detail": "required, and empty"},
        {"index": 2, "field": "", "detail": "an event must be a JSON object, not a number"},
    ]
    assert (await cache.position()).covers(Position.parse(problem["position"]))


@pytest.mark.parametrize(
    ("method", "media", "content", "status", "field"),
    [
        ("POST", "application/json", b"not json", 400, None),
        ("POST", "application/json", b'{"topic": ""}', 400, "topic"),
        ("POST", "application/json", b"{}", 400, "topic"),
        ("POST", "application/cloudevents+json", b"{}", 400, "specversion"),
        ("POST", "application/json", b" " * (MAX_BYTES + 1), 413, None),
        ("POST", "text/plain", b"{}", 415, "content-type"),
        ("GET", "application/json", b"", 405, None),
        ("PUT", "application/json", b"{}", 405, None),
    ],
    ids=["no-json", "empty-topic", "no-topic", "no-attributes", "too-large", "text", "get", "put"],
)
async def test_a_refusal_is_a_problem_document(
    client: httpx2.AsyncClient, method: str, media: str, content: bytes, status: int, field: str | None
) -> None:
    """It says what is wrong, and where."""
    answer = await client.request(method, "/", content=content, headers={"content-type": media})

    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers.get("allow") == ("POST" if status == 405 else None)
    assert answer.json()["status"] == status
    assert answer.json()["title"]
    assert answer.json()["detail"]
    assert answer.json().get("field") == field


async def test_a_body_without_a_length_is_counted(client: httpx2.AsyncClient) -> None:
    """One sent in pieces names none. The sender gets its answer, and goes on using the connection."""

    async def pieces() -> AsyncGenerator[bytes]:
        for _ in range(4096):
            yield b" " * 1024

    refused = await client.post("/", content=pieces(), headers={"content-type": "application/json"})
    accepted = await send(client, "application/json", {"topic": "t"})

    assert refused.status_code == 413
    assert accepted.status_code == 202


async def test_a_body_of_just_the_limit_is_read(client: httpx2.AsyncClient) -> None:
    """The limit is a size that is taken."""
    content = b'{"topic": "t"}'.ljust(MAX_BYTES)

    answer = await client.post("/", content=content, headers={"content-type": "application/json"})

    assert answer.status_code == 202


class Publisher:
    """A cache that notes what it is given, or fails."""

    def __init__(self, error: Exception | None = None) -> None:
        self.calls: list[list[str]] = []
        self.error = error
        self.called = asyncio.Event()
        self.may_end = asyncio.Event()
        self.may_end.set()

    async def publish(self, *events: Event) -> Position:
        self.calls.append([event.topic for event in events])
        self.called.set()
        await self.may_end.wait()
        if self.error is not None:
            raise self.error
        return Position("e1", 1)


def request(*pieces: bytes, media: str = "application/cloudevents-batch+json") -> list[dict[str, object]]:
    messages: list[dict[str, object]] = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    return [*messages, {"type": "http.request"}]


SCOPE = {"method": "POST", "headers": [(b"Content-Type", b"application/cloudevents-batch+json")]}


async def test_a_batch_is_one_step_and_accepted_after_it() -> None:
    """A sender that has its answer may rely on it."""
    publisher = Publisher()
    publisher.may_end.clear()
    batch = json.dumps([WHOLE, {**WHOLE, "type": "u"}]).encode()
    async with calling(EventsEndpoint(publisher), **SCOPE) as call:
        for message in request(batch[:20], batch[20:]):
            call.inbox.put_nowait(message)
        await publisher.called.wait()
        assert call.sent == []
        publisher.may_end.set()
        await call.ended()

    assert publisher.calls == [["t", "u"]]
    assert call.status == 202


@pytest.mark.parametrize("error", [StoreUnavailable("store: away."), StoreClosed("the cache was closed.")])
async def test_a_store_that_fails_asks_the_sender_to_come_back(error: Exception) -> None:
    """Never 202 for what was not applied, and never a bare 500."""
    async with calling(EventsEndpoint(Publisher(error)), **SCOPE) as call:
        for message in request(json.dumps([WHOLE]).encode()):
            call.inbox.put_nowait(message)
        await call.ended()

    assert call.status == 503
    assert (b"retry-after", b"5") in call.sent[0]["headers"]
    assert str(error).encode() in call.sent[1]["body"]


async def test_a_sender_that_leaves_in_the_middle_publishes_nothing() -> None:
    """Half a batch is no batch."""
    publisher = Publisher()
    async with calling(EventsEndpoint(publisher), **SCOPE) as call:
        call.inbox.put_nowait(request(b"[")[0])

    assert publisher.calls == []
    assert call.sent == []


async def test_a_body_that_is_too_large_is_not_read_to_its_end() -> None:
    """It could have none."""
    async with calling(EventsEndpoint(Publisher(), Hook(max_bytes=10)), **SCOPE) as call:
        for message in request(b"[" * 6, b"[" * 6, b"[" * 6):
            call.inbox.put_nowait(message)
        await call.ended()
        n_unread = call.inbox.qsize()

    assert call.status == 413
    assert n_unread == 2


async def test_it_lives_with_a_server_that_runs_nothing_else() -> None:
    """And refuses what it does not speak."""
    endpoint = EventsEndpoint(Publisher())
    async with calling(endpoint, type="lifespan") as server, calling(endpoint, type="websocket") as socket:
        server.inbox.put_nowait({"type": "lifespan.startup"})
        server.inbox.put_nowait({"type": "lifespan.shutdown"})
        await server.ended()
        await socket.ended()

    assert [message["type"] for message in server.sent] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert socket.sent == [{"type": "websocket.close"}]
