"""Push: ten thousand streams on one process, beside nginx's nchan on the same machine in the same run.

    python -m benchmarks.push [--quick] [--connections N]

The server has one core and the readers another. What a delivery costs is CPU time of the server's process, whatever
else the machine does; delays are from the publisher's request to the reader, both in this process.
"""

import argparse
import asyncio
import os
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvloop
from benchmarks.push_readers import DEADLINE_S, Crowd, Publisher, at_rank
from benchmarks.report import Report

_KIB = 1_024
_SERVER_CORE, _READER_CORE = 0, 1
_N = 10_000
_ROUND_S = 10.0
_IDLE_S = 2.0
_N_LARGE, _LARGE_BYTES = 40, 16_384
_NCHAN_MODULE = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")
_NCHAN = """
load_module {module};
daemon off;
worker_processes 1;
error_log stderr crit;
pid {folder}/pid;
events {{ worker_connections 19000; }}
worker_rlimit_nofile 20000;
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  nchan_shared_memory_size 256M;
  server {{
    listen 127.0.0.1:{port} sndbuf=64k backlog=4096;
    location = /pub {{ nchan_publisher; nchan_channel_id c; nchan_message_buffer_length 1; }}
    location = /sub {{ nchan_subscriber eventsource; nchan_channel_id c; nchan_subscriber_first_message newest; }}
  }}
}}
"""


@dataclass(frozen=True)
class Target:
    """A server under test."""

    name: str
    port: int
    pid: int
    path_to_publish: str
    path_to_read: str

    def request(self, more: str = "") -> bytes:
        """What a reader asks."""
        return f"GET {self.path_to_read}{more} HTTP/1.1\r\nhost: b\r\naccept: text/event-stream\r\n\r\n".encode()

    def cpu_s(self) -> float:
        """The CPU time that the process has had."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def kernel_s(self) -> float:
        """The part of it that went to the kernel."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[12]) / os.sysconf("SC_CLK_TCK")

    def n_files(self) -> int:
        """How many files and connections it has open."""
        return sum(1 for _ in Path(f"/proc/{self.pid}/fd").iterdir())

    def memory_bytes(self) -> int:
        """What the process holds, with its part of what is shared."""
        for line in Path(f"/proc/{self.pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * _KIB
        raise RuntimeError("the process does not say what it holds")


@dataclass(frozen=True)
class Round:
    """Some seconds of publishing to all."""

    us_per_delivery: float
    us_in_kernel: float
    p50_ms: float
    p99_ms: float
    per_s: float
    part_skipped: float


@dataclass(frozen=True)
class Figures:
    """What one server needs."""

    kib: float
    slow: Round
    fast: Round
    stalled_ms: float
    storm_s: float


@contextmanager
def _everfresh(port: int) -> Generator[Target]:
    command = [sys.executable, "-m", "benchmarks.push_server", str(port)]
    with _pinned(command, port) as pid:
        yield Target("everfresh", port, pid, "/small", "/updates?topic=small")


@contextmanager
def _nchan(port: int) -> Generator[Target]:
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "nginx.conf"
        config.write_text(_NCHAN.format(module=_NCHAN_MODULE, folder=folder, port=port))
        with _pinned(["nginx", "-c", str(config), "-p", folder], port) as pid:
            yield Target("nchan", port, _child_of(pid), "/pub", "/sub")


@contextmanager
def _pinned(command: list[str], port: int) -> Generator[int]:
    pinned = ["taskset", "-c", str(_SERVER_CORE), *command]
    process = subprocess.Popen(pinned)  # noqa: S603 - our own commands
    try:
        deadline = time.monotonic() + DEADLINE_S
        while True:
            with socket.socket() as plug:
                if plug.connect_ex(("127.0.0.1", port)) == 0:
                    break
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command[0]} does not listen")
            time.sleep(0.05)
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(2)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _child_of(pid: int) -> int:
    deadline = time.monotonic() + DEADLINE_S
    while not (children := Path(f"/proc/{pid}/task/{pid}/children").read_text().split()):
        if time.monotonic() > deadline:
            raise RuntimeError("nginx has no worker")
        time.sleep(0.05)
    return int(children[0])


def _free_port() -> int:
    with socket.socket() as plug:
        plug.bind(("127.0.0.1", 0))
        return int(plug.getsockname()[1])


async def _rounds(target: Target, crowd: Crowd, publisher: Publisher, per_s: float, seconds: float) -> Round:
    """Publish at that rate; every reader must end at the newest."""
    crowd.forget()
    before_s, kernel_s, began = target.cpu_s(), target.kernel_s(), time.monotonic()
    last = await publisher.publish_evenly(per_s=per_s, n=int(per_s * seconds), n_bytes=_KIB)
    reading = [reader for reader in crowd.readers if not reader.is_stalled]
    await crowd.until(lambda: all(reader.newest == last for reader in reading), what="every reader has the newest")
    took_s = max(crowd.last_at - began, seconds)
    n_deliveries = len(crowd.delays_s)
    return Round(
        us_per_delivery=(target.cpu_s() - before_s) * 1e6 / n_deliveries,
        us_in_kernel=(target.kernel_s() - kernel_s) * 1e6 / n_deliveries,
        p50_ms=at_rank(crowd.delays_s, 0.5) * 1e3,
        p99_ms=at_rank(crowd.delays_s, 0.99) * 1e3,
        per_s=n_deliveries / took_s,
        part_skipped=1 - n_deliveries / (len(reading) * int(per_s * seconds)),
    )


