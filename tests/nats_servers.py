"""Real NATS servers with JetStream for tests."""

import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from scripts.server_processes import HOST, ServerProcess, placed

from everfresh.model.marks import override
from tests.needing import need

SERVER = Path("/usr/sbin/nats-server")


class NatsServer(ServerProcess):
    """One server, its streams in files. `config` is added to its configuration."""

    def __init__(self, folder: Path, config: str = "") -> None:
        super().__init__(folder)
        self._config = config

    @property
    def url(self) -> str:
        """For a client of it."""
        return f"nats://{HOST}:{self.port}"

    @override
    def command(self) -> Sequence[str | Path]:
        file = self.folder / "nats.conf"
        file.write_text(
            f"host: {HOST}\nport: {self.port}\njetstream {{ store_dir: '{self.folder}/js' }}\n{self._config}\n"
        )
        return [SERVER, "-c", file]

    @override
    def is_ready(self) -> bool:
        log = self.log()
        return log.count("Server is ready") > log.count("Initiating Shutdown") and self._greets()

    def _greets(self) -> bool:
        with suppress(OSError), socket.create_connection((HOST, self.port), timeout=1) as one:
            return one.recv(4) == b"INFO"
        return False


@contextmanager
def nats_server(config: str = "") -> Iterator[NatsServer]:
    """A server of one's own, running, its data in a folder that goes with it."""
    need([SERVER], for_="JetStream", package="nats-server")
    with placed(lambda folder: NatsServer(folder, config)) as server:
        server.start()
        yield server
