"""Forty readers and one mutator over 1,000 users in one process.

The mutator changes a user every `_PAUSE_S` and publishes it, as an application's writes come: its rate is paced, and
the readers may at most halve it. A call that begins after `publish` returned has to give the new value; one that does
not is stale, and so is a value that differs from the truth at the end. Readers in an event loop let others run after
each slice of calls, as a hit by itself never does.
"""

import asyncio
import random
import threading
import time
from dataclasses import dataclass, field

from benchmarks.report import Report

from everfresh import Cache, Event, dep

_N_READERS = 40
_N_USERS = 1_000
_RUN_S = 4.0
_PAUSE_S = 0.01
_SLICE = 25


@dataclass
class Run:
    """What happened in one run."""

    n_calls: int = 0
    n_stale: int = 0
    n_mutations: int = 0
    publish_s: list[float] = field(default_factory=list[float])


class Users:
    """The truth, and what each reader may rely on: the number that was published last, once `publish` returned."""

    def __init__(self, cache: Cache) -> None:
        self.stored = [0] * _N_USERS
        self.published = [0] * _N_USERS
        self.cache = cache

        @cache.cached(depends_on=[dep.Id("user", dep.arg("user_id"))])
        def user(user_id: int) -> int:
            return self.stored[user_id]

        @cache.cached(depends_on=[dep.Id("user", dep.arg("user_id"))])
        async def user_async(user_id: int) -> int:
            return self.stored[user_id]

        self.user = user
        self.user_async = user_async

    def event(self, user_id: int) -> Event:
        """Change the user, and say so."""
        self.stored[user_id] += 1
        return Event.change("user", before={"id": user_id}, after={"id": user_id})

    def n_wrong(self) -> int:
        """How many users are read otherwise than they are stored, once nobody writes."""
        return sum(self.user(user_id) != self.stored[user_id] for user_id in range(_N_USERS))


def main(report: Report) -> None:
    """Measure and print."""
    print(f"\nMutator, {_N_READERS} readers and 1 mutator over {_N_USERS:,} users, memory, near cache")
    alone = asyncio.run(_in_loop(0, is_async=False))
    for name, is_async in (("sync calls", False), ("async calls", True)):
        run = asyncio.run(_in_loop(_N_READERS, is_async=is_async))
        # The bar is for calls as such; an await costs more than the look-up.
        _judge(report, f"mutator, tasks, {name}", run, alone, least=None if is_async else 1_000_000)
    alone = _in_threads(0)
    _judge(report, "mutator, threads", _in_threads(_N_READERS), alone, least=None)


def _judge(report: Report, name: str, run: Run, alone: Run, least: float | None) -> None:
    calls, unit = run.n_calls / _RUN_S, "calls/s"
    if least is None:
        report.figure(name, calls, unit)
    else:
        report.at_least(name, calls, least, unit)
    report.at_most(f"{name}, stale", run.n_stale, 0, f"of {run.n_calls:,}")
    rate = run.n_mutations / max(alone.n_mutations, 1)
    with_us, alone_us = (_median_us(each.publish_s) for each in (run, alone))
    print(f"  {run.n_mutations / _RUN_S:.0f}/s mutations, {alone.n_mutations / _RUN_S:.0f}/s alone;", end=" ")
    print(f"a publish takes {with_us:.0f} µs, {alone_us:.0f} µs alone")
    if name.startswith("mutator, tasks"):
        report.at_least(f"{name}, the mutator's rate", rate, 0.5, "x alone")
    else:
        report.figure(f"{name}, the mutator's rate", rate, "x alone")


