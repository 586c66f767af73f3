"""Acknowledged events: whoever published them goes on when no process anywhere serves anything older."""

from __future__ import annotations

from dataclasses import dataclass

from everfresh.model.position import Position
from everfresh.protocol.requests import Request, Steps, ask

# A follower on the same network has told of an event after half a millisecond; one that hangs costs its whole lease.
_FIRST_PAUSE_S = 0.0005
_LONGEST_PAUSE_S = 0.016


@dataclass(frozen=True, slots=True)
class Behind(Request[float]):
    """For how many seconds at most some process may still use what it holds near and is older than the position.

    0 when none may. A store whose near caches are exact always says so.
    """

    position: Position


@dataclass(frozen=True, slots=True)
class Pause(Request[None]):
    """Let so many seconds pass."""

    seconds: float


def acknowledged(position: Position) -> Steps[None]:
    """Wait until every process that holds values near has dropped what is older than the position.

    It ends by itself: a follower that does not answer stops using what it holds when its lease runs out.
    """
    pause_s = _FIRST_PAUSE_S
    while (left_s := (yield from ask(Behind(position)))) > 0:
        yield from ask(Pause(min(left_s, pause_s)))
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
