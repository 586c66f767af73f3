"""How many bytes an entry with three dependencies takes in Redis, and what an event costs with few and with many.

The memory is what the server says it uses, above what it used before; keys and values are counted once.
"""

import statistics

from benchmarks.filling import fill
from benchmarks.redis_server import Server, server
from benchmarks.report import Report
from benchmarks.size import dependencies
from benchmarks.touching import Touching

from everfresh import Cache

_FEW = 1_000
_N_TOUCHED = 500
_N_ROUNDS = 15


def main(report: Report) -> None:
    """Measure and print."""
    n = 1_000_000 if report.is_full else 100_000
    with server(report, "redis_size") as running:
        if running is None:
            return
        _size(report, running, n)
        running.client.flushall()
        _flat(report, running, n)


def _size(report: Report, running: Server, n: int) -> None:
    print(f"\nSize, Redis, {n:,} entries with 3 dependencies each")
    with Cache(running.url, near=0) as cache:
        cache.engine.store.version()
        before = running.used_bytes()
        n_payload = fill(cache, n, dependencies)
        n_bytes = running.used_bytes() - before
    report.figure("size: used by Redis", n_bytes / 2**20, "MB")
    report.figure("size: keys and values of an entry in Redis", n_payload / n, "bytes")
    report.at_most(f"an entry, Redis, {n:,} of them", (n_bytes - n_payload) / n, 700, "bytes beyond key and value")


def _flat(report: Report, running: Server, n: int) -> None:
    print(f"\nOne event, one entry touched, Redis, with {_FEW:,} and with {n:,} entries")
    few, many = (Touching(running.url_of(f"flat{size}"), size, _N_TOUCHED) for size in (_FEW, n))
    times_us: list[tuple[float, float]] = []
    server_us: list[tuple[float, float]] = []
    for _ in range(_N_ROUNDS):
        marks = [running.calls()]
        times: list[float] = []
        for touching in (few, many):
            times.append(touching.touch() * 1e6)
            marks.append(running.calls())
        times_us.append((times[0], times[1]))
        server_us.append((marks[1].us_since(marks[0]), marks[2].us_since(marks[1])))
        few.freshen()
        many.freshen()
    for touching in (few, many):
        touching.cache.close()
    report.raw["flat, Redis, µs"] = times_us
    report.raw["flat, Redis, µs of the server"] = server_us
    for what, pairs in (("", times_us), (", server time", server_us)):
        few_us, many_us = (statistics.median(times) for times in zip(*pairs, strict=True))
        print(f"  {few_us:.1f} µs with {_FEW:,} entries, {many_us:.1f} µs with more{what}")
        ratio = statistics.median(more / less for less, more in pairs)
        report.at_most(f"one event, Redis, {n:,} entries{what}", ratio, 1.3, f"x {_FEW:,} entries")
