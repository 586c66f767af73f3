"""Twelve processes on one server; one of them, or the server, is killed every second: nothing is stale, stuck or lost.

EVERFRESH_STORM_SECONDS says for how long; 60 is what is promised.
"""

import asyncio
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic

import pytest

from everfresh import State
from everfresh.model.errors import StoreUnavailable
from everfresh.refresh import Worker
from everfresh.testing.waiting import until
from tests.redis_servers import RedisServer, redis_server
from tests.stores.stormy import N_ARTICLES, N_ON_PAGE, N_READERS, N_WORKERS, N_WRITERS, Press, on_page

ROOT = Path(__file__).parents[2]
STORM_S = float(os.environ.get("EVERFRESH_STORM_SECONDS", "5"))
SEED = int(os.environ.get("EVERFRESH_STORM_SEED", "1"))
EVERY_S = 1.0
# Not as a module that is run: the names of its functions would be others than here.
PLAY = "import sys; from tests.stores.stormy import main; main(*sys.argv[1:])"
DRAIN_S = 60.0
PAGES = range(0, N_ARTICLES, N_ON_PAGE)
# What a server does that nobody has told otherwise: at a crash of its machine a second may be lost, at its own nothing.
OPTIONS = {"appendonly": "yes", "appendfsync": "everysec"}

pytestmark = [pytest.mark.uncounted, pytest.mark.timeout(STORM_S + 180)]


class Crowd:
    """The processes, by role and number."""

    def __init__(self, url: str, folder: Path) -> None:
        self._url = url
        self._folder = folder
        self._victims = [
            *(("work", number) for number in range(N_WORKERS)),
            *(("change", number) for number in range(N_WRITERS)),
        ]
        readers = [("read" if number < N_READERS // 2 else "read-in-a-loop", number) for number in range(N_READERS)]
        self.running = {who: self._started(*who) for who in (*self._victims, *readers)}

    def kill_one(self, chance: random.Random) -> None:
        """Kill a worker or a writer at random, and start it again."""
        who = chance.choice(self._victims)
        self.running[who].kill()
        self.running[who].wait()
        self.running[who] = self._started(*who)

    def check(self) -> None:
        """Nobody has died that was not killed."""
        for who, process in self.running.items():
            assert process.poll() is None, f"{who} ended with {process.returncode}"

    def _started(self, role: str, number: int) -> "subprocess.Popen[bytes]":
        return subprocess.Popen([sys.executable, "-c", PLAY, self._url, str(self._folder), role, str(number)], cwd=ROOT)


@contextmanager
def crowd(url: str, folder: Path) -> Iterator[Crowd]:
    """All at work; all are killed at the end."""
    made = Crowd(url, folder)
    try:
        yield made
    finally:
        for process in made.running.values():
            process.kill()
            process.wait()


@pytest.mark.parametrize("n_shards", [1, 16])
def test_killed_at_random_nothing_is_stale_nothing_is_stuck_and_nothing_is_lost(tmp_path: Path, n_shards: int) -> None:
    """Whatever they were doing, and the server too, which comes back on what it has written."""
    chance = random.Random(SEED)  # noqa: S311 - it chooses victims
    with redis_server(OPTIONS) as server:
        url = f"{server.url}?shards={n_shards}"
        read_all(url, tmp_path)
        with crowd(url, tmp_path) as people:
            until(lambda: is_begun(tmp_path, people), what="all are at work", deadline_s=60)
            storm(server, people, chance)

        assert not (tmp_path / "stale").exists(), (tmp_path / "stale").read_text()
        press = Press(url, tmp_path)
        press.tell_the_rest(range(N_ARTICLES))
        with Worker(press.cache).in_thread():
            until(lambda: is_drained(press), what="nothing is due, leased or not settled", deadline_s=DRAIN_S)
        check_values(press)
        check_leases(server)
        report(tmp_path)
        press.cache.close()


def read_all(url: str, folder: Path) -> None:
    """Have all stored before it begins: in a short storm, on a busy machine, nobody may come by some of it."""
    press = Press(url, folder)
    for number in range(N_ARTICLES):
        press.article(number)
    press.total()

    async def read_the_rest() -> None:
        await asyncio.gather(*(press.later(number) for number in range(N_ARTICLES)), *map(press.page, PAGES))
        await press.cache.aclose()

    asyncio.run(read_the_rest())


def storm(server: RedisServer, people: Crowd, chance: random.Random) -> None:
    """Kill one every second, and the server once, in the middle."""
    begun_at = monotonic()
    is_server_due = True
    while (passed_s := monotonic() - begun_at) < STORM_S:
        with pytest.raises(subprocess.TimeoutExpired):
            people.running["read", 0].wait(chance.uniform(0.5, 1.5) * EVERY_S)
        people.check()
        if is_server_due and passed_s > STORM_S / 2:
            server.kill()
            server.start()
            is_server_due = False
        else:
            people.kill_one(chance)


def is_begun(folder: Path, people: Crowd) -> bool:
    """Whether each has done something."""
    people.check()
    return all(
        (folder / f"{kind}-{number}").exists() for kind in ("at-work", "changes", "checks") for number in range(4)
    )


def is_drained(press: Press) -> bool:
    """Whether there is nothing left to do."""
    with suppress(StoreUnavailable):
        return all(entry.state is State.FRESH and entry.due is None for entry in press.cache.blocking.entries())
    return False


def check_values(press: Press) -> None:
    """Every entry is what is true, and all are there that were read."""
    peek = press.cache.blocking.stored
    truth = [press.truth(number) for number in range(N_ARTICLES)]
    expected = {
        **{press.article.key(number): truth[number] for number in range(N_ARTICLES)},
        **{press.later.key(number): truth[number] for number in range(N_ARTICLES)},
        **{press.page.key(first): sum(truth[one] for one in on_page(first)) for first in PAGES},
        press.total.key(): sum(truth),
    }
    found = {key: press.total.load(entry) for key in expected if (entry := peek(key)) is not None}
    assert found == expected
    dropped = {number: press.dropped.peek(number) for number in range(N_ARTICLES)}
    # Who drops on a change has the truth, or nothing.
    assert {number: value for number, value in dropped.items() if value not in (None, truth[number])} == {}


def check_leases(server: RedisServer) -> None:
    """Nobody holds one, by what the store looks at when it looks for those that ran out."""
    with server.client() as client:
        assert {key: client.zcard(key) for key in client.keys("*:g:*") if client.zcard(key)} == {}


def report(folder: Path) -> None:
    """How much happened; pytest shows it with -s."""
    for kind in ("changes", "checks"):
        print(kind, [int((folder / f"{kind}-{number}").read_text()) for number in range(4)])  # noqa: T201
