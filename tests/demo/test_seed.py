"""The tracker's first issues."""

from collections import Counter

from everfresh.demo.tracker.people import DESIGN, PEOPLE, TEAM_BY_NAME
from everfresh.demo.tracker.seed import DAY_S, HISTORY_DAYS, activity_of, issues_of_all_teams

NOW = 1_800_000_000.0


def test_a_seed_always_gives_the_same_issues() -> None:
    """Two people who start the demo see the same tracker."""
    assert issues_of_all_teams(seed=4, now=NOW) == issues_of_all_teams(seed=4, now=NOW)
    assert issues_of_all_teams(seed=5, now=NOW) != issues_of_all_teams(seed=4, now=NOW)


def test_there_are_a_few_hundred_issues_of_five_teams() -> None:
    """As many as a page of widgets is worth."""
    n_of_team = Counter(issue.team for issue in issues_of_all_teams(seed=4, now=NOW))

    assert set(n_of_team) == set(TEAM_BY_NAME)
    assert len(n_of_team) == 5
    assert 200 <= sum(n_of_team.values()) <= 500


def test_every_issue_is_plausible() -> None:
    """Components and people belong to the team, and times lie within the seeded weeks."""
    issues = issues_of_all_teams(seed=4, now=NOW)

    assert len({issue.key for issue in issues}) == len(issues)
    for issue in issues:
        team = TEAM_BY_NAME[issue.team]
        assert issue.component in team.components
        assert {issue.author, issue.assignee, issue.reviewer} - {None} <= PEOPLE
        assert NOW - HISTORY_DAYS * DAY_S <= issue.created_at <= issue.updated_at <= NOW
        assert (issue.closed_at is not None) == (issue.state == "done")


def test_the_two_reviewers_of_the_page_have_something_to_do() -> None:
    """Else their widgets would be empty in the picture."""
    issues = issues_of_all_teams(seed=4, now=NOW)

    waiting = Counter(issue.reviewer for issue in issues if issue.state == "review")

    assert waiting["mira"] >= 3
    assert waiting["jonas"] >= 3
    assert all(issue.reviewer in DESIGN.people for issue in issues if issue.team == "design" and issue.reviewer)


def test_activity_is_in_the_order_of_time() -> None:
    """The newest line has the highest number."""
    activity = activity_of(issues_of_all_teams(seed=4, now=NOW))

    assert [entry.at for entry in activity] == sorted(entry.at for entry in activity)
    assert [entry.seq for entry in activity] == list(range(1, len(activity) + 1))
