"""Show an entry on a topic: its value if it can be shown, else word that it cannot."""

from __future__ import annotations

import logging
from contextvars import Context

from everfresh.model.entry import Entry, State
from everfresh.model.position import Position
from everfresh.push.frames import Frame, Part, state_frame, value_frame
from everfresh.push.topics import Topic

_log = logging.getLogger("everfresh.push")


class Showcase:
    """Shows entries, and a value that was shown last just as it was: however many are owed it, it is rendered once."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, Topic], tuple[Entry, Frame]] = {}

    def __len__(self) -> int:
        return len(self._last)

    def frame(self, shown: tuple[str, Topic], entry: Entry | None, part: Part, *, at: Position | None) -> Frame:
        """See `frame_of`."""
        if entry is None or part is not Part.VALUE:
            return frame_of(*shown, entry, part, at=at)
        last = self.known(shown, entry)
        if last is not None and last.at == at:
            return last
        frame = frame_of(*shown, entry, part, at=at)
        if frame.part is Part.VALUE:
            self._last[shown] = (entry, frame)
        return frame

    def known(self, shown: tuple[str, Topic], entry: Entry) -> Frame | None:
        """How its value was shown last, if it was this one."""
        last = self._last.get(shown)
        return last[1] if last is not None and last[0] == entry else None

    def forget(self, shown: tuple[str, Topic]) -> None:
        """Nobody follows it any more."""
        self._last.pop(shown, None)


def frame_of(name: str, topic: Topic, entry: Entry | None, part: Part, *, at: Position | None) -> Frame:
    """The frame that shows `part` of the entry.

    An entry that is gone is `stale`, in the state `dropped`. A value that cannot be shown, because the topic's
    `render` raised or there is no JSON for it, is logged and shown as `failed`, so that one topic never stops others.
    """
    if entry is None:
        return state_frame(name, event="stale", state="dropped", version=0, at=at)
    if part is Part.VALUE and entry.is_error:
        # What its function raised is for who calls it; a page keeps its last value.
        return state_frame(name, event="failed", state=State.FAILED.value, version=entry.version, at=at)
    if part is Part.VALUE:
        try:
            # As builds are: what it shows is for all, so it must not see who happened to ask.
            return Context().run(value_frame, name, topic, entry, at=at)
        except Exception:  # noqa: BLE001 - `render` is the user's, and raises what it likes
            _log.exception("render.failed %s", {"topic": name, "key": entry.key, "version": entry.version})
            return state_frame(name, event="failed", state=State.FAILED.value, version=entry.version, at=at)
    return state_frame(name, event=_event_of(entry), state=entry.state.value, version=entry.version, at=at)


def _event_of(entry: Entry) -> str:
    if entry.state is State.FRESH:
        return "fresh"
    # A build failed and the next try is due, or there will be none; an event, or a person, begins the count anew.
    return "failed" if entry.attempts or entry.state is State.FAILED else "stale"
