"""Servers that tests and benchmarks start as processes, each on a port of its own and in a folder of its own.

A port is held from when it is given: bound by this process and not listened on, until this process ends. A server may
listen there none the less, as both say SO_REUSEADDR and this is Linux. Nobody else is given it meanwhile, neither
before the server starts nor while it is killed and to come back; else a client that tries to reach a dead server again
and again may be given that very port as its own, and then talks to itself, or the server finds its port taken.
"""

import os
import signal
import socket
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar, TypeVar

from everfresh.testing.waiting import DEADLINE_S, until

HOST = "127.0.0.1"
_held: list[socket.socket] = []

Server = TypeVar("Server", bound="ServerProcess")


class ServerProcess(ABC):
    """One server. It may be stopped, killed, and started again on the data in its folder."""

    starts_within_s: ClassVar[float] = DEADLINE_S
    ends_within_s: ClassVar[float] = 10.0
    # Something stands before the server, such as a shell, so that signals have to go to all of its session.
    is_wrapped: ClassVar[bool] = False

    def __init__(self, folder: Path, *, port: int | None = None) -> None:
        self.folder = folder
        self.port = free_port() if port is None else port
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def command(self) -> Sequence[str | Path]:
        """What starts it; its configuration is written by then."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Whether it answers."""

    def environment(self) -> Mapping[str, str]:
        """What is set for it."""
        return os.environ

    def log(self) -> str:
        """What it has said, since its first start."""
        return (self.folder / "log").read_text(errors="replace")

    def start(self) -> None:
        """Start it, on the data that is there, and wait until it answers."""
        if self._process is not None:
            raise RuntimeError(f"The server in {self.folder} is started already.")
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self.command(),
                env=self.environment(),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=self.is_wrapped,
            )
        try:
            until(self._has_come, what=f"an answer of {self}", deadline_s=self.starts_within_s)
        except AssertionError as error:
            error.add_note(self.log()[-4_000:])
            raise

    def kill(self) -> None:
        """End it at once, as a crash does: what it has not written is gone."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it in order; repeating is safe."""
        if self._process is not None:
            self._end(signal.SIGTERM)

    def pause(self) -> None:
        """Let it stand still; its connections stay open."""
        self.send(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self.send(signal.SIGCONT)

    def send(self, number: signal.Signals) -> None:
        """Send it a signal; one that has ended by itself gets none."""
        process = self._running()
        if not self.is_wrapped:
            process.send_signal(number)
            return
        # The wrapping may end before the server does.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)

    def __str__(self) -> str:
        return f"the {type(self).__name__} in {self.folder}"

    def _end(self, number: signal.Signals) -> None:
        process = self._running()
        self.send(number)
        if number is not signal.SIGKILL:
            # One that stands still hears of nothing else.
            self.send(signal.SIGCONT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(self.ends_within_s)
        self.send(signal.SIGKILL)
        process.wait()
        self._process = None
        until(lambda: not accepts(self.port), what=f"the end of {self}")

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError(f"The server in {self.folder} is not started.")
        return self._process

    def _has_come(self) -> bool:
        code = self._running().poll()
        if code is not None:
            raise AssertionError(f"{self} ended with {code}")
        return self.is_ready()


@contextmanager
def placed(make: Callable[[Path], Server]) -> Generator[Server]:
    """A server in a folder, not started; it ends with the block, and its folder goes."""
    # The path of a socket may have about a hundred bytes, and pytest's folders have more. What is killed may leave
    # processes that write for a moment.
    with TemporaryDirectory(prefix="server-", ignore_cleanup_errors=True) as folder:
        server = make(Path(folder))
        try:
            yield server
        finally:
            server.stop()


def free_port(*, above: int = 0) -> int:
    """A port that nobody listens on, held for who asks; with `above`, the one so far above it is held too."""
    while True:
        held = [_hold(0)]
        port = int(held[0].getsockname()[1])
        try:
            if above:
                held.append(_hold(port + above))
        except (OSError, OverflowError):
            held[0].close()
            continue
        _held.extend(held)
        return port


def accepts(port: int) -> bool:
    """Whether somebody listens there."""
    with suppress(OSError), socket.create_connection((HOST, port), timeout=1):
        return True
    return False


def _hold(port: int) -> socket.socket:
    one = socket.socket()
    try:
        one.bind((HOST, port))
        # Only now: it is to take no port that another holds.
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    except (OSError, OverflowError):
        one.close()
        raise
    return one
