"""What a hit costs: the near cache beside a dict, functools and cachetools; async beside a bare await."""

import asyncio
import functools
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cachetools
from benchmarks.timing import awaits, calls, medians_ns, table

from everfresh import Cache

BARS = {
    "sync near hit, memory: immutable": ("cachetools.cached, LRU", 3.0),
    "async near hit, memory": ("bare await", 10.0),
}


def plain(number: int) -> str:
    """Give an immutable value."""
    return f"value {number}"


def rows(number: int) -> list[dict[str, int]]:
    """Give a mutable value, about 200 bytes."""
    return [{"id": number + k, "state": k} for k in range(8)]


async def plain_async(number: int) -> str:
    """Give an immutable value to whoever awaits it."""
    return f"value {number}"


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder) / 'cache.db'}"
        with Cache() as memory, Cache(url) as sqlite, Cache(url, near=0) as far:
            results = _sync(memory, sqlite, far) | _async(memory, sqlite)
    for name, (limit, most) in BARS.items():
        ratio = results[name] / results[limit]
        print(f"{name}: {ratio:.2f} x {limit}, to be at most {most:g} x: {'held' if ratio <= most else 'NOT HELD'}")


def _sync(memory: Cache, sqlite: Cache, far: Cache) -> dict[str, float]:
    peers: dict[str, Callable[[int], Any]] = {
        "dict lookup": {(5,): "value 5"}.get,  # type: ignore[dict-item]
        "functools.lru_cache": functools.lru_cache(plain),
        "cachetools.cached, dict": cachetools.cached({})(plain),
        "cachetools.cached, LRU": cachetools.cached(cachetools.LRUCache(10_000))(plain),
    }
    ours: dict[str, Callable[[int], Any]] = {
        "sync near hit, memory: immutable": memory.cached(plain),
        "sync near hit, memory: mutable": memory.cached(rows),
        "sync near hit, SQLite: immutable": sqlite.cached(plain),
        "sync hit, SQLite, near off": far.cached(plain),
    }
    candidates = peers | ours
    for function in candidates.values():
        function(5)
    results = medians_ns({name: calls(functools.partial(function, 5)) for name, function in candidates.items()})
    table("Hits, sync", results, "cachetools.cached, LRU")
    return results


def _async(memory: Cache, sqlite: Cache) -> dict[str, float]:
    loop = asyncio.new_event_loop()
    candidates: dict[str, Callable[[int], Any]] = {
        "bare await": plain_async,
        "async near hit, memory": memory.cached(plain_async),
        "async near hit, SQLite": sqlite.cached(plain_async),
    }
    for function in candidates.values():
        loop.run_until_complete(function(5))
    timed = {name: awaits(functools.partial(function, 5), loop) for name, function in candidates.items()}
    results = medians_ns(timed)
    table("Hits, async", results, "bare await")
    loop.close()
    return results
