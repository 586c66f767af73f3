"""Readers beside a writer in another process, over one Redis, with near caches on.

usage: beside.py URL BOARD EPOCH KIND...

It reads until it is over, in a thread for each kind of reader, and says how often, and what it was served that was too
old for that kind. The kind "lag" looks how long it takes until what is held near is gone, by a reader who looks once in
a while; "busy-lag" by one who never lets its interpreter go.
"""

import mmap
import sys
import threading
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

from everfresh import Cache, Position, dep
from everfresh.cache.functions import SyncFunction
from everfresh.testing.waiting import until

KINDS = ("plain", "after", "far")
N_KEYS = 5
N_TIMES = 4096
_N_BYTES = 8
_LOOKS_EVERY_S = 0.0001


class Board:
    """Numbers that all processes see."""

    def __init__(self, path: Path) -> None:
        size = _N_BYTES * (3 * N_KEYS + N_TIMES + 3)
        if not path.exists():
            path.write_bytes(bytes(size))
        with path.open("r+b") as file:
            numbers = memoryview(mmap.mmap(file.fileno(), size)).cast("q")
        self.truth = numbers[:N_KEYS]
        """The numbers outside, by key."""
        self.published = numbers[N_KEYS : 2 * N_KEYS]
        """The newest truths of which publishing has returned, by key."""
        self.acknowledged = numbers[2 * N_KEYS : 3 * N_KEYS]
        """The same for publishing that was acknowledged."""
        self.returned_at = numbers[3 * N_KEYS : 3 * N_KEYS + N_TIMES]
        """When publishing the truth of the first key returned, by that truth, in ns of `time.monotonic_ns`."""
        self._rest = numbers[3 * N_KEYS + N_TIMES :]

    @property
    def sequence(self) -> int:
        """As of which events all that is published may be asked for."""
        return self._rest[0]

    @sequence.setter
    def sequence(self, sequence: int) -> None:
        self._rest[0] = sequence

    @property
    def seen(self) -> int:
        """The truth about the first key that a reader has seen."""
        return self._rest[1]

    @seen.setter
    def seen(self, truth: int) -> None:
        self._rest[1] = truth

    @property
    def is_over(self) -> bool:
        """Whether the readers may go home."""
        return self._rest[2] != 0

    def end(self) -> None:
        """Send the readers home."""
        self._rest[2] = 1


def cached_number(cache: Cache, board: Board) -> SyncFunction[[int], int]:
    """The function that all processes have."""

    @cache.cached(key="number:{number}", depends_on=[dep.Id("number", dep.arg("number"))])
    def number(number: int) -> int:
        return board.truth[number]

    return number


class Reader:
    """One kind of reader, in a thread of its own."""

    def __init__(self, read: Callable[[int], int], floors: "memoryview[int]", board: Board) -> None:
        self._read = read
        self._floors = floors
        self._board = board
        self.n_reads = 0
        self.stale: list[str] = []

    def run(self) -> None:
        """Read one key after the other."""
        for n_reads in count():
            if self._board.is_over:
                return
            number = n_reads % N_KEYS
            # Looked at before the read begins: from here on nothing older will do.
            floor = self._floors[number]
            value = self._read(number)
            if value < floor:
                self.stale.append(f"{number}:{value}<{floor}")
            self.n_reads = n_reads


class Lagging:
    """One who waits for each new truth about the first key."""

    def __init__(self, read: Callable[[int], int], board: Board, pause_s: float) -> None:
        self._read = read
        self._board = board
        self._pause_s = pause_s
        self._pause = threading.Event()
        self._began_at: dict[int, int] = {}
        self.n_reads = 0

    @property
    def stale(self) -> list[int]:
        """For how many microseconds each truth was not seen yet, from when publishing it returned."""
        at = self._board.returned_at
        return [max(began_at - at[truth], 0) // 1_000 for truth, began_at in self._began_at.items() if at[truth]]

    def run(self) -> None:
        """Read again and again; of each truth, when the first read began that saw it."""
        last = 0
        while not self._board.is_over:
            began_at = time.monotonic_ns()
            truth = self._read(0)
            if truth != last:
                last = truth
                self._began_at[truth] = began_at
                self._board.seen = truth
            self.n_reads += 1
            if self._pause_s:
                self._pause.wait(self._pause_s)


def readers_of(near: Cache, far: Cache, board: Board, epoch: str) -> dict[str, Callable[[], Reader | Lagging]]:
    """The kinds of readers that there are."""
    number, far_number = cached_number(near, board), cached_number(far, board)

    def after(one: int) -> int:
        # Read after the floor was looked at, so it covers that.
        return number.read(after=Position(epoch, board.sequence))(one)

    return {
        "plain": lambda: Reader(number, board.acknowledged, board),
        "after": lambda: Reader(after, board.published, board),
        "far": lambda: Reader(far_number, board.published, board),
        "lag": lambda: Lagging(number, board, _LOOKS_EVERY_S),
        "busy-lag": lambda: Lagging(number, board, 0.0),
    }


def main(url: str, path: str, epoch: str, *kinds: str) -> None:
    """Read in a process of its own."""
    board = Board(Path(path))
    with Cache(url) as near, Cache(url, near=0) as far:
        made = readers_of(near, far, board, epoch)
        readers = [made[kind]() for kind in kinds]
        threads = [threading.Thread(target=reader.run) for reader in readers]
        for thread in threads:
            thread.start()
        until(lambda: all(reader.n_reads > N_KEYS for reader in readers), what="everything to be held near")
        sys.stdout.write("reading\n")
        sys.stdout.flush()
        for thread in threads:
            thread.join()
    for kind, reader in zip(kinds, readers, strict=True):
        sys.stdout.write(f"{kind} {reader.n_reads} {' '.join(map(str, reader.stale))}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
