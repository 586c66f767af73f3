"""Cache, cached functions, the tracking of dependencies, the near cache, and the drivers of the rules."""

from everfresh.cache.cache import Cache
from everfresh.cache.functions import AsyncFunction, CachedFunction, SyncFunction
from everfresh.cache.notices import NOTICES, Notice
from everfresh.cache.tracking import track

__all__ = ["NOTICES", "AsyncFunction", "Cache", "CachedFunction", "Notice", "SyncFunction", "track"]
