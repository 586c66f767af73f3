"""Servers as processes: their ports, their ends, and what tells that one does not come."""

import socket
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from scripts.server_processes import HOST, ServerProcess, accepts, free_port, placed

from everfresh.model.marks import override
from tests.needing import lacking, need

LISTENS = """
import signal, socket, sys
print("I listen", flush=True)
with socket.create_server(("127.0.0.1", int(sys.argv[1]))) as one:
    while True:
        one.accept()[0].close()
"""
# What stands before it ends with a signal, and the server does not.
WRAPPED = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {LISTENS!r}, sys.argv[1]]).wait()"


class Stub(ServerProcess):
    """A server of a few lines."""

    program = LISTENS

    @override
    def command(self) -> Sequence[str]:
        return [sys.executable, "-S", "-c", self.program, str(self.port)]

    @override
    def is_ready(self) -> bool:
        return accepts(self.port)


class Wrapped(Stub):
    """The same, started by another process."""

    program = WRAPPED
    is_wrapped = True


class Broken(Stub):
    """One that does not come."""

    program = "import sys; sys.exit('no licence')"


def test_a_port_is_given_to_one_alone() -> None:
    """Neither to another who asks for one, nor to who takes it by its number without being who it was given to."""
    ports = [free_port(above=10_000), *(free_port() for _ in range(50))]

    assert len(set(ports)) == len(ports)
    for port in (*ports, ports[0] + 10_000):
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind((HOST, port))


@pytest.mark.parametrize("kind", [Stub, Wrapped])
def test_a_server_comes_back_to_its_port(kind: type[Stub]) -> None:
    """Killed or stopped, also while it stands still; when that is done, nobody listens there."""
    with placed(kind) as server:
        for end in (server.kill, server.stop):
            server.start()
            assert accepts(server.port)
            server.pause()
            end()
            assert not accepts(server.port)

        server.stop()
        assert server.log().count("I listen") == 2


def test_a_server_and_its_folder_go_with_the_block() -> None:
    """Also when the block fails."""
    seen: list[Stub] = []

    def fail() -> None:
        with placed(Stub) as server:
            seen.append(server)
            server.start()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()

    (server,) = seen
    assert not accepts(server.port)
    assert not server.folder.exists()


def test_a_server_that_does_not_come_says_why() -> None:
    """At once, and by its own words, as its folder goes."""
    with placed(Broken) as server, pytest.raises(AssertionError, match="ended with 1") as raised:
        server.start()

    assert raised.value.__notes__ == ["no licence\n"]


def test_what_is_missing_skips_at_home_and_fails_where_nothing_may_be(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """And says what to install."""
    need([Path(sys.executable)], for_="it", package="it")
    words = "nobody has tried it. Install it: apt-get install it"

    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match=words):
        need([Path(sys.executable), tmp_path / "missing"], for_="it", package="it")

    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="gone"):
        lacking("gone")
