"""Show an entry on a topic: its value if it can be shown, else word that it cannot."""

from __future__ import annotations

import logging

from everfresh.model.entry import Entry, State
from everfresh.model.position import Position
from everfresh.push.frames import Frame, Part, state_frame, value_frame
from everfresh.push.topics import Topic

_log = logging.getLogger("everfresh.push")


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
            return value_frame(name, topic, entry, at=at)
        except Exception:  # noqa: BLE001 - `render` is the user's, and raises what it likes
            _log.exception("render.failed %s", {"topic": name, "key": entry.key, "version": entry.version})
            return state_frame(name, event="failed", state=State.FAILED.value, version=entry.version, at=at)
    return state_frame(name, event=_event_of(entry), state=entry.state.value, version=entry.version, at=at)


def _event_of(entry: Entry) -> str:
    if entry.state is State.FRESH:
        return "fresh"
    # A build failed and the next try is due, or there will be none; an event, or a person, begins the count anew.
    return "failed" if entry.attempts or entry.state is State.FAILED else "stale"
