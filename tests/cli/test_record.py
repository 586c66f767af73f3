"""`everfresh record` writes what a source brings, and `replay` reads it back."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from everfresh import Cache, Event, dep
from everfresh.cli.commands import run
from everfresh.sources.files import read_lines
from everfresh.testing.waiting import DEADLINE_S, until
from tests.needing import lacking

STORE = "sqlite:///cache.db"
# A source with four messages, of which one is none; "tapped" can be read beside the application, "wrong" not be opened.
APP = """
from pathlib import Path

from everfresh import Cache
from everfresh.model.errors import InvalidOption
from everfresh.model.message import Message
from everfresh.sources.canary import canary_of
from everfresh.sources.source import SourceUnavailable
from everfresh.testing.broker import FakeBroker

cache = Cache("sqlite:///cache.db")
bus = FakeBroker(name="bus", has_positions=False)
bus.publish(
    Message(topic="shop.order", body=b'{"buyer": "ann", "n": [1, 2.5, null, true]}', id="m-1", headers={"sent": "now"}),
    Message(topic="shop.order", body=b"no json\\x1b[2J"),
    canary_of("somebody"),
    Message(topic="shop.closed", body=b""),
    Message(topic="shop.order", body=b'{"buyer": "bob"}'),
)


class Down(FakeBroker):
    def open(self, start):
        Path("topics").write_text(" ".join(start.topics))
        raise (InvalidOption if self.name == "wrong" else SourceUnavailable)("amqp://user:hidden@host: refused")


class Tappable(FakeBroker):
    def tapped(self):
        return tap


tap = FakeBroker(name="tap", has_positions=False)
tap.publish(Message(topic="shop.tapped", body=b"{}"))
tappable = Tappable(name="tappable")
down, wrong = Down(name="down"), Down(name="wrong")
debezium = FakeBroker(name="debezium", format="debezium")
debezium.publish(
    Message(
        topic="shop.public.article",
        body=b'{"op": "u", "before": {"id": 1, "price": 2}, "after": {"id": 1, "price": 3},'
        b' "source": {"table": "article", "schema": "public", "db": "shop"}, "ts_ms": 1}',
    )
)
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with an application and its sources; it is the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "shop.py").write_text(APP)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield tmp_path
    for number, handler in handlers.items():
        signal.signal(number, handler)
    sys.modules.pop("shop", None)


def recorded(path: str = "out.jsonl") -> list[Event | str]:
    """What stands in the file, as `replay` reads it."""
    return [content for _, content in read_lines(Path(path).read_bytes().splitlines())]


