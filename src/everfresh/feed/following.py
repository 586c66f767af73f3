"""How a process follows its store: by looking, or by being told."""

from __future__ import annotations

from collections.abc import Callable

from everfresh.feed.follower import Follower
from everfresh.feed.streaming import StreamFollower
from everfresh.stores.store import Store, StreamingStore

AnyFollower = Follower | StreamFollower


def follower_of(store: Store, lapse: Callable[[float], None]) -> AnyFollower:
    """The one who follows the store; `lapse` is told since when what is held near is current no more."""
    return StreamFollower(store, lapse) if isinstance(store, StreamingStore) else Follower(store)
