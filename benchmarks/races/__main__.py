"""Run the races, all or those that are named: `make races ARGS="--peers cashews --scenarios nested"`."""

import argparse
import importlib
import queue
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from benchmarks.peers.catalogue import OURS, PEERS
from benchmarks.peers.peer import Peer
from benchmarks.peers.running import PeerFailed, run
from benchmarks.races.page import page_of
from benchmarks.races.results import (
    PAGE,
    SCENARIOS,
    Cells,
    Results,
    described,
    described_peer,
    in_words_of_now,
    load,
    n_failed,
    save,
)
from benchmarks.redis_server import Server, started
from benchmarks.report import Report

# Some wait a minute for a lock of somebody who was killed; on a busy machine that takes two.
_TIMEOUT_S = 180.0
_N_AT_ONCE = 5


def main() -> int:
    """Run them, and say what came out; the exit code is 1 when a cell of ours failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.races", description=__doc__)
    parser.add_argument("--peers", metavar="NAMES", help="with commas: adapters, or parts of the names of libraries")
    parser.add_argument("--scenarios", metavar="NAMES", help=f"with commas, of: {', '.join(SCENARIOS)}")
    parser.add_argument("--quick", action="store_true", help="few repetitions, as the tests do it")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results here")
    parser.add_argument("--write", action="store_true", help="write the results and the page of the documentation")
    parser.add_argument(
        "--words", action="store_true", help="run nothing: make the page of the kept results, with the words of now"
    )
    options = parser.parse_args()
    if options.words:
        _write(in_words_of_now(load()))
        return 0
    if options.write and (options.peers or options.scenarios or options.quick):
        parser.error("--write: the page is made of one whole run. Leave out what makes it less.")
    peers = tuple(peer for peer in PEERS if not options.peers or _is_named(peer, options.peers.split(",")))
    scenarios = tuple(options.scenarios.split(",")) if options.scenarios else SCENARIOS
    if not peers or set(scenarios) - set(SCENARIOS):
        parser.error(f"There are: {', '.join(SCENARIOS)}; {', '.join(peer.name for peer in PEERS)}.")
    results = _run_all(peers, scenarios, is_quick=options.quick)
    if options.json is not None:
        save(results, options.json)
    if options.write:
        _write(results)
    n_bad = n_failed(results, OURS)
    print(f"\n{n_bad} cells of ours failed, in {results['took_s']:.0f} s.")
    return 1 if n_bad else 0


def _write(results: Results) -> None:
    save(results)
    PAGE.write_text(page_of(results), "utf-8")


def _is_named(peer: Peer, names: list[str]) -> bool:
    return any(name in peer.modules or name.lower() in peer.name.lower() for name in names)


def _run_all(peers: tuple[Peer, ...], scenarios: tuple[str, ...], *, is_quick: bool) -> Results:
    began = time.monotonic()
    report = Report()
    report.machine()
    with ExitStack() as stack:
        servers = [stack.enter_context(started({})) for _ in range(_N_AT_ONCE)]
        machine = {**report.raw["machine"], "redis-server": servers[0].client.info("server")["redis_version"]}
        courses = {scenario: _Course(scenario, servers, is_quick=is_quick) for scenario in scenarios}
        cells = {scenario: course.run(peers) for scenario, course in courses.items()}
    return {
        "machine": machine,
        "took_s": round(time.monotonic() - began),
        "scenarios": [course.about for course in courses.values()],
        "peers": [described_peer(peer) for peer in peers],
        "cells": cells,
    }


class _Course:
    """One scenario, which all peers run: one after the other, or as many at once as the module's `N_AT_ONCE` says."""

    def __init__(self, scenario: str, servers: list[Server], *, is_quick: bool) -> None:
        self.about = described(scenario)
        self._scenario = scenario
        self._is_quick = is_quick
        self._servers: queue.SimpleQueue[Server] = queue.SimpleQueue()
        module: Any = importlib.import_module(f"benchmarks.races.{scenario}")
        self._n_at_once = min(len(servers), getattr(module, "N_AT_ONCE", 1))
        for server in servers[: self._n_at_once]:
            self._servers.put(server)

    def run(self, peers: tuple[Peer, ...]) -> Cells:
        """All its rows."""
        print(f"\n{self.about['title']}")
        cells: Cells = {row: {} for row in self.about["rows"]}
        with ThreadPoolExecutor(self._n_at_once) as pool:
            # Those on servers stand last, and take longest: they begin first.
            asked = [(peer, module) for peer in peers for module in peer.modules]
            running = [(peer, pool.submit(self._run_one, peer, module)) for peer, module in reversed(asked)]
            for peer, found in reversed(running):
                for row in self.about["rows"]:
                    cells[row].setdefault(peer.name, []).append(found.result()[row])
        return cells

    def _run_one(self, peer: Peer, module: str) -> dict[str, Any]:
        """Who ends with an error has failed in all rows."""
        with self._place() as place:
            began = time.monotonic()
            try:
                work = f"races.{self._scenario}"
                found = run(work, peer, module=module, timeout_s=_TIMEOUT_S, place=place, is_quick=self._is_quick)
            except PeerFailed as error:
                print(f"  {error}")
                cell = {"verdict": "failed", "text": "ended with an error", "error": str(error).splitlines()[-1]}
                found = dict.fromkeys(self.about["rows"], cell)
            words = ", ".join(f"{row}: {cell['verdict']} ({cell['text']})" for row, cell in found.items())
            print(f"  {module} {time.monotonic() - began:.1f} s: {words}", flush=True)
        return dict(found)

    @contextmanager
    def _place(self) -> Iterator[dict[str, str]]:
        """One that nobody has used."""
        server = self._servers.get()
        server.client.flushall()
        with tempfile.TemporaryDirectory(prefix="races-", ignore_cleanup_errors=True) as folder:
            yield {"folder": folder, "redis_url": server.url}
        self._servers.put(server)


if __name__ == "__main__":
    sys.exit(main())