def test_events_are_written_as_they_would_be_applied(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One a line; what cannot be read is told of and counted, canaries are nobody's events."""
    code = run(["record", "shop:bus", "out.jsonl", "--take", "--limit", "3"])

    out, err = capsys.readouterr()
    assert (code, out) == (1, "")
    assert recorded() == [
        Event("shop.order", {"buyer": "ann", "n": [1, 2.5, None, True]}, id="m-1", headers={"sent": "now"}),
        Event("shop.closed"),
        Event("shop.order", {"buyer": "bob"}),
    ]
    lines = err.splitlines()
    assert lines[0] == "recording bus"
    assert lines[1].startswith("shop.order: this is not JSON")
    assert lines[2:] == ["3 events recorded; 1 message could not be read."]


def test_a_line_is_as_fedora_messaging_writes_it(folder: Path) -> None:
    """Topic, body, id, headers and queue."""
    run(["record", "shop:bus", "out.jsonl", "--take", "--limit", "1"])

    assert json.loads((folder / "out.jsonl").read_text()) == {
        "topic": "shop.order",
        "body": {"buyer": "ann", "n": [1, 2.5, None, True]},
        "id": "m-1",
        "headers": {"sent": "now"},
        "queue": None,
    }


def test_what_was_recorded_is_replayed(capsys: pytest.CaptureFixture[str]) -> None:
    """It touches what the source's own messages would have touched."""
    with Cache(STORE) as cache:
        cache.blocking.put("ann", 1, dep.Topic("shop.order", where={"buyer": "ann"}))
        cache.blocking.put("eve", 1, dep.Topic("shop.order", where={"buyer": "eve"}))
    run(["record", "shop:bus", "out.jsonl", "--take", "--limit", "3"])
    capsys.readouterr()

    code = run(["replay", "shop:cache", "out.jsonl"])

    assert (code, capsys.readouterr().out) == (0, "3 messages published, touching 1 entry; 0 bad lines.\n")


def test_the_images_of_a_row_come_back(folder: Path) -> None:
    """Else lists would be widened that the event itself would not touch."""
    assert run(["record", "shop:debezium", "out.jsonl", "--take", "--limit", "1"]) == 0

    source = sys.modules["shop"].debezium
    assert recorded() == list(source.format.events_of(source.message(1)))
    assert '"row":{"type":"article"' in (folder / "out.jsonl").read_text()


def test_a_source_that_can_be_tapped_is(capsys: pytest.CaptureFixture[str]) -> None:
    """The application misses nothing, and there is nothing to be said about that."""
    assert run(["record", "shop:tappable", "out.jsonl", "--limit", "1"]) == 0

    assert recorded() == [Event("shop.tapped")]
    assert sys.modules["shop"].tap.n_acknowledged == 1
    assert capsys.readouterr().err == "recording tap\n1 event recorded.\n"


def test_what_cannot_be_tapped_is_not_acknowledged() -> None:
    """It comes to the application afterwards, which is why one has to say that one wants it."""
    run(["record", "shop:bus", "out.jsonl", "--take", "--limit", "1"])

    bus = sys.modules["shop"].bus
    assert (bus.n_acknowledged, bus.n_waiting) == (0, 5)


def test_lines_are_added_at_the_end(folder: Path) -> None:
    """What was recorded before is not lost."""
    (folder / "out.jsonl").write_text('{"topic": "before"}\n')

    run(["record", "shop:tappable", "out.jsonl", "--limit", "1"])

    assert recorded() == [Event("before"), Event("shop.tapped")]


@pytest.mark.parametrize("before", ['{"topic": "shop.cut", "bo', ""])
def test_a_line_that_was_cut_off_takes_no_other_with_it(before: str, folder: Path) -> None:
    """The recording before was killed while it wrote, or before it wrote anything."""
    (folder / "out.jsonl").write_text(before)

    assert run(["record", "shop:tappable", "out.jsonl", "--limit", "1"]) == 0

    assert len((folder / "out.jsonl").read_text().splitlines()) == (2 if before else 1)
    assert recorded()[-1] == Event("shop.tapped")


def test_it_ends_after_its_time(capsys: pytest.CaptureFixture[str]) -> None:
    """However little has come."""
    assert run(["record", "shop:tappable", "out.jsonl", "--seconds", "0.2"]) == 0
    assert capsys.readouterr().err.endswith("1 event recorded.\n")


@pytest.mark.parametrize("name", ["down", "wrong"])
def test_a_source_that_cannot_be_opened_is_one_line(
    folder: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """At the start; it was asked for the topics that were named, and no password is shown."""
    code = run(["record", f"shop:{name}", "out.jsonl", "--take", "--topic", "shop.#", "--topic", "other"])

    err = capsys.readouterr().err
    assert code == 1
    assert err.splitlines()[-1].endswith("amqp://user:***@host: refused")
    assert (folder / "topics").read_text() == "shop.# other"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["shop:cache", "out.jsonl"], "is a Cache, and no source"),
        (["shop:missing", "out.jsonl"], "no 'missing'"),
        (["carrier-pigeon://user:hidden@host", "out.jsonl"], "there is none for"),
        (["shop:bus", "out.jsonl"], "bus cannot be read beside the application"),
        (["shop:bus", "out.jsonl", "--limit", "0"], "--limit"),
        (["shop:bus", "out.jsonl", "--seconds", "0"], "--seconds"),
    ],
)
def test_a_command_line_that_cannot_be_used_says_why(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is recorded, and no file is made."""
    assert run(["record", *arguments]) == 2

    err = capsys.readouterr().err
    assert words in err
    assert "hidden" not in err
    assert not Path("out.jsonl").exists()


def test_a_file_that_cannot_be_written_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything is taken from the source."""
    assert run(["record", "shop:tappable", "missing/out.jsonl"]) == 1
    assert "missing/out.jsonl" in capsys.readouterr().err


def test_a_disk_that_is_full_ends_the_recording(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is silently left out."""
    if not Path("/dev/full").exists():
        lacking("there is no /dev/full, so nobody has tried a full disk")

    assert run(["record", "shop:tappable", "/dev/full"]) == 1
    assert "cannot be written" in capsys.readouterr().err


def test_a_connection_that_breaks_is_made_again(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And that something may be missing is said."""
    (folder / "shop.py").write_text(
        f"{APP}\n"
        "class Breaking(FakeBroker):\n"
        "    def open(self, start):\n"
        "        if self.n_opened == 1:\n"
        "            self.publish(Message(topic='second', body=b'{}'))\n"
        "        return super().open(start)\n"
        "breaking = Breaking(name='breaking', on_acknowledge=lambda _: breaking.disconnect())\n"
        "breaking.tapped = lambda: breaking\n"
        "breaking.publish(Message(topic='first', body=b'{}'))\n"
    )

    code = run(["record", "shop:breaking", "out.jsonl", "--limit", "3"])

    assert code == 0
    # It begins anew, as this source keeps what it gave.
    assert [event.topic for event in recorded() if isinstance(event, Event)] == ["first", "first", "second"]
    assert "the connection broke; what comes until the next connection is missing." in capsys.readouterr().err


@contextmanager
def recording(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """The command as people start it; killed after the block."""
    command = [sys.executable, "-m", "everfresh", "record", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_in_order(number: signal.Signals) -> None:
    """While nothing comes; what was written stands in the file already."""
    with recording("shop:tappable", "out.jsonl") as process:
        until(lambda: Path("out.jsonl").exists() and len(recorded()) == 1, what="a line")
        process.send_signal(number)
        _, err = process.communicate(timeout=DEADLINE_S)

    assert (process.returncode, err.decode().splitlines()[-1]) == (0, "1 event recorded.")


def test_standard_output_is_a_file_too() -> None:
    """Each line is there as it comes; what is said about it stands elsewhere."""
    with recording("shop:tappable", "-") as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=DEADLINE_S)

    assert json.loads(line)["topic"] == "shop.tapped"
    assert err.decode().splitlines() == ["recording tap", "1 event recorded."]


def test_a_pipe_that_is_closed_ends_it() -> None:
    """As when `head` has seen enough."""
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "everfresh", "record", "shop:tappable", "-"]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, check=False, timeout=DEADLINE_S)
    os.close(writing)

    assert done.returncode == 1
    assert b"cannot be written" in done.stderr
    assert b"Traceback" not in done.stderr
