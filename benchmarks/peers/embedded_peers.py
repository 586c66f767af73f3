"""Libraries that need no server, and dogpile.cache, which has both."""

from benchmarks.peers.peer import Peer

EMBEDDED: tuple[Peer, ...] = (
    Peer(
        name="functools.lru_cache",
        module="lru_cache",
        environment="embedded",
        package="",
        options="`@lru_cache(maxsize=None)`; `cache_clear()`, the only way to drop anything",
        lacks="one build for several callers, dropping one call, lifetimes, sharing",
    ),
    Peer(
        name="cachetools",
        module="cachetools_memory",
        environment="embedded",
        package="cachetools",
        options="`@cached(LRUCache, condition=Condition())`, which lets one thread build; `cache.pop(cache_key(...))` "
        "under its lock; by hand `LRUCache`, and `TLRUCache` where values expire",
        lacks="tags, sharing, coroutines, any word on values that are built while they are dropped",
        invalidates="key",
    ),
    Peer(
        name="cachebox",
        module="cachebox_memory",
        async_module="cachebox_memory_async",
        environment="embedded",
        package="cachebox",
        options="`@cached(LRUCache(0))` with its lock for each key; `cache.pop(make_key(...))`; by hand `LRUCache`, "
        "and `VTTLCache(sweep_interval=1)` where values expire; threads and tasks",
        lacks="tags, sharing, any word on values that are built while they are dropped",
        invalidates="key",
    ),
    Peer(
        name="theine",
        module="theine_memory",
        async_module="theine_memory_async",
        environment="embedded",
        package="theine",
        options="`@Memoize` with a key function; `delete` of its cache, though for decorated functions none is "
        "documented; by hand `Cache`; threads and tasks",
        lacks="tags, sharing, dropping a call of a decorated function",
        invalidates="key",
    ),
    Peer(
        name="diskcache",
        module="diskcache_files",
        environment="embedded",
        package="diskcache",
        options="`memoize(expire=0)`, `barrier(Lock, expire=10)` and `memoize()` around one another, as its page on "
        "stampedes has it; `delete(__cache_key__(...))`; by hand `set(tag=)` and `evict(tag)` with `tag_index=True`",
        lacks="tags by argument for decorated functions, several tags, coroutines, any word on values that are built "
        "while they are dropped",
        store="files",
        invalidates="key, tag",
    ),
    Peer(
        name="dogpile.cache, memory",
        module="dogpile_memory",
        environment="shared",
        package="dogpile.cache",
        options="`cache_on_arguments()`, which lets one thread build; `function.invalidate(...)`; by hand `set` and "
        "`delete`",
        lacks="tags, removing what has expired, coroutines, any word on values that are built while they are dropped",
        invalidates="key",
    ),
    Peer(
        name="dogpile.cache, Redis",
        module="dogpile_redis",
        environment="shared",
        package="dogpile.cache",
        options="the same with `distributed_lock=True, thread_local_lock=False, lock_timeout=10`",
        lacks="tags, coroutines, any word on values that are built while they are dropped",
        store="redis",
        invalidates="key",
    ),
)
