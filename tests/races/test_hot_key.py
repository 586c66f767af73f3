"""A key that many read while its truth changes: once publish has returned, nobody anywhere is served an older value."""

import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from everfresh import Cache, Event, SyncFunction
from tests.races.hot import TOPIC, Counters, Readers, hot_function

N_THREADS = 8
N_PROCESSES = 2
# Long enough for a thousand changes on an idle machine.
LONGEST_S = 1.5
N_CHANGES = 1_000


@pytest.mark.parametrize("near", [10_000, 0], ids=["near", "not near"])
@pytest.mark.parametrize("store", ["memory", "sqlite"])
def test_no_thread_is_served_what_was_true_before_publish(store: str, near: int, tmp_path: Path) -> None:
    """Eight readers of one process, and the writer itself."""
    counters = Counters(tmp_path / "counters")
    url = "memory:" if store == "memory" else f"sqlite:///{tmp_path}/cache.db"
    with Cache(url, near=near) as cache:
        hot = hot_function(cache, counters)
        readers = Readers(hot, counters, N_THREADS)
        try:
            n_changes = change_again_and_again(cache, hot, counters)
        finally:
            counters.end()
            readers.join()

    assert readers.stale == []
    assert min(n_changes, readers.n_reads) > 10


@pytest.mark.parametrize("near", [10_000, 0], ids=["near", "not near"])
def test_no_process_is_served_what_was_true_before_publish(near: int, tmp_path: Path) -> None:
    """Readers in other processes, whose near caches are confirmed by the file."""
    counters = Counters(tmp_path / "counters")
    command = [sys.executable, "-m", "tests.races.hot", f"{tmp_path}/cache.db", f"{tmp_path}/counters", str(near)]
    with Cache(f"sqlite:///{tmp_path}/cache.db", near=near) as cache, ExitStack() as children:
        readers = [
            children.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
            for _ in range(N_PROCESSES)
        ]
        assert [reader.stdout and reader.stdout.readline() for reader in readers] == ["reading\n"] * N_PROCESSES
        try:
            change_again_and_again(cache, hot_function(cache, counters), counters)
        finally:
            counters.end()
        said = [reader.communicate(timeout=30)[0].split() for reader in readers]

    assert [n_stale for _, n_stale, *_ in said] == ["0"] * N_PROCESSES, said
    assert all(int(n_reads) > 10 for n_reads, *_ in said)


def change_again_and_again(cache: Cache, hot: SyncFunction[[], int], counters: Counters) -> int:
    """The truth changes, that is published, and the writer reads its own write; how often."""
    ends_at = time.monotonic() + LONGEST_S
    n_changes = 0
    while n_changes < N_CHANGES and time.monotonic() < ends_at:
        n_changes += 1
        counters.truth = n_changes
        cache.blocking.publish(Event(TOPIC))
        counters.published = n_changes
        assert hot() == n_changes
    return n_changes
