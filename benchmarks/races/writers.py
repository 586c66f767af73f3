"""Is an invalidation lost when several writers invalidate one thing?

Six writers share one dependency. Each writes a fact of its own ten times, invalidates the dependency after each
writing, and then reads one of the twelve values that are built from all six facts. If what it reads misses what it had
written, its invalidation is lost: it had no effect, or somebody stored an older value after it. When all have ended,
every process reads all twelve values, and may find an old one for a second. There are three rounds. *Raised* are errors
of the library.

The writers are threads or tasks: two in each of three processes where the library shares its values between them, else
all in one. Building a value takes 3 ms after the facts were read. The dependency is a tag; without tags it is the key
of one value.
"""

import asyncio
import os
import struct
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import astuple, dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Self

from benchmarks.races.scenario import Beside, Caller, Cell, failed, held, judged, not_offered, opened
from benchmarks.races.several import all_beside

TITLE = "Six writers on one dependency"
ROWS = {
    "lost": "writings that the writer's own next read missed",
    "left": "values that are still old when all have ended",
}
N_WRITERS = 6
_N_PROCESSES = 3
_N_WRITES = 10
_N_VALUES = 12
_BUILDS_S = 0.003
_SETTLES_WITHIN_S = 1.0
_TAG = "facts"
_FACTS = struct.Struct(f"<{N_WRITERS}q")

RequestOf = Callable[[list[int]], Any]
"""What a process is asked for, from the writers that are its own."""
Asked = Callable[[RequestOf], list[Any]]
"""What each process answers."""


@dataclass(frozen=True)
class _Written:
    """What came of some writings."""

    n_lost: int
    n_raised: int

    @classmethod
    def of(cls, answers: Iterable[Sequence[int]]) -> Self:
        """All together."""
        lost, raised = zip(*answers, strict=True)
        return cls(sum(lost), sum(raised))


def main(peer: ModuleType, *, place: dict[str, str], is_quick: bool = False) -> dict[str, Cell]:
    """So many rounds of 60 invalidations."""
    facts = str(Path(place["folder"]) / "facts")
    Path(facts).write_bytes(bytes(_FACTS.size))
    written: list[_Written] = []
    n_old = n_seen = 0
    with ExitStack() as stack:
        caller = stack.enter_context(opened(peer, place))
        if not caller.adapter.offers & {"function", "tag"}:
            return dict.fromkeys(ROWS, not_offered("nothing to invalidate"))
        if "processes" in caller.adapter.offers:
            asked = _processes(all_beside(stack, 2 if is_quick else _N_PROCESSES, peer, "writers", place))
        else:
            asked = _one_process(caller)
        for number in range(1 if is_quick else 3):
            request = {"facts": facts, "round": number}
            written.append(_Written.of(asked(lambda writers, request=request: {**request, "writers": writers})))
            seen = _settled(asked, facts)
            n_old += sum(old for old, _ in seen)
            n_seen += sum(n for _, n in seen)
    return {"lost": _lost(written), "left": judged(n_old, n_seen, "old")}


def _settled(asked: Asked, facts: str) -> list[Any]:
    """How many values each process finds old, as soon as it is none: what is told to a process may be on its way."""
    ends_at = time.monotonic() + _SETTLES_WITHIN_S
    while True:
        seen = asked(lambda _: {"facts": facts})
        if not any(old for old, _ in seen) or time.monotonic() > ends_at:
            return seen
        time.sleep(0.05)


def _lost(written: list[_Written]) -> Cell:
    """Of all rounds; where rounds differ, how much."""
    lost = [one.n_lost for one in written]
    n_raised = sum(one.n_raised for one in written)
    text = f"{sum(lost)} of {N_WRITERS * _N_WRITES * len(lost)}"
    if min(lost) < max(lost):
        text += f", {min(lost)} to {max(lost)} a round"
    if n_raised:
        text += f", {n_raised} raised"
    return (failed if any(lost) or n_raised else held)(text, rounds=lost, n_raised=n_raised)


def _processes(besides: list[Beside]) -> Asked:
    def asked(request_of: RequestOf) -> list[Any]:
        for nth, beside in enumerate(besides):
            beside.send(request_of(list(range(nth, N_WRITERS, len(besides)))))
        return [beside.answer() for beside in besides]

    return asked


def _one_process(caller: Caller) -> Asked:
    work = _Work(caller)

    def asked(request_of: RequestOf) -> list[Any]:
        return [work.answer(request_of(list(range(N_WRITERS))))]

    return asked


def beside(caller: Caller) -> Callable[[Any], Any]:
    """Some of the writers, in a process of their own."""
    return _Work(caller).answer


class _Work:
    """What one process reads and writes."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self._facts = -1
        adapter = caller.adapter
        body = self._body_async() if adapter.is_async else self._body()
        self._n_values = _N_VALUES
        if "tag_function" in adapter.offers:
            self._function = adapter.cached(body, tags=(_TAG,))
        elif "tag" in adapter.offers:
            self._function = None
        else:
            self._n_values = 1
            self._function = adapter.cached(body)
        self._load = body

    def _body(self) -> Callable[[int], Any]:
        def value_of(number: int) -> list[int]:  # noqa: ARG001 - it tells values apart
            facts = self._read_facts()
            time.sleep(_BUILDS_S)
            return facts

        return value_of

    def _body_async(self) -> Callable[[int], Any]:
        async def value_of(number: int) -> list[int]:  # noqa: ARG001 - it tells values apart
            facts = self._read_facts()
            await asyncio.sleep(_BUILDS_S)
            return facts

        return value_of

    def _read_facts(self) -> list[int]:
        return list(_FACTS.unpack(os.pread(self._facts, _FACTS.size, 0)))

    def answer(self, request: Any) -> Any:
        """How many writings were lost; or how many values are old, and of how many."""
        if self._facts < 0:
            self._facts = os.open(request["facts"], os.O_RDWR)
        if "writers" in request:
            with ThreadPoolExecutor(N_WRITERS) as pool:
                writing = [pool.submit(self._write, writer, request["round"]) for writer in request["writers"]]
            return astuple(_Written.of(one.result() for one in writing))
        truth = self._read_facts()
        return sum(self._read(number) != truth for number in range(self._n_values)), self._n_values

    def _write(self, writer: int, number: int) -> tuple[int, int]:
        """How many were lost, and how often the library raised an error instead."""
        n_lost = n_raised = 0
        for nth in range(_N_WRITES):
            fact = number * _N_WRITES + nth + 1
            os.pwrite(self._facts, struct.pack("<q", fact), 8 * writer)
            try:
                self._invalidate()
                n_lost += self._read((writer + nth) % self._n_values)[writer] < fact
            except Exception as error:  # noqa: BLE001 - whatever it is, it is counted
                n_raised += 1
                print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return n_lost, n_raised

    def _invalidate(self) -> None:
        adapter = self._caller.adapter
        if self._n_values > 1:
            self._caller(adapter.invalidate_tag, _TAG)
        else:
            self._caller(adapter.invalidate_call, self._function, 0)

    def _read(self, number: int) -> list[int]:
        if self._function is not None:
            return list(self._caller(self._function, number))
        aside = self._caller.aside(f"value:{number}", self._load, number, tags=(_TAG,))
        return list(self._caller(aside))
