"""One hot path, walked again and again while a program looks where its time goes: by scripts/profile, py-spy.

    python -m benchmarks.hot_paths near|sqlite|redis|triage|refresh|push PROGRAM ARGUMENTS ...

The program is started when everything is ready, with `--pid` and this process at the end, and ends the walk by its own.

near, sqlite, redis: a hit near, on SQLite and on Redis; the latter two without a near cache.
triage: one event at a time that touches an entry, in memory. refresh: an event on Redis until the value is committed.
push: a new value to a hundred streams over HTTP; who reads them is another process.
"""

import asyncio
import ctypes
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import urlsplit

import uvloop
from benchmarks.push_latency_server import serve
from benchmarks.redis_server import started
from benchmarks.touching import Touching

from everfresh import Cache, Key, dep
from everfresh.cache.notices import Notice
from everfresh.push import Topic, Updates
from everfresh.refresh import Worker

_N_AT_ONCE = 200
_N_TOUCHED = 1_000
_N_STREAMS = 100
_PR_SET_PTRACER = 0x59616D61


class Walk:
    """Goes on until the program has ended."""

    def __init__(self, command: list[str]) -> None:
        self._command = command
        self._program: subprocess.Popen[bytes] | None = None

    def goes_on(self) -> bool:
        """Whether to walk once more; asked for the first time when all is ready."""
        if self._program is None:
            if sys.platform == "linux":
                # Else a child may not look at its parent, where Linux is told to be strict.
                ctypes.CDLL(None).prctl(_PR_SET_PTRACER, ctypes.c_ulong(-1), 0, 0, 0)
            command = [*self._command, "--pid", str(os.getpid())]
            self._program = subprocess.Popen(command)  # noqa: S603 - whoever walks has named it
        return self._program.poll() is None

    def end(self) -> int:
        """The program's exit code."""
        return 0 if self._program is None else self._program.wait()


def main(path: str, command: list[str]) -> int:
    """Walk it."""
    walk = Walk(command)
    PATHS[path](walk)
    return walk.end()


def _near(walk: Walk) -> None:
    _hits("memory:", 10_000, walk)


def _sqlite(walk: Walk) -> None:
    with tempfile.TemporaryDirectory() as folder:
        _hits(f"sqlite:///{Path(folder) / 'cache.db'}", 0, walk)


def _redis(walk: Walk) -> None:
    with started({}) as running:
        _hits(running.url_of("hits"), 0, walk)


def _hits(url: str, n_near: int, walk: Walk) -> None:
    with Cache(url, near=n_near) as cache:

        @cache.cached(depends_on=[dep.Tag("numbers")])
        def text(number: int) -> str:
            return f"text {number}"

        while walk.goes_on():
            for _ in range(_N_AT_ONCE):
                text(7)


def _triage(walk: Walk) -> None:
    touching = Touching("memory:", _N_TOUCHED, _N_TOUCHED)
    while walk.goes_on():
        touching.touch(1)
    touching.cache.close()


def _refresh(walk: Walk) -> None:
    with started({}) as running:
        uvloop.run(_refreshed(running.url_of("refresh"), walk))


async def _refreshed(url: str, walk: Walk) -> None:
    async with Cache(url, near=0) as cache:

        @cache.cached(depends_on=[dep.Tag("numbers")])
        async def number() -> float:
            return time.monotonic()

        await number()
        is_done = asyncio.Event()
        cache.listen(lambda notice: _note(is_done, notice))
        async with Worker(cache):
            while walk.goes_on():
                is_done.clear()
                await cache.invalidate(dep.Tag("numbers"))
                await is_done.wait()


def _note(is_done: asyncio.Event, notice: Notice) -> None:
    if notice.name == "refresh.done":
        is_done.set()


def _push(walk: Walk) -> None:
    uvloop.run(_pushed(walk))


async def _pushed(walk: Walk) -> None:
    async with Cache() as cache, AsyncExitStack() as stack:
        await cache.put("tick", 0)
        updates = Updates(cache, {"tick": Topic(Key("tick"))})
        url = await serve(updates, stack)
        readers = await asyncio.create_subprocess_exec(sys.executable, "-m", "benchmarks.hot_paths", "readers", url)
        number = 0
        while walk.goes_on():
            number += 1
            await cache.put("tick", number)
            # So that the readers can take it all.
            await asyncio.sleep(0.002)
        readers.terminate()
        await readers.wait()


async def _read(url: str) -> None:
    parts = urlsplit(url)
    request = f"GET /?topic=tick HTTP/1.1\r\nhost: {parts.netloc}\r\n\r\n".encode()
    loop = asyncio.get_running_loop()
    for _ in range(_N_STREAMS):
        await loop.create_connection(lambda: _Reader(request), str(parts.hostname), parts.port or 0)
    await asyncio.Event().wait()


class _Reader(asyncio.Protocol):
    """Reads, and does nothing with it."""

    def __init__(self, request: bytes) -> None:
        self._request = request

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the stream."""
        if isinstance(transport, asyncio.Transport):
            transport.write(self._request)


PATHS: dict[str, Callable[[Walk], None]] = {
    "near": _near,
    "sqlite": _sqlite,
    "redis": _redis,
    "triage": _triage,
    "refresh": _refresh,
    "push": _push,
}

if __name__ == "__main__":
    if sys.argv[1] == "readers":
        uvloop.run(_read(sys.argv[2]))
    else:
        sys.exit(main(sys.argv[1], sys.argv[2:]))
