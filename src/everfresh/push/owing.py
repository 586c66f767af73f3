"""Owing: reads what clients are shown, as the store has it now."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Collection, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Protocol

from everfresh.model.entry import Entry, Key
from everfresh.model.position import Position
from everfresh.protocol.requests import FeedBatch
from everfresh.push.frames import Frame
from everfresh.push.resume import part_owed, place_of, rank_of
from everfresh.push.showing import Showcase
from everfresh.push.topics import Topic

# Over a network each load is a round trip; so many are under way at once.
_N_AT_ONCE = 32

Shown = tuple[str, Topic]
"""A topic by its name: the same entry may be shown in several ways, and the same way under several names."""


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


async def owed_by(
    cache: Followed,
    topics: Mapping[str, Topic],
    cursor: Position | None,
    handed_out: Position,
    showcase: Showcase,
) -> list[Frame]:
    """What a client at `cursor` is owed, in the order to send it; what is newer than `handed_out` comes to it anyway.

    Raises:
        StoreError: the store does not answer.
    """
    frames = await frames_of(cache, topics.items(), cursor, handed_out, showcase)
    return sorted(frames.values(), key=rank_of)


async def frames_of(
    cache: Followed, shown: Iterable[Shown], cursor: Position | None, handed_out: Position, showcase: Showcase
) -> dict[Shown, Frame]:
    """What each of these is for a client at `cursor`: its value if that is newer, else its state.

    Raises:
        StoreError: the store does not answer.
    """
    frames: dict[Shown, Frame] = {}
    left = [*shown]
    while left:
        some, left = left[:_N_AT_ONCE], left[_N_AT_ONCE:]
        entries = await loaded(cache, {topic.key for _, topic in some})
        for one in some:
            entry = entries[one[1].key]
            part = part_owed(entry, cursor)
            frames[one] = showcase.frame(one, entry, part, at=place_of(entry, part, handed_out))
    return frames


async def loaded(cache: Followed, keys: Collection[Key]) -> dict[Key, Entry | None]:
    """The entries as they are, loaded side by side.

    Raises:
        StoreError: the store does not answer.
    """
    if len(keys) == 1:
        (key,) = keys
        return {key: await cache.stored(key)}
    tasks = {key: asyncio.ensure_future(cache.stored(key)) for key in keys}
    try:
        await asyncio.gather(*tasks.values())
    finally:
        for task in tasks.values():
            task.cancel()
    return {key: task.result() for key, task in tasks.items()}
