"""Tally: what became of the streams of an application, in numbers, for metrics and whoever else asks.

Counts that belong to one stream are taken when it begins and when it ends; those of deliveries once for all streams to
which a frame is sent. So they cost a delivery nothing.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from weakref import WeakSet


class End(StrEnum):
    """Why a stream ended."""

    LEFT = "left"
    """Its client left, or the connection broke."""
    EXPIRED = "expired"
    """It had lasted as long as one may, or as its grant did."""
    STALLED = "stalled"
    """Its client took nothing for too long."""
    REVOKED = "revoked"
    """Nothing was left that its client may see."""
    TOLD = "told"
    """The process, the feed or the answer to who may see what came to an end, and its client was told to come back."""


@dataclass(slots=True, eq=False, weakref_slot=True)
class Tally:
    """Numbers that only grow."""

    n_opened: int = 0
    """Streams that were opened."""
    ended: Counter[End] = field(default_factory=Counter[End])
    """Streams that have ended, and why."""
    refused: Counter[int] = field(default_factory=Counter[int])
    """Requests that were refused, by the status of the answer."""
    n_polls: int = 0
    """Polls that were answered."""
    n_changes: int = 0
    """Values and states that were handed out, each once, to however many streams."""
    n_deliveries: int = 0
    """The same, once for each stream to which they were."""
    n_skipped: int = 0
    """Values that were not sent to a stream, as there was a newer one before its client had read so far."""
    n_revoked: int = 0
    """Topics that were taken away from open streams."""
    n_feed_failures: int = 0
    """Times at which the feed ended by an error, and all streams with it."""

    def __post_init__(self) -> None:
        _tallies.add(self)

    @property
    def n_open(self) -> int:
        """Streams that are open."""
        return self.n_opened - self.ended.total()


_tallies: WeakSet[Tally] = WeakSet()


def tallies() -> list[Tally]:
    """Those of all applications of this process."""
    return list(_tallies)
