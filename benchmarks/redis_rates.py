"""How many events a process applies in a second, how many entries a worker refreshes, and how long an event takes.

The worker's functions do nothing, so what is measured is all that surrounds them. It runs in this process, by itself;
in the last of the three another process publishes, one event at a time.
"""

import asyncio
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from benchmarks.redis_server import Server, server
from benchmarks.report import Report
from benchmarks.touching import Touching

from everfresh import Cache, Event, dep
from everfresh.cache.notices import Notice
from everfresh.refresh.worker import Worker

_N_ROUNDS = 7
_N_TOUCHED = 1_000
_N_REFRESHED = 2_000
_N_EVENTS = 500
_N_ENTRIES = 100
_CONCURRENCY = 64


def main(report: Report) -> None:
    """Measure and print."""
    with server(report, "redis_rates") as running:
        if running is not None:
            _events(report, running)
            _refreshes(report, running)
            _latency(report, running)


# ------------------------------------------------------------------------------------------------------- events


def _events(report: Report, running: Server) -> None:
    print("\nEvents a second, Redis, one touched entry each")
    touching = Touching(running.url_of("events"), _N_TOUCHED, _N_TOUCHED)
    rates: dict[tuple[int, str], list[float]] = {}
    us_of: dict[str, list[float]] = {}
    for _ in range(_N_ROUNDS):
        for n_at_once in (1, 500, 1_000):
            for entries in ("fresh", "dirty"):
                before = running.calls()
                rates.setdefault((n_at_once, entries), []).append(1 / touching.touch(n_at_once))
                after = running.calls()
                us_of.setdefault(f"{n_at_once} at once, {entries}", []).append((after.us - before.us) / _N_TOUCHED)
            touching.freshen()
    touching.cache.close()
    report.raw["server time of an event, µs"] = us_of
    for (n_at_once, entries), times in rates.items():
        name = f"events, Redis, {n_at_once} at once, {entries} entries"
        report.raw[name] = times
        us = statistics.median(us_of[f"{n_at_once} at once, {entries}"])
        print(f"  {min(times):,.0f} to {max(times):,.0f}/s; {us:.1f} µs of the server's time each")
        if n_at_once > 1:
            report.at_least(name, statistics.median(times), 15_000, "events/s")
        else:
            report.figure(name, statistics.median(times), "events/s")


# ---------------------------------------------------------------------------------------------------- refreshes


def _refreshes(report: Report, running: Server) -> None:
    print(f"\nRefreshes a second, one worker process, {_CONCURRENCY} at once, a function that does nothing")
    for kind in ("memory, async", "Redis, async", "Redis, sync"):
        url = "memory:" if kind.startswith("memory") else running.url_of(kind[-5:].strip())
        with Cache(url, near=0) as cache:
            rates, cpu_us = _rates(cache, is_async=kind.endswith("async"))
        report.raw[f"refreshes, {kind}"] = rates
        print(f"  {min(rates):,.0f} to {max(rates):,.0f}/s; {statistics.median(cpu_us):.0f} µs of CPU here each")
        if kind == "Redis, async":
            report.at_least(f"refreshes, {kind}", statistics.median(rates), 5_000, "refreshes/s")
        else:
            report.figure(f"refreshes, {kind}", statistics.median(rates), "refreshes/s")


def _rates(cache: Cache, *, is_async: bool) -> tuple[list[float], list[float]]:
    built: list[int] = []

    def build(number: int) -> str:
        built.append(number)
        return f"article {number}"

    article = _declared(cache, build, is_async=is_async)
    asyncio.run(_read(article, _N_REFRESHED, is_async=is_async))
    rates: list[float] = []
    cpu_us: list[float] = []
    for _ in range(_N_ROUNDS):
        built.clear()
        for start in range(0, _N_REFRESHED, 500):
            cache.blocking.publish(*(_event(number) for number in range(start, start + 500)))
        started, cpu = time.perf_counter(), time.process_time()
        asyncio.run(_work(cache, lambda: len(built) >= _N_REFRESHED))
        rates.append(_N_REFRESHED / (time.perf_counter() - started))
        cpu_us.append((time.process_time() - cpu) / _N_REFRESHED * 1e6)
    return rates, cpu_us


def _declared(cache: Cache, build: Callable[[int], str], *, is_async: bool) -> Any:  # noqa: ANN401 - of either colour
    if not is_async:

        @cache.cached(depends_on=[dep.Id("article", dep.arg("number"))])
        def article(number: int) -> str:
            return build(number)

        return article

    @cache.cached(depends_on=[dep.Id("article", dep.arg("number"))])
    async def article_async(number: int) -> str:
        return build(number)

    return article_async


async def _read(article: Any, n: int, *, is_async: bool) -> None:  # noqa: ANN401 - of either colour
    for number in range(n):
        if is_async:
            await article(number)
        else:
            article(number)


async def _work(cache: Cache, is_done: Callable[[], bool]) -> None:
    # The end of the block waits for the commits that are under way.
    async with Worker(cache, concurrency=_CONCURRENCY):
        while not is_done():  # noqa: ASYNC110 - an event would have to be set at each build
            await asyncio.sleep(0.005)


def _event(number: int) -> Event:
    return Event.change("article", before={"id": number, "state": 1}, after={"id": number, "state": 2})


# ------------------------------------------------------------------------------------------------------ latency


def _latency(report: Report, running: Server) -> None:
    print("\nFrom an event to the committed value, Redis: another process publishes, a worker here refreshes")
    url = running.url_of("latency")
    with Cache(url, near=0) as cache:
        article = _declared(cache, lambda number: f"article {number}", is_async=True)
        asyncio.run(_read(article, _N_ENTRIES, is_async=True))
        stored_at: list[float] = []
        remove = cache.listen(lambda notice: _note(stored_at, notice))
        with Worker(cache).in_thread():
            published_at = _published(url)
            _wait_until(lambda: len(stored_at) >= _N_EVENTS)
        remove()
    times_ms = sorted((stored - at) * 1e3 for at, stored in zip(published_at, stored_at, strict=True))
    report.raw["event to committed value, ms"] = times_ms
    print(f"  fastest {times_ms[0]:.2f} ms, slowest {times_ms[-1]:.2f} ms, of {_N_EVENTS}")
    report.at_most("event to committed value, p50", times_ms[_N_EVENTS // 2], 3, "ms")
    report.at_most("event to committed value, p99", times_ms[_N_EVENTS * 99 // 100], 15, "ms")


def _note(stored_at: list[float], notice: Notice) -> None:
    if notice.name == "refresh.done":
        stored_at.append(time.monotonic())


def _published(url: str) -> list[float]:
    command = [sys.executable, "-m", "benchmarks.redis_publisher", url, str(_N_EVENTS), str(_N_ENTRIES)]
    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)  # noqa: S603 - our own module
    # The monotonic clock is one for all processes of a machine.
    return [float(line) for line in told.stdout.split()]


def _wait_until(is_true: Callable[[], bool]) -> None:
    ends_at = time.monotonic() + 10.0
    waiting = threading.Event()
    while not is_true() and time.monotonic() < ends_at:
        waiting.wait(0.01)
