"""Events by HTTP: uvicorn in a process of its own over loopback, with a SQLite file behind, fed by another process.

Both share the machine, so each takes from the other what it needs.
"""

import asyncio
import json
import multiprocessing
import os
import socket
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import uvicorn
from benchmarks.filling import fill
from benchmarks.report import Report

from everfresh import Cache, dep
from everfresh.sources.http import EventsEndpoint

_N_ENTRIES = 10_000
_N_CONNECTIONS = 64
_N_ROUNDS = 3
_ROUND_S = 2.0
_N_BATCH = 500
_DEADLINE_S = 20.0
_END = b"\r\n\r\n"


def main(report: Report) -> None:
    """Send single events and batches, and hold the rates to their bars."""
    with tempfile.TemporaryDirectory() as folder, socket.socket() as listener:
        url = f"sqlite:///{Path(folder) / 'cache.db'}"
        with Cache(url) as cache:
            fill(cache, _N_ENTRIES, lambda number: [dep.Topic("shop.price", where={"item": number})])
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        server = multiprocessing.get_context("spawn").Process(target=_serve, args=(url, listener))
        server.start()
        try:
            _measure(report, listener.getsockname()[1], server.pid or 0)
        finally:
            server.terminate()
            server.join(_DEADLINE_S)


def _measure(report: Report, port: int, pid: int) -> None:
    print(f"\nEvents by HTTP, uvicorn over loopback, SQLite with {_N_ENTRIES:,} entries, best of {_N_ROUNDS} rounds")
    messages = [{"topic": "shop.price", "id": str(n), "body": {"item": 10**6 + n, "price": n}} for n in range(_N_BATCH)]
    clouds = [
        {"specversion": "1.0", "id": str(n), "source": "/till", "type": "shop.price", "data": {"item": 10**6 + n}}
        for n in range(_N_BATCH)
    ]
    singles = [_request(message, "application/json") for message in messages]
    for what, requests, n_each, least in (
        ("single events", singles, 1, 5_000),
        (
            f"batches of {_N_BATCH}, CloudEvents",
            [_request(clouds, "application/cloudevents-batch+json")],
            _N_BATCH,
            50_000,
        ),
        (f"batches of {_N_BATCH}, messages", [_request(messages, "application/json")], _N_BATCH, 50_000),
    ):
        n_connections = _N_CONNECTIONS if n_each == 1 else 4
        busy_s = _cpu_s(pid)
        rates = [asyncio.run(_rate(port, requests, n_connections)) * n_each for _ in range(_N_ROUNDS)]
        report.raw[f"http {what}"] = rates
        report.at_least(f"HTTP, {what}", max(rates), least, "events/s")
        # Whatever else the machine does, this is what the server needs.
        busy_s = _cpu_s(pid) - busy_s
        report.figure(f"HTTP, {what}, CPU of the server", busy_s * 1e6 / (sum(rates) * _ROUND_S), "us/event")


def _serve(url: str, listener: socket.socket) -> None:
    """Be the server, until it is terminated."""
    app = EventsEndpoint(Cache(url))
    config = uvicorn.Config(app, log_level="error", access_log=False)
    uvicorn.Server(config).run([listener])


def _cpu_s(pid: int) -> float:
    """The CPU time that the process has had."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _request(document: object, media: str) -> bytes:
    body = json.dumps(document, separators=(",", ":")).encode()
    head = f"POST / HTTP/1.1\r\nhost: shop.example\r\ncontent-type: {media}\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


class _Sender(asyncio.Protocol):
    """One connection, which sends the next request when the last is answered."""

    def __init__(self, requests: Sequence[bytes], place: int) -> None:
        self.n_accepted = 0
        self.is_over = False
        self.began = asyncio.Event()
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._requests = requests
        self._place = place
        self._received = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._send()

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, body = self._received.partition(_END)
        if not end or len(body) < int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]):
            return
        if not head.startswith(b"HTTP/1.1 202"):
            self.ended.set_exception(RuntimeError(f"refused: {self._received!r}"))
            return
        self.n_accepted += 1
        self.began.set()
        self._received = b""
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - as asyncio calls it
        if not self.ended.done():
            self.ended.set_result(None)

    def _send(self) -> None:
        if self.is_over:
            self._transport.close()
            return
        self._place = (self._place + 1) % len(self._requests)
        self._transport.write(self._requests[self._place])


async def _rate(port: int, requests: Sequence[bytes], n_connections: int) -> float:
    """Accepted requests each second, over all connections."""
    loop = asyncio.get_running_loop()
    senders = [_Sender(requests, place) for place in range(n_connections)]
    for sender in senders:
        await loop.create_connection(lambda sender=sender: sender, "127.0.0.1", port)
    # The server listens from its first moment and answers once it has started.
    await asyncio.wait_for(asyncio.gather(*(sender.began.wait() for sender in senders)), _DEADLINE_S)
    n_before, started = sum(sender.n_accepted for sender in senders), time.perf_counter()
    await asyncio.sleep(_ROUND_S)
    n_accepted, took_s = sum(sender.n_accepted for sender in senders) - n_before, time.perf_counter() - started
    for sender in senders:
        sender.is_over = True
    await asyncio.wait_for(asyncio.gather(*(sender.ended for sender in senders)), _DEADLINE_S)
    return n_accepted / took_s
