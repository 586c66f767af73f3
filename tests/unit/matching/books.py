"""A row of books, and two lists that it may stand in."""

from typing import Any

from everfresh.model import conditions as con
from everfresh.model import dependency as dep
from everfresh.model.event import Event

SCIFI = dep.Scope("book", {"category": "scifi"})
CHEAP = dep.Scope("book", {"category": "scifi", "price": con.lt(10)})
NO_BEFORE = "the event carries no before image"
NO_AFTER = "the event carries no after image"


def book(**fields: object) -> dict[str, Any]:
    """A cheap book of science fiction, but for these fields."""
    return {"id": 7, "category": "scifi", "price": 5, "title": "x", **fields}


def update(before: dict[str, Any], after: dict[str, Any], *changed: str) -> Event:
    """The event of an update, with the changed fields if any are named."""
    return Event.change("book", before=before, after=after, changed=changed or None)
