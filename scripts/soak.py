"""Search for a history that breaks a promise, for an hour or as long as it is told; on both stores, seed after seed.

    make soak ARGS="--minutes 5"
    make soak ARGS="--seed 123456"         begin with this seed, as one that was printed

Each seed is a history of its own: every other one plays in the standard world, the rest in worlds drawn by chance. Of
either, one in eight is played on SQLite too, which takes four times as long, and one in three with little room. A
failure is made as short as it gets and printed with all that everybody did; then the search is over.
"""

from __future__ import annotations

import argparse
import secrets
import sys
import time
from collections import Counter

from everfresh.stores.tables import NO_ROOM_LIMIT, Room
from everfresh.testing.simulation import PromiseBroken, Report, Simulator, World, random_world, standard_world

_N_STEPS = (40, 80, 160)
_SQLITE_EVERY = 8
_ROOMS = (NO_ROOM_LIMIT, NO_ROOM_LIMIT, Room(max_entries=6))
_SAY_EVERY_S = 60.0


def main(arguments: list[str] | None = None) -> int:
    """Search, and say what was found; give the exit code."""
    parser = argparse.ArgumentParser(description="Search for a history that breaks a promise.")
    parser.add_argument("--minutes", type=float, default=60.0, help="how long (default: 60)")
    parser.add_argument("--seed", type=int, default=None, help="the first seed (default: any)")
    options = parser.parse_args(arguments)
    first = secrets.randbelow(10**9) if options.seed is None else options.seed
    return search(first, options.minutes * 60.0)


def search(first: int, duration_s: float) -> int:
    """Play seed after seed, at least one."""
    totals: Counter[str] = Counter()
    started = said_at = time.monotonic()
    print(f"Soaking for {duration_s / 60:g} minutes from seed {first} on.", flush=True)
    standard, seed = standard_world(), first
    while seed == first or time.monotonic() - started < duration_s:
        world = standard if seed % 2 else random_world(seed)
        for store in stores_of(seed):
            try:
                _count(totals, store, simulator(world, seed, store).run())
            except PromiseBroken:
                return _report_failure(world, seed, store, totals)
        seed += 1
        if time.monotonic() - said_at > _SAY_EVERY_S:
            said_at = time.monotonic()
            print(_summary(totals), flush=True)
    print(f"Every promise was kept. {_summary(totals)}")
    return 0


def stores_of(seed: int) -> tuple[str, ...]:
    """Where the history of a seed is played; of two that follow each other, each in a world of another kind, alike."""
    return ("memory", "sqlite") if seed // 2 % _SQLITE_EVERY == 0 else ("memory",)


def room_of(seed: int) -> Room:
    """How much the store may hold."""
    return _ROOMS[seed // 2 % len(_ROOMS)]


def simulator(world: World, seed: int, store: str) -> Simulator:
    """The history of a seed: any length, with any room, on any store, in a world of any kind."""
    n_steps = _N_STEPS[seed // 2 // len(_ROOMS) % len(_N_STEPS)]
    return Simulator(world, seed=seed, n_steps=n_steps, store=store, room=room_of(seed))


def _count(totals: Counter[str], store: str, report: Report) -> None:
    totals[f"histories on {store}"] += 1
    totals["moves"] += report.n_moves
    totals["requests"] += report.n_requests
    totals["reads checked"] += report.n_reads
    totals["events"] += report.n_events
    totals["builds"] += report.n_builds
    totals["values that nobody could judge"] += report.n_unknown


def _summary(totals: Counter[str]) -> str:
    return ", ".join(f"{count:,} {what}" for what, count in totals.items())


def _report_failure(world: World, seed: int, store: str, totals: Counter[str]) -> int:
    print(f"Seed {seed} breaks a promise on {store}; making it shorter. So far: {_summary(totals)}", flush=True)
    try:
        simulator(world, seed, store).shortened().run()
    except PromiseBroken as broken:
        print(broken)
    print(f'\nThe whole of it again: make soak ARGS="--seed {seed} --minutes 0"')
    return 1


if __name__ == "__main__":
    sys.exit(main())
