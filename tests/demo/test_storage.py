"""The tracker's database."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from everfresh.demo.tracker import changes
from everfresh.demo.tracker.model import Change, Issue, UnknownIssue
from everfresh.demo.tracker.storage import Storage

NOW = 1_800_000_000.0


@pytest.fixture
def storage() -> Iterator[Storage]:
    storage = Storage(":memory:", seed=4, now=NOW)
    yield storage
    storage.close()


def closed_by_mira(issue: Issue) -> changes.Record:
    record = changes.change(issue, Change(actor="mira", state="done"), now=NOW)
    assert record is not None
    return record


def test_issues_have_all_the_values_asked_for(storage: Storage) -> None:
    """Filters narrow each other."""
    found = storage.issues({"team": "design", "state": "review", "reviewer": "mira"}, limit=500)

    assert found
    assert {(issue.team, issue.state, issue.reviewer) for issue in found} == {("design", "review", "mira")}


def test_no_filter_gives_every_issue_up_to_the_limit(storage: Storage) -> None:
    """The limit bounds the answer."""
    assert len(storage.issues({}, limit=500)) > 200
    assert len(storage.issues({}, limit=3)) == 3


def test_a_key_that_nobody_has_is_unknown(storage: Storage) -> None:
    """The message names it."""
    with pytest.raises(UnknownIssue, match="DES-9999"):
        storage.issue("DES-9999")


def test_a_change_its_activity_and_its_announcement_are_written_together(storage: Storage) -> None:
    """Whatever happened is announced."""
    (issue,) = storage.issues({"team": "design", "state": "open"}, limit=1)

    storage.write(closed_by_mira(issue))

    assert storage.issue(issue.key).state == "done"
    assert storage.activity("design", limit=1)[0].text == "closed it"
    announcement = storage.first_in_outbox()
    assert announcement is not None
    assert announcement.type == "tracker.issue.updated"


def test_a_change_that_cannot_be_announced_is_not_made(storage: Storage) -> None:
    """All of it or nothing: a body that SQLite refuses takes the change back."""
    (issue,) = storage.issues({"team": "design", "state": "open"}, limit=1)
    record = msgspec.structs.replace(closed_by_mira(issue), body=None)

    with pytest.raises(sqlite3.IntegrityError):
        storage.write(record)

    assert storage.issue(issue.key) == issue
    assert storage.first_in_outbox() is None


def test_the_flow_counts_every_day_quiet_ones_too(storage: Storage) -> None:
    """A chart has no gaps."""
    (issue,) = storage.issues({"team": "design", "state": "open"}, limit=1)
    before = storage.flow("design", days=14, now=NOW)

    storage.write(closed_by_mira(issue))

    after = storage.flow("design", days=14, now=NOW)
    assert len(after) == 14
    assert after[:-1] == before[:-1]
    assert after[-1].closed == before[-1].closed + 1


def test_the_next_key_follows_the_highest_number(storage: Storage) -> None:
    """Numbers are not used again."""
    highest = max(int(issue.key[4:]) for issue in storage.issues({"team": "design"}, limit=500))

    assert storage.next_key("DES") == f"DES-{highest + 1}"


def test_announcements_survive_a_restart(tmp_path: Path) -> None:
    """The outbox is in the file, in order."""
    path = str(tmp_path / "tracker.db")
    first = Storage(path, seed=4, now=NOW)
    issues = first.issues({"team": "design", "state": "open"}, limit=2)
    for issue in issues:
        first.write(closed_by_mira(issue))
    first.close()

    again = Storage(path, seed=4, now=NOW)

    for issue in issues:
        announcement = again.first_in_outbox()
        assert announcement is not None
        assert issue.key.encode() in announcement.body
        again.forget(announcement)
    assert again.first_in_outbox() is None
    assert again.issue(issues[0].key).state == "done"
    again.close()