async def _connected(target: Target, crowd: Crowd, n: int) -> tuple[float, float]:
    """Open the streams; gives KiB and microseconds of CPU for each."""
    memory, cpu_s = target.memory_bytes(), target.cpu_s()
    await crowd.connect(n, target.port, target.request())
    return (target.memory_bytes() - memory) / _KIB / n, (target.cpu_s() - cpu_s) * 1e6 / n


async def _measure(report: Report, target: Target, n: int, *, is_ours: bool) -> Figures:
    print(f"\n{target.name}: {n:,} streams of one process")
    crowd = Crowd()
    publisher = Publisher(crowd, target.port, target.path_to_publish)
    await publisher.open()
    await publisher.publish(_KIB)
    kib, connect_us = await _connected(target, crowd, n)
    report.figure(f"{target.name}, memory", kib, "KiB/connection")
    report.figure(f"{target.name}, CPU to connect", connect_us, "us/connection")
    cpu_s = target.cpu_s()
    await asyncio.sleep(_IDLE_S)
    report.figure(f"{target.name}, CPU of idle streams", (target.cpu_s() - cpu_s) / _IDLE_S * 100, "% of a core")
    slow = await _rounds(target, crowd, publisher, 2, _ROUND_S)
    _say(report, f"{target.name}, 2 events/s", slow)
    fast = await _rounds(target, crowd, publisher, 8, _ROUND_S)
    _say(report, f"{target.name}, 8 events/s", fast)
    stalled_ms = storm_s = 0.0
    if is_ours:
        stalled_ms = await _stalled(target, crowd, publisher, n)
        storm_s = await _storm(target, crowd, publisher)
    crowd.leave()
    publisher.close()
    return Figures(kib, slow, fast, stalled_ms, storm_s)


def _say(report: Report, what: str, figures: Round) -> None:
    report.figure(f"{what}, CPU", figures.us_per_delivery, "us/delivery")
    report.figure(f"{what}, of it in the kernel", figures.us_in_kernel, "us/delivery")
    report.figure(f"{what}, p50", figures.p50_ms, "ms")
    report.figure(f"{what}, p99", figures.p99_ms, "ms")
    report.figure(f"{what}, deliveries", figures.per_s, "/s")
    report.figure(f"{what}, skipped for newer", figures.part_skipped * 100, "%")


async def _stalled(target: Target, crowd: Crowd, publisher: Publisher, n: int) -> float:
    """A fifth more come, who follow a larger topic too and stop reading: the p99 of all others."""
    first = len(crowd.readers)
    await crowd.connect(n // 5, target.port, target.request("&topic=large"), n_stalling=n // 5)
    for reader in crowd.readers[first:]:
        reader.stall()
    # Until the server's buffers for them are full.
    for _ in range(_N_LARGE):
        await publisher.publish(_LARGE_BYTES, "/large")
    return (await _rounds(target, crowd, publisher, 2, _ROUND_S)).p99_ms


async def _storm(target: Target, crowd: Crowd, publisher: Publisher) -> float:
    """Everybody comes back at once, from a position that is behind: how long until all have the newest."""
    n = sum(not reader.is_stalled for reader in crowd.readers)
    crowd.leave()
    crowd.readers = []
    # As after a restart of the server: nobody is there any more.
    deadline = time.monotonic() + DEADLINE_S
    while target.n_files() > n / 2:
        if time.monotonic() > deadline:
            raise RuntimeError("the server does not notice that its clients are gone")
        await asyncio.sleep(0.05)
    newest = await publisher.publish(_KIB)
    began = time.monotonic()
    await crowd.storm(n, target.port, target.request())
    await crowd.until(lambda: all(reader.newest == newest for reader in crowd.readers), what="all are back")
    return crowd.last_at - began


def _hold(report: Report, ours: Figures, peer: Figures | None, n: int) -> None:
    print("\nHeld to bars")
    is_eager = sys.version_info >= (3, 12)
    report.at_most("push, memory", ours.kib, 15, "KiB/connection")
    report.at_most("push, CPU", ours.slow.us_per_delivery, 12 if is_eager else 25, "us/delivery of 1 KiB")
    if peer is not None:
        report.at_most("push, CPU", ours.slow.us_per_delivery / peer.slow.us_per_delivery, 1.2, "x nchan's")
    report.at_most(f"push, p99 to {n:,} at 2 events/s", ours.slow.p99_ms, 150, "ms")
    if is_eager and n == _N:
        report.at_least("push, 8 events/s to all", ours.fast.per_s, 60_000, "deliveries/s")
    report.at_most("push, p99 while a fifth stall", ours.stalled_ms / ours.slow.p99_ms, 1.5, "x without")
    report.at_most(f"push, {n:,} come back", ours.storm_s, 6, "s")


def main() -> int:
    """Measure, and hold the figures to their bars."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="1,000 connections")
    parser.add_argument("--connections", type=int, help="so many connections")
    parser.add_argument("--json", type=Path, help="write all figures there")
    options = parser.parse_args()
    n = options.connections or (1_000 if options.quick else _N)
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    os.sched_setaffinity(0, {_READER_CORE})
    report = Report()
    report.machine()
    peer: Figures | None = None
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        with _everfresh(_free_port()) as target:
            ours = runner.run(_measure(report, target, n, is_ours=True))
        if shutil.which("nginx") and _NCHAN_MODULE.exists():
            with _nchan(_free_port()) as target:
                peer = runner.run(_measure(report, target, n, is_ours=False))
        else:
            report.skip("nchan", "nginx and libnginx-mod-nchan are not installed")
    _hold(report, ours, peer, n)
    return report.end(options.json)


if __name__ == "__main__":
    sys.exit(main())
