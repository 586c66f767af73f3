"""What the widgets show. The tracker's answers hold more; what is not named here is not read and changes nothing."""

from __future__ import annotations

from msgspec import Struct


class Issue(Struct, frozen=True, kw_only=True):
    """An issue, as far as the page shows it."""

    key: str
    title: str
    component: str
    state: str
    priority: str
    author: str
    assignee: str | None
    reviewer: str | None


class Activity(Struct, frozen=True, kw_only=True):
    """Something that somebody did to an issue, at a time in Unix seconds."""

    seq: int
    key: str
    title: str
    actor: str
    text: str
    at: float


class Day(Struct, frozen=True, kw_only=True):
    """How many issues were opened and closed on one day."""

    day: str
    opened: int
    closed: int


class ComponentCount(Struct, frozen=True, kw_only=True):
    """How many issues of a component are not done."""

    component: str
    open: int
    in_review: int
    total: int


class TeamSummary(Struct, frozen=True, kw_only=True):
    """A team's state in six numbers."""

    open: int
    in_review: int
    urgent: int
    unassigned: int
    opened_in_week: int
    closed_in_week: int
