"""How many reads give an older value than what had been invalidated before they began?

Six readers read four keys as fast as they can, while one writer changes them two hundred times, one after the other;
each time it waits until the documented invalidation has returned, and goes on after some 3 ms. The source takes 5 ms.
*Wrong for good* are keys whose old value still stands when all is over; *raised* are reads that got an error. In *two
more processes* readers share the store with the writer; what was invalidated stands in memory that all of them see.
These are counts of chance: they tell whether and about how often, and differ from run to run.
"""

import asyncio
import mmap
import random
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmarks.races.scenario import PATIENCE_S, Beside, Caller, Cell, failed, held, named, not_offered, opened

TITLE = "Hot keys under load"
ROWS = {
    "here": "readers in one process",
    "processes": "readers in two more processes",
}
_N_KEYS = 4
_N_READERS = 6
_BODY_S = 0.005
_PAUSE_S = 0.003
_SLICE = 20
# Threads are to change places more often than every 5 ms, or nothing meets.
_SWITCH_S = 0.0005
# Who is slow does fewer, and the cell says so.
_MOST_S = 12.0
_FILE = "truths"


def main(peer: ModuleType, *, place: dict[str, str], is_quick: bool = False) -> dict[str, Cell]:
    """Both rows."""
    n_changes = 40 if is_quick else 200
    with opened(peer, place) as caller:
        offers = caller.adapter.offers
        here = _here(_Hot(caller, _Truths(place, "here"), "hot_here"), n_changes)
        shared = _processes(caller, peer, place, n_changes) if "processes" in offers else not_offered("one process")
        return {"here": here, "processes": shared}


def beside(caller: Caller) -> Callable[[Any], Any]:
    """Readers of another process."""
    hot: list[_Hot] = []

    def answer(request: dict[str, Any]) -> Any:
        if not hot:
            hot.append(_Hot(caller, _Truths(request["place"], "there"), "hot_there"))
        return hot[0].n_wrong() if request["is_over"] else vars(hot[0].read())

    return answer


@dataclass
class _Run:
    """What readers saw."""

    n_reads: int = 0
    n_stale: int = 0
    n_errors: int = 0

    @classmethod
    def of(cls, runs: "list[_Run]") -> "_Run":
        """All of them together."""
        return cls(
            sum(run.n_reads for run in runs), sum(run.n_stale for run in runs), sum(run.n_errors for run in runs)
        )


class _Truths:
    """For each key what the source says, and what was invalidated last; and whether the writer has ended.

    They stand in a file that all processes map.
    """

    def __init__(self, place: dict[str, str], name: str) -> None:
        path = Path(place["folder"]) / f"{_FILE} {name}"
        n_bytes = (_N_KEYS * 2 + 1) * 8
        if not path.exists():
            path.write_bytes(bytes(n_bytes))
        with path.open("r+b") as file:
            numbers = memoryview(mmap.mmap(file.fileno(), n_bytes)).cast("q")
        self.stored = numbers[:_N_KEYS]
        self.invalidated = numbers[_N_KEYS : 2 * _N_KEYS]
        self.is_over = numbers[2 * _N_KEYS :]


class _Hot:
    """The function, its readers and its writer."""

    def __init__(self, caller: Caller, truths: _Truths, name: str) -> None:
        self.caller = caller
        self.truths = truths
        stored = truths.stored

        def hot(key: int) -> int:
            found = stored[key]
            time.sleep(_BODY_S)
            return found

        async def hot_async(key: int) -> int:
            found = stored[key]
            await asyncio.sleep(_BODY_S)
            return found

        self.readable = caller.readable(named(hot_async if caller.adapter.is_async else hot, name), name)
        self.function = self.readable.function

    def read(self) -> _Run:
        """Read in threads or tasks until the writer ends."""
        sys.setswitchinterval(_SWITCH_S)
        read = self._read_async if self.caller.adapter.is_async else self._read
        runs = [self.caller.start(read, seed) for seed in range(_N_READERS)]
        return _Run.of([run.result(_MOST_S + PATIENCE_S) for run in runs])

    def write(self, n_most: int) -> int:
        """Change one after the other, so many or for as long as there is time, and count."""
        stored, invalidated = self.truths.stored, self.truths.invalidated
        ends_at, n_changes = time.monotonic() + _MOST_S, 0
        dice = random.Random(_N_READERS)  # noqa: S311 - no secret
        while n_changes < n_most and time.monotonic() < ends_at:
            key = n_changes % _N_KEYS
            stored[key] += 1
            self.readable.drop(key)
            invalidated[key] = stored[key]
            n_changes += 1
            time.sleep(dice.expovariate(1 / _PAUSE_S))
        self.truths.is_over[0] = 1
        return n_changes

    def n_wrong(self) -> int:
        """How many keys are read otherwise than they are stored, once nobody writes."""
        return sum(self.caller(self.function, key) != self.truths.stored[key] for key in range(_N_KEYS))

    def _read(self, seed: int) -> _Run:
        function, invalidated, run = self.function, self.truths.invalidated, _Run()
        keys, is_over = _keys(seed), self.truths.is_over
        while not is_over[0]:
            for key in keys:
                least = invalidated[key]
                try:
                    if function(key) < least:
                        run.n_stale += 1
                except Exception:  # noqa: BLE001 - whatever a library raises, the reader has no value
                    run.n_errors += 1
            run.n_reads += len(keys)
            time.sleep(0)
        return run

    async def _read_async(self, seed: int) -> _Run:
        function, invalidated, run = self.function, self.truths.invalidated, _Run()
        keys, is_over = _keys(seed), self.truths.is_over
        while not is_over[0]:
            for key in keys:
                least = invalidated[key]
                try:
                    if await function(key) < least:
                        run.n_stale += 1
                except Exception:  # noqa: BLE001 - whatever a library raises, the reader has no value
                    run.n_errors += 1
            run.n_reads += len(keys)
            await asyncio.sleep(0)
        return run


def _keys(seed: int) -> list[int]:
    dice = random.Random(seed)  # noqa: S311 - no secret
    return [dice.randrange(_N_KEYS) for _ in range(_SLICE)]


def _here(hot: _Hot, n_most: int) -> Cell:
    with ThreadPoolExecutor(1) as beside_it:
        reading = beside_it.submit(hot.read)
        n_changes = hot.write(n_most)
        return _judged([reading.result()], n_changes, n_most, hot.n_wrong())


def _processes(caller: Caller, peer: ModuleType, place: dict[str, str], n_most: int) -> Cell:
    hot = _Hot(caller, _Truths(place, "there"), "hot_there")
    with ExitStack() as stack:
        others = [stack.enter_context(Beside(peer, "hot_keys", place)) for _ in range(2)]
        for other in others:
            other.send({"place": place, "is_over": False})
        n_changes = hot.write(n_most)
        runs = [_Run(**other.answer()) for other in others]
        n_wrong = sum(other.ask({"place": place, "is_over": True}) for other in others)
        return _judged(runs, n_changes, n_most, n_wrong)


def _judged(runs: list[_Run], n_changes: int, n_most: int, n_wrong: int) -> Cell:
    run = _Run.of(runs)
    text = f"{run.n_stale:,} of {run.n_reads:,} stale"
    if run.n_errors:
        text += f", {run.n_errors} raised"
    if n_changes < n_most:
        text += f" in {n_changes} changes"
    if n_wrong:
        text += f", {n_wrong} wrong for good"
    figures = {"n_changes": n_changes, "n_wrong": n_wrong, **vars(run)}
    return (failed if run.n_stale or run.n_errors or n_wrong else held)(text, **figures)
