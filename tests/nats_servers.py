"""Real NATS servers with JetStream for tests: on free ports, in folders of their own, ended after."""

import os
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from everfresh.testing.waiting import until
from tests.redis_servers import HOST, free_port

SERVER = Path("/usr/sbin/nats-server")
_ENDS_WITHIN_S = 10.0


def need_nats() -> None:
    """Skip the test without a nats-server; fail it where one must not be missing."""
    if not SERVER.exists():
        problem = f"{SERVER} is missing, so nobody has tried JetStream. Install it: apt-get install nats-server"
        if os.environ.get("CI") == "true":
            pytest.fail(problem)
        pytest.skip(problem)


class NatsServer:
    """One server, its streams in files. `config` is added to its configuration."""

    def __init__(self, folder: Path, config: str = "") -> None:
        self.folder = folder
        self.port = free_port()
        self._config = config
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """For a client of it."""
        return f"nats://{HOST}:{self.port}"

    def start(self) -> None:
        """Start it, on the data that is there, and wait until JetStream answers."""
        assert self._process is None
        file = self.folder / "nats.conf"
        file.write_text(
            f"host: {HOST}\nport: {self.port}\njetstream {{ store_dir: '{self.folder}/js' }}\n{self._config}\n"
        )
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen([SERVER, "-c", file], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until(self._is_ready, what=f"an answer of the nats-server in {self.folder}")

    def kill(self) -> None:
        """End it at once, as a crash does."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it in order; repeating is safe."""
        if self._process is not None:
            self._end(signal.SIGTERM)

    def pause(self) -> None:
        """Let it stand still; its connections stay open."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        assert process is not None
        process.send_signal(number)
        if number is not signal.SIGKILL:
            process.send_signal(signal.SIGCONT)
        try:
            process.wait(_ENDS_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _is_ready(self) -> bool:
        assert self._process is not None
        log = (self.folder / "log").read_text()
        assert self._process.poll() is None, log
        return log.count("Server is ready") > log.count("Initiating Shutdown") and self._greets()

    def _greets(self) -> bool:
        with suppress(OSError), socket.create_connection((HOST, self.port), timeout=1) as one:
            return one.recv(4) == b"INFO"
        return False


@contextmanager
def nats_server(config: str = "") -> Iterator[NatsServer]:
    """A server of one's own, running, its data in a folder that goes with it."""
    need_nats()
    with tempfile.TemporaryDirectory(prefix="nats-") as folder:
        server = NatsServer(Path(folder), config)
        server.start()
        try:
            yield server
        finally:
            server.stop()
