"""The tracker's database: issues, what was done to them, and the outbox, in one SQLite file.

Rule: a change, its line of activity and its announcement are written in one transaction. So whatever is announced
has happened, and whatever has happened is announced, also across a crash between the two.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime

import msgspec

from everfresh.demo.tracker.changes import Record
from everfresh.demo.tracker.model import Activity, Announcement, Day, Issue, UnknownIssue
from everfresh.demo.tracker.seed import DAY_S, activity_of, issues_of_all_teams

SCHEMA = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
CREATE TABLE IF NOT EXISTS issue (
    key TEXT PRIMARY KEY, team TEXT NOT NULL, component TEXT NOT NULL, title TEXT NOT NULL, state TEXT NOT NULL,
    priority TEXT NOT NULL, author TEXT NOT NULL, assignee TEXT, reviewer TEXT, comments INTEGER NOT NULL,
    created_at REAL NOT NULL, updated_at REAL NOT NULL, closed_at REAL
);
CREATE TABLE IF NOT EXISTS activity (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL, team TEXT NOT NULL, title TEXT NOT NULL,
    actor TEXT NOT NULL, text TEXT NOT NULL, at REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS outbox (seq INTEGER PRIMARY KEY AUTOINCREMENT, type TEXT NOT NULL, body BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS activity_by_team ON activity (team, seq);
"""
# A filter that was not given is NULL and holds for every issue.
ISSUES = """
SELECT * FROM issue
WHERE (:team IS NULL OR team = :team) AND (:component IS NULL OR component = :component)
  AND (:state IS NULL OR state = :state) AND (:reviewer IS NULL OR reviewer = :reviewer)
  AND (:assignee IS NULL OR assignee = :assignee)
ORDER BY created_at, key LIMIT :limit
"""
FILTERS = ("team", "component", "state", "reviewer", "assignee")
FLOW = """
SELECT day, SUM(opened) AS opened, SUM(closed) AS closed FROM (
    SELECT CAST(created_at / 86400 AS INTEGER) AS day, 1 AS opened, 0 AS closed FROM issue WHERE team = :team
    UNION ALL
    SELECT CAST(closed_at / 86400 AS INTEGER), 0, 1 FROM issue WHERE team = :team AND closed_at IS NOT NULL
) WHERE day > :last - :days GROUP BY day
"""
PUT_ISSUE = """
INSERT OR REPLACE INTO issue VALUES (:key, :team, :component, :title, :state, :priority, :author, :assignee, :reviewer,
                                     :comments, :created_at, :updated_at, :closed_at)
"""
ADD_ACTIVITY = """
INSERT INTO activity (key, team, title, actor, text, at) VALUES (:key, :team, :title, :actor, :text, :at)
"""
HIGHEST_NUMBER = "SELECT MAX(CAST(SUBSTR(key, LENGTH(?1) + 2) AS INTEGER)) FROM issue WHERE key LIKE ?1 || '-%'"


class Storage:
    """The tracker's data in one SQLite file (or `:memory:`); used from one thread.

    A new file is filled with the seeded issues.
    """

    def __init__(self, path: str, *, seed: int, now: float) -> None:
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.row_factory = sqlite3.Row
        self._db.executescript(SCHEMA)
        if self._db.execute("SELECT COUNT(*) FROM issue").fetchone()[0] == 0:
            issues = issues_of_all_teams(seed=seed, now=now)
            with self._transaction():
                self._write(issues, activity_of(issues))

    def issues(self, filters: Mapping[str, str], *, limit: int) -> list[Issue]:
        """The issues that have all these values of `FILTERS`, oldest first."""
        rows = self._db.execute(ISSUES, {**dict.fromkeys(FILTERS), **filters, "limit": limit})
        return [msgspec.convert(dict(row), Issue) for row in rows]

    def issue(self, key: str) -> Issue:
        """The issue with that key.

        Raises:
            UnknownIssue: there is none.
        """
        row = self._db.execute("SELECT * FROM issue WHERE key = ?", (key,)).fetchone()
        if row is None:
            raise UnknownIssue(f"key: there is no issue {key!r}.")
        return msgspec.convert(dict(row), Issue)

    def activity(self, team: str, *, limit: int) -> list[Activity]:
        """What was done last to a team's issues, newest first."""
        rows = self._db.execute("SELECT * FROM activity WHERE team = ? ORDER BY seq DESC LIMIT ?", (team, limit))
        return [msgspec.convert(dict(row), Activity) for row in rows]

    def flow(self, team: str, *, days: int, now: float) -> list[Day]:
        """How many issues were opened and closed on each of the last `days` days (UTC), oldest first."""
        last = int(now // DAY_S)
        rows = self._db.execute(FLOW, {"team": team, "last": last, "days": days})
        counts = {row["day"]: (row["opened"], row["closed"]) for row in rows}
        shown = ((n, *counts.get(n, (0, 0))) for n in range(last - days + 1, last + 1))
        return [Day(day=_date(n), opened=opened, closed=closed) for n, opened, closed in shown]

    def next_key(self, prefix: str) -> str:
        """The first free key that begins with `prefix`, such as DES-165."""
        (highest,) = self._db.execute(HIGHEST_NUMBER, (prefix,)).fetchone()
        return f"{prefix}-{highest + 1}"

    def write(self, record: Record) -> None:
        """Write one change, its activity and its announcement, all of it or nothing."""
        with self._transaction():
            self._write([record.issue], [record.activity])
            self._db.execute("INSERT INTO outbox (type, body) VALUES (?, ?)", (record.type, record.body))

    def first_in_outbox(self) -> Announcement | None:
        """The oldest change that was not taken yet, or None."""
        row = self._db.execute("SELECT * FROM outbox ORDER BY seq LIMIT 1").fetchone()
        return None if row is None else msgspec.convert(dict(row), Announcement)

    def forget(self, announcement: Announcement) -> None:
        """Drop an announcement that was taken; doing it twice is harmless."""
        self._db.execute("DELETE FROM outbox WHERE seq = ?", (announcement.seq,))

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _write(self, issues: Iterable[Issue], activity: Iterable[Activity]) -> None:
        self._db.executemany(PUT_ISSUE, (msgspec.structs.asdict(issue) for issue in issues))
        self._db.executemany(ADD_ACTIVITY, (msgspec.structs.asdict(entry) for entry in activity))

    @contextmanager
    def _transaction(self) -> Generator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        with self._db:
            yield


def _date(day_number: int) -> str:
    return datetime.fromtimestamp(day_number * DAY_S, UTC).date().isoformat()
