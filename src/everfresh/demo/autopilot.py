"""Autopilot: something plausible changes in the tracker every few seconds."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from httpx2 import HTTPError

from everfresh.demo.tracker.people import DESIGN, TEAMS, Team
from everfresh.demo.upstream import Tracker, TrackerRefused
from everfresh.demo.values import Issue

# How often it is the team whose page is shown; the others prove that their events touch nothing here.
SHARE_OF_DESIGN = 0.75
COMMENTS = (
    "Looks good on my screen.",
    "Can we see it in dark?",
    "Not on phones yet.",
    "Thanks, trying it.",
    "Why 3 px?",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing that somebody does to an issue; with a title it is a new one, with a text a comment."""

    actor: str
    key: str = ""
    fields: dict[str, str | None] | None = None
    text: str = ""
    title: str = ""
    component: str = ""


def next_step(team: Team, issues: Sequence[Issue], rng: random.Random) -> Step:
    """What somebody of the team does next; the number of unfinished issues stays about where it is."""
    actor, other = rng.sample(team.people, 2)
    unfinished = [issue for issue in issues if issue.state != "done"]
    if not unfinished or (len(unfinished) < 40 and rng.random() < 0.25):  # noqa: PLR2004 - about what is seeded
        title = rng.choice(team.problems).format(rng.choice(team.things))
        return Step(actor=actor, title=title[0].upper() + title[1:], component=rng.choice(team.components))
    issue = rng.choice(unfinished)
    chance = rng.random()
    if chance < 0.2:  # noqa: PLR2004 - a fifth
        return Step(actor=actor, key=issue.key, text=rng.choice(COMMENTS))
    if chance < 0.35:  # noqa: PLR2004 - a seventh
        return Step(actor=actor, key=issue.key, fields={"component": rng.choice(team.components)})
    return Step(actor=actor, key=issue.key, fields=_moved_on(issue, other, rng))


def _moved_on(issue: Issue, other: str, rng: random.Random) -> dict[str, str | None]:
    if issue.state == "open":
        return {"state": "review", "reviewer": other}
    return {"reviewer": other} if rng.random() < 0.5 else {"state": "done"}  # noqa: PLR2004 - half of them


async def fly(tracker_url: str, *, every_s: float, rng: random.Random, report: Callable[[str], None]) -> None:
    """Do the next step every `every_s` seconds until cancelled; a tracker that fails is reported and asked again."""
    tracker = Tracker()
    async with tracker.at(tracker_url):
        while True:
            await asyncio.sleep(every_s)
            team = DESIGN if rng.random() < SHARE_OF_DESIGN else rng.choice(TEAMS)
            try:
                issues = await tracker.get("/issues", list[Issue], team=team.name)
                await take(tracker, team, next_step(team, issues, rng))
            except (HTTPError, TrackerRefused) as exc:
                report(f"autopilot: {type(exc).__name__} {exc}")


async def take(tracker: Tracker, team: Team, step: Step) -> None:
    """Do the step in the tracker.

    Raises:
        TrackerRefused: a field does not fit.
        HTTPError: the tracker did not answer.
    """
    if step.title:
        await tracker.create(team=team.name, component=step.component, title=step.title, actor=step.actor)
    elif step.text:
        await tracker.comment(step.key, step.text, actor=step.actor)
    elif step.fields:
        await tracker.change(step.key, step.fields, actor=step.actor)
