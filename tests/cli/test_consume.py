"""`everfresh consume`: real processes that apply what a source brings; here a file to which a test adds lines."""

import json
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from everfresh import Cache, dep
from everfresh.testing.waiting import DEADLINE_S, until
from tests.cli.children import child

STORE = "sqlite:///cache.db"
ANY_PORT = "127.0.0.1:0"
CONSUME = ("consume", "shop:cache", "--source", "shop:bus")
HEALTH = ("--health", ANY_PORT)
# Longer than a test waits for an end: who waits for it does not come to one.
PATIENTLY = ("--grace", "60")

# A source that is a file: its offset is the number of lines. Without the file it is down; with a file called "slow",
# to acknowledge takes until that is gone.
APP = """
import json
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.applications import Starlette

from everfresh import Cache
from everfresh.model.errors import InvalidOption
from everfresh.model.message import Message
from everfresh.sources.consuming import Consumer, Source
from everfresh.sources.formats import format_of
from everfresh.sources.source import Batch, SourceUnavailable
from everfresh.testing.waiting import soon

cache = Cache("sqlite:///cache.db")


class Lines(Source):
    delivers = ("#",)
    format = format_of("plain")

    def __init__(self, name, path="bus"):
        self.name = name
        self.path = Path(path)

    @asynccontextmanager
    async def open(self, start):
        if Path("wrong").exists():
            raise InvalidOption("wrong")
        if not self.path.exists():
            raise SourceUnavailable("there is no file")
        Path("asked.json").write_text(json.dumps(start.topics))
        yield Stream(self.path, int(start.offset or 0))


class Stream:
    def __init__(self, path, number):
        self.path, self.number = path, number

    async def fetch(self, n_max, wait_s):
        try:
            lines = await soon(self.more, what="lines", deadline_s=wait_s)
        except AssertionError:
            return Batch(lag=0)
        self.number += len(lines)
        messages = [Message(topic="shop.order", body=line) for line in lines]
        return Batch(messages=messages, offset=str(self.number), lag=0)

    def more(self):
        if not self.path.exists():
            raise SourceUnavailable("the file is gone")
        return self.path.read_bytes().splitlines()[self.number :]

    async def acknowledge(self, batch):
        Path("begun").touch()
        await soon(lambda: not Path("slow").exists(), what="the word to go on", deadline_s=120)
        with Path("acknowledged").open("a") as file:
            file.write(f"{len(batch.messages)}\\n")

    async def widen(self, topics):
        return ()

    async def send(self, message):
        with self.path.open("ab") as file:
            file.write(b'{"topic": "everfresh.canary.x"}\\n')


bus = Lines("bus")
configured = Consumer(Lines("configured"))
app = Starlette()
not_a_source = 7
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an application, a source, and an entry for each of three orders; it is the current one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shop.py").write_text(APP)
    (tmp_path / "bus").touch()
    with Cache(STORE) as cache:
        for number in range(3):
            cache.blocking.put(f"order {number}", number, dep.Topic("shop.order", where={"number": number}))
    return tmp_path


@pytest.fixture
def cache(folder: Path) -> Iterator[Cache]:
    """The store, looked at from here."""
    with Cache(STORE) as opened:
        yield opened


def add(folder: Path, *numbers: int) -> None:
    """Have orders come."""
    with (folder / "bus").open("a") as file:
        file.write("".join(f"{json.dumps({'number': number})}\n" for number in numbers))


def gone(cache: Cache, number: int) -> None:
    """Wait until the order's event is applied."""
    until(lambda: not cache.blocking.has(f"order {number}"), what=f"order {number} is applied")


def test_events_are_applied_and_acknowledged_after_that(folder: Path, cache: Cache) -> None:
    """The source is asked for the topics that are depended on; the end has no grace to wait for, and reports all."""
    add(folder, 0)
    with child(folder, *CONSUME, *PATIENTLY) as process:
        gone(cache, 0)
        add(folder, 1)
        gone(cache, 1)
        assert process.told("process.started")["parts"] == ["source bus"]
        assert process.told("source.connected")["source"] == "bus"
        process.signal()
        code = process.ended()
        told = [line["event"] for line in process.log()]

    assert code == 0
    assert (told[-1], "process.cut" in told) == ("process.stopped", False)
    assert cache.blocking.has("order 2")
    assert json.loads((folder / "asked.json").read_text()) == ["shop.order"]
    assert (folder / "acknowledged").read_text() == "1\n1\n"


def test_it_goes_on_where_it_was(folder: Path, cache: Cache) -> None:
    """The offset stands in the store, whatever ended the process before."""
    add(folder, 0)
    with child(folder, *CONSUME) as process:
        gone(cache, 0)
        process.signal(signal.SIGKILL)
        assert process.ended() == -signal.SIGKILL
    cache.blocking.put("order 0", 0, dep.Topic("shop.order", where={"number": 0}))
    add(folder, 1)

    with child(folder, *CONSUME):
        gone(cache, 1)

    assert cache.blocking.has("order 0")


