"""What a hit costs that processes share: SQLite, with the near cache and without, beside diskcache.

diskcache is used with its own defaults (WAL, synchronous NORMAL, 64 MB of mmap, no statistics). Its `get` takes a key
that is ready; `memoize` makes one from the arguments, which is what a cached function does.
"""

import asyncio
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diskcache
from benchmarks.hits import plain, plain_async, rows
from benchmarks.report import Report
from benchmarks.timing import Timed, awaits, calls, in_turn

from everfresh import Cache

# The file should not be all in one page.
_N_OTHERS = 1_000
_GET, _MEMOIZE = "diskcache get", "diskcache memoize"


def main(report: Report) -> None:
    """Measure both in one run."""
    loop = asyncio.new_event_loop()
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder) / 'cache.db'}"
        with diskcache.Cache(Path(folder) / "peer") as peer, Cache(url) as near, Cache(url, near=0) as far:
            results = in_turn(_candidates(peer, near, far, loop))
    loop.close()
    report.rounds("Hits, SQLite", results, _GET)
    hit = results["near hit"]
    report.at_most("SQLite hit, a cached function", hit.ratio_to(results[_MEMOIZE]), 0.5, "x diskcache memoize")
    report.at_most("SQLite hit, a key that is ready", hit.ratio_to(results[_GET]), 0.5, "x diskcache get")
    report.figure("SQLite hit, near=0", results["hit, near=0"].ratio_to(results[_MEMOIZE]), "x diskcache memoize")


def _candidates(peer: Any, near: Cache, far: Cache, loop: asyncio.AbstractEventLoop) -> dict[str, Timed]:  # noqa: ANN401 - it has no types
    functions: dict[str, Callable[[int], Any]] = {
        _MEMOIZE: peer.memoize()(plain),
        "near hit": near.cached(plain),
        "near hit, mutable value": near.cached(rows),
        "hit, near=0": far.cached(plain),
    }
    for function in functions.values():
        function(5)
    other = near.cached(plain_async)
    loop.run_until_complete(other(5))
    filled = far.cached(rows)
    for number in range(_N_OTHERS):
        filled(number)
        peer[number] = plain(number)
    timed = {_GET: calls(peer.get, 5)} | {name: calls(function, 5) for name, function in functions.items()}
    return timed | {"async near hit": awaits(other, loop, 5)}
