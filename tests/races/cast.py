"""The cast of a race: four who act on one store, in one process or in four."""

import subprocess
import sys
import threading
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Protocol, runtime_checkable

from everfresh.testing.waiting import DEADLINE_S
from tests.races.fenced import NEAR, Player, Site

ROOT = Path(__file__).parents[2]


@runtime_checkable
class Actor(Protocol):
    """One who does what the words say, each time in a thread of its own."""

    def start(self, near: str, *words: str) -> "Future[int]":
        """Begin; what comes of it."""
        ...


class Here:
    """In this process."""

    def __init__(self, players: dict[str, Player], pool: ThreadPoolExecutor) -> None:
        self._players = players
        self._pool = pool

    def start(self, near: str, *words: str) -> "Future[int]":
        """Begin; what comes of it."""
        return self._pool.submit(self._players[near].act, *words)


class Elsewhere:
    """In a process of its own, which is told by lines."""

    def __init__(self, url: str, folder: Path) -> None:
        command = [sys.executable, "-m", "tests.races.fenced", url, str(folder)]
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._ears, self._mouth = self._process.stdin, self._process.stdout
        self._numbers = count()
        self._asked: dict[str, Future[int]] = {}
        self._listener = threading.Thread(target=self._listen)

    def await_ready(self) -> None:
        """Wait until it listens."""
        assert self._mouth.readline() == "ready\n"
        self._listener.start()

    def start(self, near: str, *words: str) -> "Future[int]":
        """Begin; what comes of it."""
        number = str(next(self._numbers))
        answer = self._asked[number] = Future()
        self._ears.write("|".join((number, near, *words)) + "\n")
        return answer

    def leave(self) -> None:
        """End it, well if it can."""
        try:
            self._ears.close()
            self._process.wait(DEADLINE_S)
        finally:
            self._process.kill()
            self._process.wait()
            if self._listener.ident is not None:
                self._listener.join()
            self._mouth.close()

    def _listen(self) -> None:
        for line in self._mouth:
            number, _, said = line.strip().partition(" ")
            answer = self._asked.pop(number)
            if said.isdecimal():
                answer.set_result(int(said))
            else:
                answer.set_exception(AssertionError(said))


@dataclass(frozen=True)
class Cast:
    """A reader that computes, a writer, one who joins, and one who comes late."""

    site: Site
    reader: Actor
    writer: Actor
    joiner: Actor
    late: Actor
    hears_later: bool = False
    """Whether what one of them tells reaches what the others hold near a moment later, unless it was acknowledged."""

    @property
    def everybody(self) -> tuple[Actor, ...]:
        """All of them, each as a reader."""
        return self.reader, self.writer, self.joiner, self.late


@contextmanager
def cast_here(url: str, folder: Path) -> Generator[Cast]:
    """All in this process, over one cache."""
    with ExitStack() as stack:
        site = Site(folder)
        players = {name: stack.enter_context(Player(url, site, n_max)) for name, n_max in NEAR.items()}
        here = Here(players, stack.enter_context(ThreadPoolExecutor(16)))
        yield Cast(site, here, here, here, here)


@contextmanager
def cast_of_four(url: str, folder: Path) -> Generator[Cast]:
    """Each in a process of its own, over one file or one server."""
    with ExitStack() as stack:
        four: list[Elsewhere] = []
        for _ in range(4):
            four.append(Elsewhere(url, folder))
            stack.callback(four[-1].leave)
        for one in four:
            one.await_ready()
        yield Cast(Site(folder), *four, hears_later=url.startswith("redis"))
