"""One build at a time for one key: threads, tasks and processes that come together share it."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from everfresh import Cache
from everfresh.testing.stepping import Look
from everfresh.testing.waiting import until
from tests.races.world import N_SHARDS, SourceBroken, check_not_older, world_on
from tests.redis_servers import new_prefix

pytestmark = pytest.mark.uncounted

N_EACH = 25
N_PROCESSES = 4
N_CALLS = 5
COLD_CALLER = Path(__file__).with_name("cold_caller.py")


class Crowd:
    """Callers that have all come before the build ends."""

    def __init__(self, n_callers: int) -> None:
        self._n_missing = n_callers
        self._lock = threading.Lock()
        self.is_complete = threading.Event()
        self.n_built = 0

    def come(self) -> None:
        """One more is about to call."""
        with self._lock:
            self._n_missing -= 1
            if not self._n_missing:
                self.is_complete.set()

    def build(self) -> int:
        """The value, once everybody has come."""
        self.n_built += 1
        assert self.is_complete.wait(20.0)
        return 42


@pytest.fixture(params=["memory", "sqlite", "redis", "shards"])
def cache(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Cache]:
    """A cache on each store."""
    with Cache(url_of(request, tmp_path)) as cache:
        yield cache


@pytest.fixture
def shared_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store that processes share."""
    return url_of(request, tmp_path)


def url_of(request: pytest.FixtureRequest, folder: Path) -> str:
    """A new store of the kind that is asked for."""
    if request.param == "cluster":
        return f"{request.getfixturevalue('shared_cluster').url}?prefix={new_prefix()}&shards={N_SHARDS}"
    if request.param in {"redis", "shards"}:
        url = str(request.getfixturevalue("redis_url"))
        return url if request.param == "redis" else f"{url}&shards={N_SHARDS}"
    return "memory:" if request.param == "memory" else f"sqlite:///{folder}/cache.db"


async def test_fifty_cold_calls_of_an_async_function_build_once(cache: Cache) -> None:
    """Half are tasks of one event loop, half are threads with an event loop each."""
    crowd = Crowd(2 * N_EACH)

    @cache.cached
    async def answer() -> int:
        return await asyncio.to_thread(crowd.build)

    async def call() -> int:
        crowd.come()
        return await answer()

    with ThreadPoolExecutor(N_EACH) as pool:
        others = [pool.submit(asyncio.run, call()) for _ in range(N_EACH)]
        ours = await asyncio.gather(*(call() for _ in range(N_EACH)))
        theirs = await asyncio.gather(*map(asyncio.wrap_future, others))

    assert [*ours, *theirs] == [42] * 2 * N_EACH
    assert crowd.n_built == 1


async def test_fifty_cold_calls_of_a_sync_function_build_once(cache: Cache) -> None:
    """Half are threads, half are coroutines that call it in a thread of their event loop."""
    crowd = Crowd(2 * N_EACH)

    @cache.cached
    def answer() -> int:
        return crowd.build()

    def call() -> int:
        crowd.come()
        return answer()

    with ThreadPoolExecutor(N_EACH) as pool, ThreadPoolExecutor(N_EACH) as loops_pool:
        asyncio.get_running_loop().set_default_executor(loops_pool)
        others: list[Future[int]] = [pool.submit(call) for _ in range(N_EACH)]
        ours = await asyncio.gather(*(asyncio.to_thread(call) for _ in range(N_EACH)))
        theirs = await asyncio.gather(*map(asyncio.wrap_future, others))

    assert [*ours, *theirs] == [42] * 2 * N_EACH
    assert crowd.n_built == 1


@pytest.mark.parametrize(
    ("shared_url", "colour", "body_s", "lease_s"),
    [
        ("sqlite", "blocking", 1.0, 10.0),
        ("sqlite", "asyncio", 1.0, 0.6),
        ("sqlite", "blocking", 3.0, 1.0),
        ("sqlite", "asyncio", 3.0, 10.0),
        ("redis", "blocking", 1.0, 10.0),
        ("redis", "asyncio", 1.0, 0.6),
        ("shards", "blocking", 1.0, 0.6),
    ],
    indirect=["shared_url"],
)
def test_cold_calls_of_four_processes_build_once(
    shared_url: str, tmp_path: Path, colour: str, body_s: float, lease_s: float
) -> None:
    """Each calls five times at once, and none begins before all have come; a lease that is shorter is renewed."""
    with cold_callers(shared_url, tmp_path, colour, body_s, lease_s) as callers:
        assert [child.wait(40.0) for child in callers.running] == [0] * N_PROCESSES

    said = callers.said()
    assert len([word for word in said if word.startswith("built:")]) == 1
    assert said.count("got:42") == N_PROCESSES * N_CALLS


