"""Connection: what one client has been sent and still has to be. Pure: no socket, no task, no clock.

Per topic there is at most one value and, after it, one state waiting: the newest. So a client that reads slowly, or
not at all, costs two references per topic, and skips to the newest when it reads again.

    opening ──settle──▶ live ──end──▶ ended
       ▲                 │
       └─────restart─────┘      the store began a new life, at any moment, while opening too

While opening, live frames are kept and not given out: what is owed to the client goes first (see resume.py, rule 2).
While held, because what the client may see is being asked for again, nothing is given out at all.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from everfresh.model.position import Position
from everfresh.push.frames import Frame, Part
from everfresh.push.tally import Tally

_NOTHING: tuple[Frame, ...] = ()
_NOBODY: frozenset[str] = frozenset()


class Connection:
    """The frames waiting for one client, newest state per topic, in an order that its cursor can stand for."""

    __slots__ = (
        "_changed_at",
        "_cursor",
        "_is_opening",
        "_n_holds",
        "_reached",
        "_revoked",
        "_stream",
        "_tally",
        "_waiting",
        "generation",
        "is_ended",
    )

    def __init__(self, first: Iterable[Frame], *, cursor: Position | None, tally: Tally | None = None) -> None:
        self.generation = 0
        self.is_ended = False
        self._is_opening = True
        self._n_holds = 0
        self._revoked = _NOBODY
        # Word about the stream itself; it goes before all else.
        self._stream: tuple[Frame, ...] = tuple(first)
        # By topic, and by topic and part for word of a state.
        self._waiting: dict[str | tuple[str, Part], Frame] = {}
        self._cursor = cursor
        self._reached = cursor
        self._changed_at: dict[str, Position] = {}
        self._tally = tally

    @property
    def n_waiting(self) -> int:
        """How many frames wait."""
        return len(self._stream) + len(self._waiting)

    def offer(self, frame: Frame) -> bool:
        """Keep the frame for the client, in place of an older one of its topic; False if it is not to be sent."""
        topic, date = frame.topic, frame.date
        known = self._changed_at.get(topic, self._cursor)
        # The client has it, or newer.
        if known is not None and date is not None and known.covers(date):
            return False
        if self.is_ended or topic in self._revoked:
            return False
        waiting = self._waiting
        # Taken out first, so that the newer one goes to the end: an id sent before must not claim it.
        if frame.part is Part.VALUE:
            if date is not None:
                self._changed_at[topic] = date
                if waiting:
                    waiting.pop((topic, Part.STATE), None)
            if waiting and waiting.pop(topic, None) is not None and self._tally is not None:
                self._tally.n_skipped += 1
            waiting[topic] = frame
        else:
            slot = (topic, Part.STATE)
            waiting.pop(slot, None)
            waiting[slot] = frame
        return True

    def passes(self, frame: Frame) -> bool:
        """Whether the frame may be sent at once, as it is newer and nothing waits, as mostly; it counts as sent then.

        Else `offer` it, and `take`.
        """
        if self._waiting or self._stream or self._is_opening or self._n_holds or self.is_ended or self._revoked:
            return False
        topic, date = frame.topic, frame.date
        if date is not None:
            known = self._changed_at.get(topic, self._cursor)
            if known is not None and known.covers(date):
                return False
            if frame.part is Part.VALUE:
                self._changed_at[topic] = date
        if frame.at is not None:
            self._reached = frame.at
        return True

    def say(self, frame: Frame) -> None:
        """Send word about the stream, before whatever waits."""
        if not self.is_ended:
            self._stream = (*self._stream, frame)

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
        self._waiting = {}
        self._changed_at.clear()
        self._cursor = self._reached = None
        self.say(first)
        return self.generation

    def hold(self) -> None:
        """Give nothing out until `release` was called as often."""
        self._n_holds += 1

    def release(self, revoked: Collection[str]) -> None:
        """Give out again, but nothing of the topics that are revoked, from now on."""
        self._n_holds -= 1
        if revoked:
            self._revoked = self._revoked.union(revoked)
            self._waiting = {slot: frame for slot, frame in self._waiting.items() if frame.topic not in revoked}

    def end(self, farewell: Frame) -> None:
        """Send the farewell and nothing else."""
        if not self.is_ended:
            self._waiting = {}
            self.say(farewell)
            self.is_ended = True

    def take(self, most_bytes: int) -> Sequence[Frame]:
        """The next frames to send in one piece, at least one and then up to so many bytes; none: nothing may be sent.

        Of a topic with much to say a client that stops reading keeps no more than this from its newest state.
        """
        if not self._waiting and not self._stream:
            return _NOTHING
        if self._n_holds and not self.is_ended:
            return _NOTHING
        if self._stream:
            said, self._stream = self._stream, _NOTHING
            self._take_note(said)
            return said
        if self._is_opening:
            return _NOTHING
        taken = _up_to(self._waiting, most_bytes)
        self._take_note(taken)
        if not self._waiting:
            # A dictionary without a past is a quarter of the size.
            self._waiting = {}
        return taken

    def position(self, handed_out: Position) -> Position | None:
        """What the client has reached when nothing waits for it, or None: that cannot be said.

        `handed_out` is the position up to which every frame has been offered.
        """
        if self._is_opening or self._n_holds or self._stream or self._waiting:
            return None
        reached = self._reached
        if reached is None or handed_out.covers(reached) or not reached.covers(handed_out):
            return handed_out
        return reached

    def _take_note(self, taken: Iterable[Frame]) -> None:
        for frame in taken:
            if frame.at is not None:
                self._reached = frame.at


def _up_to(waiting: dict[str | tuple[str, Part], Frame], most_bytes: int) -> list[Frame]:
    """Take out so many from the front."""
    taken: list[Frame] = []
    n_bytes = 0
    for frame in waiting.values():
        n_bytes += len(frame.wire)
        if taken and n_bytes > most_bytes:
            break
        taken.append(frame)
    for slot in [*waiting][: len(taken)]:
        del waiting[slot]
    return taken
