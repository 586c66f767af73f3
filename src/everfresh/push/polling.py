"""Polling: the same events in one answer, for clients to whom no stream comes through.

Events are whole states, so an answer is what a stream would owe to a client with that cursor. Its own cursor is the
store's position, read before the entries: a change after it is seen now, or is newer than the cursor.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence

import msgspec

from everfresh.model.entry import Entry
from everfresh.model.marks import override
from everfresh.model.position import Position
from everfresh.push.frames import Frame, Part, reset
from everfresh.push.owing import Followed, Shown, frames_of
from everfresh.push.resume import rank_of
from everfresh.push.showing import Showcase
from everfresh.push.topics import Cursor, Topic

_MOST_BYTES = 16 * 1024 * 1024


class Told(msgspec.Struct, frozen=True):
    """One event, as a stream would send it."""

    event: str
    data: msgspec.Raw


class Polled(msgspec.Struct, frozen=True):
    """An answer: what is new since the cursor that was asked with, the next one, and when to ask again."""

    cursor: str
    events: tuple[Told, ...]
    retry_ms: int


class Recent(Showcase):
    """Shows entries to who polls: each value is rendered once, however many poll, or once more if that is long ago.

    What streams were shown is taken from theirs. Nobody says that he will not poll again, so of what else is kept there
    are at most `most_bytes`; what was asked for longest ago goes first.
    """

    def __init__(self, of_streams: Callable[[], Showcase | None], most_bytes: int = _MOST_BYTES) -> None:
        super().__init__()
        self._of_streams = of_streams
        self._most_bytes = most_bytes
        self._n_bytes = 0
        self._n_bytes_of: OrderedDict[Shown, int] = OrderedDict()

    @override
    def frame(self, shown: Shown, entry: Entry | None, part: Part, *, at: Position | None) -> Frame:
        """See `showing.frame_of`."""
        streams = self._of_streams()
        shared = streams.known(shown, entry) if streams is not None and entry is not None else None
        if shared is not None and part is Part.VALUE:
            return shared
        frame = super().frame(shown, entry, part, at=at)
        if frame.part is Part.VALUE:
            self._forget_size(shown)
            self._n_bytes_of[shown] = n_bytes = len(frame.wire) + len(frame.data) + (len(entry.value) if entry else 0)
            self._n_bytes += n_bytes
            while self._n_bytes > self._most_bytes:
                self.forget(next(iter(self._n_bytes_of)))
        return frame

    @override
    def forget(self, shown: Shown) -> None:
        """It is rendered anew for who asks next."""
        self._forget_size(shown)
        super().forget(shown)

    def _forget_size(self, shown: Shown) -> None:
        self._n_bytes -= self._n_bytes_of.pop(shown, 0)


async def polled(
    cache: Followed,
    topics: Mapping[str, Topic],
    cursor: Cursor,
    first: Sequence[Frame] = (),
    *,
    showcase: Showcase,
    retry_ms: int,
) -> Polled:
    """The answer to a client at `cursor`, which begins with `first`; who has none, or an old one, gets everything.

    Raises:
        StoreError: the store does not answer.
    """
    newest = await cache.position()
    since = cursor if isinstance(cursor, Position) and newest.covers(cursor) else None
    is_lost = cursor is not None and since is None
    owed = await frames_of(cache, topics.items(), since, newest, showcase)
    frames = (*([reset(newest)] if is_lost else ()), *first, *sorted(owed.values(), key=rank_of))
    return Polled(newest.text, tuple(Told(frame.event, msgspec.Raw(frame.data)) for frame in frames), retry_ms)