@pytest.mark.parametrize(
    ("shared_url", "colour", "body_s", "lease_s"),
    [
        ("sqlite", "blocking", 1.0, 0.6),
        ("sqlite", "asyncio", 3.0, 1.0),
        ("redis", "blocking", 1.0, 0.6),
        ("cluster", "blocking", 1.0, 0.6),
    ],
    indirect=["shared_url"],
)
def test_when_the_builder_is_killed_one_other_builds_for_all(
    shared_url: str, tmp_path: Path, colour: str, body_s: float, lease_s: float
) -> None:
    """Its lease runs out, one takes over, and everybody else gets the value: two executions, and no third."""
    with cold_callers(shared_url, tmp_path, colour, body_s, lease_s) as callers:
        until(lambda: any(word.startswith("half:") for word in callers.said()), what="the first build is half done")
        victim = next(int(word.removeprefix("half:")) for word in callers.said() if word.startswith("half:"))
        os.kill(victim, signal.SIGKILL)
        codes = {child.pid: child.wait(40.0) for child in callers.running}

    assert codes.pop(victim) == -signal.SIGKILL
    assert list(codes.values()) == [0] * (N_PROCESSES - 1)
    said = callers.said()
    builders = [int(word.removeprefix("built:")) for word in said if word.startswith("built:")]
    assert len(builders) == 2
    assert builders[0] == victim != builders[1]
    assert said.count("got:42") == (N_PROCESSES - 1) * N_CALLS


class ColdCallers:
    """Processes that call a cold function, and what they say."""

    def __init__(self, log: Path, running: "list[subprocess.Popen[bytes]]") -> None:
        self._log = log
        self.running = running

    def said(self) -> list[str]:
        """Word for word, in order."""
        return self._log.read_text().split()


@contextmanager
def cold_callers(url: str, folder: Path, colour: str, body_s: float, lease_s: float) -> Generator[ColdCallers]:
    """Four of them; whoever is still there at the end is killed."""
    log = folder / "log"
    log.touch()
    words = [url, log, N_PROCESSES * N_CALLS, colour, body_s, lease_s]
    command = [sys.executable, str(COLD_CALLER), *map(str, words)]
    with ExitStack() as children:
        running: list[subprocess.Popen[bytes]] = []
        for _ in range(N_PROCESSES):
            running.append(children.enter_context(subprocess.Popen(command)))
            children.callback(running[-1].kill)
        yield ColdCallers(log, running)


@pytest.mark.parametrize("store", ["memory", "sqlite", "redis", "shards"], indirect=True)
def test_a_failing_build_is_shared_by_those_who_wait_for_it(store: str) -> None:
    """They came before it failed, and no event came since: the source would tell them the same."""
    with world_on(store) as world:
        world.broken.add("a")
        process = world.process()
        builder, *waiters = [process.read("a") for _ in range(6)]
        while not isinstance(builder.request, Look):
            builder.step()
        for waiter in waiters:
            while not waiter.is_blocked:
                waiter.step()

        while not builder.is_over:
            builder.step()
        for waiter in waiters:
            while not waiter.is_over:
                waiter.step()

        assert all(isinstance(walk.error, SourceBroken) for walk in (builder, *waiters))
        assert world.n_built["a"] == 1


@pytest.mark.parametrize("store", ["memory", "sqlite", "redis", "shards"], indirect=True)
def test_who_came_after_the_event_does_not_share_the_build_before(store: str) -> None:
    """They wait for it, and then build for themselves, once for all."""
    with world_on(store) as world:
        process = world.process()
        builder = process.read("a")
        while not isinstance(builder.request, Look):
            builder.step()
        builder.step()
        world.change(process, "a")
        waiters = [process.read("a") for _ in range(2)]
        for waiter in waiters:
            while not waiter.is_blocked:
                waiter.step()

        builder.run()
        for waiter in waiters:
            check_not_older(waiter.run(), world.published)

        assert world.n_built["a"] == 2
