"""Sights: what becomes of many entries, for somebody who looks on: nothing is built for them, and nothing waits.

Each change is told once, and of several the newest alone: a record of the feed says only that an entry is to be looked
at, and what is seen then is told if it is another than before. So who takes long misses what was in between, and
nothing else. Where records were lost, or the store began a new life, all is looked at and told anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Protocol

from everfresh.cache.asking import Named
from everfresh.feed.reader import FeedReader
from everfresh.model.clock import Dice
from everfresh.model.entry import Entry, Key, State
from everfresh.model.errors import StoreClosed, StoreError
from everfresh.model.position import Position
from everfresh.protocol.inspecting import Listed
from everfresh.protocol.requests import FeedBatch

# How long a store that does not answer is left alone: at first, and at most.
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 2.0


@dataclass(frozen=True, slots=True)
class Sight:
    """An entry as it was seen, None when it is gone; `is_value_new` tells a new value from a new state alone."""

    key: Key
    entry: Entry | None
    is_value_new: bool


# When its value changed, its version and state, and whether its last build failed: what is told of, but not the value.
_Last = tuple[Position, int, State, bool]


class Looked(Protocol):
    """What is needed of a cache."""

    async def stored(self, key: Key) -> Entry | None:
        """The entry as it is; never builds."""
        ...

    async def entries(
        self, function: Named | str | None = None, state: State | str | None = None, pattern: str | None = None
    ) -> list[Listed]:
        """Which entries there are."""
        ...

    def feed(self, after: Position | None = None) -> FeedReader:
        """The store's log from there on."""
        ...

    def watching(self, *keys: Key) -> AbstractContextManager[None]:
        """Say that somebody looks at the entries while the block runs."""
        ...


class Seen:
    """What is to be looked at, and what was seen last, by key. Pure."""

    def __init__(self, keys: Iterable[Key], pattern: str | None) -> None:
        self._keys = frozenset(keys)
        self._pattern = pattern
        self._last: dict[Key, _Last | None] = {}
        self.due: dict[Key, None] = {}
        """What is to be looked at, in this order."""

    def is_meant(self, key: Key) -> bool:
        """Whether anybody looks at it."""
        return key in self._keys or (self._pattern is not None and fnmatchcase(key, self._pattern))

    def take(self, batch: FeedBatch) -> None:
        """Have looked at what the records are of; the last record says when its turn is."""
        for record in batch.records:
            if self.is_meant(record.key):
                self.due.pop(record.key, None)
                self.due[record.key] = None

    def look(self, key: Key, entry: Entry | None) -> Sight | None:
        """What is to be told of the entry now, if anything."""
        is_known, before = key in self._last, self._last.get(key)
        now = self._last[key] = None if entry is None else _last_of(entry)
        self.due.pop(key, None)
        if now == before and (is_known or now is not None):
            return None
        return Sight(key, entry, is_value_new=now is not None and (before is None or before[0] != now[0]))

    def start_over(self, present: Iterable[Key]) -> None:
        """Have all looked at anew: what is there, and what was there and may be gone."""
        there = [key for key, last in self._last.items() if last is not None]
        self._last = {key: None for key, last in self._last.items() if last is None}
        self.due = dict.fromkeys((*present, *there))


def _last_of(entry: Entry) -> _Last:
    # That another try failed is no other state.
    return (entry.changed_at, entry.version, entry.state, entry.attempts > 0)


class Onlooker:
    """Looks at what `seen` says is due, and waits for the feed when nothing is."""

    def __init__(self, cache: Looked, keys: tuple[Key, ...], pattern: str | None, dice: Dice) -> None:
        self._cache = cache
        self._keys = keys
        self._pattern = pattern
        self._dice = dice
        self._seen = Seen(keys, pattern)
        self._is_to_start = False
        self._pause_s = _FIRST_PAUSE_S

    async def sights(self, *, is_from_now: bool) -> AsyncGenerator[Sight, None]:
        """The entries as they are, unless only what comes is wanted; then each change, for ever.

        Raises:
            StoreError: the store did not answer at the beginning; later it is waited for.
        """
        # Who follows by a pattern looks on, and keeps nothing warm by it.
        with self._cache.watching(*self._keys):
            async with self._cache.feed() as feed:
                if not is_from_now:
                    await self._start()
                while True:
                    sight = await self._next_or_none(feed)
                    if sight is not None:
                        yield sight

    async def _next_or_none(self, feed: FeedReader) -> Sight | None:
        try:
            sight = await self._next(feed)
        except StoreClosed:
            raise
        except StoreError:
            # What is due stays so, and the reader stands where it stood.
            await asyncio.sleep(self._pause_s * (1 + self._dice()) / 2)
            self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)
            return None
        self._pause_s = _FIRST_PAUSE_S
        return sight

    async def _next(self, feed: FeedReader) -> Sight | None:
        if self._is_to_start:
            await self._start()
        for key in self._seen.due:
            return self._seen.look(key, await self._cache.stored(key))
        batch = await anext(feed)
        self._is_to_start = batch.is_reset
        self._seen.take(batch)
        return None

    async def _start(self) -> None:
        present = [one.key for one in await self._cache.entries(pattern=self._pattern)] if self._pattern else []
        there = [key for key in self._keys if await self._cache.stored(key) is not None]
        self._seen.start_over(dict.fromkeys((*there, *present)))
        self._is_to_start = False
