"""The tracker's words: issues, changes, activity, announcements."""

from typing import Literal

from msgspec import UNSET, Struct, UnsetType

State = Literal["open", "review", "done"]
Priority = Literal["urgent", "high", "normal", "low"]


class Issue(Struct, frozen=True, kw_only=True):
    """An issue as the API shows it; times are Unix seconds."""

    key: str
    team: str
    component: str
    title: str
    state: State
    priority: Priority
    author: str
    assignee: str | None
    reviewer: str | None
    comments: int
    created_at: float
    updated_at: float
    closed_at: float | None


class Activity(Struct, frozen=True, kw_only=True):
    """Something that somebody did to an issue."""

    seq: int
    key: str
    team: str
    title: str
    actor: str
    text: str
    at: float


class Day(Struct, frozen=True, kw_only=True):
    """How many issues of a team were opened and closed on one day (UTC)."""

    day: str
    opened: int
    closed: int


class NewIssue(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `POST /issues` takes."""

    actor: str
    team: str
    component: str
    title: str
    priority: Priority = "normal"


class Change(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What `PATCH /issues/{key}` takes: the fields to change; null clears a person."""

    actor: str
    title: str | UnsetType = UNSET
    component: str | UnsetType = UNSET
    state: State | UnsetType = UNSET
    priority: Priority | UnsetType = UNSET
    assignee: str | UnsetType | None = UNSET
    reviewer: str | UnsetType | None = UNSET


class NewComment(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `POST /issues/{key}/comments` takes."""

    actor: str
    text: str


class Announcement(Struct, frozen=True, kw_only=True):
    """A row of the outbox: a change that the webhook has not taken yet."""

    seq: int
    type: str
    body: bytes


class Refused(Exception):
    """A request that the tracker does not accept; the text says why and what to do."""


class UnknownIssue(Refused):
    """There is no issue with that key."""
