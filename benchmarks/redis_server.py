"""A redis-server for a benchmark: it starts it, on a free port and in a folder of its own, and ends it."""

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import redis
from benchmarks.report import Report

_HOST = "127.0.0.1"
_PROGRAM = "redis-server"
# A Cluster's nodes talk on their port and this much above it.
_BUS = 10_000
_STARTS_WITHIN_S = 10.0


@dataclass(frozen=True)
class Server:
    """One that runs, and a plain client of it, with the options of the store's own."""

    url: str
    port: int
    pid: int
    client: Any

    def url_of(self, prefix: str) -> str:
        """For a store of its own."""
        return f"{self.url}?prefix={prefix}"

    def calls(self) -> "Calls":
        """What the functions of the server took until now."""
        told: Mapping[str, Any] = self.client.info("commandstats").get("cmdstat_fcall", {})
        return Calls(int(told.get("calls", 0)), float(told.get("usec", 0)))

    def cpu_s(self) -> float:
        """The CPU time that it has had."""
        told: Mapping[str, Any] = self.client.info("cpu")
        return float(told["used_cpu_user"]) + float(told["used_cpu_sys"])

    def used_bytes(self) -> int:
        """All memory that it has asked for, but for what its connections hold."""
        told: Mapping[str, Any] = self.client.info("memory")
        return int(told["used_memory"]) - int(told["mem_clients_normal"])


@dataclass(frozen=True)
class Calls:
    """How many calls of functions there were, and the server's time for all of them."""

    n: int
    us: float

    def us_since(self, before: "Calls") -> float:
        """The server's time for one, of those since then."""
        return (self.us - before.us) / max(self.n - before.n, 1)


@contextmanager
def server(report: Report, name: str) -> Iterator[Server | None]:
    """A server, which ends with the block; None, and the report says so, when there is none on this machine."""
    if shutil.which(_PROGRAM) is None:
        report.skip(name, "there is no redis-server here. Install one: apt-get install redis-server")
        yield None
        return
    with started({}) as running:
        report.raw["redis"] = running.client.info("server")["redis_version"]
        yield running


@contextmanager
def started(options: Mapping[str, str], *, is_node: bool = False) -> Iterator[Server]:
    """A server with these options besides, which ends with the block; a Cluster's node takes a second port."""
    with tempfile.TemporaryDirectory(prefix="redis-") as folder:
        port = _free_port(is_node=is_node)
        usual = {"port": port, "bind": _HOST, "dir": folder, "save": "", "appendonly": "no", **options}
        command = [_PROGRAM, *(word for option, value in usual.items() for word in (f"--{option}", str(value)))]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)  # noqa: S603 - of this machine
        try:
            with redis.Redis(_HOST, port, protocol=3) as client:
                _wait_for(client)
                yield Server(f"redis://{_HOST}:{port}/0", port, process.pid, client)
        finally:
            process.terminate()
            process.wait()


def _wait_for(client: "redis.Redis") -> None:
    ends_at = time.monotonic() + _STARTS_WITHIN_S
    while time.monotonic() < ends_at:
        with suppress(redis.RedisError):
            client.ping()
            return
        time.sleep(0.01)
    msg = "the redis-server does not answer"
    raise TimeoutError(msg)


def _free_port(*, is_node: bool) -> int:
    while True:
        with socket.socket() as one:
            one.bind((_HOST, 0))
            port = int(one.getsockname()[1])
        if not is_node or _is_free(port + _BUS):
            return port


def _is_free(port: int) -> bool:
    with socket.socket() as one, suppress(OSError, OverflowError):
        one.bind((_HOST, port))
        return True
    return False
