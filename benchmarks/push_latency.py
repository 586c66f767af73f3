"""How long it takes from an event to its value at the client of a stream, with a build that does nothing.

A hundred streams are open. One event at a time is published: embedded by the very process that builds and serves, over
Redis by this one, while a process of its own builds and another one serves. What is measured is the time from just
before `publish` to the arrival of the frame, of each stream; the clients share this process.
"""

import asyncio
import re
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import IO, cast
from urllib.parse import urlsplit

import uvloop
from benchmarks.push_latency_server import TOPIC
from benchmarks.redis_server import server
from benchmarks.report import Report

from everfresh import Cache, Event

_N_STREAMS = 100
_N_EVENTS = 500
_N_WARM = 50
# So that each event finds everybody at rest; an exact beat could fall in with somebody's timer.
_REST_S = (0.010, 0.013, 0.017)
_WITHIN_S = 10.0
_VALUE = re.compile(rb'"value":\[(\d+),(\d+)\]')


def main(report: Report) -> None:
    """Measure and print."""
    print(f"\nEvent to value at the client, {_N_STREAMS} streams, {_N_EVENTS} events, one at a time")
    with _part("embedded", "memory:") as embedded:
        _run(report, "embedded", embedded.url, embedded.publish())
    with server(report, "push_latency, Redis") as running:
        if running is not None:
            url = running.url_of("latency")
            with _part("worker", url), _part("web", url) as web:
                _run(report, "Redis", web.url, _Redis(url))


class _Publisher:
    """Publishes one event; gives when that began, by the monotonic clock, if it is not in the value itself."""

    async def publish(self) -> int | None:
        """Publish."""
        raise NotImplementedError

    async def close(self) -> None:
        """Let go of what it needs."""


class _Redis(_Publisher):
    """Publishes by a cache of its own."""

    def __init__(self, url: str) -> None:
        self._cache = Cache(url)

    async def publish(self) -> int | None:
        """Publish."""
        begun_ns = time.monotonic_ns()
        await self._cache.publish(Event(TOPIC))
        return begun_ns

    async def close(self) -> None:
        """Close the cache."""
        await self._cache.aclose()


class _Other(_Publisher):
    """Has the process publish that serves."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    async def publish(self) -> int | None:
        """Say so."""
        talk = cast("IO[str]", self._process.stdin)
        talk.write("now\n")
        talk.flush()
        return None


@dataclass(frozen=True)
class _Part:
    """A process, and where it serves."""

    url: str
    process: "subprocess.Popen[str]"

    def publish(self) -> _Publisher:
        """By that process."""
        return _Other(self.process)


@contextmanager
def _part(name: str, url: str) -> Generator[_Part]:
    command = [sys.executable, "-m", "benchmarks.push_latency_server", name, url]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - ours
        try:
            yield _Part(cast("IO[str]", process.stdout).readline().strip(), process)
        finally:
            cast("IO[str]", process.stdin).close()
            process.wait(_WITHIN_S)


@dataclass
class _Round:
    """One event on its way to all streams."""

    begun_ns: int | None = None
    arrivals: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    all_arrived: asyncio.Event = field(default_factory=asyncio.Event)


class _Reader(asyncio.Protocol):
    """A stream's client, which notes when a value arrives."""

    def __init__(self, request: bytes, crowd: "_Crowd") -> None:
        self._request = request
        self._crowd = crowd

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the stream."""
        self._crowd.transports.append(transport)
        cast("asyncio.Transport", transport).write(self._request)

    def data_received(self, data: bytes) -> None:
        """Note when."""
        now_ns = time.monotonic_ns()
        for found in _VALUE.finditer(data):
            self._crowd.arrived(int(found[1]), now_ns)


class _Crowd:
    """All clients."""

    def __init__(self) -> None:
        self.transports: list[asyncio.BaseTransport] = []
        self.round = _Round()

    def arrived(self, said_ns: int, now_ns: int) -> None:
        """One more has the value."""
        self.round.arrivals.append((said_ns, now_ns))
        if len(self.round.arrivals) == _N_STREAMS:
            self.round.all_arrived.set()

    async def come(self, url: str) -> None:
        """Open all streams; each begins with the value."""
        parts = urlsplit(url)
        request = f"GET /?topic=tick HTTP/1.1\r\nhost: {parts.netloc}\r\n\r\n".encode()
        loop = asyncio.get_running_loop()
        for _ in range(_N_STREAMS):
            await loop.create_connection(lambda: _Reader(request, self), parts.hostname, parts.port)
        await self._all()

    async def delays_ms(self, publisher: _Publisher) -> list[float]:
        """Publish once; how long each stream took."""
        self.round = _Round()
        begun_ns = await publisher.publish()
        await self._all()
        return [(now - (begun_ns or said)) / 1e6 for said, now in self.round.arrivals]

    async def _all(self) -> None:
        async with asyncio.timeout(_WITHIN_S):
            await self.round.all_arrived.wait()


def _run(report: Report, name: str, url: str, publisher: _Publisher) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        delays = sorted(runner.run(_measured(url, publisher)))
    report.raw[f"event to client, {name}, ms"] = delays[:: len(delays) // 1_000]
    report.at_most(f"event to client, {name}, p50", delays[len(delays) // 2], 5, "ms")
    report.at_most(f"event to client, {name}, p99", delays[len(delays) * 99 // 100], 25, "ms")
    print(f"  fastest {delays[0]:.2f} ms, slowest {delays[-1]:.2f} ms, of {len(delays)}")


async def _measured(url: str, publisher: _Publisher) -> list[float]:
    crowd = _Crowd()
    delays: list[float] = []
    with ExitStack() as stack:
        await crowd.come(url)
        for transport in crowd.transports:
            stack.callback(transport.close)
        for n in range(_N_WARM + _N_EVENTS):
            found = await crowd.delays_ms(publisher)
            delays += found if n >= _N_WARM else []
            await asyncio.sleep(_REST_S[n % len(_REST_S)])
        await publisher.close()
    return delays
