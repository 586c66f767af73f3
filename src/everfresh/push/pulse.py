"""Pulse: one timer for all streams: heartbeats, and the ends of those that stall or have lasted long enough."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Protocol

from everfresh.model.position import Position
from everfresh.push.frames import Frame, heartbeat
from everfresh.push.wheel import Wheel

_log = logging.getLogger("everfresh.push")

# Nothing here has to be on time by more than this; by less for those who want short times.
_TICK_S = 1.0
_TICKS_IN_THE_SHORTEST = 4
# After so many, a few milliseconds of work, whatever else the process does has its turn.
_N_IN_A_ROW = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How often a stream says that it lives, when one that is not read is cut, and how long one lasts; in seconds."""

    heartbeat_s: float
    patience_s: float
    lifetime_s: float


@dataclass(slots=True, kw_only=True)
class Vital:
    """When a stream is due for a heartbeat, and when it ends; `sending_since`: its client has taken nothing since."""

    beats_at: float
    ends_at: float
    sending_since: float | None = None


class Living(Protocol):
    """A stream as its pulse sees it; no method waits."""

    @property
    def vital(self) -> Vital:
        """What is known of its life."""
        ...

    def beat(self, handed_out: Position, word: Callable[[Position], Frame]) -> None:
        """Send word of the position that the client has reached, if nothing else is to be sent."""
        ...

    def expire(self) -> None:
        """Say goodbye, since it has lasted long enough, and end."""
        ...

    def cut(self) -> None:
        """End now, whatever the client has not read."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """What a stream is due for, and when to look at it next."""

    is_stalled: bool = False
    is_expired: bool = False
    is_beating: bool = False
    look_at: float = inf


def due_of(vital: Vital, pace: Pace, now: float) -> Due:
    """What a stream is due for; one that has more to send than its client takes needs no heartbeat."""
    is_sending = vital.sending_since is not None
    stalls_at = inf if vital.sending_since is None else vital.sending_since + pace.patience_s
    if now >= stalls_at:
        return Due(is_stalled=True)
    if now >= vital.ends_at:
        # Looked at once more, in case that it does not take the goodbye.
        return Due(is_expired=True, look_at=min(stalls_at, now + pace.patience_s))
    is_due = now >= vital.beats_at
    beats_at = now + pace.heartbeat_s if is_due else vital.beats_at
    # Whoever begins to stall right after this is looked at when it has done so for long enough.
    look_at = min(stalls_at, vital.ends_at, beats_at, now + pace.patience_s)
    return Due(is_beating=is_due and not is_sending, look_at=look_at)


class Pulse:
    """Looks after the streams that are put in, while `run` runs; `handed_out` is what all were offered."""

    def __init__(self, pace: Pace, handed_out: Callable[[], Position]) -> None:
        self._pace = pace
        self._handed_out = handed_out
        shortest_s = min(pace.heartbeat_s, pace.patience_s, pace.lifetime_s)
        self._wheel: Wheel[Living] = Wheel(min(_TICK_S, shortest_s / _TICKS_IN_THE_SHORTEST))
        self._living: set[Living] = set()
        self._word: tuple[Position, Frame] | None = None

    def put(self, living: Living) -> None:
        """Look after it."""
        self._living.add(living)
        self.look_again(living)

    def look_again(self, living: Living) -> None:
        """Its times have changed."""
        if living not in self._living:
            return
        stalls_at = asyncio.get_running_loop().time() + self._pace.patience_s
        self._wheel.put(living, min(living.vital.beats_at, living.vital.ends_at, stalls_at))

    def remove(self, living: Living) -> None:
        """Look after it no more."""
        self._living.discard(living)
        self._wheel.discard(living)

    async def run(self) -> None:
        """Look after all, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._wheel.tick_s)
            now = loop.time()
            for place, living in enumerate(self._wheel.due(now), start=1):
                try:
                    self._tend(living, now)
                except Exception:  # noqa: BLE001 - a server's transport may raise what it likes; others are looked after
                    _log.exception("stream.failed")
                if not place % _N_IN_A_ROW:
                    await asyncio.sleep(0)

    def _tend(self, living: Living, now: float) -> None:
        if living not in self._living:
            # It has left while others were looked after.
            return
        due = due_of(living.vital, self._pace, now)
        self._wheel.put(living, due.look_at)
        if due.is_stalled:
            living.cut()
        elif due.is_expired:
            living.expire()
        elif now >= living.vital.beats_at:
            living.vital.beats_at = now + self._pace.heartbeat_s
            if due.is_beating:
                living.beat(self._handed_out(), self._word_of)

    def _word_of(self, position: Position) -> Frame:
        """The same bytes for all who have reached the same."""
        if self._word is None or self._word[0] != position:
            self._word = (position, heartbeat(position))
        return self._word[1]
