"""Cache, cached functions, the tracking of dependencies, the near cache, and the drivers of the rules."""

from everfresh.cache.asking import Coverage
from everfresh.cache.cache import Cache
from everfresh.cache.context import propagate
from everfresh.cache.explaining import Explanation
from everfresh.cache.functions import AsyncFunction, CachedFunction, SyncFunction
from everfresh.cache.many_functions import AsyncManyFunction, SyncManyFunction
from everfresh.cache.notices import NOTICES, Notice
from everfresh.cache.sights import Sight
from everfresh.cache.tracking import track

__all__ = [
    "NOTICES",
    "AsyncFunction",
    "AsyncManyFunction",
    "Cache",
    "CachedFunction",
    "Coverage",
    "Explanation",
    "Notice",
    "Sight",
    "SyncFunction",
    "SyncManyFunction",
    "propagate",
    "track",
]
