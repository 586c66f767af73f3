"""Hot keys: truths that change, a cached function over them, and readers that look for anything older.

usage: hot.py URL COUNTERS NEAR COLOUR PATIENCE

In a process of its own it reads until it is over, and says how often, and what it was served that was stale.
"""

import asyncio
import mmap
import sys
import threading
from collections.abc import Callable
from datetime import timedelta
from itertools import count
from pathlib import Path

from everfresh import FOREVER, Cache, Event, dep

TOPIC = "truth"
N_KEYS = 10
# How patient readers are declared to be: "strict" is the default, "patient" takes any old value.
PATIENCE = {"strict": timedelta(0), "patient": FOREVER}
_N_BYTES = 8


class Counters:
    """Numbers that all processes see: the truths, what of them is published, and whether it is over."""

    def __init__(self, path: Path) -> None:
        size = _N_BYTES * (2 * N_KEYS + 1)
        if not path.exists():
            path.write_bytes(bytes(size))
        with path.open("r+b") as file:
            numbers = memoryview(mmap.mmap(file.fileno(), size)).cast("q")
        self.truth = numbers[:N_KEYS]
        """The numbers outside, by key."""
        self.published = numbers[N_KEYS : 2 * N_KEYS]
        """The newest truths whose publishing was answered, by key."""
        self._over = numbers[2 * N_KEYS :]

    @property
    def is_over(self) -> bool:
        """Whether the readers may go home."""
        return self._over[0] != 0

    def end(self) -> None:
        """Send the readers home."""
        self._over[0] = 1


class Hot:
    """The cached functions, one of each colour, with the same keys in all processes."""

    def __init__(self, cache: Cache, counters: Counters, patience: str, *, acknowledged: bool = False) -> None:
        self._cache = cache
        self._acknowledged = acknowledged
        self._counters = counters
        depends_on = [dep.Topic(TOPIC, {"number": dep.arg("number")})]
        old_for = PATIENCE[patience]

        @cache.cached(key="blocking:{number}", depends_on=depends_on, stale_while_revalidate=old_for)
        def blocking(number: int) -> int:
            return counters.truth[number]

        @cache.cached(key="asyncio:{number}", depends_on=depends_on, stale_while_revalidate=old_for)
        async def asynchronous(number: int) -> int:
            return counters.truth[number]

        self.blocking, self.asynchronous = blocking, asynchronous

    def change(self, number: int) -> int:
        """The truth grows, that is published, and only then counts as known; what it is now."""
        self._counters.truth[number] += 1
        self._cache.blocking.publish(Event(TOPIC, {"number": number}), acknowledged=self._acknowledged)
        self._counters.published[number] = self._counters.truth[number]
        return self._counters.truth[number]


class Readers:
    """Readers of all keys until it is over: threads, or tasks of one event loop."""

    def __init__(self, hot: Hot, counters: Counters, n_readers: int, colour: str) -> None:
        self._hot = hot
        self._counters = counters
        self._n_readers = n_readers
        self.n_reads = 0
        self.stale: list[str] = []
        self._lock = threading.Lock()
        targets: list[Callable[[], None]] = [self._read] * n_readers if colour == "blocking" else [self._read_in_a_loop]
        self._threads = [threading.Thread(target=target) for target in targets]
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        """Wait until all have gone home."""
        for thread in self._threads:
            thread.join()

    def _read(self) -> None:
        for n_reads in count():
            if self._counters.is_over:
                return self._note(n_reads)
            number = n_reads % N_KEYS
            # Looked at before the read begins: from here on nothing older will do.
            floor = self._counters.published[number]
            self._check(number, floor, self._hot.blocking(number))
        return None

    def _read_in_a_loop(self) -> None:
        async def all_of_them() -> None:
            await asyncio.gather(*(self._read_async() for _ in range(self._n_readers)))

        asyncio.run(all_of_them())

    async def _read_async(self) -> None:
        for n_reads in count():
            if self._counters.is_over:
                return self._note(n_reads)
            number = n_reads % N_KEYS
            floor = self._counters.published[number]
            self._check(number, floor, await self._hot.asynchronous(number))
            # A hit does not suspend; the others are to have their turn.
            await asyncio.sleep(0)
        return None

    def _check(self, number: int, floor: int, value: int) -> None:
        if value < floor:
            self.stale.append(f"{number}:{value}<{floor}")

    def _note(self, n_reads: int) -> None:
        with self._lock:
            self.n_reads += n_reads


def main(url: str, counters_path: str, near: str, colour: str, patience: str) -> None:
    """Read in a process of its own."""
    counters = Counters(Path(counters_path))
    with Cache(url, near=int(near)) as cache:
        readers = Readers(Hot(cache, counters, patience), counters, 2, colour)
        print("reading", flush=True)  # noqa: T201 - to the test that started it
        readers.join()
    sys.stdout.write(f"{readers.n_reads} {len(readers.stale)} {' '.join(readers.stale[:3])}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
