"""Libraries for event loops and web frameworks, most of them on Redis."""

from benchmarks.peers.peer import Peer

_CASHEWS = {
    "environment": "shared",
    "package": "cashews",
    "invalidates": "tag, key",
    "lacks": "a value computed before an invalidation may be stored after it; lists are found only by tags that the"
    " application names; a tag expires with the value that was last given it",
}
_CASHEWS_OPTIONS = "`@cache.locked(ttl=10)` around `@cache(ttl=, key=, tags=)`, `delete_tags`, `register_tag`"
FRAMEWORKS: tuple[Peer, ...] = (
    Peer(
        name="aiocache, memory",
        module="aiocache_memory",
        environment="shared",
        package="aiocache",
        options="`cached_stampede(lease=10)`, `SimpleMemoryCache`",
        lacks="tags; other processes; a value computed before a delete may be stored after it",
        invalidates="key",
    ),
    Peer(
        name="aiocache, Redis",
        module="aiocache_redis",
        environment="shared",
        package="aiocache",
        options="`cached_stampede(lease=10)`, `RedisCache` with JSON",
        lacks="tags; a lock that holds other processes back; a value computed before a delete may be stored after it",
        store="redis",
        invalidates="key",
    ),
    Peer(
        name="cashews, memory",
        module="cashews_memory",
        options=f'{_CASHEWS_OPTIONS}, `setup("mem://", size=1_000_000)`',
        **_CASHEWS,
    ),
    Peer(
        name="cashews, Redis",
        module="cashews_redis",
        options=f'{_CASHEWS_OPTIONS}, `setup("redis://...", suppress=False)`',
        store="redis",
        **_CASHEWS,
    ),
    Peer(
        name="cashews, client-side",
        module="cashews_client_side",
        options=f'{_CASHEWS_OPTIONS}, `setup("redis://...", client_side=True, protocol=2, suppress=False)`',
        store="redis",
        **_CASHEWS,
    ),
    Peer(
        name="fastapi-cache2",
        module="fastapi_cache2",
        environment="fastapi",
        package="fastapi-cache2",
        options="`@cache(expire=, namespace=)`, `RedisBackend`, `clear(key=)`",
        lacks="tags; locks; values put by hand; a value computed before a clear may be stored after it",
        store="redis",
        invalidates="key",
    ),
    Peer(
        name="py-matroska-cache",
        module="matroska",
        environment="matroska",
        package="matroska-cache",
        options="`put(key, value, *dependencies, expires=)`, `Tag`, `Id`, `Scopes`, `RedisBackend`",
        lacks="a decorator; locks; a value loaded before an invalidation may be put after it; `put` and `invalidate`"
        " are given up after ten conflicts",
        store="redis",
        invalidates="tag, key, event",
    ),
    Peer(
        name="django-cacheops",
        module="cacheops_orm",
        environment="django",
        package="django-cacheops",
        options="`@cached_as(queryset, lock=True, keep_fresh=True)`, `CACHEOPS_INSIDEOUT`, transactions; SQLite",
        lacks="mass updates and raw SQL; conditions other than equality are dropped more often than needed",
        store="redis",
        invalidates="event",
    ),
    Peer(
        name="django-cachalot",
        module="cachalot_orm",
        environment="django",
        package="django-cachalot",
        options="queries as they are, Django's `RedisCache`, transactions; SQLite",
        lacks="anything finer than a table; locks; clocks that agree are asked for",
        store="redis",
        invalidates="event",
    ),
)
