"""The demo as a person starts it: it ends at once, and leaves nothing behind."""

import contextlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from everfresh.demo import DemoSettings, run_once
from everfresh.testing.waiting import until
from tests.demo.processes import DEMO, DemoProcess, demo, is_alive, kill, process, trackers_of

TOPICS = "topic=summary&topic=activity"
ENDS_WITHIN_S = 2.0
"""The promise of `everfresh demo`: Ctrl-C ends everything in under this."""


@contextlib.contextmanager
def taken_port() -> Iterator[int]:
    """A port on which somebody listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


@contextlib.contextmanager
def open_stream(running: DemoProcess) -> Iterator[Iterator[str]]:
    """A stream of updates as a browser holds it open; its lines."""
    with (
        httpx2.Client(timeout=30) as client,
        client.stream("GET", f"{running.url}/updates?{TOPICS}") as answer,
    ):
        lines = answer.iter_lines()
        assert next(lines).startswith("retry:")
        yield lines


def arrives(lines: Iterator[str], line: str) -> None:
    """Read the stream up to that line."""
    assert line in lines


@pytest.mark.alone
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])
def test_a_signal_ends_everything_while_a_stream_is_open(number: signal.Signals) -> None:
    """In under two seconds, the tracker included; the browser is told goodbye."""
    with demo("port=0, upstream_delay=2.0, autopilot=False") as running, open_stream(running) as lines:
        (tracker,) = trackers_of(running.popen.pid)
        running.change("DES-110", title="Renamed")  # so that builds are under way
        arrives(lines, "event: stale")
        began = time.monotonic()

        running.popen.send_signal(number)
        code = running.ended(deadline_s=10)
        took_s = time.monotonic() - began

        assert code == 0
        assert took_s < ENDS_WITHIN_S
        assert not is_alive(tracker)
        assert "event: bye" in list(lines)
        assert running.errors == []


@pytest.mark.alone
def test_a_signal_while_starting_ends_everything() -> None:
    """Before the page is ready, too."""
    with process("-c", DEMO.format("port=0, upstream_delay=30.0")) as running:
        running.line_with("starting the tracker")
        (tracker,) = until(lambda: trackers_of(running.popen.pid), what="a tracker")
        began = time.monotonic()

        running.popen.send_signal(signal.SIGINT)

        assert running.ended(deadline_s=10) == 0
        assert time.monotonic() - began < ENDS_WITHIN_S
        assert not is_alive(tracker)
        assert running.errors == []


def test_the_tracker_ends_when_the_demo_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is left to end it, so it ends itself."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # nobody is left to remove the store, either
    with demo() as running:
        (tracker,) = trackers_of(running.popen.pid)

        kill(running.popen.pid)

        until(lambda: not is_alive(tracker), what="the end of the tracker")


def test_the_store_is_removed_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless it was asked for by name."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))

    with demo() as running:
        assert list(tmp_path.glob("everfresh-demo-*/cache.db"))
        running.popen.send_signal(signal.SIGINT)
        running.ended()

    assert list(tmp_path.iterdir()) == []


def test_a_store_asked_for_by_name_is_kept(tmp_path: Path) -> None:
    """The next demo begins with the last good values."""
    store = tmp_path / "demo.db"
    settings = f"port=0, upstream_delay=0.05, autopilot=False, store='sqlite:///{store}'"

    for _ in range(2):
        with demo(settings) as running:
            assert httpx2.get(f"{running.url}/design-team").status_code == 200

    assert store.exists()


def test_a_port_in_use_is_one_line_and_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What, which, and what to do next."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))

    with taken_port() as port, process("-c", DEMO.format(f"port={port}")) as running:
        code = running.ended()

        assert code == 1
        (line,) = running.errors
        assert f"port {port}: " in line
        assert "--port" in line
        assert list(tmp_path.iterdir()) == []


def test_a_line_per_event() -> None:
    """Topic, entries touched, refreshed or equal, time to the browser."""
    with demo() as running:
        running.change("DES-110", title="Renamed")
        assert "no browser is open: activity" in running.line_with("tracker.issue.updated")
        with open_stream(running) as lines:
            running.change("DES-110", title="Renamed again")
            arrives(lines, "event: update")
            line = running.line_with("s to the browser: activity")

    assert "touched 5: 2 refreshed, 3 equal" in line


def test_an_event_that_touches_nothing_says_so() -> None:
    """Another team's issue is on nobody's page."""
    with demo() as running:
        running.tracker.patch("/issues/INF-110", json={"actor": "paul", "title": "Renamed"}).raise_for_status()

        assert running.line_with("tracker.issue.updated").endswith("touched 0: nothing here depends on it")


def test_the_autopilot_changes_something_by_itself() -> None:
    """Nobody has to do anything to see the page live."""
    with demo("port=0, upstream_delay=0.05, autopilot_every_s=0.1") as running:
        running.line_with("tracker.issue.")


def test_quiet_prints_no_line_per_event() -> None:
    """The address is enough for some."""
    with demo("port=0, upstream_delay=0.05, autopilot=False, quiet=True") as running:
        with open_stream(running) as lines:
            running.change("DES-110", title="Renamed")
            arrives(lines, "event: update")
        running.popen.send_signal(signal.SIGINT)
        running.ended()

    assert not [line for line in running.lines if "tracker.issue" in line]


@pytest.mark.alone
def test_the_tracker_ends_at_once_with_an_answer_pending() -> None:
    """A slow answer is let go."""
    with process("-m", "everfresh.demo.tracker", "--delay", "60") as tracker:
        url = tracker.line_with("listens on").split()[-1]
        with socket.create_connection(("127.0.0.1", int(url.rsplit(":", 1)[1]))) as asking:
            asking.sendall(b"GET /issues HTTP/1.1\r\nhost: tracker\r\n\r\n")
            httpx2.patch(f"{url}/issues/DES-110", json={"actor": "mira"})  # so the question above has arrived
            began = time.monotonic()

            tracker.popen.send_signal(signal.SIGTERM)

            assert tracker.ended(deadline_s=10) == 0
            assert time.monotonic() - began < ENDS_WITHIN_S


def test_the_tracker_ends_when_its_parent_closes_the_pipe() -> None:
    """However the parent ends, the pipe closes."""
    command = ("-m", "everfresh.demo.tracker", "--stop-with-parent")
    with process(*command, stdin=subprocess.PIPE) as tracker:
        tracker.line_with("listens on")
        assert tracker.popen.stdin is not None

        tracker.popen.stdin.close()

        assert tracker.ended() == 0


def test_the_tracker_says_that_its_port_is_in_use() -> None:
    """One line, exit code 1."""
    with taken_port() as port, process("-m", "everfresh.demo.tracker", "--port", str(port)) as tracker:
        assert tracker.ended() == 1
        (line,) = tracker.errors
        assert f"port {port}" in line


def test_the_command_makes_one_round_trip() -> None:
    """`everfresh demo --once` prints the time of each stage and exits with 0."""
    with process("-m", "everfresh", "demo", "--once", "--upstream-delay", "0.1") as once:
        assert once.ended(deadline_s=30) == 0
        stages = "\n".join(once.lines)

    for stage in ("has changed DES-", "webhook is applied", "refreshed", "a browser has reviews-mira", "exactly 3"):
        assert stage in stages


def test_a_round_trip_that_is_stopped_did_not_hold() -> None:
    """Ctrl-C ends it at once, and nobody takes it for a success."""
    with process("-m", "everfresh", "demo", "--once", "--upstream-delay", "30") as once:
        (tracker,) = until(lambda: trackers_of(once.popen.pid), what="a tracker")

        once.popen.send_signal(signal.SIGINT)

        assert once.ended(deadline_s=10) == 1
        assert not is_alive(tracker)


def test_a_round_trip_that_takes_too_long_fails(capsys: pytest.CaptureFixture[str]) -> None:
    """It says how far it came, and ends."""
    assert run_once(DemoSettings(upstream_delay=30.0, deadline_s=1.5, store="memory:")) == 1

    assert "did not end within 1.5 s" in capsys.readouterr().err


def test_importing_the_demo_costs_little() -> None:
    """The command line imports it before it knows whether the web libraries are there."""
    code = "import sys, everfresh.demo; print(sorted({'starlette', 'uvicorn', 'jinja2', 'httpx2'} & set(sys.modules)))"

    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert printed.strip() == "[]"
