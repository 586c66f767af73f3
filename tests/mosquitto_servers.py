"""Real Mosquitto brokers for tests."""

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from scripts.server_processes import HOST, ServerProcess, accepts, placed

from everfresh.model.marks import override
from everfresh.testing.waiting import until
from tests.needing import need

SERVER = Path("/usr/sbin/mosquitto")


class MosquittoServer(ServerProcess):
    """One broker. It saves after more than so many changes; `lines` are added to its configuration."""

    def __init__(self, folder: Path, lines: str = "allow_anonymous true", *, saves_after: int = 1) -> None:
        super().__init__(folder)
        self._lines = lines
        self._saves_after = saves_after

    @property
    def url(self) -> str:
        """For a client of it."""
        return f"mqtt://{HOST}:{self.port}"

    def save(self) -> None:
        """Have it write down all that it knows, and wait for that: by itself it does so after a change or two."""
        file = self.folder / "mosquitto.db"
        before = file.stat().st_mtime_ns if file.exists() else 0
        self.send(signal.SIGUSR1)
        until(lambda: file.exists() and file.stat().st_mtime_ns > before, what="a file that is written")

    def forget(self) -> None:
        """Take away what it has saved, while it does not run."""
        assert self._process is None
        (self.folder / "mosquitto.db").unlink(missing_ok=True)

    @override
    def command(self) -> Sequence[str | Path]:
        file = self.folder / "mosquitto.conf"
        file.write_text(
            f"listener {self.port} {HOST}\nuser root\npersistence true\npersistence_location {self.folder}/\n"
            f"autosave_on_changes true\nautosave_interval {self._saves_after}\n"
            f"max_queued_messages 0\nmax_inflight_messages 0\n{self._lines}\n"
        )
        return [SERVER, "-c", file]

    @override
    def is_ready(self) -> bool:
        return accepts(self.port)


@contextmanager
def mosquitto_server(lines: str = "allow_anonymous true", *, saves_after: int = 1) -> Iterator[MosquittoServer]:
    """A broker of one's own, running, its data in a folder that goes with it."""
    need([SERVER], for_="MQTT", package="mosquitto")
    with placed(lambda folder: MosquittoServer(folder, lines, saves_after=saves_after)) as server:
        server.start()
        yield server
