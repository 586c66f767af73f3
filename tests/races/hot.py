"""A hot key: a truth that changes, a cached function over it, and readers that look for anything older."""

import mmap
import sys
import threading
from pathlib import Path

from everfresh import Cache, SyncFunction, dep

TOPIC = "truth"


class Counters:
    """Three numbers that all processes see: the truth, what of it is published, and whether it is over."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(bytes(24))
        with path.open("r+b") as file:
            self._numbers = memoryview(mmap.mmap(file.fileno(), 24)).cast("q")

    @property
    def truth(self) -> int:
        """The number outside."""
        return self._numbers[0]

    @truth.setter
    def truth(self, n: int) -> None:
        self._numbers[0] = n

    @property
    def published(self) -> int:
        """The newest truth whose publishing was answered."""
        return self._numbers[1]

    @published.setter
    def published(self, n: int) -> None:
        self._numbers[1] = n

    @property
    def is_over(self) -> bool:
        """Whether the readers may go home."""
        return self._numbers[2] != 0

    def end(self) -> None:
        """Send the readers home."""
        self._numbers[2] = 1


class Readers:
    """Threads that read the hot key until it is over."""

    def __init__(self, hot: SyncFunction[[], int], counters: Counters, n_threads: int) -> None:
        self._hot = hot
        self._counters = counters
        self.n_reads = 0
        self.stale: list[str] = []
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._read) for _ in range(n_threads)]
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        """Wait until all have gone home."""
        for thread in self._threads:
            thread.join()

    def _read(self) -> None:
        n_reads = 0
        while not self._counters.is_over:
            floor = self._counters.published
            value = self._hot()
            n_reads += 1
            if value < floor:
                self.stale.append(f"{value} after {floor}")
        with self._lock:
            self.n_reads += n_reads


def hot_function(cache: Cache, counters: Counters) -> SyncFunction[[], int]:
    """The cached function, with one key in all processes."""

    @cache.cached(key="hot", depends_on=[dep.Topic(TOPIC)])
    def hot() -> int:
        return counters.truth

    return hot


def main(database: str, counters_path: str, near: str) -> int:
    """Read in a process of its own."""
    counters = Counters(Path(counters_path))
    with Cache(f"sqlite:///{database}", near=int(near)) as cache:
        readers = Readers(hot_function(cache, counters), counters, 2)
        print("reading", flush=True)  # noqa: T201 - to the test that started it
        readers.join()
    sys.stdout.write(f"{readers.n_reads} {len(readers.stale)} {readers.stale[:3]}\n")
    return 1 if readers.stale else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
