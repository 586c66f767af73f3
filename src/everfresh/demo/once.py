"""`everfresh demo --once`: one change makes its round trip on real parts, without a browser, and is timed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Final

import httpx2
import msgspec

from everfresh import Notice, Position
from everfresh.demo.hub import Demo, running
from everfresh.demo.output import complain, say
from everfresh.demo.runner import until_stopped
from everfresh.demo.settings import DemoSettings
from everfresh.demo.upstream import Tracker
from everfresh.demo.values import Issue

# An issue goes from Mira's review to Jonas's: both lists change, and the team's activity. The numbers and the chart
# are touched too, since it is an issue of the team, but come out equal.
EXPECTED: Final = frozenset({"reviews-mira", "reviews-jonas", "activity"})
HEARTBEAT: Final = timedelta(milliseconds=250)


def run_once(settings: DemoSettings) -> int:
    """Make one round trip, print its times, and return the exit code: 0 if exactly the right widgets changed, else 1.

    It takes a free port, whatever the settings say, and gives up after `deadline_s`.
    """
    return until_stopped(_within_deadline(replace(settings, port=0)), code_if_stopped=1)


@dataclass(slots=True)
class Trip:
    """What was seen of one round trip; times in seconds since `began_at`."""

    began_at: float = 0.0
    stages: dict[str, float] = field(default_factory=dict[str, float])
    changed: set[str] = field(default_factory=set[str])
    settled: set[str] = field(default_factory=set[str])
    applied_at: Position | None = None

    def reached(self, stage: str) -> None:
        """Note the time of a stage, the first time."""
        self.stages.setdefault(stage, time.monotonic() - self.began_at)

    def hear(self, notice: Notice) -> None:
        """Note what the cache says."""
        match notice.name:
            case "event.applied":
                n_touched = len(notice.fields["touched"]) + len(notice.fields["suspect"])
                self.reached(f"its webhook is applied, {n_touched} entries touched")
                self.applied_at = notice.fields["position"]
            case "refresh.done":
                what = "refreshed" if notice.fields["changed"] else "came out equal"
                self.reached(f"{notice.fields['key'].removeprefix('everfresh.demo.app.')} {what}")
            case _:
                pass

    def take(self, frame: httpx2.ServerSentEvent, data: dict[str, Any]) -> None:
        """Note a frame of the stream. What is fresh as of a position after the event is settled."""
        if frame.event == "update":
            self.changed.add(data["topic"])
            self.reached(f"a browser has {data['topic']}, version {data['version']}")
        if data.get("state") == "fresh" and self.applied_at and _reached(frame.id, self.applied_at):
            self.settled.add(data["topic"])


async def _within_deadline(settings: DemoSettings) -> int:
    trip = Trip()
    try:
        async with asyncio.timeout(settings.deadline_s), running(settings, heartbeat=HEARTBEAT) as demo:
            await _make(trip, demo)
    except TimeoutError:
        so_far = "; ".join(trip.stages) or "nothing"
        complain(f"the round trip did not end within {settings.deadline_s:g} s. So far: {so_far}.")
        return 1
    return judged(trip)


async def _make(trip: Trip, demo: Demo) -> None:
    """Change an issue, and follow the stream until everything that it touched is settled and sent."""
    position = await demo.cache.position()
    query = {"topic": [widget.name for widget in demo.widgets], "last_event_id": position.text}
    async with _client(demo.url) as client, client.stream("GET", "/updates", params=query) as answer:
        frames = aiter(httpx2.EventSource(answer.raise_for_status()))
        await anext(frames)
        key = await _issue_of_mira(demo.tracker_url)
        trip.began_at = time.monotonic()
        stop_listening = demo.cache.listen(trip.hear)
        async with _client(demo.tracker_url) as tracker:
            change = {"actor": "mira", "reviewer": "jonas"}
            (await tracker.patch(f"/issues/{key}", json=change)).raise_for_status()
        trip.reached(f"the tracker has changed {key}")
        await _follow(trip, frames, demo)
        stop_listening()


async def _follow(trip: Trip, frames: AsyncIterator[httpx2.ServerSentEvent], demo: Demo) -> None:
    everything = {widget.name for widget in demo.widgets}
    newest: Position | None = None
    async for frame in frames:
        data = msgspec.json.decode(frame.data, type=dict[str, Any])
        trip.take(frame, data)
        if newest is None and trip.settled == everything:
            newest = await demo.cache.position()
        # A heartbeat that has reached this far says that nothing is on its way any more.
        if newest is not None and frame.event == "heartbeat" and _reached(data["position"], newest):
            return


def _reached(text: str | None, position: Position) -> bool:
    return bool(text) and Position.parse(str(text)).covers(position)


async def _issue_of_mira(tracker_url: str) -> str:
    tracker = Tracker()
    async with tracker.at(tracker_url):
        issues = await tracker.get("/issues", list[Issue], team="design", reviewer="mira", state="review", limit=1)
    return issues[0].key


def _client(url: str) -> httpx2.AsyncClient:
    # No time-out of its own: the whole trip has a deadline.
    return httpx2.AsyncClient(base_url=url, timeout=None)


def judged(trip: Trip) -> int:
    """Print what was seen, and the exit code: 0 if exactly the expected widgets changed, else 1."""
    for stage, at_s in trip.stages.items():
        say(f"{at_s:7.3f} s  {stage}")
    if not trip.changed ^ EXPECTED:
        say(f"everfresh demo: exactly {len(EXPECTED)} widgets changed, as they should; the others came out equal")
        return 0
    complain(f"these widgets changed: {_named(trip.changed)}. These should have: {_named(EXPECTED)}.")
    return 1


def _named(widgets: Iterable[str]) -> str:
    return ", ".join(sorted(widgets)) or "none"
