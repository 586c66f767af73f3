"""Real RabbitMQ servers for tests: on free ports of this machine, in folders of their own, ended after.

A server takes some seconds to start, so one is shared by all tests that do not kill it; each has a queue and an
exchange of its own there. Its node is `...@localhost`, so the machine's name need not resolve, and it is registered
with an epmd of its own, which ends with it: the one that Erlang starts by itself would stay.
"""

import os
import secrets
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from everfresh.testing.waiting import until
from tests.redis_servers import HOST, free_port

# The one on the path asks to be root or its own user; this is what it runs then.
SERVER = Path(os.environ.get("EVERFRESH_RABBITMQ_SERVER", "/usr/lib/rabbitmq/bin/rabbitmq-server"))
EPMD = Path("/usr/bin/epmd")
# An old node of a busy machine.
STARTS_WITHIN_S = 60.0
_ENDS_WITHIN_S = 20.0
_GREETING = b"AMQP\x00\x00\x09\x01"


def need_rabbitmq() -> None:
    """Skip the test without a rabbitmq-server; fail it where one must not be missing."""
    missing = [path for path in (SERVER, EPMD) if not path.exists()]
    if missing:
        problem = f"{missing[0]} is missing, so nobody has tried AMQP. Install it: apt-get install rabbitmq-server"
        if os.environ.get("CI") == "true":
            pytest.fail(problem)
        pytest.skip(problem)


class RabbitServer:
    """One broker, with the user guest. `options` are lines of its configuration file."""

    def __init__(self, folder: Path, options: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.port = free_port()
        self._options = {"log.console": "true", "log.file": "false", "log.console.level": "info", **(options or {})}
        self._epmd_port, self._node_port = free_port(), free_port()
        self._epmd: subprocess.Popen[bytes] | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """For a source on it."""
        return f"amqp://guest:guest@{HOST}:{self.port}"

    def start(self) -> None:
        """Start it, on the data that is there, and wait until it answers."""
        assert self._process is None
        if self._epmd is None:
            command = [EPMD, "-port", str(self._epmd_port), "-address", HOST]
            quiet = subprocess.DEVNULL
            self._epmd = subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet)
            until(lambda: _accepts(self._epmd_port), what="an answer of epmd")
        lines = (f"{name} = {value}\n" for name, value in self._options.items())
        (self.folder / "rabbitmq.conf").write_text("".join(lines))
        with (self.folder / "log").open("ab") as log:
            # A group of its own: a shell stands before the server, and both have to end.
            self._process = subprocess.Popen(
                [SERVER],
                env=self._environment(),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        until(self._answers, what=f"an answer of the rabbitmq-server in {self.folder}", deadline_s=STARTS_WITHIN_S)

    def kill(self) -> None:
        """End it at once, as a crash does."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it in order, with its epmd; repeating is safe."""
        if self._process is not None:
            self._end(signal.SIGTERM)
        if self._epmd is not None:
            self._epmd.kill()
            self._epmd.wait()
            self._epmd = None

    def pause(self) -> None:
        """Let it stand still; its connections stay open."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def is_ready(self) -> bool:
        """Whether it answers, for others than the one who starts it."""
        # What speaks another version is answered too; ours is answered once it is ready.
        with suppress(OSError), socket.create_connection((HOST, self.port), timeout=5) as one:
            one.sendall(_GREETING)
            return bool(one.recv(1))
        return False

    def n_registered(self, name: str) -> int:
        """How many quorum queues with this beginning are in the register that the broker starts again from."""
        register = next((self.folder / "data").glob("*/quorum/*/names.dets"))
        return register.read_bytes().count(f"%2F_{name}".encode())

    def _environment(self) -> dict[str, str]:
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
            # Threads of Erlang that wait busily would take the other tests' time.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none",
        }

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        os.killpg(self._process.pid, number)

    def _end(self, number: signal.Signals) -> None:
        process = self._process
        assert process is not None
        self._signal(number)
        if number is not signal.SIGKILL:
            self._signal(signal.SIGCONT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_ENDS_WITHIN_S)
        # The shell may end before the server does.
        with suppress(ProcessLookupError):
            self._signal(signal.SIGKILL)
        process.wait()
        self._process = None
        until(lambda: not _accepts(self.port), what="the end of the rabbitmq-server")

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.folder / "log").read_text()[-4_000:]
        return self.is_ready()


def _accepts(port: int) -> bool:
    with suppress(OSError), socket.create_connection((HOST, port), timeout=1):
        return True
    return False


@contextmanager
def rabbitmq_server(options: Mapping[str, str] | None = None) -> Iterator[RabbitServer]:
    """A server of one's own, running, its data in a folder that goes with it."""
    need_rabbitmq()
    with tempfile.TemporaryDirectory(prefix="rabbitmq-", ignore_cleanup_errors=True) as folder:
        server = RabbitServer(Path(folder), options)
        try:
            server.start()
            yield server
        finally:
            server.stop()


def new_queue() -> str:
    """The name of a queue that no other test has."""
    return f"q{secrets.token_hex(6)}"
