"""A RabbitMQ server as a process.

Its node is `...@localhost`, so the machine's name need not resolve, and it is registered with an epmd of its own, which
ends with it: the one that Erlang starts by itself would stay.
"""

import os
import socket
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

from scripts.server_processes import HOST, ServerProcess, accepts, free_port

from everfresh.model.marks import override
from everfresh.testing.waiting import until

# The one on the path asks to be root or its own user; this is what it runs then.
SERVER = Path(os.environ.get("EVERFRESH_RABBITMQ_SERVER", "/usr/lib/rabbitmq/bin/rabbitmq-server"))
EPMD = Path("/usr/bin/epmd")
_GREETING = b"AMQP\x00\x00\x09\x01"


class RabbitProcess(ServerProcess):
    """One broker, with the user guest. `options` are lines of its configuration file, `flags` those of Erlang."""

    # An old node of a busy machine.
    starts_within_s: ClassVar[float] = 60.0
    ends_within_s: ClassVar[float] = 20.0
    is_wrapped: ClassVar[bool] = True

    def __init__(self, folder: Path, options: Mapping[str, str] | None = None, *, flags: str = "") -> None:
        super().__init__(folder)
        self._options = {"log.console": "true", "log.file": "false", "log.console.level": "info", **(options or {})}
        self._flags = flags
        self._epmd_port, self._node_port = free_port(), free_port()
        self._epmd: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """For a source on it."""
        return f"amqp://guest:guest@{HOST}:{self.port}"

    @override
    def start(self) -> None:
        if self._epmd is None:
            command = [EPMD, "-port", str(self._epmd_port), "-address", HOST]
            quiet = subprocess.DEVNULL
            self._epmd = subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet)
            until(lambda: accepts(self._epmd_port), what="an answer of epmd")
        super().start()

    @override
    def stop(self) -> None:
        super().stop()
        if self._epmd is not None:
            self._epmd.kill()
            self._epmd.wait()
            self._epmd = None

    @override
    def command(self) -> Sequence[Path]:
        lines = (f"{name} = {value}\n" for name, value in self._options.items())
        (self.folder / "rabbitmq.conf").write_text("".join(lines))
        return [SERVER]

    @override
    def environment(self) -> Mapping[str, str]:
        folder = self.folder
        return {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            # The cookie is made there.
            "HOME": str(folder),
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": HOST,
            "RABBITMQ_NODENAME": f"everfresh{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": HOST,
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._node_port),
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder / "logs"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_CONF_ENV_FILE": os.devnull,
            # Threads of Erlang wait busily otherwise, and take the time of what runs beside it: the cores are few.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": f"+sbwt none +sbwtdcpu none +sbwtdio none {self._flags}",
        }

    @override
    def is_ready(self) -> bool:
        # What speaks another version is answered too; ours is answered once it is ready.
        with suppress(OSError), socket.create_connection((HOST, self.port), timeout=5) as one:
            one.sendall(_GREETING)
            return bool(one.recv(1))
        return False


def missing() -> list[Path]:
    """Which of its programs are not on this machine."""
    return [path for path in (SERVER, EPMD) if not path.exists()]
