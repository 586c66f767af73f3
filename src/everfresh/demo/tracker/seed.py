"""A few hundred plausible issues: the same ones for the same seed and the same `now`."""

import random
from collections.abc import Iterator

from everfresh.demo.tracker.model import Activity, Issue, Priority, State
from everfresh.demo.tracker.people import TEAMS, Team

N_ISSUES_PER_TEAM = 64
DAY_S = 86_400.0
HISTORY_DAYS = 28
PRIORITIES: tuple[Priority, ...] = ("urgent", "high", "normal", "low")
STATES: tuple[State, ...] = ("open", "review", "done")


def issues_of_all_teams(*, seed: int, now: float) -> list[Issue]:
    """All issues of the five teams, oldest number first within a team."""
    rng = random.Random(seed)  # noqa: S311  (repeatable on purpose; nothing secret)
    return [issue for team in TEAMS for issue in _issues_of(team, rng, now)]


def activity_of(issues: list[Issue]) -> list[Activity]:
    """What must have been done to the issues for them to be as they are, oldest first; `seq` counts from 1."""
    done = sorted((entry for issue in issues for entry in _history(issue)), key=lambda entry: entry[2])
    return [
        Activity(seq=n, key=issue.key, team=issue.team, title=issue.title, actor=actor, text=text, at=at)
        for n, (issue, (actor, text), at) in enumerate(done, 1)
    ]


def _issues_of(team: Team, rng: random.Random, now: float) -> Iterator[Issue]:
    titles = [problem.format(thing) for problem in team.problems for thing in team.things]
    rng.shuffle(titles)
    ages = sorted((rng.uniform(0.02, HISTORY_DAYS) for _ in range(N_ISSUES_PER_TEAM)), reverse=True)
    for n, age_days in enumerate(ages):
        title = titles[n % len(titles)]
        yield _issue(team, f"{team.prefix}-{101 + n}", title[0].upper() + title[1:], now - age_days * DAY_S, rng, now)


def _issue(team: Team, key: str, title: str, created_at: float, rng: random.Random, now: float) -> Issue:
    state = rng.choices(STATES, weights=(45, 22, 33))[0]
    author, assignee, reviewer = rng.sample(team.people, 3)
    touched_at = created_at + (now - created_at) * rng.uniform(0.05, 0.95)
    return Issue(
        key=key,
        team=team.name,
        component=rng.choice(team.components),
        title=title,
        state=state,
        priority=rng.choices(PRIORITIES, weights=(8, 22, 50, 20))[0],
        author=author,
        assignee=assignee if state != "open" or rng.random() < 0.7 else None,  # noqa: PLR2004  (a plain share)
        reviewer=None if state == "open" else reviewer,
        comments=rng.randint(0, 9),
        created_at=round(created_at, 3),
        updated_at=round(touched_at, 3),
        closed_at=round(touched_at, 3) if state == "done" else None,
    )


def _history(issue: Issue) -> Iterator[tuple[Issue, tuple[str, str], float]]:
    yield issue, (issue.author, "opened it"), issue.created_at
    if issue.state == "review":
        reviewer = (issue.reviewer or "nobody").capitalize()
        yield issue, (issue.assignee or issue.author, f"asked {reviewer} for a review"), issue.updated_at
    elif issue.state == "done":
        yield issue, (issue.reviewer or issue.author, "closed it"), issue.updated_at
