"""A service manager is told what sd_notify(3) describes."""

import os
import socket
from collections.abc import Iterator

import pytest

from everfresh.cli.notifying import READY, notify, watchdog_s
from everfresh.testing.waiting import DEADLINE_S


@pytest.fixture
def manager() -> Iterator[socket.socket]:
    """One that listens under a name outside the file system."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(f"\0everfresh-test-{os.getpid()}")
        listening.settimeout(DEADLINE_S)
        yield listening


def test_it_is_told_where_it_listens(manager: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that begins with @ is abstract."""
    monkeypatch.setenv("NOTIFY_SOCKET", f"@everfresh-test-{os.getpid()}")
    notify(READY)

    assert manager.recv(100) == b"READY=1"


@pytest.mark.parametrize("address", ["", "@everfresh-test-nobody", "nowhere/at/all"])
def test_without_one_nothing_happens(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process started by hand has none."""
    monkeypatch.setenv("NOTIFY_SOCKET", address)

    notify(READY)


@pytest.mark.parametrize(
    ("micros", "pid", "expected"),
    [("10000000", "", 10.0), ("500000", "own", 0.5), ("500000", "1", None), ("", "", None), ("0", "", None)],
)
def test_how_often_it_wants_to_hear(
    micros: str, pid: str, expected: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it means this process, and not its parent."""
    monkeypatch.setenv("WATCHDOG_USEC", micros)
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()) if pid == "own" else pid)

    assert watchdog_s() == expected
