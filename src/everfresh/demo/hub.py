"""The whole demo, started in order and ended in the opposite one: store, tracker, page."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import tempfile
from collections.abc import AsyncGenerator, Callable, Generator
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import ModuleType

from httpx2 import HTTPError
from starlette.types import ASGIApp, Receive, Scope, Send

from everfresh import Cache
from everfresh.demo.child import tracker_process
from everfresh.demo.server import NotStarted, Server, address_of, listen, serving
from everfresh.demo.settings import DemoSettings
from everfresh.demo.widgets import Widget

APP = "everfresh.demo.app"
STORE = "EVERFRESH_DEMO_STORE"
HEARTBEAT = timedelta(seconds=20)
# A browser on this machine takes its farewell at once.
DRAIN = timedelta(milliseconds=300)


class Counted:
    """An application, and how many requests for one path are open: each open stream is a browser."""

    def __init__(self, app: ASGIApp, *, path: str) -> None:
        self._app = app
        self._path = path
        self.n_open = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        n = 1 if scope.get("path") == self._path else 0
        self.n_open += n
        try:
            await self._app(scope, receive, send)
        finally:
            self.n_open -= n


@dataclass(frozen=True, slots=True, kw_only=True)
class Demo:
    """A demo that runs: where it is reached, its cache and its widgets."""

    url: str
    tracker_url: str
    cache: Cache
    widgets: tuple[Widget, ...]
    streams: Counted

    def n_browsers(self) -> int:
        """How many pages are open."""
        return self.streams.n_open


@contextlib.asynccontextmanager
async def running(
    settings: DemoSettings,
    *,
    heartbeat: timedelta = HEARTBEAT,
    on_sent: Callable[[str, int], None] | None = None,
) -> AsyncGenerator[Demo]:
    """The demo while the block runs, every widget built once; after it no process, port or folder is left.

    Raises:
        PortInUse: the port is taken; nothing was started.
        NotStarted: the tracker or the page did not start; nothing is left.
        StoreError, StoreUrlInvalid: the store cannot be used.
    """
    with contextlib.closing(listen(settings.port)) as listener, store_url(settings) as store:
        url, app = address_of(listener), load_app(store)
        async with app.cache, tracker_process(delay_s=settings.upstream_delay, webhook=f"{url}/events") as tracker_url:
            page = app.create_app(tracker_url, heartbeat=heartbeat, on_sent=on_sent)
            streams, drain = Counted(page, path="/updates"), partial(page.state.updates.drain, DRAIN)
            async with serving(Server(streams, drain=drain), listener):
                await _warm_up(app)
                yield Demo(url=url, tracker_url=tracker_url, cache=app.cache, widgets=app.WIDGETS, streams=streams)


async def _warm_up(app: ModuleType) -> None:
    try:
        await app.warm_up()
    except HTTPError as exc:
        raise NotStarted(f"the tracker does not answer: {type(exc).__name__} {exc}") from exc


def load_app(store: str) -> ModuleType:
    """The module `everfresh.demo.app` over that store.

    Like most applications it reads its configuration from the environment when it is imported. A second demo in
    the same process imports it anew.
    """
    os.environ[STORE] = store
    try:
        loaded: ModuleType | None = sys.modules.get(APP)
        return importlib.import_module(APP) if loaded is None else importlib.reload(loaded)
    finally:
        del os.environ[STORE]


@contextlib.contextmanager
def store_url(settings: DemoSettings) -> Generator[str]:
    """The cache's URL: the one asked for, or a SQLite file in a folder that is removed after the block."""
    if settings.store is not None:
        yield settings.store
        return
    with tempfile.TemporaryDirectory(prefix="everfresh-demo-", ignore_cleanup_errors=True) as folder:
        yield f"sqlite:///{Path(folder) / 'cache.db'}"
