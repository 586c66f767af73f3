"""Connection: what one client has been sent and still has to be. Pure: no socket, no task, no clock.

Per topic there is at most one value and, after it, one state waiting: the newest. So a client that reads slowly, or
not at all, costs two frames per topic, and skips to the newest when it reads again.

    opening ──settle──▶ live ──end──▶ ended
       ▲                 │
       └─────restart─────┘      the store began a new life, at any moment, while opening too

While opening, live frames are kept and not given out: what is owed to the client goes first (see resume.py, rule 2).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from everfresh.model.position import Position
from everfresh.push.frames import Frame, Part

_Slot = tuple[str, Part]


class Connection:
    """The frames waiting for one client, newest state per topic, in an order that its cursor can stand for."""

    def __init__(self, first: Iterable[Frame], *, cursor: Position | None) -> None:
        self.generation = 0
        self.is_ended = False
        self._is_opening = True
        self._stream: deque[Frame] = deque(first)
        self._waiting: dict[_Slot, Frame] = {}
        self._cursor = cursor
        self._reached = cursor
        self._changed_at: dict[str, Position] = {}

    @property
    def n_waiting(self) -> int:
        """How many frames wait."""
        return len(self._stream) + len(self._waiting)

    def offer(self, frame: Frame) -> bool:
        """Keep the frame for the client, in place of an older one of its topic; False if the client has newer."""
        if self.is_ended or self._is_outdated(frame):
            return False
        if frame.part is Part.VALUE and frame.changed_at is not None:
            self._changed_at[frame.topic] = frame.changed_at
            self._waiting.pop((frame.topic, Part.STATE), None)
        slot = (frame.topic, frame.part)
        # Taken out first, so that the newer one goes to the end: an id sent before must not claim it.
        self._waiting.pop(slot, None)
        self._waiting[slot] = frame
        return True

    def settle(self, owed: Iterable[Frame], *, generation: int) -> None:
        """Go live: put what the client is owed, in this order, before the live frames kept so far.

        What was read for an earlier `generation` is worth nothing: whole states are on their way since `restart`.
        """
        if generation != self.generation:
            return
        self._is_opening = False
        kept = self._waiting.values()
        self._waiting = {}
        self._changed_at.clear()
        for frame in (*owed, *kept):
            self.offer(frame)

    def restart(self, first: Frame) -> int:
        """Forget everything and open again, in a new generation: the store began a new life. `first` says so."""
        self.generation += 1
        self._is_opening = True
        self._waiting.clear()
        self._changed_at.clear()
        self._cursor = self._reached = None
        if not self.is_ended:
            self._stream.append(first)
        return self.generation

    def end(self, farewell: Frame) -> None:
        """Send the farewell and nothing else."""
        if not self.is_ended:
            self._waiting.clear()
            self._stream.append(farewell)
            self.is_ended = True

    def take(self) -> Frame | None:
        """The next frame to send, or None: nothing waits that may be sent."""
        if self._stream:
            return self._taken(self._stream.popleft())
        if self._is_opening or not self._waiting:
            return None
        return self._taken(self._waiting.pop(next(iter(self._waiting))))

    def position(self, handed_out: Position) -> Position | None:
        """What the client has reached when nothing waits for it, or None: that cannot be said.

        `handed_out` is the position up to which every frame has been offered.
        """
        if self._is_opening or self.n_waiting:
            return None
        if self._reached is not None and self._reached.covers(handed_out):
            return self._reached
        return handed_out

    def _taken(self, frame: Frame) -> Frame:
        if frame.at is not None:
            self._reached = frame.at
        return frame

    def _is_outdated(self, frame: Frame) -> bool:
        # A value dates from the commit that made it, word of a state from its own place in the feed.
        date = frame.changed_at if frame.part is Part.VALUE else frame.at
        known = self._changed_at.get(frame.topic, self._cursor)
        return known is not None and date is not None and known.covers(date)
