"""What events touch at a pace: each step gives places among its own, and who has seen all steps puts them in order.

Rules
- Until then what was touched waits where its step has put it: if nobody comes to put it in order, it is built later,
  or a little out of turn. So each of several shards counts by its part of the rate.
- Of an entry that somebody has queued otherwise meanwhile nothing is changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from everfresh.model.entry import Key
from everfresh.protocol.requests import Request

# As with what is distrusted: a step takes about a millisecond.
N_PACED = 200

Moved = tuple[tuple[Key, float, float], ...]
"""Entries, when each falls due, and when it is to."""


class Place(msgspec.Struct, array_like=True, frozen=True):
    """An entry that was touched: its urgency, lowest first, and when it falls due.

    Without a pace that would be `at_once`; before it was touched it was `before`, None for never.
    """

    key: Key
    level: float
    seen: float
    due: float
    at_once: float
    before: float | None

    def order(self) -> tuple[float, float, Key]:
        """The most urgent come first."""
        return self.level, self.seen, self.key

    def due_at(self, at: float) -> float:
        """When it falls due, if its turn comes then."""
        return max(self.at_once, at if self.before is None else min(at, self.before))


class Placed(msgspec.Struct, frozen=True):
    """What has places, and from when on they are counted."""

    began: float
    places: tuple[Place, ...]


class Places:
    """The places of several steps of one shard, counted from when the first was carried out."""

    __slots__ = ("_began", "_places")

    def __init__(self) -> None:
        self._began: float | None = None
        self._places: dict[Key, Place] = {}

    def __len__(self) -> int:
        return len(self._places)

    def add(self, more: Placed | None) -> None:
        """These were given too."""
        if more is None:
            return
        if self._began is None:
            self._began = more.began
        for place in more.places:
            known = self._places.get(place.key)
            # One that is touched twice has one place; it waits where it was put last.
            self._places[place.key] = place if known is None else msgspec.structs.replace(place, before=known.before)

    def placed(self) -> Placed | None:
        """All of them; None if no step gave any."""
        return None if self._began is None else Placed(self._began, tuple(self._places.values()))


@dataclass(frozen=True, slots=True)
class Pace(Request[None]):
    """Have these fall due then, where they still wait as they were put."""

    moved: Moved


def paces(placed: Mapping[int, Placed], per_s: float) -> dict[int, list[Pace]]:
    """What each shard is to move, so that all of them together are in order; nothing where one step has seen all."""
    found: dict[int, list[Pace]] = {}
    for shard, moved in _moved(placed, per_s).items():
        found[shard] = [Pace(tuple(moved[start : start + N_PACED])) for start in range(0, len(moved), N_PACED)]
    return found


def _moved(placed: Mapping[int, Placed], per_s: float) -> dict[int, list[tuple[Key, float, float]]]:
    waiting = [(place.order(), shard, place) for shard, one in placed.items() for place in one.places]
    moved: dict[int, list[tuple[Key, float, float]]] = {}
    for number, (_, shard, place) in enumerate(sorted(waiting, key=lambda item: item[0])):
        due = place.due_at(placed[shard].began + number / per_s)
        if due != place.due:
            moved.setdefault(shard, []).append((place.key, place.due, due))
    return moved
