"""Announcing changes: in order, each until it is taken."""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from everfresh.demo.server import Server, address_of, listen, serving
from everfresh.demo.tracker import changes
from everfresh.demo.tracker.announce import Announcer, wait_after
from everfresh.demo.tracker.model import Change
from everfresh.demo.tracker.storage import Storage
from everfresh.testing.waiting import soon
from tests.demo.chance import dice

NOW = 1_800_000_000.0


@pytest.fixture
def storage() -> Iterator[Storage]:
    storage = Storage(":memory:", seed=4, now=NOW)
    yield storage
    storage.close()


class Webhook:
    """A webhook that answers with the given statuses, then 202, and remembers what it was sent."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.taken: list[str] = []
        self.n_posts = 0
        self.content_types: set[str | None] = set()

    async def take(self, request: Request) -> Response:
        self.n_posts += 1
        self.content_types.add(request.headers.get("content-type"))
        status = self.statuses.pop(0) if self.statuses else 202
        if status == 202:
            self.taken.append(json.loads(await request.body())["subject"])
        return Response(status_code=status)

    @asynccontextmanager
    async def served(self) -> AsyncGenerator[str]:
        app = Starlette(routes=[Route("/events", self.take, methods=["POST"])])
        listener = listen(0)
        async with serving(Server(app, drain=nothing_to_drain), listener):
            yield f"{address_of(listener)}/events"


async def nothing_to_drain() -> None:
    """There are no streams."""


@asynccontextmanager
async def announcing(storage: Storage, url: str) -> AsyncGenerator[Announcer]:
    announcer = Announcer(storage, url, rng=dice())
    task = asyncio.create_task(announcer.run())
    yield announcer
    task.cancel()
    await asyncio.wait([task])


def close_issues(storage: Storage, n: int) -> list[str]:
    """Close some issues; their keys in the order of the changes."""
    issues = storage.issues({"team": "design", "state": "open"}, limit=n)
    for issue in issues:
        record = changes.change(issue, Change(actor="mira", state="done"), now=NOW)
        assert record is not None
        storage.write(record)
    return [issue.key for issue in issues]


def emptied(storage: Storage) -> Callable[[], Awaitable[bool]]:
    async def is_empty() -> bool:
        return storage.first_in_outbox() is None

    return is_empty


async def test_changes_are_announced_in_order(storage: Storage) -> None:
    """Also those that were made before the announcer ran."""
    webhook = Webhook()
    keys = close_issues(storage, 3)

    async with webhook.served() as url, announcing(storage, url):
        await soon(emptied(storage), what="an empty outbox")

    assert webhook.taken == keys
    assert webhook.content_types == {"application/cloudevents+json"}


async def test_a_webhook_that_fails_is_asked_again_and_nothing_overtakes(
    storage: Storage, capsys: pytest.CaptureFixture[str]
) -> None:
    """A refusal of any kind keeps the row; later changes wait behind it."""
    webhook = Webhook(503, 400, 500)
    keys = close_issues(storage, 2)

    async with webhook.served() as url, announcing(storage, url):
        await soon(emptied(storage), what="an empty outbox")

    assert webhook.taken == keys
    assert webhook.n_posts == 5
    complaints = capsys.readouterr().err
    assert [status in complaints for status in ("503", "400", "500")] == [True, True, True]


async def test_changes_wait_while_nobody_listens(storage: Storage, capsys: pytest.CaptureFixture[str]) -> None:
    """The outbox holds them until there is a webhook again."""
    webhook = Webhook()
    (key,) = close_issues(storage, 1)
    listener = listen(0)
    url = f"{address_of(listener)}/events"
    port: int = listener.getsockname()[1]
    listener.close()

    async with announcing(storage, url):

        async def was_refused() -> bool:
            return "ConnectError" in capsys.readouterr().err

        await soon(was_refused, what="a refused connection")
        assert storage.first_in_outbox() is not None
        app = Starlette(routes=[Route("/events", webhook.take, methods=["POST"])])
        async with serving(Server(app, drain=nothing_to_drain), listen(port)):
            await soon(emptied(storage), what="an empty outbox")

    assert webhook.taken == [key]


async def test_a_change_wakes_the_announcer(storage: Storage) -> None:
    """It does not look by the clock."""
    webhook = Webhook()

    async with webhook.served() as url, announcing(storage, url) as announcer:
        await asyncio.sleep(0)
        keys = close_issues(storage, 1)
        announcer.wake()
        await soon(emptied(storage), what="an empty outbox")

    assert webhook.taken == keys


def test_waits_double_up_to_a_bound() -> None:
    """A webhook that is back is found within five seconds."""
    rng = dice()

    waits = [wait_after(n, rng=rng) for n in range(1, 40)]

    assert 0.05 <= waits[0] <= 0.1
    assert all(2.5 <= wait <= 5.0 for wait in waits[6:])
