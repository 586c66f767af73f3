"""What a scenario is, and what all of them use. It runs in the peer's own environment: the standard library only.

A scenario is a module `benchmarks.races.NAME` with

    '''Its docstring: what happens, in the page's own words (plain Markdown, no heading).'''
    TITLE = "The stale-set race"                          # the heading of its table
    ROWS = {"function": "a decorated function", ...}      # each row of the table, in order: name -> what it says
    N_AT_ONCE = 2                                         # only where several libraries may run it at once
    def main(peer, *, place, is_quick=False) -> dict:     # row name -> cell
    def beside(caller) -> Callable[[Any], Any]:           # only where `Beside` is used: what answers requests there

`peer` is the adapter's module; `place` the JSON of a `Place`, its folder and its Redis database empty; `is_quick` asks
for few repetitions (the tests run our own column with it: a second or less). `main` gives a cell for every row, made by
`held`, `failed`, `judged` or `not_offered`: never leave one out. A cell whose race needs what is not in `offers` is
`not_offered("why, in three words")`. An exception of `main` makes all its rows `failed`, with the error in the data.

    def main(peer, *, place, is_quick=False):
        with opened(peer, place) as caller:
            return {"function": _function(caller, 20 if is_quick else 200)}

Scenarios are written once for both colours, as threads that call: `caller(function, *args)` calls a function of the
adapter, in this thread, or in the event loop (a thread of its own) where the adapter is async. `caller.start(...)` does
it beside, and gives a `concurrent.futures.Future`. `caller.body(source, name)`, `caller.readable(...)` and
`caller.aside(...)` are the readers.

    source = Source()
    item_of = caller.adapter.cached(caller.body(source, "item_of"))   # reads source.truths[item], stops at source.gate
    gate = source.shut()
    reading = caller.start(item_of, 7)
    gate.wait_until_reached()
    source.truths[7] = 1                                    # the writer, and its invalidation:
    caller(caller.adapter.invalidate_call, item_of, 7)
    gate.open()
    reading.result(PATIENCE_S)
    is_stale = caller(item_of, 7) < 1
"""

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, Self, cast

from benchmarks.peers.adapter import MISSING, Adapter, Place

PATIENCE_S = 60.0
"""How long anything is waited for, before the cell fails with an error."""
_ROOT = Path(__file__).parents[2]

Cell = dict[str, Any]
"""`verdict` (held, failed, not offered), the short `text` of the table, and figures for the data."""


def held(text: str, **figures: Any) -> Cell:
    """The promise was kept."""
    return {"verdict": "held", "text": text, **figures}


def failed(text: str, **figures: Any) -> Cell:
    """It was not."""
    return {"verdict": "failed", "text": text, **figures}


def judged(n_bad: int, n: int, what: str = "stale", **figures: Any) -> Cell:
    """Held where nothing is bad: `0 of 200 stale`."""
    text = f"{n_bad:,} of {n:,} {what}"
    return (failed if n_bad else held)(text, n_bad=n_bad, n=n, **figures)


def not_offered(why: str) -> Cell:
    """The library has nothing of the kind, and does not say that it has."""
    return {"verdict": "not offered", "text": why}


class Gate:
    """Where a body stops once it has read: `stop` in a thread, `astop` in a task, until somebody opens."""

    def __init__(self, *, is_open: bool = False) -> None:
        self._reached = threading.Event()
        self._opened: Future[None] = Future()
        if is_open:
            self._opened.set_result(None)

    def stop(self) -> None:
        """Wait here until it is open."""
        self._reached.set()
        self._opened.result(PATIENCE_S)

    async def astop(self) -> None:
        """The same in a task."""
        self._reached.set()
        if not self._opened.done():
            await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(self._opened)), PATIENCE_S)

    def wait_until_reached(self, within_s: float = PATIENCE_S) -> None:
        """Wait until a body stands here.

        Raises:
            TimeoutError: none came; the library did not call the body.
        """
        if not self._reached.wait(within_s):
            raise TimeoutError("no body came to the gate")

    def open(self) -> None:
        """Let it go on, and all who come."""
        if not self._opened.done():
            self._opened.set_result(None)


class Source:
    """The truth that bodies read: a number for each item, 0 at first, and how often each was read."""

    def __init__(self) -> None:
        self.truths: dict[int, int] = {}
        self.n_reads = 0
        self.gate = Gate(is_open=True)
        self._lock = threading.Lock()

    def read(self, item: int) -> int:
        """The truth now."""
        with self._lock:
            self.n_reads += 1
            return self.truths.get(item, 0)

    def shut(self) -> Gate:
        """A gate that bodies stop at from now on, once they have read; who came before is let go."""
        self.gate.open()
        self.gate = Gate()
        return self.gate


