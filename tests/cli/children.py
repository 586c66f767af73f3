"""Processes of `everfresh run`, `worker` and `web`, as a service manager starts them, over a small application."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2

from everfresh.testing.waiting import DEADLINE_S, until

# A build waits for files, so that a test decides when it goes on. A lease lasts an hour unless the test says otherwise.
APP = """
import os
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from everfresh import Cache, dep
from everfresh.push import Topic, Updates
from everfresh.push.limits import Limits
from everfresh.sources.http import EventsEndpoint
from everfresh.testing.waiting import soon, until

# Longer than a test may take.
WORD = {"what": "the word to go on", "deadline_s": 120}
lease = timedelta(seconds=float(os.environ.get("LEASE_S", "3600")))
cache = Cache(f"sqlite:///{os.environ.get('STORE', 'cache.db')}", lease=lease)


@cache.cached(depends_on=[dep.Topic("price.*", where={"item": dep.arg("item")})])
async def label(item: str) -> str:
    return f"{item}: {Path(item).read_text()}"


@cache.cached(depends_on=[dep.Tag("slow")])
async def waiting() -> str:
    begun("waiting")
    await soon(Path("go").exists, **WORD)
    return "built"


@cache.cached(depends_on=[dep.Tag("slow")])
def blocking() -> str:
    begun("blocking")
    until(Path("go").exists, **WORD)
    return "built"


@cache.cached(depends_on=[dep.Tag("slow")])
async def hogging() -> str:
    begun("hogging")
    until(Path("go").exists, **WORD)
    return "built"


def begun(name):
    Path(f"{name}.begun").touch()


async def page(request):
    return PlainTextResponse(await label(request.path_params["item"]))


async def which(request):
    return PlainTextResponse(f"<{os.getpid()}>")


async def slow(request):
    begun("slow")
    await soon(Path("go").exists, **WORD)
    return PlainTextResponse("late")


async def close(request):
    await cache.aclose()
    return PlainTextResponse("closed")


@asynccontextmanager
async def lifespan(app):
    if "BROKEN_LIFESPAN" in os.environ or Path("broken").exists():
        raise RuntimeError("no database")
    async with cache:
        yield


updates = Updates(cache, {"tea": Topic(label.key("tea"))}, limits=Limits(per_address=20_000))
app = Starlette(
    routes=[
        Route("/items/{item}", page),
        Route("/slow", slow),
        Route("/which", which),
        Route("/close", close, methods=["POST"]),
        Route("/events", EventsEndpoint(cache)),
        Route("/updates", updates),
    ],
    lifespan=lifespan,
)
not_callable = 7
"""


def command(*arguments: str) -> list[str]:
    """What Python is told for a process that logs all."""
    return ["-m", "everfresh", *arguments, "--log-format", "json", "--log-level", "debug"]


class Child:
    """A process whose log lines are read as they come."""

    def __init__(self, folder: Path, *arguments: str, environment: Mapping[str, str]) -> None:
        self.popen = subprocess.Popen(
            [sys.executable, *(arguments if arguments[0] == "-c" else command(*arguments))],
            cwd=folder,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def told(self, event: str, n: int = 1) -> dict[str, Any]:
        """The first log line of that event, or the nth, waited for."""

        def found() -> dict[str, Any] | None:
            line = next(iter([line for line in self.log() if line["event"] == event][n - 1 :]), None)
            assert line or self._reader.is_alive(), f"ended with {self.popen.poll()}: {self.lines}"
            return line

        try:
            line = until(found, what=f"a line about {event}")
        except AssertionError as error:
            raise AssertionError(f"{error}, in {self.lines}") from error
        assert line is not None
        return line

    def log(self) -> list[dict[str, Any]]:
        """Its log lines so far; each has to be JSON."""
        return [json.loads(line) for line in [*self.lines]]

    def health(self, path: str, *, started: str = "process.started") -> httpx2.Response:
        """What it says of its health."""
        return httpx2.get(f"{self.told(started)['health']}{path}", timeout=DEADLINE_S)

    def url(self) -> str:
        """Where its application is served."""
        address: str = self.told("process.ready")["web"]
        return address

    def signal(self, number: int = signal.SIGTERM) -> None:
        """Send it a signal."""
        self.popen.send_signal(number)

    def ended(self) -> int:
        """Its exit code, waited for."""
        code = self.popen.wait(DEADLINE_S)
        self._reader.join(DEADLINE_S)
        return code

    def ends_in_s(self) -> tuple[int, float]:
        """Its exit code after SIGTERM, and how many seconds that took."""
        begin = time.monotonic()
        self.signal()
        return self.ended(), time.monotonic() - begin

    def close(self) -> None:
        """Kill it, if it runs."""
        self.popen.kill()
        self.ended()
        assert self.popen.stderr is not None
        self.popen.stderr.close()

    def _read(self) -> None:
        for line in self.popen.stderr or ():
            self.lines.append(line)


@contextmanager
def child(folder: Path, *arguments: str, **environment: str) -> Iterator[Child]:
    """The command with these arguments, in that folder; killed after the block."""
    made = Child(folder, *arguments, environment=environment)
    try:
        yield made
    finally:
        made.close()
