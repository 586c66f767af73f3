"""Session: one adapter and its store's limit in a fresh process, driven alike whatever the colour of its functions."""

import asyncio
import inspect
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.peers.adapter import Place
from benchmarks.rows.limits import AsyncRedisLimit, Awaited, DictLimit, FileLimit, RedisLimit
from benchmarks.rows.values import BODIES
from benchmarks.rows.yardstick import YARDSTICK, yardstick_ns
from benchmarks.timing import Timed, awaits, awaits_each, calls, each, in_turn

# Medians of so many loops are one round of the whole; the rest of the rounds are other processes.
_N_LOOPS = 5
_LIMIT = "limit: "
_WORDS_OF = {
    "function": "decorator",
    "manual": "values put by hand",
    "tag": "tags of values put by hand",
    "tag_function": "tags of decorated functions",
    "many": "look-up of many keys",
    "many_function": "call for many arguments",
}


@dataclass
class Answer:
    """What a process measured: figures, their limits, and why a figure is missing."""

    figures: dict[str, float] = field(default_factory=dict[str, float])
    limits: dict[str, float] = field(default_factory=dict[str, float])
    empty: dict[str, str] = field(default_factory=dict[str, str])
    notes: dict[str, Any] = field(default_factory=dict[str, Any])


class Session:
    """The adapter that is measured, and how it is called."""

    def __init__(self, peer: Any, *, folder: str, redis_url: str, store: str, **options: Any) -> None:
        self.loop = asyncio.new_event_loop()
        self.place = Place(folder=folder, redis_url=redis_url)
        self.store = store
        known = inspect.signature(peer.open_peer).parameters
        self.adapter = peer.open_peer(self.place, **{name: value for name, value in options.items() if name in known})
        self.answer = Answer(notes={"is_async": self.adapter.is_async, "offers": sorted(self.adapter.offers)})
        self._functions: dict[str, Callable[..., Any]] = {}
        self._limit: Any = None
        if self.adapter.is_async:
            self.loop.run_until_complete(self.adapter.begin())

    @property
    def limit(self) -> Any:
        """The bare bones of the same store, of the same colour."""
        if self._limit is None:
            self._limit = self._limit_of_store()
        return self._limit

    def _limit_of_store(self) -> Any:
        if self.store == "redis" and self.adapter.is_async:
            limit = AsyncRedisLimit(self.place.redis_url)
            self.loop.run_until_complete(limit.connect())
            return limit
        if self.store == "redis":
            return RedisLimit(self.place.redis_url)
        plain = DictLimit() if self.store == "memory" else FileLimit(self.place.folder)
        return Awaited(plain) if self.adapter.is_async else plain

    def needs(self, figure: str, *names: str) -> bool:
        """Whether the adapter offers all of it; else the figure is empty, and says why."""
        missing = [_WORDS_OF.get(name, name) for name in names if name not in self.adapter.offers]
        if missing:
            self.answer.empty[figure] = f"offers no {' and no '.join(missing)}"
        return not missing

    def cached(self, body: str, *, tags: Sequence[str] = ()) -> Callable[..., Any]:
        """The body of that name, of the adapter's colour, decorated once."""
        if body not in self._functions:
            self._functions[body] = self.adapter.cached(BODIES[body][self.adapter.is_async], tags=tags)
        return self._functions[body]

    def done(self, answer: Any) -> Any:
        """What it answers, awaited where that is needed."""
        return self.loop.run_until_complete(_awaited(answer)) if inspect.isawaitable(answer) else answer

    def timed(self, function: Callable[..., Any], *args: Any) -> Timed:
        """The same call again and again."""
        return awaits(function, self.loop, *args) if self.adapter.is_async else calls(function, *args)

    def timed_each(self, function: Callable[..., Any], arguments: Iterator[tuple[Any, ...]]) -> Timed:
        """A call with the next arguments, again and again."""
        if self.adapter.is_async:
            return awaits_each(function, self.loop, arguments)
        return each(function, arguments)

    def both(self, first: Callable[..., Any], args: tuple[Any, ...], second: Callable[..., Any]) -> Callable[..., Any]:
        """One call, and then another that takes what this is called with."""
        if not self.adapter.is_async:

            def pair(*more: Any) -> None:
                first(*args, *more)
                second(*more)

            return pair

        async def pair_async(*more: Any) -> None:
            await first(*args, *more)
            await second(*more)

        return pair_async

    def once_s(self, function: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]) -> float:
        """The seconds that one call with each of the arguments takes, one after the other."""
        return self.timed_each(function, iter(arguments))(len(arguments))

    def measure(self, timed: Mapping[str, Timed], limits: Mapping[str, Timed], *, round_s: float = 0.01) -> None:
        """Time figures and their limits in turn."""
        candidates = {**timed, **{_LIMIT + name: limit for name, limit in limits.items()}}
        if not timed:
            return
        results = in_turn(candidates, n_rounds=_N_LOOPS, round_s=round_s)
        for name in timed:
            self.answer.figures[name] = results[name].median_ns
        for name in limits:
            self.answer.limits[name] = results[_LIMIT + name].median_ns

    def end(self) -> dict[str, Any]:
        """Close the adapter; what was measured."""
        self.done(self.adapter.close())
        if self._limit is not None:
            self.done(self._limit.close())
        self.loop.close()
        answer = self.answer
        answer.limits[YARDSTICK] = yardstick_ns()
        return {"figures": answer.figures, "limits": answer.limits, "empty": answer.empty, "notes": answer.notes}


def median_ns(times_s: Sequence[float]) -> float:
    """The median, in nanoseconds."""
    return statistics.median(times_s) * 1e9


async def _awaited(answer: Any) -> Any:
    return await answer
