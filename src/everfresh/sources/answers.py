"""What the endpoint answers, as documents. Pure."""

from __future__ import annotations

from http import HTTPStatus

import msgspec

from everfresh.asgi import Problem
from everfresh.model.position import Position
from everfresh.sources.taken import Refused, Taken

# Enough to see what is wrong with the others too; all are counted.
_MAX_TOLD = 100


class Failed(msgspec.Struct, frozen=True):
    """An item of a batch that is no event: its number from 0, the field that is wrong, and why."""

    index: int
    field: str
    detail: str


class Accepted(msgspec.Struct, frozen=True, omit_defaults=True):
    """All events are applied, with the position of that. What failed is kept, and need not be sent again."""

    position: str
    n_applied: int = 0
    n_passed_over: int = 0
    n_failed: int = 0
    failed: list[Failed] = []


class ProblemDocument(msgspec.Struct, frozen=True, omit_defaults=True):
    """A refusal (RFC 9457); `field` names what is wrong. Of a batch it says what failed; the rest is applied."""

    title: str
    status: int
    detail: str
    field: str | None = None
    position: str | None = None
    n_applied: int | None = None
    n_failed: int | None = None
    failed: list[Failed] = []


def accepted(taken: Taken, position: Position) -> Accepted:
    """The answer to a request of which nothing is lost."""
    refused = taken.refused
    return Accepted(position.text, len(taken.events), taken.n_passed_over, len(refused), _told(refused))


def partly_applied(taken: Taken, position: Position) -> Problem:
    """The answer to a batch with items that are no events."""
    refused, n_applied = taken.refused, len(taken.events)
    first = refused[0].error
    n_items = len(refused) + n_applied + taken.n_passed_over
    detail = f"{len(refused)} of {n_items} are no events, first {first}. The other events are applied."
    more = {
        "position": position.text,
        "n_applied": n_applied,
        "n_failed": len(refused),
        "failed": _told(refused),
    }
    return Problem(HTTPStatus.BAD_REQUEST, detail, at=first.at, more=more)


def _told(refused: list[Refused]) -> list[Failed]:
    return [
        Failed(one.number, one.error.at.removeprefix(f"[{one.number}]").removeprefix("."), one.error.problem)
        for one in refused[:_MAX_TOLD]
    ]
