"""How often is one value built when many ask for it?

Four processes ask for one value that nobody has, with five calls each at the same time. The body takes a second, or
three; how often it is run is counted over all processes. A library whose values live in one process runs it once in
each at best, which is four times; one whose processes share their values need run it once.

Then a process builds alone, and is killed with `kill -9` in the middle. The four come after that; how often they build
is counted, and how long the last of them waits for its value, with a body of one second.
"""

import asyncio
import os
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmarks.races.scenario import Beside, Caller, Cell, failed, held, not_offered, opened, until
from benchmarks.races.several import all_beside

TITLE = "Stampedes"
ROWS = {
    "one": "20 cold calls of 4 processes, a body of 1 s: runs",
    "three": "the same with a body of 3 s",
    "killed": "after `kill -9` of the builder: runs, and the longest wait",
}
# It waits, and does next to nothing.
N_AT_ONCE = 5
N_PROCESSES = 4
N_CALLS = 5
# A lock that nobody can free is given up after a minute by some.
_GIVES_UP_AFTER_S = 100.0
_KILLED_BUILDS_S = 120.0


def main(peer: ModuleType, *, place: dict[str, str], is_quick: bool = False) -> dict[str, Cell]:
    """Each with an item of its own."""
    with opened(peer, place) as caller:
        if "function" not in caller.adapter.offers:
            return dict.fromkeys(ROWS, not_offered("no functions"))
        is_shared = "processes" in caller.adapter.offers
    n_processes, long_s, longer_s = (2, 0.2, 0.4) if is_quick else (N_PROCESSES, 1.0, 3.0)
    best = 1 if is_shared else n_processes
    with ExitStack() as stack:
        *besides, builder = all_beside(stack, n_processes + 1, peer, "stampede", place)
        runs = _Runs(place["folder"], besides)
        cells = {
            "one": _cell(runs.of(1, long_s), best),
            "three": _cell(runs.of(2, longer_s), best),
        }
        builder.send(runs.request(3, _KILLED_BUILDS_S, n_calls=1))
        until(lambda: runs.n_of(3) == 1, "the builder begins")
        builder.kill()
        after = runs.of(3, long_s)
        cells["killed"] = _cell(replace(after, n_runs=after.n_runs - 1), best, says_time=True)
        return cells


@dataclass(frozen=True)
class _Outcome:
    """What came of twenty calls."""

    n_runs: int
    longest_s: float
    n_raised: int


def _cell(outcome: _Outcome, best: int, *, says_time: bool = False) -> Cell:
    text = f"{outcome.n_runs}"
    if outcome.n_runs == best > 1:
        text += ", one in each process"
    if says_time:
        text += f", {outcome.longest_s:.1f} s"
    if outcome.n_raised:
        text += f", {outcome.n_raised} raised"
    is_right = outcome.n_runs == best and not outcome.n_raised
    return (held if is_right else failed)(text, **asdict(outcome))


class _Runs:
    """How often the body ran for an item: each run adds a byte to the item's file."""

    def __init__(self, folder: str, besides: list[Beside]) -> None:
        self._folder = folder
        self._besides = besides

    def request(self, item: int, body_s: float, *, n_calls: int = N_CALLS) -> dict[str, Any]:
        """What a process is asked for."""
        return {"runs": str(self._path(item)), "item": item, "body_s": body_s, "n_calls": n_calls}

    def of(self, item: int, body_s: float) -> "_Outcome":
        """What comes of it when all processes ask for it."""
        for beside in self._besides:
            beside.send(self.request(item, body_s))
        waited_s, raised = zip(*(beside.answer() for beside in self._besides), strict=True)
        return _Outcome(self.n_of(item), max(waited_s), sum(raised))

    def n_of(self, item: int) -> int:
        """How often it was run until now."""
        path = self._path(item)
        return path.stat().st_size if path.exists() else 0

    def _path(self, item: int) -> Path:
        return Path(self._folder) / f"runs-{item}"


def beside(caller: Caller) -> Callable[[Any], Any]:
    """A process that calls; it answers how long the last of its calls waited, and how many raised an error."""
    asked: dict[str, Any] = {}

    def count() -> None:
        descriptor = os.open(asked["runs"], os.O_CREAT | os.O_APPEND | os.O_WRONLY)
        os.write(descriptor, b".")
        os.close(descriptor)

    def slow(item: int) -> int:
        count()
        time.sleep(asked["body_s"])
        return item

    async def slow_async(item: int) -> int:
        count()
        await asyncio.sleep(asked["body_s"])
        return item

    function = caller.adapter.cached(slow_async if caller.adapter.is_async else slow)

    def answer(request: Any) -> tuple[float, int]:
        asked.update(request)
        began_at = time.monotonic()
        calls = [caller.start(function, request["item"]) for _ in range(request["n_calls"])]
        errors = [call.exception(_GIVES_UP_AFTER_S) for call in calls]
        waited_s = time.monotonic() - began_at
        for error in filter(None, errors):
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
        found = {call.result() for call, error in zip(calls, errors, strict=True) if error is None}
        if not found <= {request["item"]}:
            raise ValueError(f"{found} for {request['item']}")
        return waited_s, len(list(filter(None, errors)))

    return answer
