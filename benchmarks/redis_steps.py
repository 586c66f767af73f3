"""How long the server is kept busy by the steps, as `INFO commandstats` says: above all a commit with 3 dependencies.

All calls of functions count as one command there, so nothing else runs meanwhile. The time is the server's own, of the
whole function: with its arguments read and its answer made, without the way there and back. On a machine that is busy
it holds the pauses too in which the server had no CPU; so the fastest round is printed beside the median.
"""

import asyncio
import statistics
from collections.abc import Callable

from benchmarks.filling import commit_all, leases_of
from benchmarks.redis_server import Server, server
from benchmarks.report import Report
from benchmarks.size import dependencies
from benchmarks.touching import Touching

from everfresh import Cache, Event
from everfresh.model.entry import Lease
from everfresh.protocol.queueing import TakeDue
from everfresh.protocol.requests import UNLIMITED, GiveUp
from everfresh.stores.store import Store

_N_ENTRIES = 2_000
_N_AT_ONCE = 20
_N_ROUNDS = 10
_N_TAKEN = 64
_EMPTY = "#!lua name=benchmark\nredis.register_function('benchmark_empty', function(keys, argv) return 1 end)"

_Times = dict[str, list[float]]


def main(report: Report) -> None:
    """Measure and print."""
    with server(report, "redis_steps") as running:
        if running is None:
            return
        print(f"\nServer time of a step, Redis, {_N_ENTRIES:,} entries with 3 dependencies each")
        times_us: _Times = {}
        with Cache(running.url, near=0) as cache:
            asyncio.run(_builds(running, cache.engine.store, times_us))
        _others(running, times_us)
        report.raw["server time of steps, µs"] = times_us
        for name, of_step in times_us.items():
            median_us = statistics.median(of_step)
            if name.startswith("commit"):
                print(f"  {min(of_step):.1f} to {max(of_step):.1f} µs")
                report.at_most(f"server time, {name}", median_us, 60, "µs")
            else:
                report.figure(f"server time, {name}", median_us, "µs")


async def _builds(running: Server, store: Store, times_us: _Times) -> None:
    """Each entry is built for the first time, and then twice more, each time to another value."""
    running.client.function_load(_EMPTY, replace=True)
    for name in ("first", "again", "once more"):
        for start in range(0, _N_ENTRIES, _N_AT_ONCE):
            numbers = range(start, start + _N_AT_ONCE)
            marks = [running.calls()]
            leases = await leases_of(store, numbers, dependencies)
            marks.append(running.calls())
            await commit_all(store, numbers, leases, dependencies)
            marks.append(running.calls())
            for _ in numbers:
                running.client.fcall("benchmark_empty", 0)
            marks.append(running.calls())
            kind = "of a new entry" if name == "first" else "that changes one"
            steps = (f"begin {kind}", f"commit {kind}", "an empty function")
            for step, before, after in zip(steps, marks[:-1], marks[1:], strict=True):
                times_us.setdefault(step, []).append(after.us_since(before))


def _others(running: Server, times_us: _Times) -> None:
    """What a worker and a publisher ask besides."""
    touching = Touching(running.url_of("steps"), _N_ENTRIES, _N_ENTRIES)
    cache = touching.cache
    store = cache.engine.store
    (name,) = cache.engine.functions
    nothing = [Event.change("article", before={"id": -id_}, after={"id": -id_}) for id_ in range(1, 501)]

    leases: list[Lease] = []

    def take() -> None:
        took = store.carry_out(TakeDue({name: UNLIMITED}, _N_TAKEN, 60.0))
        leases.extend(due.lease for due in took.due)

    def measure(step: str, n: int, run: Callable[[], object]) -> None:
        before = running.calls()
        run()
        times_us.setdefault(step, []).append((running.calls().us - before.us) / n)

    for _ in range(_N_ROUNDS):
        measure("an event of 500 that touches nothing", 500, lambda: cache.blocking.publish(*nothing))
        measure("an event of 500 that touches one entry", _N_ENTRIES, lambda: touching.touch(500))
        measure(f"one of {_N_TAKEN} due entries, taken at once", _N_TAKEN, take)
        for lease in leases:
            store.carry_out(GiveUp(lease))
        leases.clear()
        touching.freshen()
    cache.close()
