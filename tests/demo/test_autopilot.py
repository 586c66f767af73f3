"""What the autopilot does next."""

import asyncio
from collections import Counter

import pytest

from everfresh.demo.autopilot import Step, fly, next_step
from everfresh.demo.tracker.people import DESIGN
from everfresh.demo.upstream import Tracker
from everfresh.demo.values import Issue
from everfresh.testing.waiting import soon
from tests.demo.chance import dice


def issues(n: int, state: str) -> list[Issue]:
    return [
        Issue(
            key=f"DES-{k}",
            title="Contrast",
            component="Icons",
            state=state,
            priority="low",
            author="mira",
            assignee=None,
            reviewer="aiko",
        )
        for k in range(n)
    ]


def kind(step: Step) -> str:
    """The name of what a step does."""
    if step.title:
        return "create"
    return "comment" if step.text else "+".join(sorted(step.fields or {}))


def test_everything_that_people_do_is_done() -> None:
    """A few minutes of it show every kind of change."""
    rng = dice()
    both = issues(20, "open") + issues(20, "review")

    kinds = Counter(kind(next_step(DESIGN, both, rng)) for _ in range(300))

    assert set(kinds) == {"comment", "component", "reviewer", "reviewer+state", "state"}


def test_new_issues_come_when_there_are_few() -> None:
    """So that the page never runs empty."""
    rng = dice()

    assert kind(next_step(DESIGN, issues(10, "done"), rng)) == "create"
    assert "create" in {kind(next_step(DESIGN, issues(5, "open"), rng)) for _ in range(50)}


def test_a_step_is_taken_by_somebody_of_the_team_with_somebody_else() -> None:
    """Nobody reviews their own work."""
    rng = dice()

    for _ in range(100):
        step = next_step(DESIGN, issues(50, "open"), rng)
        assert step.actor in DESIGN.people
        assert step.actor != (step.fields or {}).get("reviewer")


async def test_a_tracker_that_is_gone_is_reported_and_asked_again() -> None:
    """The autopilot flies on."""
    reports: list[str] = []
    flying = asyncio.create_task(fly("http://127.0.0.1:9", every_s=0.001, rng=dice(), report=reports.append))

    async def has_reported_twice() -> bool:
        return len(reports) >= 2

    await soon(has_reported_twice, what="two reports")
    flying.cancel()

    assert all(report.startswith("autopilot: ConnectError") for report in reports)


async def test_a_tracker_is_asked_for_when_its_address_is_known() -> None:
    """Before that the error says what to do."""
    with pytest.raises(RuntimeError, match=r"tracker\.at"):
        await Tracker().get("/issues", list[Issue])
