"""Bringing: entries that come along with the feed which tells of them; over a network that spares a way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from everfresh.model.entry import Entry, Key
from everfresh.protocol.requests import FeedBatch


@dataclass(frozen=True, slots=True)
class Brought(FeedBatch):
    """A batch, and some of the entries that were wanted. How new each is, its own position says."""

    entries: Mapping[Key, Entry] = field(default_factory=dict[Key, Entry])
