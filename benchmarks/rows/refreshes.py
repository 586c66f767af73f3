"""How many values a worker builds again in a second, after events; the limit is as many bare tasks, as many at once."""

import asyncio
import time
from typing import Any

from benchmarks.peers.adapter import Place
from benchmarks.rows.yardstick import YARDSTICK, yardstick_ns

_CONCURRENCY = 64
_RATE = "refreshes/s"


def main(peer: Any, *, n: int = 1_000, **place: str) -> dict[str, Any]:  # noqa: ARG001 - as all rows
    """Measure one batch, after one to warm up; the worker runs in this process, by itself."""
    rate = asyncio.run(_rate(_url(place["store"], Place(place["folder"], place["redis_url"])), n))
    limit = n / asyncio.run(_bare_s(n))
    return {"figures": {_RATE: rate}, "limits": {_RATE: limit, YARDSTICK: yardstick_ns()}, "empty": {}, "notes": {}}


def _url(store: str, place: Place) -> str:
    return {
        "memory": "memory:",
        "files": f"sqlite:///{place.folder}/cache.db",
        "redis": place.redis_url,
    }[store]


async def _rate(url: str, n: int) -> float:
    # No peer has it, so it runs in our own environment alone.
    from everfresh import Cache, Event, dep  # noqa: PLC0415
    from everfresh.refresh.worker import Worker  # noqa: PLC0415

    built: list[int] = []
    rate = 0.0
    async with Cache(url, near=0) as cache:

        @cache.cached(depends_on=[dep.Id("article", dep.arg("number"))])
        async def article(number: int) -> str:
            built.append(number)
            return f"article {number}"

        for number in range(n):
            await article(number)
        for _ in range(2):
            built.clear()
            events = [
                Event.change("article", before={"id": k, "state": 1}, after={"id": k, "state": 2}) for k in range(n)
            ]
            for start in range(0, n, 500):
                await cache.publish(*events[start : start + 500])
            started = time.perf_counter()
            # The end of the block waits for the commits that are under way.
            async with Worker(cache, concurrency=_CONCURRENCY):
                while len(built) < n:  # noqa: ASYNC110 - an event would have to be set at each build
                    await asyncio.sleep(0.002)
            rate = n / (time.perf_counter() - started)
    return rate


async def _bare_s(n: int) -> float:
    places = asyncio.Semaphore(_CONCURRENCY)
    kept: dict[int, str] = {}

    async def build(number: int) -> None:
        async with places:
            kept[number] = f"article {number}"

    started = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number in range(n):
            group.create_task(build(number))
    return time.perf_counter() - started
