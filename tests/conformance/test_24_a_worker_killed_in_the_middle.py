"""Conformance 24: a worker that dies holding an entry costs one run, and loses nothing."""

import subprocess
import sys
from pathlib import Path

from everfresh import Cache, State, SyncFunction
from everfresh.refresh import Worker
from everfresh.testing.waiting import soon, until
from tests.cache.making import Gate, is_fresh
from tests.cache.upstreams import Upstream
from tests.conformance.counted_page import LEASE, PAGE, declare, n_runs

ROOT = Path(__file__).parents[2]


def state_of(page: SyncFunction[[], int]) -> State | None:
    entry = page.entry()
    return None if entry is None else entry.state


def test_its_entry_is_done_again_with_one_extra_run(sqlite_url: str, tmp_path: Path) -> None:
    """24: killed with SIGKILL while it built; another worker takes over once its lease is over."""
    runs = tmp_path / "runs"
    with Cache(sqlite_url, lease=LEASE) as cache:
        page = declare(cache, runs, stands_still=False)
        page()
        cache.blocking.invalidate(PAGE)
        command = [sys.executable, "-m", "tests.conformance.killed_worker", sqlite_url, str(runs)]
        with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "building\n"
            process.kill()
        n_when_killed = n_runs(runs)
        with Worker(cache).in_thread():
            until(lambda: state_of(page) is State.FRESH, what="the refresh by another worker")

        assert (n_when_killed, n_runs(runs)) == (2, 3)
        assert page.peek() == 3


async def test_a_worker_that_is_stopped_in_the_middle_gives_the_entry_back(
    cache: Cache, upstream: Upstream, gate: Gate
) -> None:
    """24: ended in good order it leaves the entry to the next one at once; no lease has to run out."""

    @cache.cached(depends_on=[upstream.tag])
    async def value() -> int:
        found = upstream.read()
        if upstream.n_read == 2:
            await gate.stop()
        return found

    await value()
    await upstream.change(2)
    async with Worker(cache):
        await gate.reached()
    async with Worker(cache):
        await soon(lambda: is_fresh(value), what="the refresh by the next worker")

    assert (await value.peek(), upstream.n_read) == (2, 3)
