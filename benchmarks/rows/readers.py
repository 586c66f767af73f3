"""Forty readers and one mutator over 1,000 users, in one thread: calls a second, with what else that took.

The mutator changes a user every 10 ms and drops its value by the documented way. A call that begins after that is back
has to give the new value; one that does not is stale. Readers let others run after each slice of calls. A high rate
is worth nothing beside stale reads, or beside a mutator that hardly comes to write: so all three stand together.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any

from benchmarks.rows.session import Session

_N_READERS = 40
_N_USERS = 1_000
_PAUSE_S = 0.01
_SLICE = 25
_RATE, _CHANGES, _STALE = "calls/s", "changes/s", "stale calls"

# What the users are now, and what a reader may rely on: changed and dropped.
_stored = [0] * _N_USERS
_published = [0] * _N_USERS


def user(user_id: int) -> int:
    """Give what is stored."""
    return _stored[user_id]


async def user_async(user_id: int) -> int:
    """Give what is stored."""
    return _stored[user_id]


class _Run:
    """What happened."""

    def __init__(self, run_s: float) -> None:
        self.ends_at = time.perf_counter() + run_s
        self.n_calls = self.n_stale = self.n_changes = 0


def main(peer: Any, *, run_s: float = 1.0, **place: str) -> dict[str, Any]:
    """Measure once; the limit is a list that is read in the same way, by await where the functions are coroutines."""
    session = Session(peer, **place, is_acknowledged=False)
    if not session.needs(_RATE, "function"):
        return session.end()
    adapter, is_async = session.adapter, session.adapter.is_async
    function = adapter.cached(user_async if is_async else user)

    def drop(user_id: int) -> Any:
        return adapter.invalidate_call(function, user_id)

    session.once_s(function, [(user_id,) for user_id in range(_N_USERS)])
    try:
        session.done(drop(0))
    except NotImplementedError:
        session.answer.empty[_RATE] = "offers no way to drop one call"
        return session.end()
    if is_async:
        run = session.loop.run_until_complete(_in_loop(function, drop, run_s))
        limit = session.loop.run_until_complete(_in_loop(user_async, _nothing_async, run_s / 4))
    else:
        run = _in_turns(function, drop, run_s)
        limit = _in_turns(user, _nothing, run_s / 4)
    session.answer.figures |= {
        _RATE: run.n_calls / run_s,
        _CHANGES: run.n_changes / run_s,
        _STALE: float(run.n_stale),
    }
    session.answer.limits |= {_RATE: limit.n_calls / (run_s / 4), _CHANGES: limit.n_changes / (run_s / 4)}
    return session.end()


def _in_turns(function: Callable[[int], int], drop: Callable[[int], Any], run_s: float) -> _Run:
    """One thread, in which readers and the mutator have their turns as in an event loop; no loop may run for some."""
    run = _Run(run_s)
    places = [(_order(seed), 0) for seed in range(_N_READERS)]
    changes = iter(_order(_N_READERS) * 100)
    due = 0.0
    while (now := time.perf_counter()) < run.ends_at:
        if now >= due:
            user_id = next(changes)
            _stored[user_id] += 1
            drop(user_id)
            _published[user_id] = _stored[user_id]
            run.n_changes += 1
            due = time.perf_counter() + _PAUSE_S
        places = [(order, _slice(function, run, order, at)) for order, at in places]
    return run


def _slice(function: Callable[[int], int], run: _Run, order: list[int], at: int) -> int:
    for user_id in order[at : at + _SLICE]:
        expected = _published[user_id]
        if function(user_id) < expected:
            run.n_stale += 1
    run.n_calls += _SLICE
    return (at + _SLICE) % _N_USERS


async def _in_loop(function: Callable[[int], Awaitable[int]], drop: Callable[[int], Any], run_s: float) -> _Run:
    run = _Run(run_s)
    await asyncio.gather(_mutate(drop, run), *(_read_async(function, run, _order(seed)) for seed in range(_N_READERS)))
    return run


async def _mutate(drop: Callable[[int], Awaitable[Any]], run: _Run) -> None:
    for user_id in _order(_N_READERS) * 100:
        if time.perf_counter() > run.ends_at:
            return
        _stored[user_id] += 1
        await drop(user_id)
        _published[user_id] = _stored[user_id]
        run.n_changes += 1
        await asyncio.sleep(_PAUSE_S)


async def _read_async(function: Callable[[int], Awaitable[int]], run: _Run, order: list[int]) -> None:
    at = 0
    while time.perf_counter() < run.ends_at:
        for user_id in order[at : at + _SLICE]:
            expected = _published[user_id]
            if await function(user_id) < expected:
                run.n_stale += 1
        run.n_calls += _SLICE
        at = (at + _SLICE) % _N_USERS
        await asyncio.sleep(0)


def _order(seed: int) -> list[int]:
    dice = random.Random(seed)  # noqa: S311 - no secret
    return [dice.randrange(_N_USERS) for _ in range(_N_USERS)]


def _nothing(user_id: int) -> None:
    """A list has nothing to drop."""


async def _nothing_async(user_id: int) -> None:
    """A list has nothing to drop."""
