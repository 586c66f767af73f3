"""What a request does to an issue: pure decisions, written down by `storage`.

Each gives a `Record`: the issue after, the line of activity, and the announcement, to be written in one transaction.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from everfresh.demo.tracker.model import Activity, Change, Issue, NewComment, NewIssue, Refused
from everfresh.demo.tracker.people import PEOPLE, TEAM_BY_NAME

MAX_TEXT = 200
PERSONS = frozenset({"reviewer", "assignee"})
SOURCE = "urn:everfresh:demo:tracker"


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One change, ready to be written: all of it or nothing."""

    issue: Issue
    activity: Activity
    type: str
    body: bytes


def create(new: NewIssue, *, key: str, now: float) -> Record:
    """A new open issue, announced as `tracker.issue.created`.

    Raises:
        Refused: a field does not fit.
    """
    _check_fields(new.team, {"title": new.title, "component": new.component, "actor": new.actor})
    issue = Issue(
        key=key,
        team=new.team,
        component=new.component,
        title=new.title,
        state="open",
        priority=new.priority,
        author=new.actor,
        assignee=None,
        reviewer=None,
        comments=0,
        created_at=now,
        updated_at=now,
        closed_at=None,
    )
    return _record("created", None, issue, actor=new.actor, text="opened it")


def change(before: Issue, asked: Change, *, now: float) -> Record | None:
    """The issue with other field values, announced as `tracker.issue.updated`; None if nothing would change.

    Raises:
        Refused: a field does not fit.
    """
    wanted = {name: value for name, value in msgspec.structs.asdict(asked).items() if value is not msgspec.UNSET}
    _check_fields(before.team, wanted)
    actor = wanted.pop("actor")
    changed = {name: value for name, value in wanted.items() if getattr(before, name) != value}
    if not changed:
        return None
    closing = {"closed_at": now if changed["state"] == "done" else None} if "state" in changed else {}
    after = msgspec.structs.replace(before, **changed, **closing, updated_at=now)
    return _record("updated", before, after, actor=actor, text=_told(changed))


def comment(before: Issue, new: NewComment, *, now: float) -> Record:
    """The issue with one comment more, announced as `tracker.issue.commented`.

    Raises:
        Refused: a field does not fit.
    """
    _check_fields(before.team, {"actor": new.actor, "text": new.text})
    after = msgspec.structs.replace(before, comments=before.comments + 1, updated_at=now)
    return _record("commented", before, after, actor=new.actor, text=f"wrote “{new.text}”")


def _record(verb: str, before: Issue | None, after: Issue, *, actor: str, text: str) -> Record:
    kind = f"tracker.issue.{verb}"
    activity = Activity(
        seq=0, key=after.key, team=after.team, title=after.title, actor=actor, text=text, at=after.updated_at
    )
    return Record(issue=after, activity=activity, type=kind, body=_cloud_event(kind, before, after))


def _cloud_event(kind: str, before: Issue | None, after: Issue) -> bytes:
    return msgspec.json.encode(
        {
            "specversion": "1.0",
            "id": uuid.uuid4().hex,
            "source": SOURCE,
            "type": kind,
            "subject": after.key,
            "time": datetime.fromtimestamp(after.updated_at, UTC).isoformat(),
            "datacontenttype": "application/json",
            "data": {"issue": after} if before is None else {"issue": after, "previous": before},
        }
    )


def _told(changed: Mapping[str, Any]) -> str:
    if changed.get("reviewer") is not None and changed.get("state") == "review":
        changed = {name: value for name, value in changed.items() if name != "state"}
    return ", ".join(_told_of(name, value) for name, value in changed.items())


def _told_of(name: str, value: str | None) -> str:
    if name == "title":
        return "renamed it"
    if name == "state":
        return {"open": "opened it again", "review": "sent it to review"}.get(str(value), "closed it")
    if value is None:
        return f"took the {name} off"
    words = {"reviewer": "asked {} for a review", "assignee": "gave it to {}", "component": "moved it to {}"}
    return words.get(name, "set the " + name + " to {}").format(value.capitalize() if name in PERSONS else value)


def _check_fields(team: str, fields: Mapping[str, Any]) -> None:
    if team not in TEAM_BY_NAME:
        raise Refused(f"team: {team!r} is unknown. Use one of {', '.join(TEAM_BY_NAME)}.")
    components = TEAM_BY_NAME[team].components
    for name, value in fields.items():
        if name == "component" and value not in components:
            raise Refused(f"component: {value!r} is not of team {team}. Use one of {', '.join(components)}.")
        if name in PERSONS | {"actor"} and value is not None and value not in PEOPLE:
            raise Refused(f"{name}: nobody is called {value!r}. Use one of {', '.join(sorted(PEOPLE))}.")
        if name in {"title", "text"} and not 0 < len(str(value).strip()) <= MAX_TEXT:
            raise Refused(f"{name}: {len(str(value))} characters do not fit. Use 1 to {MAX_TEXT}.")
