"""Requests about the refresh queue: what is due, who reads what, and what is to be built again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from everfresh.model.entry import PLAIN_TERMS, Key, Lease, Recipe, Terms
from everfresh.protocol.requests import Limit, Request


@dataclass(frozen=True, slots=True)
class Due:
    """A lease that a worker took from the queue, with what it needs to build."""

    lease: Lease
    recipe: Recipe


@dataclass(frozen=True, slots=True)
class TookDue:
    """The leases taken, most urgent first, and when the next entry falls due (None: nothing waits).

    `expired` are the entries whose refresh nobody began in time, `cold` those that nobody reads; both are dropped.
    """

    due: tuple[Due, ...]
    now: float
    next_due: float | None
    expired: tuple[Key, ...] = ()
    cold: tuple[Key, ...] = ()


def leases_in(answer: object) -> tuple[Lease, ...]:
    """The leases that the answer to a step gives."""
    match answer:
        case Lease():
            return (answer,)
        case TookDue(due):
            return tuple(one.lease for one in due)
        case _:
            return ()


@dataclass(frozen=True, slots=True)
class TakeDue(Request[TookDue]):
    """Lease the due entries of these functions within their limits, most urgent first, at most `n_max`."""

    functions: Mapping[str, Limit]
    n_max: int
    lease_s: float


@dataclass(frozen=True, slots=True)
class Enqueue(Request[int]):
    """Queue entries that are not there for their first build; answered with how many were not there."""

    recipes: Mapping[Key, Recipe]
    terms: Terms = PLAIN_TERMS


@dataclass(frozen=True, slots=True)
class Retry(Request[int]):
    """Queue entries that failed, or wait for their next try, to be built at once; answered with how many."""

    keys: tuple[Key, ...]


@dataclass(frozen=True, slots=True)
class Note(Request[None]):
    """Note when entries were last read, and until when somebody watches them, by the store's clock."""

    reads: Mapping[Key, float]
    watched: Mapping[Key, float]


@dataclass(frozen=True, slots=True)
class Distrust(Request[int]):
    """Begin a new epoch: whatever was built before is dirty, put values are dropped; answered with how many there were.

    The entries fall due one after the other, so many a second, the most urgent first.
    """

    reason: str
    per_s: float = 100.0
