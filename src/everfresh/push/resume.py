"""Where a stream starts, and what it owes to a client that was away. Pure.

Frames are whole states, so nothing has to be replayed: who comes back with a cursor is sent the values that changed
after it, and the state of the rest. Rules that keep this true:

1. Register with the fan-out first, read the entries after, so that no commit falls in between.
2. A frame's id claims "everything asked for up to here was sent". So what is owed goes out in the order of its ids,
   before anything live, and an id never lies beyond what the fan-out had handed out when the client registered:
   later commits of other entries may still be on their way.
3. A cursor of another epoch, beyond the store's newest position, or unreadable proves nothing: start over.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from everfresh.model.entry import Entry
from everfresh.model.position import Position
from everfresh.push.frames import Frame, Part, hello, reset
from everfresh.push.topics import Cursor, Unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """How a stream begins.

    `frames` go first. The client has everything up to `cursor` (None: nothing) and is owed what came after.
    `handed_out` is how far the fan-out was when the client registered.
    """

    frames: tuple[Frame, ...]
    cursor: Position | None
    handed_out: Position


def start_of(cursor: Cursor, *, newest: Position, handed_out: Position, heartbeat_s: float) -> Start:
    """How a stream begins for a client at `cursor`.

    `newest` is the store's position, `handed_out` that of the fan-out, which may be a little behind.
    """
    if cursor is None:
        # It shows nothing yet, so there is nothing to reset.
        first = hello(handed_out, is_reached=False, heartbeat_s=heartbeat_s)
        return Start(frames=(first,), cursor=None, handed_out=handed_out)
    if isinstance(cursor, Unknown) or not newest.covers(cursor):
        first = hello(handed_out, is_reached=False, heartbeat_s=heartbeat_s)
        return Start(frames=(first, reset(handed_out)), cursor=None, handed_out=handed_out)
    first = hello(cursor, is_reached=True, heartbeat_s=heartbeat_s)
    return Start(frames=(first,), cursor=cursor, handed_out=handed_out)


def part_owed(entry: Entry | None, cursor: Position | None) -> Part:
    """What of the entry a client at `cursor` is owed: its value if that is newer, else its state.

    The state always, since an entry does not say when it last became stale or fresh without a new value.
    """
    if entry is None or (cursor is not None and cursor.covers(entry.changed_at)):
        return Part.STATE
    return Part.VALUE


def place_of(entry: Entry | None, part: Part, handed_out: Position) -> Position | None:
    """The id of a frame that is owed (rule 2); None: it claims nothing."""
    if entry is None or part is not Part.VALUE:
        return None
    epoch = entry.changed_at.epoch
    sequence = handed_out.sequence_in(epoch)
    if sequence is None:
        return None
    # Of several shards, the entry's: what others have handed out by now may come after this frame.
    return entry.changed_at if handed_out.covers(entry.changed_at) else Position(epoch, sequence)


def rank_of(frame: Frame) -> float:
    """Where the frame stands among those that are owed: by the change that it shows.

    That is by id too, and of those whose id is held back, none goes before what the id claims. A frame without an id
    claims nothing and goes last.
    """
    return inf if frame.at is None or frame.changed_at is None else frame.changed_at.sequence
