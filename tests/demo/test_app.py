"""The page and its endpoints, over a real tracker."""

import os
import re
from collections.abc import AsyncIterator

import httpx2
import pytest

from everfresh.demo import DemoSettings
from everfresh.demo.autopilot import Step, take
from everfresh.demo.hub import Demo, running
from everfresh.demo.tracker.people import DESIGN
from everfresh.demo.upstream import Tracker
from everfresh.demo.values import Activity
from everfresh.testing.waiting import soon
from tests.demo.processes import kill, trackers_of

SETTINGS = DemoSettings(port=0, upstream_delay=0.02, autopilot=False, store="memory:")
TOPICS = {"summary", "reviews-mira", "reviews-jonas", "components", "flow", "activity"}


@pytest.fixture
async def demo() -> AsyncIterator[Demo]:
    async with running(SETTINGS) as demo:
        yield demo


@pytest.fixture
async def page(demo: Demo) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(base_url=demo.url, timeout=30) as client:
        yield client


def versions(html: str) -> dict[str, int]:
    """The version of each widget, as the page says it."""
    return {topic: int(version) for topic, version in re.findall(r'topic="([^"]+)" version="(\d+)"', html)}


async def test_the_page_shows_every_widget_and_how_fresh_it_is(page: httpx2.AsyncClient) -> None:
    """In the words of the promise: as of, built in, version."""
    html = (await page.get("/design-team")).text

    assert set(versions(html)) == TOPICS
    freshness = re.findall(r"as of <time[^>]*>\d\d:\d\d:\d\d</time> · built in [\d.]+ m?s · version \d+", html)
    assert len(freshness) == len(TOPICS)


async def test_the_page_carries_the_position_that_it_was_made_at(demo: Demo, page: httpx2.AsyncClient) -> None:
    """The stream begins there."""
    html = (await page.get("/design-team")).text

    assert f'<meta name="live-position" content="{(await demo.cache.position()).text}">' in html


async def test_the_page_allows_nothing_inline_and_nothing_from_elsewhere(page: httpx2.AsyncClient) -> None:
    """An injected script or style would not run."""
    answer = await page.get("/design-team")

    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert "unsafe" not in policy
    assert "<style" not in answer.text
    assert 'style="' not in answer.text
    assert re.findall(r"<script[^>]*>(.*?)</script>", answer.text, re.DOTALL) == ["", ""]


@pytest.mark.parametrize("path", ["/static/demo.js", "/static/demo.css", "/static/icon.svg"])
async def test_what_the_page_needs_is_served(page: httpx2.AsyncClient, path: str) -> None:
    """From its own origin."""
    assert (await page.get(path)).status_code == 200


async def test_a_change_in_the_tracker_arrives_on_the_page(demo: Demo, page: httpx2.AsyncClient) -> None:
    """It moves an issue from Mira to Jonas: their lists and the activity change, the numbers do not."""
    before = versions((await page.get("/design-team")).text)
    async with httpx2.AsyncClient(base_url=demo.tracker_url) as tracker:
        query = {"team": "design", "reviewer": "mira", "state": "review"}
        (issue, *_) = (await tracker.get("/issues", params=query)).json()
        await tracker.patch(f"/issues/{issue['key']}", json={"actor": "mira", "reviewer": "jonas"})

    async def grown() -> set[str]:
        after = versions((await page.get("/design-team")).text)
        changed = {topic for topic, version in after.items() if version > before[topic]}
        return changed if len(changed) >= 3 else set()

    assert await soon(grown, what="three widgets with a new version") == {"reviews-mira", "reviews-jonas", "activity"}


async def test_a_widget_that_is_not_stored_is_built_for_the_first_reader(demo: Demo, page: httpx2.AsyncClient) -> None:
    """Somebody has to wait; the next one does not."""
    await demo.cache.delete(*(widget.key for widget in demo.widgets))

    assert set(versions((await page.get("/design-team")).text)) == TOPICS


@pytest.mark.parametrize(
    ("step", "text"),
    [
        (Step(actor="aiko", title="Draw a new icon", component="Icons"), "opened it"),
        (Step(actor="aiko", key="DES-110", text="Looks good."), "wrote “Looks good.”"),
        (Step(actor="aiko", key="DES-110", fields={"title": "Renamed"}), "renamed it"),
    ],
    ids=["create", "comment", "change"],
)
async def test_the_autopilot_does_what_it_decided(demo: Demo, step: Step, text: str) -> None:
    """Through the tracker, as a person would."""
    tracker = Tracker()
    async with tracker.at(demo.tracker_url):
        await take(tracker, DESIGN, step)

        (newest,) = await tracker.get("/activity", list[Activity], team="design", limit=1)

    assert (newest.actor, newest.text) == ("aiko", text)


async def test_the_form_works_without_script(page: httpx2.AsyncClient) -> None:
    """Post, redirect, get."""
    answer = await page.post("/change", data={"key": "DES-110", "priority": "urgent", "comment": "Soon, please."})

    assert answer.status_code == 303
    assert answer.headers["location"] == "/design-team"


async def test_the_form_changes_the_tracker(demo: Demo, page: httpx2.AsyncClient) -> None:
    """The page keeps nothing of it; the event brings it back."""
    answer = await page.post("/change", data={"key": "DES-110", "component": "Motion"}, headers=AS_SCRIPT)

    assert "DES-110" in answer.json()["said"]
    async with httpx2.AsyncClient(base_url=demo.tracker_url) as tracker:
        assert (await tracker.get("/issues/DES-110")).json()["component"] == "Motion"


async def test_what_the_tracker_refuses_is_told(page: httpx2.AsyncClient) -> None:
    """In the tracker's own words."""
    answer = await page.post("/change", data={"key": "DES-9999", "state": "done"}, headers=AS_SCRIPT)

    assert answer.status_code == 400
    assert "DES-9999" in answer.json()["said"]


async def test_a_form_of_another_site_changes_nothing(page: httpx2.AsyncClient) -> None:
    """The browser says where it comes from."""
    answer = await page.post("/change", data={"key": "DES-110"}, headers={"sec-fetch-site": "cross-site"})

    assert answer.status_code == 403


async def test_only_a_post_changes_something(page: httpx2.AsyncClient) -> None:
    """A link cannot."""
    assert (await page.get("/change")).status_code == 405


async def test_an_event_that_is_none_is_refused(page: httpx2.AsyncClient) -> None:
    """The webhook's sender is told why."""
    assert (await page.post("/events", content=b"{", headers=AS_EVENT)).status_code == 400


async def test_without_its_upstream_the_page_stands() -> None:
    """The last good values are served, and the form says what is wrong."""
    async with running(SETTINGS) as demo, httpx2.AsyncClient(base_url=demo.url, timeout=30) as page:
        (tracker,) = trackers_of(os.getpid())
        kill(tracker)

        async def is_refused() -> bool:
            answer = await page.post("/change", data={"key": "DES-110", "state": "done"}, headers=AS_SCRIPT)
            return answer.status_code == 502

        await soon(is_refused, what="a tracker that is gone")
        assert set(versions((await page.get("/design-team")).text)) == TOPICS


AS_SCRIPT = {"accept": "application/json"}
AS_EVENT = {"content-type": "application/cloudevents+json"}
