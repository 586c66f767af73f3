"""Fan-out: one reader of the feed for all streams of a process.

Each changed entry that somebody watches is loaded, rendered and encoded once, and the same bytes are sent to all who
asked for it, from here: a watcher that is ready to send does so while it is told. Nobody is waited for: a watcher that
is not ready keeps the newest of each topic, and sends it when it can.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping
from contextlib import AbstractContextManager, aclosing
from itertools import islice
from typing import Protocol

from everfresh.model.entry import Entry, Key
from everfresh.model.position import Position
from everfresh.protocol.requests import FeedBatch
from everfresh.push.changes import Change, brought, changes_of, epoch_of, is_overtaken
from everfresh.push.frames import Frame, reset
from everfresh.push.gathering import gathered
from everfresh.push.owing import Followed, Shown, frames_of, loaded, owed_by
from everfresh.push.rechecks import Checked, Rechecks
from everfresh.push.resume import Start, rank_of
from everfresh.push.showing import Showcase
from everfresh.push.tally import Tally
from everfresh.push.topics import Topic

# After so many whatever else the process does has its turn, and the server sends what it was given: so few that it is
# still in the processor's caches.
_N_IN_A_ROW = 32
# The feed is milliseconds behind what is read; what was read in a life that is gone it never passes.
_PASSED_IN_S = 10.0
# So many entries of one batch are loaded before the first is handed out.
_N_LOADED = 32


class Watcher(Checked, Protocol):
    """A stream as the fan-out sees it; no method waits."""

    def offer(self, frame: Frame) -> bool:
        """Keep the frame to be sent, unless a newer one of its topic was; whether it was kept."""
        ...

    def deliver(self, frame: Frame) -> None:
        """Offer the frame, and flush."""
        ...

    def flush(self) -> None:
        """Send what is kept, now or as soon as what is being sent has gone."""
        ...

    def restart(self, first: Frame) -> int:
        """Send `first`; nothing sent before counts any more. The new generation waits for `settle`."""
        ...

    def settle(self, owed: Iterable[Frame], *, generation: int) -> None:
        """Send these, then what was offered meanwhile, then whatever comes."""
        ...


class Fanout:
    """Hands the feed out, from `position` on, to whoever watches."""

    def __init__(self, cache: Followed, position: Position, *, tally: Tally | None = None) -> None:
        self.position = position
        """Every frame up to here was offered to those who watch."""
        self.is_over = False
        """Whether the feed has ended; nobody is told anything any more."""
        self.showcase = Showcase()
        """What was shown last on each topic that is followed."""
        self._tally = Tally() if tally is None else tally
        self._rechecks: Rechecks[Watcher] = Rechecks(self._drop)
        self._cache = cache
        self._topics_of: dict[Watcher, Mapping[str, Topic]] = {}
        self._watchers_of: dict[Key, dict[Shown, dict[Watcher, None]]] = {}
        # Newer than the feed has told: of these some watchers have to wait for what it tells before.
        self._ahead: dict[Shown, Frame] = {}
        self._passing: asyncio.Event | None = None
        self._n_restarts = 0
        self._looking: dict[Key, AbstractContextManager[None]] = {}

    @property
    def mark(self) -> int:
        """Grows with each word of anybody's rights."""
        return self._rechecks.mark

    def add(
        self,
        watcher: Watcher,
        topics: Mapping[str, Topic],
        subjects: Collection[str] = (),
        *,
        mark: int = 0,
    ) -> None:
        """Offer the watcher what happens on the topics from now on; it is told goodbye if the feed has ended.

        When one of the `subjects` changes, it is asked again what it may be told, before it is told anything more; at
        once, if anybody's rights have changed since `mark` was read.
        """
        if self.is_over:
            watcher.end()
            return
        self._topics_of[watcher] = topics
        self._rechecks.add(watcher, subjects, mark)
        for shown in topics.items():
            key = shown[1].key
            if key not in self._watchers_of:
                # Looked at, an entry is refreshed before others, and is never dropped as cold.
                looking = self._cache.watching(key)
                looking.__enter__()
                self._watchers_of[key], self._looking[key] = {}, looking
            self._watchers_of[key].setdefault(shown, {})[watcher] = None

    def remove(self, watcher: Watcher) -> None:
        """Offer it nothing more."""
        self._rechecks.remove(watcher)
        for shown in self._topics_of.pop(watcher, {}).items():
            self._forget(watcher, shown)

    def has(self, watcher: Watcher) -> bool:
        """Whether it is offered anything."""
        return watcher in self._topics_of

    async def run(self) -> None:
        """Follow the feed until it ends; the watchers are told goodbye, whatever ended it."""
        try:
            async with (
                self._rechecks,
                self._cache.feed(after=self.position) as feed,
                aclosing(gathered(feed, self._watchers_of)) as batches,
            ):
                try:
                    async for batch in batches:
                        await self._hand_out(batch)
                        self.position = batch.position
                        self._wake()
                finally:
                    # Before anything is waited for: who joins now would have joined nothing.
                    self._end()
        finally:
            self._end()

    def _end(self) -> None:
        if self.is_over:
            return
        self.is_over = True
        self._wake()
        for watcher in self._topics_of:
            watcher.end()

    async def owed(self, watcher: Watcher, topics: Mapping[str, Topic], start: Start) -> list[Frame]:
        """What a client is owed at its start, in the order to send it; to be asked for after `add`.

        Raises:
            StoreError: the store does not answer.
        """
        n_restarts = self._n_restarts
        frames = await owed_by(self._cache, topics, start.cursor, start.handed_out, self.showcase)
        self._tidy(topics.items())
        if watcher in self._rechecks:
            # What was read may be newer than word of the watcher's rights, which is on its way. Once the watcher was
            # restarted it is owed nothing of this.
            try:
                async with asyncio.timeout(_PASSED_IN_S):
                    for frame in frames:
                        while n_restarts == self._n_restarts and not self._has_passed(frame.changed_at):
                            self._passing = self._passing or asyncio.Event()
                            await self._passing.wait()
            except TimeoutError:
                # It comes back, and reads anew.
                watcher.end()
                return []
        return frames

    def _has_passed(self, place: Position | None) -> bool:
        if self.is_over or place is None:
            return True
        # Of a life that the feed has not told of yet, nothing has been.
        handed_out = self.position.sequence_in(place.epoch)
        return handed_out is not None and handed_out >= place.sequence

    def _wake(self) -> None:
        if self._passing is not None:
            self._passing.set()
            self._passing = None

    async def _hand_out(self, batch: FeedBatch) -> None:
        # First of all, wherever in the batch it stands: shards have no order between them.
        self._rechecks.begin(None if batch.is_reset else batch.records)
        if batch.is_reset:
            await self._restart(batch.position)
            return
        await self._send(self._caught_up(batch.position), batch.position)
        changes = iter(changes_of(batch.records, self._watchers_of))
        while some := [*islice(changes, _N_LOADED)]:
            entries: dict[Key, Entry | None] = {**brought(some, batch)}
            if left := {change.key for change in some} - entries.keys():
                entries |= await loaded(self._cache, left)
            frames = [one for change in some for one in self._shown(change, entries[change.key], batch)]
            await self._send(frames, batch.position)

    def _shown(self, change: Change, entry: Entry | None, batch: FeedBatch) -> Iterable[tuple[Shown, Frame]]:
        epoch = epoch_of(entry, batch.position)
        if is_overtaken(change, entry, epoch):
            return
        at = Position(epoch, change.sequence) if epoch else None
        for shown in self._watchers_of.get(change.key, ()):
            yield shown, self.showcase.frame(shown, entry, change.part, at=at)

    async def _send(self, frames: list[tuple[Shown, Frame]], position: Position) -> None:
        """Offer all of these; each watcher sends what it keeps of them in one piece."""
        touched: dict[Watcher, None] = {}
        for shown, frame in frames:
            is_last = frame is frames[-1][1]
            watchers = self._watching(shown)
            if _is_ahead(frame, position):
                # It is newer than its record, so maybe than word of somebody's rights: they wait for that. Not for its
                # own record: an entry that changes all the time is newer again by then.
                sure = tuple(watcher for watcher in watchers if watcher not in self._rechecks)
                if len(sure) < len(watchers):
                    self._ahead.setdefault(shown, frame)
                watchers = sure
            if not is_last:
                touched.update(dict.fromkeys(watchers))
            self._tally.n_changes += 1
            self._tally.n_deliveries += len(watchers)
            # Who leaves meanwhile is told, and sends nothing.
            for place, watcher in enumerate(watchers, start=1):
                if is_last:
                    watcher.deliver(frame)
                else:
                    watcher.offer(frame)
                if not place % _N_IN_A_ROW:
                    await asyncio.sleep(0)
        await _flush(touched)

    def _caught_up(self, position: Position) -> list[tuple[Shown, Frame]]:
        """Take out what the feed is as far as by now; who has it is not sent it again."""
        caught_up = [one for one in self._ahead.items() if not _is_ahead(one[1], position)]
        for shown, _ in caught_up:
            del self._ahead[shown]
        return caught_up

    def _watching(self, shown: Shown) -> tuple[Watcher, ...]:
        return (*self._watchers_of.get(shown[1].key, {}).get(shown, ()),)

    async def _restart(self, position: Position) -> None:
        # Whoever joins from here on reads the states of the new life by themselves, and is told so by its position.
        self.position = position
        self._n_restarts += 1
        word = reset(position)
        restarted = [(watcher, watcher.restart(word)) for watcher in self._topics_of]
        self._wake()
        shown = {shown for topics in self._topics_of.values() for shown in topics.items()}
        frames = await frames_of(self._cache, shown, None, position, self.showcase)
        self._tidy(shown)
        self._ahead = {one: frame for one, frame in frames.items() if _is_ahead(frame, position)}
        for place, (watcher, generation) in enumerate(restarted, start=1):
            watcher.settle(self._owed_anew(watcher, frames), generation=generation)
            if not place % _N_IN_A_ROW:
                await asyncio.sleep(0)

    def _owed_anew(self, watcher: Watcher, frames: Mapping[Shown, Frame]) -> list[Frame]:
        # As in `_send`: what is newer than the reset may be newer than word that comes after it.
        waits = self._ahead if watcher in self._rechecks else {}
        shown = self._topics_of.get(watcher, {}).items()
        return sorted((frames[one] for one in shown if one not in waits), key=rank_of)

    def _tidy(self, shown: Iterable[Shown]) -> None:
        """Keep nothing of what was read for those who have left meanwhile."""
        for one in shown:
            if one not in self._watchers_of.get(one[1].key, ()):
                self.showcase.forget(one)

    def _drop(self, watcher: Watcher, granted: Collection[str]) -> tuple[list[str], bool]:
        """Offer the watcher what is granted still; gives what it is offered no more, and whether nothing is left."""
        topics = self._topics_of.get(watcher, {})
        kept = {name: topic for name, topic in topics.items() if name in granted}
        gone = [name for name in topics if name not in kept]
        if gone:
            self._topics_of[watcher] = kept
        for name in gone:
            self._forget(watcher, (name, topics[name]))
        return gone, not kept

    def _forget(self, watcher: Watcher, shown: Shown) -> None:
        key = shown[1].key
        watchers = self._watchers_of.get(key, {}).get(shown)
        if watchers is None:
            # It could not be added.
            return
        watchers.pop(watcher, None)
        if watchers:
            return
        self.showcase.forget(shown)
        del self._watchers_of[key][shown]
        if not self._watchers_of[key]:
            del self._watchers_of[key]
            self._looking.pop(key).__exit__(None, None, None)


def _is_ahead(frame: Frame, position: Position) -> bool:
    """Whether it shows what came after the position."""
    return frame.changed_at is not None and not position.covers(frame.changed_at)


async def _flush(watchers: Iterable[Watcher]) -> None:
    for place, watcher in enumerate(watchers, start=1):
        watcher.flush()
        if not place % _N_IN_A_ROW:
            await asyncio.sleep(0)
