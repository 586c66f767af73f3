"""Everfresh: a cache that is kept fresh by events."""

from everfresh import dep
from everfresh._version import __version__
from everfresh.cache import (
    AsyncFunction,
    AsyncManyFunction,
    Cache,
    Coverage,
    Explanation,
    Notice,
    SyncFunction,
    SyncManyFunction,
    propagate,
    track,
)
from everfresh.model.clock import FOREVER
from everfresh.model.entry import Entry, FeedRecord, Key, Kind, State
from everfresh.model.errors import (
    ArgumentNotSupported,
    BuildError,
    EverfreshError,
    InvalidDependency,
    InvalidEvent,
    InvalidOption,
    InvalidPosition,
    NotInCache,
    RecursiveBuild,
    StoreClosed,
    StoreError,
    StoreForeign,
    StoreUnavailable,
    StoreUrlInvalid,
    TooManyGenerations,
    UnknownFunction,
    ValueNotSupported,
    WaitTimeout,
)
from everfresh.model.event import Event
from everfresh.model.position import Position
from everfresh.protocol.inspecting import Listed

__all__ = [
    "FOREVER",
    "ArgumentNotSupported",
    "AsyncFunction",
    "AsyncManyFunction",
    "BuildError",
    "Cache",
    "Coverage",
    "Entry",
    "Event",
    "EverfreshError",
    "Explanation",
    "FeedRecord",
    "InvalidDependency",
    "InvalidEvent",
    "InvalidOption",
    "InvalidPosition",
    "Key",
    "Kind",
    "Listed",
    "NotInCache",
    "Notice",
    "Position",
    "RecursiveBuild",
    "State",
    "StoreClosed",
    "StoreError",
    "StoreForeign",
    "StoreUnavailable",
    "StoreUrlInvalid",
    "SyncFunction",
    "SyncManyFunction",
    "TooManyGenerations",
    "UnknownFunction",
    "ValueNotSupported",
    "WaitTimeout",
    "__version__",
    "dep",
    "propagate",
    "track",
]
