"""What a request does to an issue."""

import json

import pytest

from everfresh.demo.tracker import changes
from everfresh.demo.tracker.model import Change, Issue, NewComment, NewIssue, Refused

NOW = 1_800_000_000.0
ISSUE = Issue(
    key="DES-1",
    team="design",
    component="Icons",
    title="Contrast",
    state="review",
    priority="high",
    author="mira",
    assignee="aiko",
    reviewer="jonas",
    comments=2,
    created_at=NOW - 100,
    updated_at=NOW - 50,
    closed_at=None,
)


def test_a_change_is_announced_with_the_issue_before_and_after() -> None:
    """Who shows the list that an issue left needs its old values."""
    record = changes.change(ISSUE, Change(actor="mira", reviewer="priya"), now=NOW)

    assert record is not None
    assert record.issue.reviewer == "priya"
    assert record.issue.updated_at == NOW
    event = json.loads(record.body)
    assert event["specversion"] == "1.0"
    assert (event["type"], event["subject"]) == ("tracker.issue.updated", "DES-1")
    assert event["data"]["issue"]["reviewer"] == "priya"
    assert event["data"]["previous"]["reviewer"] == "jonas"


def test_every_announcement_has_an_id_of_its_own() -> None:
    """Whoever takes it tells repeats by the id."""
    records = [changes.change(ISSUE, Change(actor="mira", title=title), now=NOW) for title in ("a", "b")]

    assert len({json.loads(record.body)["id"] for record in records if record}) == 2


def test_a_change_of_nothing_is_no_change() -> None:
    """Nothing happened, so nothing is announced."""
    assert changes.change(ISSUE, Change(actor="mira", reviewer="jonas", state="review"), now=NOW) is None


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (Change(actor="mira", state="review", reviewer="priya"), "asked Priya for a review"),
        (Change(actor="mira", state="done"), "closed it"),
        (Change(actor="mira", reviewer=None), "took the reviewer off"),
        (Change(actor="mira", component="Forms", priority="low"), "moved it to Forms, set the priority to low"),
        (Change(actor="mira", title="Other"), "renamed it"),
    ],
    ids=["review", "done", "no-reviewer", "two-fields", "title"],
)
def test_activity_tells_what_changed(change: Change, text: str) -> None:
    """In words that a colleague would use."""
    record = changes.change(ISSUE, change, now=NOW)

    assert record is not None
    assert sorted(record.activity.text.split(", ")) == sorted(text.split(", "))


def test_closing_notes_the_time_and_opening_again_forgets_it() -> None:
    """The chart counts by it."""
    closed = changes.change(ISSUE, Change(actor="mira", state="done"), now=NOW)
    assert closed is not None
    assert closed.issue.closed_at == NOW

    opened = changes.change(closed.issue, Change(actor="mira", state="open"), now=NOW + 1)

    assert opened is not None
    assert opened.issue.closed_at is None


def test_a_comment_counts() -> None:
    """It changes the issue's count and nothing else that a widget shows."""
    record = changes.comment(ISSUE, NewComment(actor="priya", text="Looks good."), now=NOW)

    assert record.type == "tracker.issue.commented"
    assert record.issue.comments == 3
    assert "Looks good." in record.activity.text


def test_a_new_issue_has_no_previous() -> None:
    """It was in no list before."""
    new = NewIssue(actor="mira", team="design", component="Icons", title="New")
    record = changes.create(new, key="DES-2", now=NOW)

    assert record.issue.state == "open"
    assert "previous" not in json.loads(record.body)["data"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (Change(actor="nobody"), "actor"),
        (Change(actor="mira", component="Billing"), "component"),
        (Change(actor="mira", reviewer="nobody"), "reviewer"),
        (Change(actor="mira", title=" "), "title"),
        (Change(actor="mira", title="x" * 201), "title"),
    ],
    ids=["actor", "component", "reviewer", "blank", "long"],
)
def test_a_field_that_does_not_fit_is_refused_by_name(change: Change, field: str) -> None:
    """The message begins with the field and says what would fit."""
    with pytest.raises(Refused, match=f"^{field}:"):
        changes.change(ISSUE, change, now=NOW)


def test_a_new_issue_of_an_unknown_team_is_refused() -> None:
    """There are five."""
    with pytest.raises(Refused, match=r"^team:"):
        changes.create(NewIssue(actor="mira", team="sales", component="Icons", title="x"), key="", now=NOW)
