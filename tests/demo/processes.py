"""The demo and the tracker as processes, as a person starts them."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2

from everfresh.testing.waiting import until

DEMO = "import sys; from everfresh.demo import DemoSettings, run; sys.exit(run(DemoSettings({})))"


class Process:
    """A child process whose lines are read as they come."""

    def __init__(self, *arguments: str, stdin: int | None = subprocess.DEVNULL) -> None:
        self.popen = subprocess.Popen(
            [sys.executable, *arguments],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.lines: list[str] = []
        self.errors: list[str] = []
        self._readers = [
            threading.Thread(target=_read, args=(self.popen.stdout, self.lines)),
            threading.Thread(target=_read, args=(self.popen.stderr, self.errors)),
        ]
        for reader in self._readers:
            reader.start()

    def line_with(self, text: str) -> str:
        """The first line that contains the text, waited for."""

        def found() -> str | None:
            line = next((line for line in self.lines if text in line), None)
            assert line or self.popen.poll() is None, f"ended with {self.popen.returncode}: {self.errors}"
            return line

        return until(found, what=f"a line with {text!r}") or ""

    def ended(self, *, deadline_s: float = 20.0) -> int:
        """The exit code, waited for; all lines are read by then."""
        code = self.popen.wait(deadline_s)
        for reader in self._readers:
            reader.join(deadline_s)
        return code

    def close(self) -> None:
        """End it, if it still runs, and everything that it started."""
        if self.popen.poll() is None:
            self.popen.send_signal(signal.SIGTERM)
            try:
                self.popen.wait(5)
            except subprocess.TimeoutExpired:
                self.popen.kill()
        self.ended()
        for pipe in (self.popen.stdin, self.popen.stdout, self.popen.stderr):
            if pipe is not None:
                pipe.close()


@contextmanager
def process(*arguments: str, stdin: int | None = subprocess.DEVNULL) -> Iterator[Process]:
    """A Python process with these arguments; ended after the block."""
    child = Process(*arguments, stdin=stdin)
    try:
        yield child
    finally:
        child.close()


class DemoProcess(Process):
    """A whole demo, its page reached at `url`, its tracker at `tracker_url`."""

    def __init__(self, settings: str) -> None:
        super().__init__("-c", DEMO.format(settings))
        try:
            words = self.line_with("/design-team").replace(";", " ").split()
        except BaseException:
            self.close()
            raise
        addresses = [word for word in words if word.startswith("http")]
        self.url = addresses[0].removesuffix("/design-team")
        self.tracker_url = addresses[1]
        self.tracker = httpx2.Client(base_url=self.tracker_url, timeout=30)

    def change(self, key: str, **fields: str | None) -> None:
        """Change an issue in the tracker, as anybody may."""
        self.tracker.patch(f"/issues/{key}", json={"actor": "tomas", **fields}).raise_for_status()

    def issues(self, **query: str) -> list[dict[str, str]]:
        """The tracker's own list."""
        found: list[dict[str, str]] = self.tracker.get("/issues", params=query).raise_for_status().json()
        return found

    def close(self) -> None:
        """End it."""
        tracker: httpx2.Client | None = getattr(self, "tracker", None)
        if tracker is not None:
            tracker.close()
        super().close()


@contextmanager
def demo(settings: str = "port=0, upstream_delay=0.1, autopilot=False") -> Iterator[DemoProcess]:
    """A demo with these settings; ended after the block."""
    child = DemoProcess(settings)
    try:
        yield child
    finally:
        child.close()


def trackers_of(pid: int) -> list[int]:
    """The trackers that a process has started and that still run."""
    running = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [
        child
        for child in running
        if _stat_of(child)[1:2] == [str(pid)] and "everfresh.demo.tracker" in _command_of(child)
    ]


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that ended and was not waited for does not."""
    return _stat_of(pid)[:1] not in ([], ["Z"])


def kill(pid: int) -> None:
    """End a process at once, without a chance to clean up."""
    os.kill(pid, signal.SIGKILL)


def _read(pipe: Iterator[str] | None, lines: list[str]) -> None:
    for line in pipe or ():
        lines.append(line.rstrip("\n"))  # noqa: PERF401 - each is seen as soon as it is there


def _stat_of(pid: int) -> list[str]:
    """What the kernel says of a process, from its state and its parent on; nothing if there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8").rsplit(")", 1)[1].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def _command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text("utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""
