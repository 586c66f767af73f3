"""What a hit in this process costs: the near cache beside a dict, functools and cachetools; async beside sync."""

import asyncio
import functools
from collections.abc import Callable
from typing import Any

import cachetools
from benchmarks.report import Report
from benchmarks.timing import Timed, awaits, calls, in_turn

from everfresh import Cache

_LIMIT = "cachetools.cached, LRU"


def plain(number: int) -> str:
    """Give an immutable value."""
    return f"value {number}"


def rows(number: int) -> list[dict[str, int]]:
    """Give a mutable value, about 200 bytes."""
    return [{"id": number + k, "state": k} for k in range(8)]


async def plain_async(number: int) -> str:
    """Give an immutable value to whoever awaits it."""
    return f"value {number}"


def main(report: Report) -> None:
    """Measure in one run, so that sync and async share their rounds."""
    loop = asyncio.new_event_loop()
    with Cache() as cache:
        sync: dict[str, Callable[[int], Any]] = {
            "dict look-up": {5: "value 5"}.get,  # type: ignore[dict-item]
            "functools.lru_cache": functools.lru_cache(plain),
            "cachetools.cached, dict": cachetools.cached({})(plain),
            _LIMIT: cachetools.cached(cachetools.LRUCache(10_000))(plain),
            "sync near hit": cache.cached(plain),
            "sync near hit, mutable value": cache.cached(rows),
        }
        coroutines: dict[str, Callable[[int], Any]] = {
            "bare await": plain_async,
            "async near hit": cache.cached(plain_async),
        }
        for function in sync.values():
            function(5)
        for function in coroutines.values():
            loop.run_until_complete(function(5))
        timed: dict[str, Timed] = {name: calls(function, 5) for name, function in sync.items()}
        timed |= {name: awaits(function, loop, 5) for name, function in coroutines.items()}
        results = in_turn(timed)
    loop.close()
    report.rounds("Hits, memory", results, _LIMIT)
    near, other = results["sync near hit"], results["async near hit"]
    report.at_most("sync near hit", near.ratio_to(results[_LIMIT]), 2, "x cachetools")
    report.at_most("async near hit", other.ratio_to(near), 1.5, "x sync near hit")
