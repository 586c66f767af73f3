"""Search for a history that breaks a promise, for an hour or as long as it is told; on each store, seed after seed.

    make soak ARGS="--minutes 5"
    make soak ARGS="--seed 123456"         begin with this seed, as one that was printed

Each seed is a history of its own: every other one plays in the standard world, the rest in worlds drawn by chance. Of
either, one in eight is played on SQLite too, which takes four times as long, as many on a Redis of its own and on four
shards of it if this machine has one, and one in three with little room. A failure is made as short as it gets and
printed with all that everybody did; then the search is over.
"""

from __future__ import annotations

import argparse
import secrets
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from everfresh.model.clock import Clock
from everfresh.stores.store import Store
from everfresh.stores.tables import NO_ROOM_LIMIT, Room
from everfresh.stores.urls import open_store
from everfresh.testing.simulation import PromiseBroken, Report, Simulator, World, random_world, standard_world
from everfresh.testing.simulation.simulator import OpenStores
from everfresh.testing.waiting import until

_N_STEPS = (40, 80, 160)
# Of so many histories one is played on SQLite, one on Redis, and one on several shards there.
_SHARED_EVERY = 8
_SHARDS_ON = {"redis": 1, "shards": 4}
_ROOMS = (NO_ROOM_LIMIT, NO_ROOM_LIMIT, Room(max_entries=6))
_SAY_EVERY_S = 60.0


def main(arguments: list[str] | None = None) -> int:
    """Search, and say what was found; give the exit code."""
    parser = argparse.ArgumentParser(description="Search for a history that breaks a promise.")
    parser.add_argument("--minutes", type=float, default=60.0, help="how long (default: 60)")
    parser.add_argument("--seed", type=int, default=None, help="the first seed (default: any)")
    options = parser.parse_args(arguments)
    first = secrets.randbelow(10**9) if options.seed is None else options.seed
    with redis_here() as redis:
        return search(first, options.minutes * 60.0, redis)


@contextmanager
def redis_here() -> Generator[str]:
    """The URL of a Redis server that lives as long as the search; empty if there is none to be had."""
    program = shutil.which("redis-server")
    if program is None:
        print("There is no redis-server here, so nothing is played on Redis.", flush=True)
        yield ""
        return
    with TemporaryDirectory(prefix="soak-") as folder:
        place = Path(folder) / "redis.sock"
        options = ["--port", "0", "--unixsocket", str(place), "--save", "", "--dir", folder]
        server = subprocess.Popen([program, *options], stdout=subprocess.DEVNULL)
        try:
            until(place.exists, what="the redis-server's socket")
            yield f"unix://{place}"
        finally:
            server.terminate()
            server.wait()


def search(first: int, duration_s: float, redis: str) -> int:
    """Play seed after seed, at least one."""
    totals: Counter[str] = Counter()
    started = said_at = time.monotonic()
    print(f"Soaking for {duration_s / 60:g} minutes from seed {first} on.", flush=True)
    standard, seed = standard_world(), first
    while seed == first or time.monotonic() - started < duration_s:
        world = standard if seed % 2 else random_world(seed)
        for store in stores_of(seed):
            if store in _SHARDS_ON and not redis:
                continue
            try:
                _count(totals, store, simulator(world, seed, store, redis).run())
            except PromiseBroken:
                return _report_failure(simulator(world, seed, store, redis), seed, store, totals)
        seed += 1
        if time.monotonic() - said_at > _SAY_EVERY_S:
            said_at = time.monotonic()
            print(_summary(totals), flush=True)
    print(f"Every promise was kept. {_summary(totals)}")
    return 0


def stores_of(seed: int) -> tuple[str, ...]:
    """Where the history of a seed is played; of two that follow each other, each in a world of another kind, alike."""
    match seed // 2 % _SHARED_EVERY:
        case 0:
            return ("memory", "sqlite")
        case 4:
            return ("memory", "redis")
        case 6:
            return ("memory", "shards")
        case _:
            return ("memory",)


def room_of(seed: int) -> Room:
    """How much the store may hold."""
    return _ROOMS[seed // 2 % len(_ROOMS)]


def simulator(world: World, seed: int, store: str, redis: str = "") -> Simulator:
    """The history of a seed: any length, with any room, on any store, in a world of any kind."""
    n_steps, room = _N_STEPS[seed // 2 // len(_ROOMS) % len(_N_STEPS)], room_of(seed)
    where = on_redis(redis, room, _SHARDS_ON[store]) if store in _SHARDS_ON else store
    return Simulator(world, seed=seed, n_steps=n_steps, store=where, room=room)


def on_redis(url: str, room: Room, n_shards: int = 1) -> OpenStores:
    """Opens new stores on the server, each twice, as by two processes."""

    def open_stores(clock: Clock) -> list[Store]:
        address = f"{url}?prefix=soak{secrets.token_hex(6)}&shards={n_shards}"
        return [open_store(address, clock=clock, room=room) for _ in range(2)]

    return open_stores


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


def _report_failure(broken: Simulator, seed: int, store: str, totals: Counter[str]) -> int:
    print(f"Seed {seed} breaks a promise on {store}; making it shorter. So far: {_summary(totals)}", flush=True)
    try:
        broken.shortened().run()
    except PromiseBroken as found:
        print(found)
    print(f'\nThe whole of it again: make soak ARGS="--seed {seed} --minutes 0"')
    return 1


if __name__ == "__main__":
    sys.exit(main())
