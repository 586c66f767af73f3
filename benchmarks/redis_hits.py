"""What a hit costs on Redis: through the near cache beside the embedded stores, and from Redis beside a plain `GET`.

The `GET` uses the same driver with the same options, and decodes the same bytes with the same codec. It is given the
name of its key, and so is the store's step, which answers with the entry and whether it is up to date. A cached
function makes the key from its arguments, and more besides: that has no peer here, and is printed as a figure.
"""

import asyncio
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import redis.asyncio
from benchmarks.hits import plain, plain_async
from benchmarks.redis_server import Server, server
from benchmarks.report import Report
from benchmarks.timing import Rounds, Timed, awaits, calls, in_turn

from everfresh import Cache
from everfresh.model.entry import Entry
from everfresh.protocol.requests import Load, Loaded

_MEMORY, _SQLITE, _NEAR = "near hit, memory", "near hit, SQLite", "near hit, Redis"
_GET, _STEP, _HIT = "GET and decode", "hit from Redis and decode", "cached function"
_ASYNC = ", async"


def main(report: Report) -> None:
    """Measure and print."""
    with server(report, "redis_hits") as running, tempfile.TemporaryDirectory() as folder:
        if running is None:
            return
        loop = asyncio.new_event_loop()
        results = _measured(running, Path(folder), loop)
        loop.close()
    near = {name: results[name] for name in (_MEMORY, _SQLITE, _NEAR)}
    report.rounds("Near hits, Redis", near, _MEMORY)
    report.at_most("near hit on Redis", near[_NEAR].ratio_to(near[_SQLITE]), 1.1, "x the embedded store, SQLite")
    report.figure("near hit on Redis", near[_NEAR].ratio_to(near[_MEMORY]), "x memory, which asks nobody")
    far = {name: rounds for name, rounds in results.items() if name not in near}
    report.rounds("Hits from Redis", far, _GET)
    for colour in ("", _ASYNC):
        get = far[_GET + colour]
        report.at_most(_STEP + colour, far[_STEP + colour].ratio_to(get), 1.15, f"x {_GET}{colour}")
        report.figure(f"{_HIT}{colour}, near=0", far[_HIT + colour].ratio_to(get), f"x {_GET}{colour}")


def _measured(running: Server, folder: Path, loop: asyncio.AbstractEventLoop) -> dict[str, Rounds]:
    url = running.url_of("hits")
    with Cache() as memory, Cache(f"sqlite:///{folder / 'cache.db'}") as file, Cache(url) as near:
        functions: dict[str, Callable[[int], Any]] = {
            _MEMORY: memory.cached(plain),
            _SQLITE: file.cached(plain),
            _NEAR: near.cached(plain),
        }
        for function in functions.values():
            function(5)
        # Before the others, whose thread that follows would be in the way.
        results = in_turn({name: calls(function, 5) for name, function in functions.items()})
    with Cache(url, near=0) as far:
        results |= in_turn(_from_redis(running, far, loop))
    return results


def _from_redis(running: Server, far: Cache, loop: asyncio.AbstractEventLoop) -> dict[str, Timed]:
    function, other = far.cached(plain), far.cached(plain_async)
    function(5)
    loop.run_until_complete(other(5))
    decode = next(iter(far.engine.functions.values())).codec().decode
    (key,) = (key for key in running.client.keys("hits:{s0}:v:*") if b"plain@" in key)
    client = running.client
    async_client: Any = redis.asyncio.Redis(host="127.0.0.1", port=running.port, protocol=3)

    def get() -> str:
        return decode(client.get(key))

    async def get_async() -> str:
        return decode(await async_client.get(key))

    load, store = Load(function.key(5)), far.engine.store

    def step() -> str:
        return decode(_entry(store.carry_out(load)).value)

    async def step_async() -> str:
        return decode(_entry(await store.carry_out_async(load)).value)

    return {
        _GET: calls(get),
        _STEP: calls(step),
        _HIT: calls(function, 5),
        _GET + _ASYNC: awaits(get_async, loop),
        _STEP + _ASYNC: awaits(step_async, loop),
        _HIT + _ASYNC: awaits(other, loop, 5),
    }


def _entry(loaded: Loaded) -> Entry:
    if loaded.entry is None:
        raise LookupError("the entry is gone")
    return loaded.entry
