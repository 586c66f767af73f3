"""Everfresh: a cache that is kept fresh by events."""

from everfresh import dep
from everfresh._version import __version__
from everfresh.cache import AsyncFunction, Cache, Notice, SyncFunction, track
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
    UnknownFunction,
    ValueNotSupported,
    WaitTimeout,
)
from everfresh.model.event import Event
from everfresh.model.position import Position

__all__ = [
    "FOREVER",
    "ArgumentNotSupported",
    "AsyncFunction",
    "BuildError",
    "Cache",
    "Entry",
    "Event",
    "EverfreshError",
    "FeedRecord",
    "InvalidDependency",
    "InvalidEvent",
    "InvalidOption",
    "InvalidPosition",
    "Key",
    "Kind",
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
    "UnknownFunction",
    "ValueNotSupported",
    "WaitTimeout",
    "__version__",
    "dep",
    "track",
]
