"""Four processes at one address, as `everfresh web --workers 4` keeps them: how they share, and how they end.

Connections are drawn among sockets by the kernel. Then a thousand streams are open when SIGTERM comes, and last one
process is killed, whose clients come back at once: nobody is in its place yet.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Coroutine, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

import uvloop
from benchmarks.report import Report

T = TypeVar("T")

_N_PROCESSES = 4
_N_CONNECTIONS = 10_000
_N_STREAMS = 1_000
_N_AT_ONCE = 64
_WITHIN_S = 60.0
_APP = """
import os
from everfresh import Cache
from everfresh.push import Topic, Updates
from everfresh.push.limits import Limits

cache = Cache("sqlite:///cache.db")
updates = Updates(cache, {"a": Topic("a")}, limits=Limits(per_address=20_000))
PID = str(os.getpid()).encode()


async def app(scope, receive, send):
    if scope["type"] != "http" or scope["path"] == "/updates":
        await updates(scope, receive, send)
        return
    headers = [(b"content-length", str(len(PID)).encode()), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": PID})
"""


def main(report: Report) -> None:
    """Measure and print."""
    print(f"\n{_N_PROCESSES} processes at one address")
    with _kept() as kept:
        _share(report, kept)
        _kill(report, kept)
    with _kept() as kept:
        _end(report, kept)


class _Kept:
    """The processes, and what their parent logs."""

    def __init__(self, popen: "subprocess.Popen[str]") -> None:
        self.popen = popen
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def told(self, event: str) -> str:
        """The last line about the event, waited for."""
        ends_at = time.monotonic() + _WITHIN_S
        while time.monotonic() < ends_at:
            for line in self.lines[::-1]:
                if f'"event": "{event}"' in line:
                    return line
            time.sleep(0.01)
        raise TimeoutError(event)

    def url(self) -> str:
        """Where they serve."""
        return str(json.loads(self.told("processes.ready"))["web"])

    def pids(self) -> list[int]:
        """The processes, in the order in which they started."""
        events = [json.loads(line) for line in self.lines]
        return [event["pid"] for event in events if event["event"] == "process.ready"]

    def _read(self) -> None:
        self.lines.extend(self.popen.stderr or ())


@contextmanager
def _kept() -> Generator[_Kept]:
    with tempfile.TemporaryDirectory(prefix="push-") as folder:
        (Path(folder) / "shop.py").write_text(_APP)
        command = [
            sys.executable,
            "-m",
            "everfresh",
            "web",
            "shop:app",
            "--listen",
            "127.0.0.1:0",
            "--log-format",
            "json",
        ]
        with subprocess.Popen(  # noqa: S603 - our own command
            [*command, "--workers", str(_N_PROCESSES)], cwd=folder, stderr=subprocess.PIPE, text=True
        ) as popen:
            try:
                yield _Kept(popen)
            finally:
                popen.terminate()
                popen.wait(_WITHIN_S)


class _Client(asyncio.Protocol):
    """Reads an answer, and knows when it has begun and ended."""

    def __init__(self, request: bytes, awaits: bytes) -> None:
        loop = asyncio.get_running_loop()
        self._request = request
        self._awaits = awaits
        self.received = b""
        self.begun: asyncio.Future[None] = loop.create_future()
        self.ended: asyncio.Future[None] = loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask."""
        cast("asyncio.Transport", transport).write(self._request)

    def data_received(self, data: bytes) -> None:
        """Note what comes."""
        self.received += data
        if self._awaits in self.received and not self.begun.done():
            self.begun.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - as asyncio calls it
        """Note the end."""
        self.ended.set_result(None)


async def _clients(url: str, path: str, n: int, awaits: bytes) -> list[_Client]:
    """So many, each of which has been sent what it awaits."""
    parts = urlsplit(url)
    request = f"GET {path} HTTP/1.1\r\nhost: {parts.netloc}\r\n\r\n".encode()
    at_once = asyncio.Semaphore(_N_AT_ONCE)

    async def one() -> _Client:
        async with at_once:
            loop = asyncio.get_running_loop()
            _, client = await loop.create_connection(lambda: _Client(request, awaits), parts.hostname, parts.port)
            await client.begun
            return client

    async with asyncio.timeout(_WITHIN_S):
        return list(await asyncio.gather(*(one() for _ in range(n))))


def _run(main: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


def _share(report: Report, kept: _Kept) -> None:
    clients = _run(_clients(kept.url(), "/", _N_CONNECTIONS, b"\r\n\r\n"))
    shares = Counter(client.received.rpartition(b"\r\n\r\n")[2] for client in clients)
    report.raw["connections of each process"] = sorted(shares.values())
    mean = _N_CONNECTIONS / _N_PROCESSES
    furthest = max(abs(share - mean) / mean for share in shares.values())
    report.at_most(f"share of {_N_CONNECTIONS:,} connections, furthest from the mean", 100 * furthest, 10, "%")


def _kill(report: Report, kept: _Kept) -> None:
    async def come_back() -> tuple[int, float, float]:
        clients = await _clients(kept.url(), "/updates?topic=a", _N_STREAMS, b"event: hello")
        os.kill(kept.pids()[0], signal.SIGKILL)
        begun = time.monotonic()
        lost = [client for client in clients if await _ends_within(client, 1.0)]
        retry_s = int(lost[0].received.partition(b"retry: ")[2].partition(b"\n")[0]) / 1_000
        begun = time.monotonic()
        await _clients(kept.url(), "/updates?topic=a", len(lost), b"event: hello")
        return len(lost), time.monotonic() - begun, retry_s

    n, took_s, retry_s = _run(come_back())
    report.figure("streams of one process that is killed", n, "streams")
    report.at_most("until all of them are on another", took_s, retry_s, "s (what they wait before)")


async def _ends_within(client: _Client, wait_s: float) -> bool:
    await asyncio.wait([client.ended], timeout=0 if client.ended.done() else wait_s / _N_STREAMS)
    return client.ended.done()


def _end(report: Report, kept: _Kept) -> None:
    async def end() -> tuple[int, float]:
        clients = await _clients(kept.url(), "/updates?topic=a", _N_STREAMS, b"event: hello")
        begun = time.monotonic()
        kept.popen.terminate()
        async with asyncio.timeout(_WITHIN_S):
            for client in clients:
                await client.ended
        said_goodbye = sum(b"event: bye" in client.received for client in clients)
        await asyncio.to_thread(kept.popen.wait, _WITHIN_S)
        return said_goodbye, time.monotonic() - begun

    n, took_s = _run(end())
    report.at_least(f"of {_N_STREAMS:,} streams at SIGTERM heard goodbye", n, _N_STREAMS, "streams")
    report.at_most("from SIGTERM to the end of all processes", took_s, 2, "s")
