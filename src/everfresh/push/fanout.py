"""Fan-out: one reader of the feed for all streams of a process.

Each changed entry that somebody watches is loaded, rendered and encoded once, and the same bytes are offered to all who
asked for it. Nobody is waited for: a stream keeps what it is offered and sends it in its own task.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Protocol

from everfresh.model.entry import Entry, Key
from everfresh.model.position import Position
from everfresh.protocol.requests import FeedBatch
from everfresh.push.changes import Change, changes_of, epoch_of, is_overtaken
from everfresh.push.frames import Frame, reset
from everfresh.push.resume import Start, part_owed, place_of, rank_of
from everfresh.push.showing import frame_of
from everfresh.push.topics import Topic


class Followed(Protocol):
    """What push needs of a cache."""

    async def position(self) -> Position:
        """The store's newest position."""
        ...

    async def stored(self, key: Key) -> Entry | None:
        """The entry as it is; never builds."""
        ...

    def feed(self, after: Position | None = None) -> AbstractAsyncContextManager[AsyncIterable[FeedBatch]]:
        """The store's log from there on."""
        ...

    def watching(self, *keys: Key) -> AbstractContextManager[None]:
        """Say that somebody looks at the entries while the block runs."""
        ...


class Watcher(Protocol):
    """A stream as the fan-out sees it; no method waits."""

    def offer(self, frame: Frame) -> None:
        """Send the frame unless a newer one of its topic was sent."""
        ...

    def restart(self, first: Frame) -> int:
        """Send `first`; nothing sent before counts any more. The new generation waits for `settle`."""
        ...

    def settle(self, owed: Iterable[Frame], *, generation: int) -> None:
        """Send these, then what was offered meanwhile, then whatever comes."""
        ...

    def end(self) -> None:
        """Say goodbye and end."""
        ...


_Shown = tuple[str, Topic]


class Fanout:
    """Hands the feed out, from `position` on, to whoever watches."""

    def __init__(self, cache: Followed, position: Position) -> None:
        self.position = position
        """Every frame up to here was offered to those who watch."""
        self._cache = cache
        self._topics_of: dict[Watcher, Mapping[str, Topic]] = {}
        self._watchers_of: dict[Key, dict[_Shown, set[Watcher]]] = {}
        self._is_over = False

    def add(self, watcher: Watcher, topics: Mapping[str, Topic]) -> None:
        """Offer the watcher what happens on the topics from now on; it is told goodbye if the feed has ended."""
        if self._is_over:
            watcher.end()
            return
        self._topics_of[watcher] = topics
        for shown in topics.items():
            self._watchers_of.setdefault(shown[1].key, {}).setdefault(shown, set()).add(watcher)

    def remove(self, watcher: Watcher) -> None:
        """Offer it nothing more."""
        for shown in self._topics_of.pop(watcher, {}).items():
            key = shown[1].key
            self._watchers_of[key][shown].discard(watcher)
            if not self._watchers_of[key][shown]:
                del self._watchers_of[key][shown]
            if not self._watchers_of[key]:
                del self._watchers_of[key]

    async def run(self) -> None:
        """Follow the feed until it ends; the watchers are told goodbye, whatever ended it."""
        try:
            async with self._cache.feed(after=self.position) as feed:
                async for batch in feed:
                    await self._hand_out(batch)
                    self.position = batch.position
        finally:
            self._is_over = True
            for watcher in self._topics_of:
                watcher.end()

    async def owed(self, topics: Mapping[str, Topic], start: Start) -> list[Frame]:
        """What a client is owed at its start, in the order to send it; to be asked for after `add`."""
        if not start.is_owed:
            return []
        frames = await self._frames(topics.items(), start.cursor, start.handed_out)
        return sorted(frames.values(), key=rank_of)

    async def _hand_out(self, batch: FeedBatch) -> None:
        if batch.is_reset:
            await self._restart(batch.position)
            return
        for change in changes_of(batch.records, self._watchers_of):
            entry = await self._cache.stored(change.key)
            epoch = epoch_of(entry, batch.position)
            if not is_overtaken(change, entry, epoch):
                self._offer(change, entry, Position(epoch, change.sequence) if epoch else None)

    def _offer(self, change: Change, entry: Entry | None, at: Position | None) -> None:
        for shown, watchers in self._watchers_of.get(change.key, {}).items():
            frame = frame_of(*shown, entry, change.part, at=at)
            for watcher in watchers:
                watcher.offer(frame)

    async def _restart(self, position: Position) -> None:
        # Whoever joins from here on reads the states of the new life by themselves.
        restarted = [(watcher, watcher.restart(reset(position))) for watcher in self._topics_of]
        shown = {shown for topics in self._topics_of.values() for shown in topics.items()}
        frames = await self._frames(shown, None, position)
        for watcher, generation in restarted:
            topics = self._topics_of.get(watcher, {})
            watcher.settle(sorted((frames[shown] for shown in topics.items()), key=rank_of), generation=generation)

    async def _frames(
        self, shown: Iterable[_Shown], cursor: Position | None, handed_out: Position
    ) -> dict[_Shown, Frame]:
        frames: dict[_Shown, Frame] = {}
        for name, topic in shown:
            entry = await self._cache.stored(topic.key)
            part = part_owed(entry, cursor)
            frames[name, topic] = frame_of(name, topic, entry, part, at=place_of(entry, part, handed_out))
        return frames
