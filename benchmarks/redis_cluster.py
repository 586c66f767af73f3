"""What one server, one server with several shards, and the nodes of a Cluster do in a second; and what each spends.

All are measured in turn, round by round, on one machine, where the nodes of a Cluster share what one server has to
itself. So the CPU time of the worker's process and of the servers is told as well; the model in docs/performance.md is
made from it. And refreshes are measured once more with each server held to the same small share of a CPU, as if each
stood on a small machine of its own.
"""

import asyncio
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from benchmarks.quota import held, problem
from benchmarks.redis_nodes import cluster, url_of
from benchmarks.redis_server import Server, server
from benchmarks.report import Report

from everfresh import Cache, Event, dep
from everfresh.refresh.worker import Worker

_N_NODES, _N_SHARDS = 3, 16
_N_ROUNDS = 7
_N_ENTRIES = 2_000
_N_AT_ONCE = 500
_N_ALONE = 50
_CONCURRENCY = 64
# Of one CPU for each server, so that all of them and the worker need less than two.
_SHARE = 0.15


def main(report: Report) -> None:
    """Measure and print."""
    with server(report, "redis_cluster") as running, ExitStack() as stack:
        if running is None:
            return
        nodes = stack.enter_context(cluster(_N_NODES))
        several = f"&shards={_N_SHARDS}"
        candidates = (
            _Candidate("one server", running.url_of("one"), (running,)),
            _Candidate(f"one server, {_N_SHARDS} shards", running.url_of("several") + several, (running,)),
            _Candidate(f"{_N_NODES} nodes, {_N_SHARDS} shards", f"{url_of(nodes)}?prefix=nodes{several}", nodes),
        )
        for candidate in candidates:
            stack.enter_context(candidate.opened())
        for _ in range(_N_ROUNDS):
            for candidate in candidates:
                candidate.play()
        _report(report, candidates)
        _held(report, candidates)


@dataclass
class _Spent:
    """What something took, once in each round, all in microseconds for one."""

    wall: list[float] = field(default_factory=list[float])
    here: list[float] = field(default_factory=list[float])
    servers: list[float] = field(default_factory=list[float])
    calls: list[float] = field(default_factory=list[float])


class _Candidate:
    """One place for a store, with entries, a worker's function and events."""

    def __init__(self, name: str, url: str, servers: Sequence[Server]) -> None:
        self.name = name
        self._url = url
        self._servers = servers
        self._built: list[int] = []
        self._events = [
            Event.change("article", before={"id": number, "state": 1}, after={"id": number, "state": 2})
            for number in range(_N_ENTRIES)
        ]
        self.spent: dict[str, _Spent] = {}

    @contextmanager
    def opened(self) -> Iterator[None]:
        """With a cache that holds all entries while the block runs."""
        with Cache(self._url, near=0) as cache:
            self._cache = cache

            @cache.cached(depends_on=[dep.Id("article", dep.arg("number"))])
            async def article(number: int) -> str:
                self._built.append(number)
                return f"article {number}"

            asyncio.run(_read(article))
            yield

    def play(self) -> None:
        """One round of everything."""
        publish = self._cache.blocking.publish
        with self._measured("an event, 500 at once", _N_ENTRIES):
            for start in range(0, _N_ENTRIES, _N_AT_ONCE):
                publish(*self._events[start : start + _N_AT_ONCE])
        self._built.clear()
        with self._measured("a refresh", _N_ENTRIES):
            asyncio.run(self._work(_N_ENTRIES))
        with self._measured("an event alone", _N_ALONE):
            for event in self._events[:_N_ALONE]:
                publish(event)
        self._built.clear()
        asyncio.run(self._work(_N_ALONE))
        asyncio.run(self._publish_async())
        self._built.clear()
        asyncio.run(self._work(_N_ALONE))

    def refresh_held(self, what: str) -> None:
        """One round of refreshes, with each server held to its share of a CPU."""
        for start in range(0, _N_ENTRIES, _N_AT_ONCE):
            self._cache.blocking.publish(*self._events[start : start + _N_AT_ONCE])
        self._built.clear()
        with held([one.pid for one in self._servers], _SHARE), self._measured(what, _N_ENTRIES):
            asyncio.run(self._work(_N_ENTRIES))

    async def _publish_async(self) -> None:
        await self._cache.publish(self._events[0])
        with self._measured("an event alone, async", _N_ALONE):
            for event in self._events[:_N_ALONE]:
                await self._cache.publish(event)

    async def _work(self, n: int) -> None:
        # The end of the block waits for the commits that are under way.
        async with Worker(self._cache, concurrency=_CONCURRENCY):
            while len(self._built) < n:  # noqa: ASYNC110 - an event would have to be set at each build
                await asyncio.sleep(0.005)

    @contextmanager
    def _measured(self, what: str, n: int) -> Iterator[None]:
        calls, server_s = self._calls()
        here, started = time.process_time(), time.perf_counter()
        yield
        spent = self.spent.setdefault(what, _Spent())
        spent.wall.append((time.perf_counter() - started) / n * 1e6)
        spent.here.append((time.process_time() - here) / n * 1e6)
        calls_after, server_s_after = self._calls()
        spent.servers.append((server_s_after - server_s) / n * 1e6)
        spent.calls.append((calls_after - calls) / n)

    def _calls(self) -> tuple[int, float]:
        return sum(one.calls().n for one in self._servers), sum(one.cpu_s() for one in self._servers)


async def _read(article: Any) -> None:  # noqa: ANN401 - a cached function
    for number in range(_N_ENTRIES):
        await article(number)


def _report(report: Report, candidates: Sequence[_Candidate]) -> None:
    first, *others = candidates
    for what in first.spent:
        _tell(report, what, candidates)
    for candidate in others:
        ratio = _ratio(first.spent["a refresh"].wall, candidate.spent["a refresh"].wall)
        report.figure(f"refreshes/s, {candidate.name}, all on the same CPUs", ratio, "x one server")


def _tell(report: Report, what: str, candidates: Sequence[_Candidate]) -> None:
    print(f"\n{what[0].upper()}{what[1:]}: µs of time, of CPU here, of the servers' CPU; calls of functions")
    first = candidates[0].spent[what]
    for candidate in candidates:
        spent = candidate.spent[what]
        report.raw[f"{what}, {candidate.name}"] = vars(spent)
        figures = (statistics.median(some) for some in (spent.wall, spent.here, spent.servers))
        told = " ".join(f"{figure:>8,.0f}" for figure in figures)
        ratio = _ratio(first.wall, spent.wall)
        print(f"  {candidate.name:<20} {told} {statistics.median(spent.calls):>6.2f} {ratio:>6.2f} x the rate")


def _held(report: Report, candidates: Sequence[_Candidate]) -> None:
    what = f"a refresh, each server held to {_SHARE:.0%} of a CPU"
    if (why := problem()) is not None:
        report.skip(what, why)
        return
    for _ in range(_N_ROUNDS):
        for candidate in candidates:
            candidate.refresh_held(what)
    _tell(report, what, candidates)
    first, *_, last = candidates
    ratio = _ratio(first.spent[what].wall, last.spent[what].wall)
    report.at_least(f"refreshes/s, {last.name}, each server held to {_SHARE:.0%} of a CPU", ratio, 1.0, "x one server")


def _ratio(first: Sequence[float], times: Sequence[float]) -> float:
    """How many times the rate of the first, within each round."""
    return statistics.median(ours / theirs for ours, theirs in zip(first, times, strict=True))
