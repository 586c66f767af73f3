"""Real Mosquitto brokers for tests: on free ports, in folders of their own, ended after."""

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

SERVER = Path("/usr/sbin/mosquitto")
_ENDS_WITHIN_S = 10.0


def need_mosquitto() -> None:
    """Skip the test without a mosquitto; fail it where one must not be missing."""
    if not SERVER.exists():
        problem = f"{SERVER} is missing, so nobody has tried MQTT. Install it: apt-get install mosquitto"
        if os.environ.get("CI") == "true":
            pytest.fail(problem)
        pytest.skip(problem)


class MosquittoServer:
    """One broker. It saves after more than so many changes; `lines` are added to its configuration."""

    def __init__(self, folder: Path, lines: str = "allow_anonymous true", *, saves_after: int = 1) -> None:
        self.folder = folder
        self.port = free_port()
        self._lines = lines
        self._saves_after = saves_after
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """For a client of it."""
        return f"mqtt://{HOST}:{self.port}"

    def start(self) -> None:
        """Start it, on the data that is there, and wait until it answers."""
        assert self._process is None
        file = self.folder / "mosquitto.conf"
        file.write_text(
            f"listener {self.port} {HOST}\nuser root\npersistence true\npersistence_location {self.folder}/\n"
            f"autosave_on_changes true\nautosave_interval {self._saves_after}\n"
            f"max_queued_messages 0\nmax_inflight_messages 0\n{self._lines}\n"
        )
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen([SERVER, "-c", file], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until(self._listens, what=f"an answer of the mosquitto in {self.folder}")

    def kill(self) -> None:
        """End it at once, as a crash does: what it has not saved is gone."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it in order; repeating is safe."""
        if self._process is not None:
            self._end(signal.SIGTERM)

    def pause(self) -> None:
        """Let it stand still; its connections stay open."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def save(self) -> None:
        """Have it write down all that it knows, and wait for that: by itself it does so after a change or two."""
        assert self._process is not None
        file = self.folder / "mosquitto.db"
        before = file.stat().st_mtime_ns if file.exists() else 0
        self._process.send_signal(signal.SIGUSR1)
        until(lambda: file.exists() and file.stat().st_mtime_ns > before, what="a file that is written")

    def forget(self) -> None:
        """Take away what it has saved, while it does not run."""
        assert self._process is None
        (self.folder / "mosquitto.db").unlink(missing_ok=True)

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

    def _listens(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.folder / "log").read_text()
        with suppress(OSError), socket.create_connection((HOST, self.port), timeout=1):
            return True
        return False


@contextmanager
def mosquitto_server(lines: str = "allow_anonymous true", *, saves_after: int = 1) -> Iterator[MosquittoServer]:
    """A broker of one's own, running, its data in a folder that goes with it."""
    need_mosquitto()
    with tempfile.TemporaryDirectory(prefix="mosquitto-") as folder:
        server = MosquittoServer(Path(folder), lines, saves_after=saves_after)
        server.start()
        try:
            yield server
        finally:
            server.stop()
