"""SIGTERM to a worker's process: what it holds is finished, or given back at once. A lease here lasts an hour."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from everfresh import AsyncFunction, Cache, Key, State, SyncFunction
from everfresh.protocol.requests import Load
from everfresh.testing.waiting import until
from tests.cache.processes import DEADLINE_S, ROOT
from tests.refresh.lingering import HOUR, declare

PROGRAMS = ["asyncio", "blocking"]


class Process:
    """The worker's process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def says(self, word: str) -> None:
        """It has come to that."""
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == f"{word}\n"

    def is_told_to_end(self) -> None:
        """By the system."""
        self._process.send_signal(signal.SIGTERM)
        self.says("told to end")

    def goes_on(self) -> None:
        """What its build waits for comes."""
        assert self._process.stdin is not None
        self._process.stdin.write("by the worker\n")
        self._process.stdin.flush()

    def ends_well(self) -> bool:
        """Whether it ends in order."""
        return self._process.wait(DEADLINE_S) == 0

    @property
    def is_running(self) -> bool:
        """Whether it is there."""
        return self._process.poll() is None


@contextmanager
def worker(program: str, url: str, *, grace_s: float) -> Iterator[Process]:
    """A process with a worker while the block runs."""
    command = [sys.executable, "-m", "tests.refresh.ended_process", program, url, str(grace_s)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        process = Process(child)
        process.says("ready")
        try:
            yield process
        finally:
            child.kill()


@pytest.fixture
def mine(sqlite_url: str) -> Iterator[Cache]:
    """A cache of this process, by the real clock."""
    with Cache(sqlite_url, lease=HOUR) as cache:
        yield cache


def queue(function: AsyncFunction[[], str] | SyncFunction[[], str]) -> None:
    """Its first build, for a worker."""
    if isinstance(function, SyncFunction):
        assert function.warm([()]) == 1
    else:
        assert asyncio.run(function.warm([()])) == 1


def is_leased(cache: Cache, key: str) -> bool:
    """Whether somebody builds it."""
    return cache.engine.store.carry_out(Load(Key(key))).is_leased


@pytest.mark.parametrize("number", [0, 1], ids=["async", "sync"])
@pytest.mark.parametrize("program", PROGRAMS)
def test_a_build_under_way_is_finished(mine: Cache, sqlite_url: str, program: str, number: int) -> None:
    """Its value is stored before the process ends."""
    function = declare(mine, waits=False)[number]
    with worker(program, sqlite_url, grace_s=DEADLINE_S) as process:
        queue(function)
        process.says("building")
        process.is_told_to_end()
        process.goes_on()

        assert process.ends_well()
    entry = mine.blocking.stored(function.key())
    assert entry is not None
    assert (function.load(entry), entry.state) == ("by the worker", State.FRESH)


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_build_that_takes_too_long_is_given_back(mine: Cache, sqlite_url: str, program: str) -> None:
    """The process ends without it, and whoever comes builds at once; nothing waits for an hour."""
    awaited, _ = declare(mine, waits=False)
    with worker(program, sqlite_url, grace_s=0.05) as process:
        queue(awaited)
        process.says("building")
        process.is_told_to_end()
        until(lambda: not is_leased(mine, awaited.key()), what="the lease given back")
        # Python waits for the thread that reads; the build is cancelled all the same.
        process.goes_on()

        assert process.ends_well()
    assert not is_leased(mine, awaited.key())


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_sync_build_that_takes_too_long_is_given_back_while_it_runs(
    mine: Cache, sqlite_url: str, program: str
) -> None:
    """A reader builds beside it, and what it makes in the end changes nothing."""
    _, blocking = declare(mine, waits=False)
    with worker(program, sqlite_url, grace_s=0.05) as process:
        queue(blocking)
        process.says("building")
        process.is_told_to_end()
        until(lambda: not is_leased(mine, blocking.key()), what="the lease given back")
        value = blocking()
        was_running = process.is_running
        process.goes_on()

        assert process.ends_well()
    assert (value, was_running, blocking.peek()) == ("by a reader", True, "by a reader")
