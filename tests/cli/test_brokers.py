"""The commands about sources over a real broker: consume, record beside that, and ask how it stands."""

import asyncio
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from everfresh import Cache, Event, dep
from everfresh.sources.files import read_lines
from everfresh.testing.waiting import DEADLINE_S, until
from tests.cli.children import child
from tests.rabbitmq_servers import RabbitServer, new_queue
from tests.sources.rabbit import exchange_named, tell

STORE = "sqlite:///cache.db"
APP = """
from everfresh import Cache, dep
cache = Cache("sqlite:///cache.db")

@cache.cached(key="order:{number}", depends_on=[dep.Topic("shop.order", where={"number": dep.arg("number")})])
def order(number: int) -> int:
    return number
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an application, and two entries that orders touch; it is the current one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shop.py").write_text(APP)
    with Cache(STORE) as cache:
        for number in (1, 2):
            cache.blocking.put(f"order {number}", 1, dep.Topic("shop.order", where={"number": number}))
    return tmp_path


@pytest.fixture
async def source(shared_rabbitmq: RabbitServer) -> AsyncIterator[tuple[str, str, str]]:
    """The URL of a broker, an exchange of this test alone, and the URL of a source there."""
    url, exchange = shared_rabbitmq.url, new_queue()
    async with exchange_named(url, exchange):
        yield url, exchange, f"{url}?queue={exchange}&exchange={exchange}"


async def test_what_is_recorded_comes_to_the_application_all_the_same(
    folder: Path, source: tuple[str, str, str]
) -> None:
    """Both get every message, which names no password anywhere; afterwards all is well."""
    url, exchange, named = source
    recording = [sys.executable, "-m", "everfresh", "record", named, "out.jsonl", "--limit", "2", "--topic", "shop.#"]
    with child(folder, "consume", "shop:cache", EVERFRESH_SOURCES=named) as consumer:
        await asyncio.to_thread(consumer.told, "source.connected")
        recorder = await asyncio.create_subprocess_exec(*recording, stderr=asyncio.subprocess.PIPE)
        assert recorder.stderr is not None
        began = (await recorder.stderr.readline()).decode()
        for number in (1, 2):
            await tell(url, exchange, "shop.order", body=b'{"number": %d}' % number, message_id=f"m-{number}")
        code = await asyncio.wait_for(recorder.wait(), DEADLINE_S)
        with Cache(STORE) as cache:
            await asyncio.to_thread(until, lambda: not cache.blocking.entries(pattern="order *"), what="both applied")
        asked = await asyncio.to_thread(examined)
        ended = await asyncio.to_thread(consumer.ends_in_s)
        log = "".join(consumer.lines)

    assert (began.startswith("recording amqp://"), code) == (True, 0)
    events = [event for _, event in read_lines((folder / "out.jsonl").read_bytes().splitlines())]
    assert [(one.topic, one.body, one.id) for one in events if isinstance(one, Event)] == [
        ("shop.order", {"number": number}, f"m-{number}") for number in (1, 2)
    ]
    assert asked.returncode == 0, asked.stdout
    assert "1 consumer connected; " in asked.stdout
    assert "guest:guest" not in began + asked.stdout + log
    assert ended[0] == 0
    assert ended[1] < 2


def examined() -> "subprocess.CompletedProcess[str]":
    """What `everfresh doctor` says."""
    command = [sys.executable, "-m", "everfresh", "doctor", "shop:cache"]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, timeout=DEADLINE_S)


def test_a_broker_that_is_not_there_is_one_line(folder: Path) -> None:
    """For somebody who wants to record it now; and no password is shown."""
    command = [sys.executable, "-m", "everfresh", "record", "amqp://shop:hidden@127.0.0.1:1/?queue=a", "out.jsonl"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=DEADLINE_S)

    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "hidden" not in done.stderr
    assert "Traceback" not in done.stderr


def test_a_broker_that_never_answers_keeps_no_process(folder: Path) -> None:
    """It takes connections, and says nothing; the process is told to end all the same."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"amqp://127.0.0.1:{mute.getsockname()[1]}/?queue=a"
        with child(folder, "consume", "shop:cache", EVERFRESH_SOURCES=url) as consumer:
            mute.settimeout(DEADLINE_S)
            held, _ = mute.accept()
            code, ends_s = consumer.ends_in_s()
        held.close()

    assert (code, ends_s < 2) == (0, True)
