"""Measuring: a fresh process for each work, column and round; columns take turns, as a busy moment falls on all."""

import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from benchmarks.peers.catalogue import OURS, PEERS
from benchmarks.peers.peer import Peer
from benchmarks.peers.running import ROOT, PeerFailed, run, version_of
from benchmarks.redis_server import Server, started
from benchmarks.rows.results import Column, Results
from benchmarks.rows.table import WORKS, Work, work_of

_TIMEOUT_S = 300.0
# So that a page says which it was, without a table of many lines.
_N_ERROR_CHARACTERS = 160
# Both colours go the same ways but for the last step, which the look-up in memory shows best.
_QUICK = {"everfresh_memory", "everfresh_memory_async", "everfresh_sqlite", "everfresh_redis"}


@dataclass(frozen=True)
class Measured:
    """A peer of one colour."""

    peer: Peer
    module: str


def columns(peers: Iterable[Peer]) -> list[Measured]:
    """All colours of all of them, ours first."""
    return [Measured(peer, module) for peer in peers for module in peer.modules]


def make_environments() -> None:
    """Install the peers, where they are not installed yet."""
    subprocess.run([ROOT / "scripts" / "peer_environments"], check=True)  # noqa: S603 - ours


def measure(results: Results, works: Sequence[Work] = WORKS) -> None:
    """Measure all works in all columns."""
    make_environments()
    with _redis(results) as redis:
        asked = _described_all(results, columns(PEERS), redis)
        for work in works:
            started_s = time.perf_counter()
            for _ in range(work.n_rounds):
                for each in asked:
                    if _is_asked(each, work):
                        _round(results, work, each, redis)
            print(f"  ({work.title}: {time.perf_counter() - started_s:.0f} s)", flush=True)


@contextmanager
def quickly(results: Results) -> Iterator[Callable[[str, str | None], None]]:
    """Measure a work in our own columns, or in one of them; each call adds one round."""
    with _redis(results) as redis:
        asked = _described_all(results, [each for each in columns(OURS) if each.module in _QUICK], redis)

        def measure_again(name: str, module: str | None) -> None:
            work = work_of(name)
            for each in asked:
                if _is_asked(each, work) and module in (None, each.module):
                    _round(results, work, each, redis, **work.quick_options)

        yield measure_again


def _described_all(results: Results, asked: Sequence[Measured], redis: Server | None) -> list[Measured]:
    there = [each for each in asked if redis is not None or each.peer.store != "redis"]
    results.columns |= {each.module: _described(each) for each in there}
    return there


def _is_asked(each: Measured, work: Work) -> bool:
    if each.peer.store not in work.stores:
        return False
    # What needs no adapter is the same in both colours.
    return work.is_of_peers or (each.peer in OURS and each.module == each.peer.module)


def _described(each: Measured) -> Column:
    peer, is_async = each.peer, each.module == each.peer.async_module
    return Column(
        name=f"{peer.name}, async" if is_async else peer.name,
        package=peer.package,
        version=version_of(peer),
        store=peer.store,
        is_async=is_async,
        options=peer.options,
        lacks=peer.lacks,
        invalidates=peer.invalidates,
    )


def _round(results: Results, work: Work, each: Measured, redis: Server | None, **options: Any) -> None:
    if redis is not None:
        redis.client.flushall()
    url = "" if redis is None else redis.url
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        place = {"folder": folder, "redis_url": url, "store": each.peer.store}
        try:
            answer = run(f"rows.{work.name}", each.peer, module=each.module, timeout_s=_TIMEOUT_S, **place, **options)
        except PeerFailed as error:
            # Its last line says what was raised; no other round is worth more then.
            print(f"  FAILED {error}", flush=True)
            last = str(error).strip().splitlines()[-1][:_N_ERROR_CHARACTERS]
            results.cells(work.name, each.module).empty.update(dict.fromkeys(work.figures, f"failed: {last}"))
            return
    results.add(work.name, each.module, answer)
    notes = answer["notes"]
    column = results.columns[each.module]
    results.columns[each.module] = replace(
        column, is_async=notes.get("is_async", column.is_async), shares=notes.get("shares", column.shares)
    )


@contextmanager
def _redis(results: Results) -> Iterator[Server | None]:
    if shutil.which("redis-server") is None:
        results.skipped["rows on Redis"] = "there is no redis-server here. Install one: apt-get install redis-server"
        yield None
        return
    with started({}) as server:
        results.machine["redis"] = server.client.info("server")["redis_version"]
        yield server
