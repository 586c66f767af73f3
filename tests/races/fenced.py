"""Who plays in the race between a reader that computes and a writer that invalidates: here, or in a process of its own.

usage: fenced.py URL FOLDER

A process takes lines `number near verb word word ...`, does each in a thread of its own, and answers `number result`.
"""

import asyncio
import sys
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Literal, Self, TypeVar, cast

from everfresh import Cache, Event, NotInCache, dep, track
from everfresh.testing.waiting import soon, until

A = TypeVar("A")
Reading = Callable[[str], int]
AsyncReading = Callable[[str], Awaitable[int]]
OnChange = Literal["refresh", "drop"]

ON_CHANGE: tuple[OnChange, ...] = ("refresh", "drop")
COLOURS = ("blocking", "asyncio")
WAYS = ("call", "tracked", "fresh", "read after", "many", "cached_many", "nested", "put")
NEAR = {"near": 10_000, "far": 0}
_KIND = "thing"


class Site:
    """The truth about each case, in files, and where a function over it stops until it is let go."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def begin(self, case: str) -> None:
        """A case begins, with the truth 0."""
        (self._folder / case).mkdir()
        self.commit(case, 0)

    def commit(self, case: str, truth: int) -> None:
        """The truth is another one from now on, whole or not at all."""
        draft = self._folder / case / "draft"
        draft.write_text(str(truth))
        draft.replace(self._folder / case / "truth")

    def hold(self, case: str, truth: int) -> None:
        """Let whoever has looked at this truth stop before it gives it back."""
        (self._folder / case / f"hold-{truth}").touch()

    def await_held(self, case: str) -> None:
        """Wait until somebody has stopped."""
        until((self._folder / case / "held").exists, what=f"{case}: somebody has looked at the truth")

    def let_go(self, case: str) -> None:
        """Let whoever has stopped go on."""
        (self._folder / case / "go").touch()

    def look(self, case: str) -> int:
        """The truth, as a function sees it that takes its time to give it back."""
        truth = self._glance(case)
        if self._is_held(case, truth):
            until((self._folder / case / "go").exists, what=f"{case}: the reader is let go")
        return truth

    async def look_async(self, case: str) -> int:
        """The same in an event loop."""
        truth = self._glance(case)
        if self._is_held(case, truth):
            await soon((self._folder / case / "go").exists, what=f"{case}: the reader is let go")
        return truth

    def _glance(self, case: str) -> int:
        return int((self._folder / case / "truth").read_text())

    def _is_held(self, case: str, truth: int) -> bool:
        is_held = (self._folder / case / f"hold-{truth}").exists()
        if is_held:
            (self._folder / case / "held").touch()
        return is_held


class Player:
    """One cache, all ways to read through it, and to tell it of a change."""

    def __init__(self, url: str, site: Site, near: int) -> None:
        self.cache = Cache(url, near=near)
        self._blocking = {on_change: blocking_readings(self.cache, site, on_change) for on_change in ON_CHANGE}
        self._asyncio = {on_change: async_readings(self.cache, site, on_change) for on_change in ON_CHANGE}
        # All asynchronous readers of a process are tasks of one event loop, as in a web server.
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        # Before the loop ends, in which it has connections.
        self.cache.close()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def act(self, verb: str, *words: str) -> int:
        """Do what the words say."""
        match (verb, *words):
            case ("read", "blocking", on_change, way, case):
                return self._blocking[cast("OnChange", on_change)][way](case)
            case ("read", "asyncio", on_change, way, case):
                return self._run(self._asyncio[cast("OnChange", on_change)][way](case))
            case ("tell" | "tell all" as verb, "blocking", case):
                acknowledged = verb == "tell all"
                return self.cache.blocking.invalidate(dep.Id(_KIND, case), acknowledged=acknowledged).sequence
            case ("tell" | "tell all" as verb, "asyncio", case):
                event = Event.change(_KIND, before={"id": case}, after={"id": case})
                return self._run(self.cache.publish(event, acknowledged=verb == "tell all")).sequence
            case ("count waiters", case):
                # Nobody is told that somebody waits; a signal would be there for tests alone.
                waiters = self.cache.engine.wakers._waiters  # noqa: SLF001
                return sum(len(waiting) for key, waiting in tuple(waiters.items()) if case in key)
            case _:
                raise ValueError((verb, *words))

    def _run(self, awaitable: Awaitable[A]) -> A:
        async def to_its_end() -> A:
            return await awaitable

        return asyncio.run_coroutine_threadsafe(to_its_end(), self._loop).result()


def blocking_readings(cache: Cache, site: Site, on_change: OnChange) -> dict[str, Reading]:
    """Each way to read a case, for blocking code."""
    # Two functions of one name are told apart by their version.
    version = ON_CHANGE.index(on_change)

    @cache.cached(depends_on=[dep.Id(_KIND, dep.arg("case"))], on_change=on_change, version=version)
    def called(case: str) -> int:
        return site.look(case)

    @cache.cached(on_change=on_change, version=version)
    def tracked(case: str) -> int:
        truth = site.look(case)
        track(dep.Id(_KIND, case))
        return truth

    @cache.cached(on_change=on_change, version=version)
    def nested(case: str) -> int:
        return called(case)

    @cache.cached_many(depends_on=[dep.Id(_KIND, dep.arg("cases"))], on_change=on_change, version=version)
    def batch(cases: list[str]) -> dict[str, int]:
        return {case: site.look(case) for case in cases}

    def put(case: str) -> int:
        try:
            return cache.blocking.get(f"blocking {on_change} {case}")
        except NotInCache:
            truth = site.look(case)
            cache.blocking.put(f"blocking {on_change} {case}", truth, dep.Id(_KIND, case))
            return truth

    def after(case: str) -> int:
        return called.read(after=cache.blocking.position())(case)

    return {
        "call": called,
        "tracked": tracked,
        "fresh": called.fresh,
        "read after": after,
        "many": lambda case: called.many([case])[0],
        "cached_many": lambda case: batch([case])[case],
        "nested": nested,
        "put": put,
    }


def async_readings(cache: Cache, site: Site, on_change: OnChange) -> dict[str, AsyncReading]:
    """Each way to read a case, for asyncio."""
    version = ON_CHANGE.index(on_change)

    @cache.cached(depends_on=[dep.Id(_KIND, dep.arg("case"))], on_change=on_change, version=version)
    async def called(case: str) -> int:
        return await site.look_async(case)

    @cache.cached(on_change=on_change, version=version)
    async def tracked(case: str) -> int:
        truth = await site.look_async(case)
        track(dep.Id(_KIND, case))
        return truth

    @cache.cached(on_change=on_change, version=version)
    async def nested(case: str) -> int:
        return await called(case)

    @cache.cached_many(depends_on=[dep.Id(_KIND, dep.arg("cases"))], on_change=on_change, version=version)
    async def batch(cases: list[str]) -> dict[str, int]:
        return {case: await site.look_async(case) for case in cases}

    async def after(case: str) -> int:
        return await called.read(after=await cache.position())(case)

    async def many(case: str) -> int:
        return (await called.many([case]))[0]

    async def cached_many(case: str) -> int:
        return (await batch([case]))[case]

    async def put(case: str) -> int:
        try:
            return await cache.get(f"asyncio {on_change} {case}")
        except NotInCache:
            truth = await site.look_async(case)
            await cache.put(f"asyncio {on_change} {case}", truth, dep.Id(_KIND, case))
            return truth

    return {
        "call": called,
        "tracked": tracked,
        "fresh": called.fresh,
        "read after": after,
        "many": many,
        "cached_many": cached_many,
        "nested": nested,
        "put": put,
    }


def main(url: str, folder: str) -> None:
    """Play in a process of its own until the input ends."""
    lock = threading.Lock()

    def say(text: str) -> None:
        with lock:
            sys.stdout.write(f"{text}\n")
            sys.stdout.flush()

    def answer(number: str, near: str, words: list[str]) -> None:
        try:
            say(f"{number} {players[near].act(*words)}")
        except Exception as error:  # noqa: BLE001 - the test that asked is told
            say(f"{number} {error!r}")

    with ExitStack() as stack:
        site = Site(Path(folder))
        players = {name: stack.enter_context(Player(url, site, n_max)) for name, n_max in NEAR.items()}
        pool = stack.enter_context(ThreadPoolExecutor(16))
        say("ready")
        for line in sys.stdin:
            number, near, *words = line.rstrip("\n").split("|")
            pool.submit(answer, number, near, words)


if __name__ == "__main__":
    main(*sys.argv[1:])
