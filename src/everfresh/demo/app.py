"""A page that answers at once and is never stale for long. The whole idea in one file, from top to bottom.

The upstream, an issue tracker, takes 1-2 s for every answer and announces every change as a webhook. The page shows
six widgets over it, and neither waits for the tracker nor guesses how long an answer stays true.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from everfresh import FOREVER, Cache, dep
from everfresh.demo import forms, views
from everfresh.demo.upstream import Tracker
from everfresh.demo.values import Activity, ComponentCount, Day, Issue, TeamSummary
from everfresh.demo.widgets import Widget
from everfresh.push import Client, Topic, Updates
from everfresh.refresh import Worker
from everfresh.sources.http import EventsEndpoint

cache = Cache(os.environ.get("EVERFRESH_DEMO_STORE", "memory:"))
tracker = Tracker()
client = Client("/live")


# 1. Cached functions. Each says which events touch its result; the rest of it knows nothing of caching.
#    With FOREVER for both bounds a reader always gets the last good value, and a worker has the next one ready soon.


def issues_where(field: str, argument: str) -> list[dep.Topic]:
    """Events of issues that have this value now, and of issues that had it: an issue that moves touches both sides."""
    return [
        dep.Topic("tracker.issue.*", where={f"issue.{field}": dep.arg(argument)}),
        dep.Topic("tracker.issue.*", where={f"previous.{field}": dep.arg(argument)}),
    ]


@cache.cached(depends_on=issues_where("reviewer", "person"), stale_while_revalidate=FOREVER, stale_if_error=FOREVER)
async def review_requests(person: str) -> list[Issue]:
    """What waits for one person's review, in all teams."""
    return await tracker.get("/issues", list[Issue], reviewer=person, state="review")


@cache.cached(depends_on=issues_where("team", "team"), stale_while_revalidate=FOREVER, stale_if_error=FOREVER)
async def recent_activity(team: str) -> list[Activity]:
    """What was done last to a team's issues."""
    return await tracker.get("/activity", list[Activity], team=team, limit=6)


@cache.cached(depends_on=issues_where("team", "team"), stale_while_revalidate=FOREVER, stale_if_error=FOREVER)
async def opened_and_closed(team: str) -> list[Day]:
    """How many issues a team opened and closed, day by day."""
    return await tracker.get("/flow", list[Day], team=team, days=14)


@cache.cached(depends_on=issues_where("team", "team"), stale_while_revalidate=FOREVER, stale_if_error=FOREVER)
async def unfinished_issues(team: str) -> list[Issue]:
    """The issues of a team that are not done. No widget shows them; the functions below and the form use them."""
    issues = await tracker.get("/issues", list[Issue], team=team)
    return [issue for issue in issues if issue.state != "done"]


# 2. Cached functions may call each other. These two name no events: they are built again when a value that they
#    used has changed, and not when it was built again and came out equal.


@cache.cached(stale_while_revalidate=FOREVER, stale_if_error=FOREVER)
async def open_by_component(team: str) -> list[ComponentCount]:
    """How many unfinished issues each component has."""
    issues = await unfinished_issues(team)
    total = Counter(issue.component for issue in issues)
    waiting = Counter(issue.component for issue in issues if issue.state == "review")
    return [
        ComponentCount(component=name, open=n - waiting[name], in_review=waiting[name], total=n)
        for name, n in sorted(total.items())
    ]


@cache.cached(stale_while_revalidate=FOREVER, stale_if_error=FOREVER)
async def team_summary(team: str) -> TeamSummary:
    """A team's state in six numbers."""
    issues, days = await asyncio.gather(unfinished_issues(team), opened_and_closed(team))
    return TeamSummary(
        open=sum(issue.state == "open" for issue in issues),
        in_review=sum(issue.state == "review" for issue in issues),
        urgent=sum(issue.priority == "urgent" for issue in issues),
        unassigned=sum(issue.assignee is None for issue in issues),
        opened_in_week=sum(day.opened for day in days[-7:]),
        closed_in_week=sum(day.closed for day in days[-7:]),
    )


# 3. Widgets: a name on the page and on the stream, a title, a template, and the call that is shown.

WIDGETS = (
    Widget("summary", "The team at a glance", "summary.html", team_summary, "design"),
    Widget("reviews-mira", "Waiting for Mira's review", "issues.html", review_requests, "mira"),
    Widget("reviews-jonas", "Waiting for Jonas's review", "issues.html", review_requests, "jonas"),
    Widget("components", "Unfinished by component", "components.html", open_by_component, "design"),
    Widget("flow", "Opened and closed, last 14 days", "days.html", opened_and_closed, "design"),
    Widget("activity", "Recent activity", "activity.html", recent_activity, "design"),
)


# 4. The page reads the cache and nothing else. The position is taken first: the browser asks the stream for whatever
#    changed after it, so nothing is missed between rendering and connecting.


async def design_team(_: Request) -> Response:
    """The page."""
    began = time.perf_counter()
    position = await cache.position()
    shown = [await widget.shown() for widget in WIDGETS]
    issues = await unfinished_issues("design")
    took_s = time.perf_counter() - began
    live = client.head(position, is_policy_allowed=True)
    return views.page("page.html", live=live, shown=shown, issues=issues, choices=forms.CHOICES, took_s=took_s)


# 5. The application: events come in, the worker refreshes what they touch, the stream carries it to the browsers.


async def warm_up() -> None:
    """Build every widget anew: the first time there is nothing, later on events may have been missed meanwhile."""
    await asyncio.gather(*(widget.function.refresh(widget.argument) for widget in WIDGETS))


def create_app(
    tracker_url: str,
    *,
    heartbeat: timedelta = timedelta(seconds=20),
    on_sent: Callable[[str, int], None] | None = None,
) -> Starlette:
    """The page over the tracker at `tracker_url`."""
    topics = {widget.name: Topic(widget.key, widget.render) for widget in WIDGETS}
    updates = Updates(cache, topics, heartbeat=heartbeat, on_sent=on_sent)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[None]:
        async with tracker.at(tracker_url), Worker(cache, concurrency=8):
            yield

    routes = [
        Route("/", design_team),
        Route("/design-team", design_team),
        Route("/change", forms.change_with(tracker), methods=["POST"]),
        Route("/events", EventsEndpoint(cache)),
        Route("/updates", updates),
        Mount("/live", client),
        Mount("/static", StaticFiles(packages=[("everfresh.demo", "static")])),
    ]
    app = Starlette(routes=routes, lifespan=lifespan)
    app.state.updates = updates  # whoever serves the application ends the streams with `updates.drain()`
    return app