def test_the_batch_under_way_is_finished_at_the_end(folder: Path, cache: Cache) -> None:
    """And acknowledged: none of it comes again."""
    (folder / "slow").touch()
    add(folder, 0)
    with child(folder, *CONSUME, *PATIENTLY) as process:
        until((folder / "begun").exists, what="a batch")
        process.signal()
        process.told("process.stopping")
        (folder / "slow").unlink()
        code = process.ended()

    assert code == 0
    assert (folder / "acknowledged").read_text() == "1\n"


def test_a_batch_that_cannot_be_finished_does_not_keep_the_process(folder: Path, cache: Cache) -> None:
    """It comes again. It would take longer than anybody waits here; the grace is a second."""
    (folder / "slow").touch()
    add(folder, 0)
    with child(folder, *CONSUME) as process:
        until((folder / "begun").exists, what="a batch")
        process.signal()
        code = process.ended()

    assert code == 0
    assert not (folder / "acknowledged").exists()


def test_it_is_ready_when_its_sources_are_connected(folder: Path) -> None:
    """It lives without, and is not started anew: that would not bring them back."""
    (folder / "bus").unlink()
    with child(folder, *CONSUME, *HEALTH) as process:
        until(lambda: "there is no file" in str(process.health("/ready").json()), what="the source is missed")
        ready, live = process.health("/ready"), process.health("/live")
        (folder / "bus").touch()
        until(lambda: process.health("/ready").is_success, what="the source is back")

    assert (ready.status_code, live.status_code) == (503, 200)
    assert ready.json()["reasons"][0].startswith("source bus: ")


def test_who_serves_stays_ready_without_its_sources(folder: Path, cache: Cache) -> None:
    """All in one process; what is missing is told."""
    with child(folder, "run", "shop:app", "--listen", ANY_PORT, "--source", "shop:bus", *HEALTH) as process:
        add(folder, 0)
        gone(cache, 0)
        assert process.told("process.started")["parts"] == ["worker", "source bus", "web"]
        (folder / "bus").unlink()
        until(lambda: process.health("/ready").json()["degraded"], what="the source is missed")
        ready = process.health("/ready")

    assert ready.status_code == 200
    assert ready.json()["degraded"][0].startswith("source bus: ")


def test_metrics_are_served_beside_health(folder: Path, cache: Cache) -> None:
    """What Prometheus reads: how many events, and how many wait."""
    add(folder, 0)
    with child(folder, *CONSUME, *HEALTH) as process:
        gone(cache, 0)
        until(lambda: 'everfresh_source_events_total{source="bus"} 1.0' in process.health("/metrics").text, what="1")
        found = process.health("/metrics")

    assert found.headers["content-type"].startswith("text/plain")
    assert 'everfresh_source_connected{source="bus"} 1.0' in found.text


def test_a_canary_is_sent_through_the_source(folder: Path) -> None:
    """And what it depends on is asked for."""
    with child(folder, *CONSUME, "--canary", "60s"):
        until(lambda: "canary" in (folder / "bus").read_text(), what="a canary")

    assert "everfresh.canary.*" in json.loads((folder / "asked.json").read_text())


def test_sources_stand_in_the_environment_too(folder: Path) -> None:
    """As their passwords should not stand in a command line that everybody may read; several at once."""
    with child(folder, "consume", "shop:cache", EVERFRESH_SOURCES="shop:bus shop:configured") as process:
        parts = process.told("process.started")["parts"]

    assert parts == ["source bus", "source configured"]


def test_a_source_that_was_said_wrong_ends_the_process(folder: Path) -> None:
    """To try again would not help."""
    (folder / "wrong").touch()
    with child(folder, *CONSUME) as process:
        assert process.told("process.crashed")["part"] == "source bus"
        assert process.ended() == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "--source"),
        (["--source", "shop:not_a_source"], "is a int, and no source"),
        (["--source", "shop:missing"], "no 'missing'"),
        (["--source", "missing"], "names no source"),
        (["--source", "shop:bus", "--source", "shop:bus"], "bus: twice"),
        (["--source", "shop:bus", "--canary", "soon"], "is no duration"),
        (["--source", "shop:bus", "--canary", "10ms"], "too often"),
        (["--source", "carrier-pigeon://host"], "there is none for 'carrier-pigeon'"),
        (["--source", "amqp://host/x?queue=a", "--format", "nothing"], "--format"),
        (["--source", "amqp://user:hidden@host/x?nonsense=1"], "amqp://user@host/x"),
    ],
)
def test_a_command_line_that_cannot_be_used_is_exit_code_2(folder: Path, arguments: list[str], words: str) -> None:
    """In one message, without a password in it."""
    with child(folder, "consume", "shop:cache", *arguments) as process:
        assert process.ended() == 2
        said = "".join(process.lines)

    assert words in said.replace("\n", " ")
    assert "hidden" not in said
    assert "Traceback" not in said


def test_health_answers_while_nothing_comes(folder: Path) -> None:
    """A source that is quiet is no problem."""
    with child(folder, *CONSUME, *HEALTH) as process:
        until(lambda: process.health("/ready").is_success, what="it is ready")
        found = httpx2.get(f"{process.told('process.started')['health']}/nothing", timeout=DEADLINE_S)

    assert found.status_code == 404
    assert "shop" not in sys.modules