class Caller:
    """Calls an adapter's functions from threads, whatever their colour."""

    def __init__(self, adapter: Adapter) -> None:
        self.adapter = adapter
        self._pool = ThreadPoolExecutor(64, thread_name_prefix="caller")
        self._loop = asyncio.new_event_loop() if adapter.is_async else None
        if self._loop is not None:
            threading.Thread(target=self._loop.run_forever, name="loop", daemon=True).start()
            self(adapter.begin)

    def __call__(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call it, and give what it answers."""
        if self._loop is None:
            return function(*args, **kwargs)
        return self.start(function, *args, **kwargs).result(PATIENCE_S)

    def start(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> "Future[Any]":
        """Call it beside: in a thread, or as a task of the event loop."""
        if self._loop is None:
            return self._pool.submit(function, *args, **kwargs)

        async def calling() -> Any:
            return await function(*args, **kwargs)

        return asyncio.run_coroutine_threadsafe(calling(), self._loop)

    def body(self, source: Source, name: str) -> Callable[[int], Any]:
        """A body to decorate: it reads the source, and stops at its gate.

        Libraries tell functions apart by their names, also over processes; so each body of a scenario has its own.
        """

        def item_of(item: int) -> int:
            found = source.read(item)
            source.gate.stop()
            return found

        async def item_of_async(item: int) -> int:
            found = source.read(item)
            await source.gate.astop()
            return found

        return named(item_of if self._loop is None else item_of_async, name)

    def aside(self, key: str, load: Callable[..., Any], *args: Any, tags: Sequence[str] = ()) -> Callable[[], Any]:
        """Who reads by hand, in one thread or task: get, on a miss load, and put. `load` is a body."""
        adapter = self.adapter
        if self._loop is None:

            def read() -> Any:
                found = adapter.get(key)
                if found is MISSING:
                    found = load(*args)
                    adapter.put(key, found, tags=tags)
                return found

            return read

        async def read_async() -> Any:
            found = await adapter.get(key)
            if found is MISSING:
                found = await load(*args)
                await adapter.put(key, found, tags=tags)
            return found

        return read_async

    def readable(self, body: Callable[..., Any], name: str) -> "Readable":
        """A function of an item, cached as the library does it."""
        return Readable(self, body, name)

    def close(self) -> None:
        """End the adapter, and what runs here."""
        closing = self.adapter.close
        if self._loop is None:
            closing()
        else:
            self(closing)
            self._loop.call_soon_threadsafe(self._loop.stop)
        self._pool.shutdown(wait=False, cancel_futures=True)


class Readable:
    """A function of an item: decorated, or read by hand, with a tag if it can be, where there is no decorator."""

    def __init__(self, caller: Caller, body: Callable[[int], Any], name: str) -> None:
        self._caller = caller
        self._name = name
        adapter = caller.adapter
        self._is_decorated = "function" in adapter.offers
        self._has_tags = "tag" in adapter.offers

        def by_hand(item: int) -> Any:
            return self._aside(body, item)()

        async def by_hand_async(item: int) -> Any:
            return await self._aside(body, item)()

        self.function: Callable[..., Any] = (
            adapter.cached(body) if self._is_decorated else by_hand_async if adapter.is_async else by_hand
        )
        """To be called as it is, or awaited."""

    def drop(self, item: int) -> None:
        """Invalidate the value of the item, by the documented way."""
        adapter = self._caller.adapter
        if self._is_decorated:
            self._caller(adapter.invalidate_call, self.function, item)
        elif self._has_tags:
            self._caller(adapter.invalidate_tag, f"{self._name}:{item}")
        else:
            self._caller(adapter.delete, f"{self._name} {item}")

    def _aside(self, body: Callable[[int], Any], item: int) -> Callable[[], Any]:
        tags = (f"{self._name}:{item}",) if self._has_tags else ()
        return self._caller.aside(f"{self._name} {item}", body, item, tags=tags)


def named(body: Callable[..., Any], name: str) -> Callable[..., Any]:
    """The body under a name of its own."""
    body.__name__ = body.__qualname__ = name
    return body


@contextmanager
def opened(peer: ModuleType, place: dict[str, str]) -> Iterator[Caller]:
    """The peer at the place, until the block ends."""
    caller = Caller(peer.open_peer(Place(**place)))
    try:
        yield caller
    finally:
        caller.close()


class Beside:
    """Another process with the same peer at the same place; it answers with what the scenario's `beside` gives."""

    def __init__(self, peer: ModuleType, scenario: str, place: dict[str, str]) -> None:
        options = json.dumps({"scenario": scenario, "place": place})
        command = [sys.executable, "-m", "benchmarks.peers.child", "races.beside", peer.__name__.rsplit(".", 1)[-1]]
        environment = {**os.environ, "PYTHONPATH": str(_ROOT), "PYTHONHASHSEED": "0"}
        self._process = subprocess.Popen(  # noqa: S603 - this interpreter
            [*command, options], cwd=_ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.pid = self._process.pid
        # It says so when it is there.
        self.answer()

    def ask(self, request: Any) -> Any:
        """Its answer."""
        self.send(request)
        return self.answer()

    def send(self, request: Any) -> None:
        """Ask, and do not wait; each has to be answered before the next."""
        asked = cast("Any", self._process.stdin)
        asked.write(json.dumps(request) + "\n")
        asked.flush()

    def answer(self) -> Any:
        """What it answers to what was sent.

        Raises:
            RuntimeError: it has ended.
        """
        line = cast("Any", self._process.stdout).readline()
        if not line:
            raise RuntimeError(f"the process beside ended with {self._process.wait()}")
        return json.loads(line)

    def kill(self) -> None:
        """End it at once, as `kill -9` does."""
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """Let it end by itself."""
        cast("Any", self._process.stdin).close()
        try:
            self._process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def until(is_so: Callable[[], bool], what: str, within_s: float = PATIENCE_S) -> None:
    """Wait until it is so.

    Raises:
        TimeoutError: it did not come to it.
    """
    ends_at = time.monotonic() + within_s
    while not is_so():
        if time.monotonic() > ends_at:
            raise TimeoutError(what)
        time.sleep(0.001)
