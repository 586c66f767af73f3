"""The terminal: a line per event, from what the cache and the stream tell."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from collections.abc import AsyncGenerator
from typing import Any

from everfresh import Cache, Key, Notice
from everfresh.demo.hub import Demo
from everfresh.demo.ledger import PATIENCE_S, Done, Ledger, Outcome
from everfresh.demo.output import say
from everfresh.feed.reader import FeedReader


def line_of(done: Done, *, clock: str, n_browsers: int) -> str:
    """One event as a line: when, topic, entries touched and how they came out, time to the browser, widgets."""
    if not done.n_touched:
        return f"{clock}  {done.topic:<23} touched 0: nothing here depends on it"
    counts = ", ".join(f"{n} {outcome.value}" for outcome in Outcome if (n := done.outcomes.get(outcome, 0)))
    told = f"{clock}  {done.topic:<23} touched {done.n_touched}: {counts}"
    if not done.widgets:
        return f"{told}; no widget changed ({done.settled_s:.2f} s)"
    widgets = ", ".join(done.widgets)
    if done.to_browser_s is not None:
        return f"{told}; {done.to_browser_s:.2f} s to the browser: {widgets}"
    why = "no browser is open" if n_browsers == 0 else "no browser shows it"
    return f"{told}; ready after {done.settled_s:.2f} s, {why}: {widgets}"


class Reporter:
    """Turns notices, feed and frames sent into lines.

    Notices may come from any thread, so all input passes through the event loop; `ledger` is touched only there.
    """

    def __init__(self, *, is_quiet: bool) -> None:
        self._is_quiet = is_quiet
        self._ledger = Ledger({})
        self._to_look_at: asyncio.Queue[frozenset[Key]] = asyncio.Queue()
        self._n_browsers = _none

    @contextlib.asynccontextmanager
    async def reporting(self, demo: Demo) -> AsyncGenerator[None]:
        """Print a line for each event that is applied while the block runs."""
        self._ledger = Ledger({widget.key: widget.name for widget in demo.widgets})
        self._n_browsers = demo.n_browsers
        hear = functools.partial(self._hear, asyncio.get_running_loop())
        async with demo.cache.feed() as feed, asyncio.TaskGroup() as group:
            stop_listening = demo.cache.listen(hear)
            tasks = [group.create_task(self._look(demo.cache)), group.create_task(self._follow(feed))]
            try:
                yield
            finally:
                stop_listening()
                for task in tasks:
                    task.cancel()

    def sent(self, name: str, version: int) -> None:
        """A widget was sent to a browser (what `Updates` calls)."""
        self._ledger.sent(name, version, now=time.monotonic())
        self._print_done()

    def _hear(self, loop: asyncio.AbstractEventLoop, notice: Notice) -> None:
        if notice.name == "event.applied":
            loop.call_soon_threadsafe(self._applied, dict(notice.fields), time.monotonic())

    def _applied(self, fields: dict[str, Any], now: float) -> None:
        touched = frozenset[Key]((*fields["touched"], *fields["suspect"]))
        self._ledger.applied(fields["topic"], fields["position"], touched, now=now)
        self._to_look_at.put_nowait(touched)

    async def _follow(self, feed: FeedReader) -> None:
        async for batch in feed:
            self._to_look_at.put_nowait(frozenset(record.key for record in batch.records))

    async def _look(self, cache: Cache) -> None:
        while True:
            for key in await self._to_look_at.get():
                self._ledger.stored(key, await cache.stored(key), now=time.monotonic())
            self._print_done()
            asyncio.get_running_loop().call_later(PATIENCE_S, self._print_done)

    def _print_done(self) -> None:
        n_browsers = self._n_browsers()
        for done in self._ledger.done(now=time.monotonic(), n_browsers=n_browsers):
            if not self._is_quiet:
                say(line_of(done, clock=time.strftime("%H:%M:%S"), n_browsers=n_browsers))


def _none() -> int:
    return 0
