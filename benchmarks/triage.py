"""What an event costs with few and with many entries, one of them touched each time; it should be the same."""

import functools
import tempfile
from pathlib import Path

from benchmarks.timing import calls, medians_ns, table

from everfresh import Cache, Event, dep

SIZES = (1_000, 10_000, 100_000)


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        for kind in ("memory", "SQLite"):
            caches = {size: _filled(kind, size, Path(folder)) for size in SIZES}
            event = Event.change("article", before={"id": 7}, after={"id": 7})
            timed = {
                f"{size:,} entries": calls(functools.partial(cache.blocking.publish, event))
                for size, cache in caches.items()
            }
            table(f"One event, one entry touched, {kind}", medians_ns(timed), f"{SIZES[0]:,} entries")
            for cache in caches.values():
                cache.close()


def _filled(kind: str, size: int, folder: Path) -> Cache:
    cache = Cache("memory:" if kind == "memory" else f"sqlite:///{folder / f'{size}.db'}", near=0)

    @cache.cached(depends_on=[dep.Id("article", dep.arg("number"))])
    def article(number: int) -> str:
        return f"article {number}"

    for number in range(size):
        article(number)
    return cache
