"""A RabbitMQ server for a benchmark: it starts it, on free ports and in a folder of its own, and ends it."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from benchmarks.report import Report

_HOST = "127.0.0.1"
# The one on the path asks to be root or its own user; this is what it runs then.
_PROGRAM = "/usr/lib/rabbitmq/bin/rabbitmq-server"
_EPMD = "epmd"
_STARTS_WITHIN_S = 60.0
_ENDS_WITHIN_S = 20.0
_GREETING = b"AMQP\x00\x00\x09\x01"


@contextmanager
def broker(report: Report, name: str) -> Iterator[str | None]:
    """The URL of a broker, which ends with the block; None, and the report says so, when there is none here."""
    epmd = shutil.which(_EPMD)
    if epmd is None or not Path(_PROGRAM).exists():
        report.skip(name, "there is no rabbitmq-server here. Install one: apt-get install rabbitmq-server")
        yield None
        return
    port, node_port, epmd_port = _free_port(), _free_port(), _free_port()
    quiet = subprocess.DEVNULL
    with tempfile.TemporaryDirectory(prefix="rabbitmq-", ignore_cleanup_errors=True) as folder:
        environment = _environment(Path(folder), port, node_port, epmd_port)
        # Erlang would start one by itself, which would stay.
        names = subprocess.Popen([epmd, "-port", str(epmd_port), "-address", _HOST], stdout=quiet, stderr=quiet)  # noqa: S603 - of this machine
        server = subprocess.Popen(  # noqa: S603 - as above
            [_PROGRAM], env=environment, cwd=folder, stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True
        )
        try:
            _wait_for(port)
            yield f"amqp://guest:guest@{_HOST}:{port}"
        finally:
            _end(server)
            names.kill()
            names.wait()


def _environment(folder: Path, port: int, node_port: int, epmd_port: int) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "LANG": "C.UTF-8",
        "HOME": str(folder),
        "ERL_EPMD_PORT": str(epmd_port),
        "ERL_EPMD_ADDRESS": _HOST,
        "RABBITMQ_NODENAME": f"everfresh{port}@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": _HOST,
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_DIST_PORT": str(node_port),
        "RABBITMQ_MNESIA_BASE": str(folder / "data"),
        "RABBITMQ_LOG_BASE": str(folder / "logs"),
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
        "RABBITMQ_CONF_ENV_FILE": os.devnull,
        # Threads of Erlang wait busily otherwise, and take the time of what is measured: the cores are few.
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+sbwt none +sbwtdcpu none +sbwtdio none",
    }


def _wait_for(port: int) -> None:
    ends_at = time.monotonic() + _STARTS_WITHIN_S
    while time.monotonic() < ends_at:
        with suppress(OSError), socket.create_connection((_HOST, port), timeout=1) as one:
            one.sendall(_GREETING)
            if one.recv(1):
                return
        time.sleep(0.05)
    msg = "the rabbitmq-server does not answer"
    raise TimeoutError(msg)


def _end(server: "subprocess.Popen[bytes]") -> None:
    # A shell stands before the server, and both have to end.
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(server.pid, number)
        with suppress(subprocess.TimeoutExpired):
            server.wait(_ENDS_WITHIN_S)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind((_HOST, 0))
        return int(one.getsockname()[1])
