"""The tracker's HTTP API."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest

from everfresh.demo.tracker.api import Slowness, create_tracker
from everfresh.demo.tracker.storage import Storage
from tests.demo.chance import dice


@asynccontextmanager
async def tracker(*, delay_s: float = 0.0) -> AsyncGenerator[tuple[httpx2.AsyncClient, Slowness]]:
    storage = Storage(":memory:", seed=4, now=time.time())
    slowness = Slowness(delay_s, rng=dice())
    transport = httpx2.ASGITransport(app=create_tracker(storage, slowness, None))
    async with httpx2.AsyncClient(transport=transport, base_url="http://tracker") as client:
        yield client, slowness
    storage.close()


@pytest.fixture
async def client() -> AsyncIterator[httpx2.AsyncClient]:
    async with tracker() as (client, _):
        yield client


async def problem(answer: httpx2.Response, status: int) -> str:
    """The detail of a refusal with that status."""
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert body["status"] == status
    return str(body["detail"])


async def test_issues_are_filtered(client: httpx2.AsyncClient) -> None:
    """By any of the fields that the page asks by."""
    found = (await client.get("/issues", params={"reviewer": "mira", "state": "review", "limit": 2})).json()

    assert len(found) == 2
    assert {(issue["reviewer"], issue["state"]) for issue in found} == {("mira", "review")}


async def test_an_issue_is_changed_and_told_of(client: httpx2.AsyncClient) -> None:
    """The change is in the issue, in the lists and in the activity."""
    (issue,) = (await client.get("/issues", params={"team": "design", "state": "review", "limit": 1})).json()

    changed = await client.patch(f"/issues/{issue['key']}", json={"actor": "mira", "state": "done"})

    assert changed.json()["state"] == "done"
    assert (await client.get(f"/issues/{issue['key']}")).json() == changed.json()
    (newest,) = (await client.get("/activity", params={"team": "design", "limit": 1})).json()
    assert (newest["key"], newest["actor"], newest["text"]) == (issue["key"], "mira", "closed it")


async def test_a_change_of_nothing_gives_the_issue_as_it_is(client: httpx2.AsyncClient) -> None:
    """Asking twice is harmless."""
    (issue,) = (await client.get("/issues", params={"team": "docs", "state": "open", "limit": 1})).json()

    answer = await client.patch(f"/issues/{issue['key']}", json={"actor": "ella", "state": "open"})

    assert answer.json() == issue


async def test_an_issue_is_created_and_commented(client: httpx2.AsyncClient) -> None:
    """It gets the next number of its team."""
    new = {"actor": "sam", "team": "platform", "component": "API", "title": "Paging"}
    created = await client.post("/issues", json=new)
    key = created.json()["key"]

    commented = await client.post(f"/issues/{key}/comments", json={"actor": "lena", "text": "Yes please."})

    assert (created.status_code, commented.status_code) == (201, 201)
    assert key.startswith("PLA-")
    assert commented.json()["comments"] == 1


async def test_the_flow_has_a_row_per_day(client: httpx2.AsyncClient) -> None:
    """As many as asked for."""
    assert len((await client.get("/flow", params={"team": "design", "days": 5})).json()) == 5


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "field"),
    [
        ("GET", "/activity?team=sales", None, 400, "team"),
        ("GET", "/flow?team=design&days=0", None, 400, "days"),
        ("GET", "/issues?limit=many", None, 400, "limit"),
        ("GET", "/issues/DES-9999", None, 404, "key"),
        ("PATCH", "/issues/DES-9999", {"actor": "mira"}, 404, "key"),
        ("PATCH", "/issues/DES-101", {"actor": "mira", "component": "Billing"}, 400, "component"),
        ("PATCH", "/issues/DES-101", {"actor": "mira", "colour": "red"}, 400, "body"),
        ("PATCH", "/issues/DES-101", {"actor": "mira", "state": "gone"}, 400, "body"),
        ("POST", "/issues", {"actor": "mira", "team": "sales", "component": "x", "title": "x"}, 400, "team"),
        ("POST", "/issues/DES-101/comments", {"actor": "mira", "text": ""}, 400, "text"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_what_does_not_fit_is_refused_by_name(
    client: httpx2.AsyncClient, method: str, path: str, body: object, status: int, field: str
) -> None:
    """As problem+json, beginning with the field."""
    answer = await client.request(method, path, json=body)

    assert (await problem(answer, status)).startswith(f"{field}:")


async def test_a_body_that_is_no_json_is_refused(client: httpx2.AsyncClient) -> None:
    """It changes nothing."""
    answer = await client.patch("/issues/DES-101", content=b"{", headers={"content-type": "application/json"})

    assert "body" in await problem(answer, 400)


async def test_what_a_form_of_another_site_can_send_is_refused(client: httpx2.AsyncClient) -> None:
    """A browser asks before it sends JSON to another site, and sends plain text unasked."""
    change = b'{"actor": "mira", "priority": "urgent"}'
    answer = await client.patch("/issues/DES-101", content=change, headers={"content-type": "text/plain"})

    assert "content-type" in await problem(answer, 400)


async def test_questions_wait_and_changes_do_not() -> None:
    """The upstream is slow to answer; the way from a change to the browser must not be blurred by that."""
    async with tracker(delay_s=3600.0) as (client, slowness):
        asking = asyncio.create_task(client.get("/issues/DES-101"))

        changed = await client.patch("/issues/DES-101", json={"actor": "mira", "priority": "urgent"})

        assert changed.status_code == 200
        assert not asking.done()
        await slowness.end()
        assert (await asking).status_code == 200


async def test_an_answer_may_be_out_of_date_when_it_arrives() -> None:
    """It is read before the delay, as from any slow upstream; a cache over it must cope."""
    async with tracker(delay_s=3600.0) as (client, slowness):
        asking = asyncio.create_task(client.get("/issues/DES-101"))
        for _ in range(20):
            await asyncio.sleep(0)  # the question is being answered by now
        changed = (await client.patch("/issues/DES-101", json={"actor": "mira", "title": "Renamed"})).json()
        await slowness.end()

        assert (await asking).json()["title"] != changed["title"]


def test_delays_lie_within_a_third_of_what_was_asked_for() -> None:
    """1.5 s means 1 to 2 s."""
    slowness = Slowness(1.5, rng=dice())

    delays_s = [slowness.next_delay_s() for _ in range(200)]

    assert min(delays_s) >= 1.0
    assert max(delays_s) <= 2.0
    assert max(delays_s) - min(delays_s) > 0.9