def _median_us(times_s: list[float]) -> float:
    return sorted(times_s)[len(times_s) // 2] * 1e6 if times_s else 0.0


async def _in_loop(n_readers: int, *, is_async: bool) -> Run:
    with Cache() as cache:
        users, run = Users(cache), Run()
        for user_id in range(_N_USERS):
            users.user(user_id)
            if is_async:
                await users.user_async(user_id)
        end = time.perf_counter() + _RUN_S
        reader = _read_async if is_async else _read_sync
        readers = (reader(users, run, end, random.Random(seed)) for seed in range(n_readers))  # noqa: S311 - no secret
        await asyncio.gather(_mutate(users, run, end), *readers)
        for user_id in range(_N_USERS):
            value = await users.user_async(user_id) if is_async else users.user(user_id)
            run.n_stale += value != users.stored[user_id]
    return run


async def _mutate(users: Users, run: Run, end: float) -> None:
    dice = random.Random(_N_READERS)  # noqa: S311 - no secret
    while time.perf_counter() < end:
        user_id = dice.randrange(_N_USERS)
        event = users.event(user_id)
        started = time.perf_counter()
        await users.cache.publish(event)
        run.publish_s.append(time.perf_counter() - started)
        users.published[user_id] = users.stored[user_id]
        run.n_mutations += 1
        await asyncio.sleep(_PAUSE_S)


async def _read_sync(users: Users, run: Run, end: float, dice: random.Random) -> None:
    user, published = users.user, users.published
    order = [dice.randrange(_N_USERS) for _ in range(_N_USERS)]
    at = 0
    while time.perf_counter() < end:
        for user_id in order[at : at + _SLICE]:
            expected = published[user_id]
            if user(user_id) < expected:
                run.n_stale += 1
        run.n_calls += _SLICE
        at = (at + _SLICE) % _N_USERS
        await asyncio.sleep(0)


async def _read_async(users: Users, run: Run, end: float, dice: random.Random) -> None:
    user, published = users.user_async, users.published
    order = [dice.randrange(_N_USERS) for _ in range(_N_USERS)]
    at = 0
    while time.perf_counter() < end:
        for user_id in order[at : at + _SLICE]:
            expected = published[user_id]
            if await user(user_id) < expected:
                run.n_stale += 1
        run.n_calls += _SLICE
        at = (at + _SLICE) % _N_USERS
        await asyncio.sleep(0)


def _in_threads(n_readers: int) -> Run:
    with Cache() as cache:
        users = Users(cache)
        for user_id in range(_N_USERS):
            users.user(user_id)
        # One for each thread: counts that threads share would lose some.
        runs = [Run() for _ in range(n_readers + 1)]
        # All begin at once: with many at work, to start another one takes long.
        barrier = threading.Barrier(n_readers + 1)
        threads = [threading.Thread(target=_mutate_in_thread, args=(users, runs[0], barrier))]
        for run in runs[1:]:
            threads.append(threading.Thread(target=_read_in_thread, args=(users, run, barrier, len(threads))))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        whole = runs[0]
        whole.n_calls = sum(run.n_calls for run in runs)
        whole.n_stale = sum(run.n_stale for run in runs) + users.n_wrong()
    return whole


def _mutate_in_thread(users: Users, run: Run, barrier: threading.Barrier) -> None:
    dice = random.Random(_N_READERS)  # noqa: S311 - no secret
    barrier.wait()
    end = time.perf_counter() + _RUN_S
    while time.perf_counter() < end:
        user_id = dice.randrange(_N_USERS)
        event = users.event(user_id)
        started = time.perf_counter()
        users.cache.blocking.publish(event)
        run.publish_s.append(time.perf_counter() - started)
        users.published[user_id] = users.stored[user_id]
        run.n_mutations += 1
        time.sleep(_PAUSE_S)


def _read_in_thread(users: Users, run: Run, barrier: threading.Barrier, seed: int) -> None:
    dice = random.Random(seed)  # noqa: S311 - no secret
    user, published = users.user, users.published
    order = [dice.randrange(_N_USERS) for _ in range(_N_USERS)]
    barrier.wait()
    end = time.perf_counter() + _RUN_S
    while time.perf_counter() < end:
        for user_id in order:
            expected = published[user_id]
            if user(user_id) < expected:
                run.n_stale += 1
        run.n_calls += _N_USERS
