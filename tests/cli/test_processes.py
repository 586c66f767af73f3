"""`everfresh run`, `worker` and `web`: real processes over a SQLite file, told by signals."""

import asyncio
import importlib
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from everfresh import AsyncFunction, Cache, Event, Key, SyncFunction
from everfresh.protocol.requests import Load
from everfresh.testing.waiting import DEADLINE_S, until
from tests.cli.children import APP, Child, child

ANY_PORT = "127.0.0.1:0"
HEALTH = ("--health", ANY_PORT)
WORKER = ("worker", "shop:cache")
WEB = ("web", "shop:app", "--listen", ANY_PORT)
RUN = ("run", "shop:app", "--listen", ANY_PORT)
# What is asked for; the deadline within is less.
SOON_S = 2.0


class Shop:
    """The application, imported here too, over the same store."""

    def __init__(self, module: Any) -> None:  # noqa: ANN401 - what the text above declares
        self.cache: Cache = module.cache
        self.label: AsyncFunction[[str], str] = module.label
        self._functions: dict[str, AsyncFunction[[], str] | SyncFunction[[], str]] = vars(module)

    def queue(self, name: str) -> Key:
        """Queue the first build of a function, for a worker."""
        function = self._functions[name]
        n = function.warm([()]) if isinstance(function, SyncFunction) else asyncio.run(function.warm([()]))
        assert n == 1
        return function.key()

    def has(self, key: Key) -> bool:
        """Whether a value is stored."""
        return self.cache.blocking.stored(key) is not None

    def is_leased(self, key: Key) -> bool:
        """Whether somebody builds it."""
        return self.cache.engine.store.carry_out(Load(key)).is_leased


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an application, the current one."""
    (tmp_path / "shop.py").write_text(APP)
    (tmp_path / "tea").write_text("3 EUR")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


@pytest.fixture
def shop(folder: Path) -> Iterator[Shop]:
    """The application in this process."""
    module = importlib.import_module("shop")
    yield Shop(module)
    module.cache.close()
    del sys.modules["shop"]


def building(folder: Path, name: str) -> None:
    """Wait until a build of the function is under way."""
    until((folder / f"{name}.begun").exists, what=f"a build of {name}")


def test_one_process_serves_and_refreshes(folder: Path) -> None:
    """An event that comes in by HTTP leads to a new value on the page; each step is a JSON line."""
    with child(folder, *RUN, *HEALTH) as process, httpx2.Client(base_url=process.url(), timeout=DEADLINE_S) as client:
        before = client.get("/items/tea").text
        (folder / "tea").write_text("4 EUR")
        client.post("/events", json={"topic": "price.changed", "body": {"item": "tea"}}).raise_for_status()
        refreshed = process.told("refresh.done")
        after = client.get("/items/tea").text
        code, took_s = process.ends_in_s()

    assert (before, after, code) == ("tea: 3 EUR", "tea: 4 EUR", 0)
    assert took_s < SOON_S
    assert refreshed["key"] == 'shop.label@1(item="tea")'
    assert {line["pid"] for line in process.log()} == {process.popen.pid}
    ways = [line["event"] for line in process.log() if line["event"].startswith("process.")]
    assert ways == ["process.started", "process.ready", "process.stopping", "process.stopped"]


@pytest.mark.parametrize("missing", ["", "uvloop"])
def test_a_worker_refreshes_what_others_publish(folder: Path, shop: Shop, missing: str) -> None:
    """It needs no port, no application, and no other event loop than Python's own."""
    (folder / "sitecustomize.py").write_text(f"import sys\nsys.modules[{missing!r}] = None")
    asyncio.run(shop.label("tea"))
    (folder / "tea").write_text("4 EUR")

    with child(folder, *WORKER, "-c", "2", PYTHONPATH=str(folder)) as process:
        process.told("process.ready")
        shop.cache.blocking.publish(Event("price.changed", {"item": "tea"}))
        process.told("refresh.done")
        code, took_s = process.ends_in_s()

    assert (asyncio.run(shop.label("tea")), code) == ("tea: 4 EUR", 0)
    assert took_s < SOON_S


def test_a_web_process_refreshes_nothing(folder: Path, shop: Shop) -> None:
    """That is for workers."""
    with child(folder, *WEB, *HEALTH) as process:
        process.told("process.ready")
        shop.queue("waiting")
        healthy = process.health("/ready").is_success
        code, _ = process.ends_in_s()

    assert (healthy, code) == (True, 0)
    assert not (folder / "waiting.begun").exists()


@pytest.mark.parametrize("name", ["waiting", "blocking"])
def test_what_a_worker_cannot_finish_another_takes_at_once(folder: Path, shop: Shop, name: str) -> None:
    """SIGTERM gives the lease back, which lasts an hour, though a thread cannot be cancelled."""
    with child(folder, *WORKER) as first:
        first.told("process.ready")
        key = shop.queue(name)
        building(folder, name)
        code, took_s = first.ends_in_s()
        was_leased = shop.is_leased(key)
    (folder / "go").touch()
    with child(folder, *WORKER) as second:
        second.told("refresh.done")

    assert (code, was_leased, shop.has(key)) == (0, False, True)
    assert took_s < SOON_S


def test_a_build_under_way_is_finished_within_the_grace(folder: Path, shop: Shop) -> None:
    """Its value is stored before the process ends."""
    with child(folder, *WORKER, "--grace", "20") as process:
        process.told("process.ready")
        key = shop.queue("waiting")
        building(folder, "waiting")
        process.signal()
        process.told("process.stopping")
        (folder / "go").touch()
        code = process.ended()

    assert (code, shop.has(key)) == (0, True)


def test_a_build_that_keeps_the_event_loop_keeps_no_process(folder: Path, shop: Shop) -> None:
    """The deadline does not depend on the loop."""
    with child(folder, *WORKER, *HEALTH) as process:
        process.told("process.ready")
        shop.queue("hogging")
        building(folder, "hogging")
        with pytest.raises(httpx2.TimeoutException):
            httpx2.get(f"{process.told('process.started')['health']}/live", timeout=0.3)
        code, took_s = process.ends_in_s()

    assert code == 0
    assert took_s < SOON_S
    assert process.log()[-1]["event"] == "process.cut"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_at_once(folder: Path, shop: Shop, number: int) -> None:
    """By that signal, as the exit code says; the grace here is an hour."""
    with child(folder, *WORKER, "--grace", "3600") as process:
        process.told("process.ready")
        shop.queue("waiting")
        building(folder, "waiting")
        process.signal(number)
        process.told("process.stopping")
        # Those that come with the first count as one with it.
        until(lambda: process.popen.poll() is not None or process.signal(number), what="the end")

        assert process.ended() == -number


def test_a_signal_that_comes_twice_is_one(folder: Path, shop: Shop) -> None:
    """A terminal sends Ctrl-C to all, and the program that started them tells them to end too."""
    with child(folder, *WORKER) as process:
        process.told("process.ready")
        key = shop.queue("waiting")
        building(folder, "waiting")
        process.signal(signal.SIGINT)
        process.signal(signal.SIGTERM)

        assert process.ended() == 0
    assert not shop.is_leased(key)


def test_the_application_ends_after_its_worker(folder: Path, shop: Shop) -> None:
    """It closes the cache, which the worker needs to give back what it holds."""
    with child(folder, *RUN) as process:
        process.told("process.ready")
        key = shop.queue("waiting")
        building(folder, "waiting")
        code, took_s = process.ends_in_s()

    assert (code, shop.is_leased(key)) == (0, False)
    assert took_s < SOON_S
    assert process.log()[-1]["event"] == "process.stopped"


def test_after_a_kill_the_lease_runs_out(folder: Path, shop: Shop) -> None:
    """Nobody could give it back, and another builds all the same."""
    with child(folder, *WORKER, LEASE_S="0.3") as first:
        first.told("process.ready")
        key = shop.queue("waiting")
        building(folder, "waiting")
        first.signal(signal.SIGKILL)
        code = first.ended()
    (folder / "go").touch()
    with child(folder, *WORKER) as second:
        second.told("refresh.done")

    assert (code, shop.has(key)) == (-signal.SIGKILL, True)


def test_a_store_that_is_gone_for_a_while_is_no_crash(folder: Path) -> None:
    """Such a worker is not ready but alive, and ready again when the store is back."""
    store, aside = folder / "data", folder / "aside"
    store.mkdir()
    with child(folder, *WORKER, *HEALTH, STORE="data/cache.db") as process:
        process.told("process.ready")
        was_ready = process.health("/ready").is_success
        store.rename(aside)
        until(lambda: process.health("/ready").is_server_error, what="the store is missed")
        gone = process.health("/ready")
        alive = process.health("/live").is_success
        aside.rename(store)
        until(lambda: process.health("/ready").is_success, what="the store is back")
        store.rename(aside)
        code, took_s = process.ends_in_s()

    assert (was_ready, alive, code) == (True, True, 0)
    assert gone.status_code == 503
    assert gone.json()["reasons"][0].startswith("store: ")
    assert took_s < SOON_S


def test_who_serves_stays_ready_while_the_store_is_gone(folder: Path) -> None:
    """Its readers call their functions meanwhile, and it says so."""
    store, aside = folder / "data", folder / "aside"
    store.mkdir()
    with child(folder, *RUN, *HEALTH, STORE="data/cache.db") as process:
        process.told("process.ready")
        store.rename(aside)
        until(lambda: process.health("/ready").json()["degraded"], what="the store is missed")
        is_ready = process.health("/ready").is_success
        aside.rename(store)
        until(lambda: not process.health("/ready").json()["degraded"], what="the store is back")
        code, _ = process.ends_in_s()

    assert (is_ready, code) == (True, 0)


def test_while_it_ends_it_is_not_ready(folder: Path, shop: Shop) -> None:
    """Whoever sends it work looks elsewhere; it is alive until it has ended."""
    with child(folder, *WORKER, *HEALTH, "--grace", "20") as process:
        process.told("process.ready")
        shop.queue("waiting")
        building(folder, "waiting")
        process.signal()
        process.told("process.stopping")
        ready, alive = process.health("/ready"), process.health("/live")
        (folder / "go").touch()
        code = process.ended()

    assert (ready.status_code, ready.json()["reasons"]) == (503, ["stopping"])
    assert (alive.status_code, code) == (200, 0)


def test_streams_end_with_a_farewell(folder: Path) -> None:
    """And slow answers are cut off, so that a server has an end."""
    with child(folder, *WEB) as process, httpx2.Client(base_url=process.url(), timeout=DEADLINE_S) as client:
        with client.stream("GET", "/updates", params={"topic": "tea"}) as stream:
            lines = stream.iter_lines()
            first = [next(lines) for _ in range(2)]
            slow = asyncio.run(_cut_off(process, folder))
            rest = list(lines)
        code = process.ended()

    assert first[1] == "event: hello"
    assert "event: bye" in rest
    assert any(line.startswith("retry: ") for line in rest)
    assert (slow, code) == (True, 0)


async def _cut_off(process: Child, folder: Path) -> bool:
    """Whether a slow answer is given up when the process is told to end, in time."""
    async with httpx2.AsyncClient(base_url=process.url(), timeout=DEADLINE_S) as client:
        asked = asyncio.create_task(client.get("/slow"))
        await asyncio.to_thread(building, folder, "slow")
        code, took_s = await asyncio.to_thread(process.ends_in_s)
        try:
            return (await asked).is_server_error and code == 0 and took_s < SOON_S
        except httpx2.TransportError:
            return code == 0 and took_s < SOON_S


# How it ends otherwise.


def test_a_port_that_is_taken_is_exit_code_4(folder: Path) -> None:
    """Before anything has started."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        taken = f"127.0.0.1:{listener.getsockname()[1]}"
        with child(folder, *WORKER, "--health", taken) as process:
            code = process.ended()

    assert code == 4
    assert [line["event"] for line in process.log()] == ["process.refused"]
    assert taken in process.log()[0]["error"]


@pytest.mark.parametrize("command", [WORKER, WEB], ids=["worker", "web"])
def test_a_store_that_is_not_there_at_the_start_is_exit_code_3(folder: Path, command: tuple[str, ...]) -> None:
    """A service manager starts the process again until it is."""
    with child(folder, *command, STORE="nowhere/deep/cache.db") as process:
        code = process.ended()

    assert (code, process.log()[0]["event"]) == (3, "process.refused")


REFUSED = [
    (["worker", "shop"], "module:attribute"),
    (["worker", "shop:app"], "not a Cache"),
    (["web", "shop"], "module:attribute"),
    (["web", "shop:cache"], "everfresh worker"),
    (["web", "shop:not_callable"], "not an ASGI application"),
    (["web", "shop:Cache"], "not an ASGI application"),
    (["run", "shop:nothing"], "no 'nothing'"),
    (["run", "two:app"], "2 caches"),
    (["run", "none:app"], "no caches"),
    (["run", "none:app", "--cache", "shop:app"], "not a Cache"),
    (["web", "shop:app", "--listen", "8000"], "HOST:PORT"),
    (["web", "shop:app", "--listen", "localhost:70000"], "HOST:PORT"),
    (["worker", "shop:cache", "-c", "0"], "-c"),
]
# One process for all: none of them starts anything.
REFUSING = """
import contextlib, io, json, sys
from everfresh.cli.commands import run
for arguments in json.loads(sys.argv[1]):
    with contextlib.redirect_stderr(io.StringIO()) as said:
        code = run(arguments)
    print(json.dumps([code, said.getvalue()]))
"""


@pytest.fixture(scope="module")
def refusals(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[int, str]]:
    """The exit code of each of these command lines, and what it says on standard error."""
    folder = tmp_path_factory.mktemp("refused")
    (folder / "shop.py").write_text(APP)
    (folder / "two.py").write_text("from shop import app, cache\nfrom everfresh import Cache\nother = Cache()")
    (folder / "none.py").write_text("from shop import app")
    command = [sys.executable, "-c", REFUSING, json.dumps([arguments for arguments, _ in REFUSED])]
    told = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=DEADLINE_S).stdout
    return [tuple(json.loads(line)) for line in told.splitlines()]


@pytest.mark.parametrize("number", range(len(REFUSED)), ids=[" ".join(arguments) for arguments, _ in REFUSED])
def test_a_command_line_that_cannot_be_used_is_exit_code_2(refusals: list[tuple[int, str]], number: int) -> None:
    """With the reason in words."""
    code, said = refusals[number]

    assert code == 2
    assert REFUSED[number][1] in " ".join(said.split())


def test_the_cache_can_be_named(folder: Path) -> None:
    """Where the application's module does not hold it."""
    (folder / "none.py").write_text("from shop import app")
    with child(folder, "run", "none:app", "--cache", "shop:cache", "--listen", ANY_PORT) as process:
        process.told("process.ready")

        assert process.ends_in_s()[0] == 0


def test_an_application_that_does_not_start_is_exit_code_1(folder: Path) -> None:
    """The worker beside it ends in order."""
    with child(folder, *RUN, BROKEN_LIFESPAN="1") as process:
        code = process.ended()

    crashed = process.told("process.crashed")
    assert (code, crashed["part"], crashed["level"]) == (1, "web", "error")
    assert "no database" in "".join(process.lines)
    assert process.log()[-1] | {"code": 1} == process.log()[-1]


def test_a_part_that_ends_by_itself_ends_the_process(folder: Path) -> None:
    """Here the application closes the cache under its worker; the service manager starts another process."""
    with child(folder, *RUN) as process:
        httpx2.post(f"{process.url()}/close", timeout=DEADLINE_S)
        code = process.ended()

    assert (code, process.told("process.crashed")["part"]) == (1, "worker")
    assert process.told("process.stopping")["why"] == "worker crashed"


def test_a_service_manager_is_told(folder: Path) -> None:
    """When the process is ready, that it lives, and when it stops."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(folder / "notify"))
        manager.settimeout(DEADLINE_S)
        with child(folder, *WORKER, NOTIFY_SOCKET=str(folder / "notify"), WATCHDOG_USEC="200000") as process:
            told = {manager.recv(100) for _ in range(3)}
            code, _ = process.ends_in_s()
            while (last := manager.recv(100)) == b"WATCHDOG=1":
                pass

    assert (told, last, code) == ({b"READY=1", b"WATCHDOG=1"}, b"STOPPING=1", 0)


def test_health_without_the_extra_is_explained(folder: Path) -> None:
    """And a worker without it needs none."""
    (folder / "sitecustomize.py").write_text("import sys\nsys.modules['uvicorn'] = None")
    (folder / "plain.py").write_text("from everfresh import Cache\ncache = Cache()")
    path = str(folder)
    with child(folder, "worker", "plain:cache", *HEALTH, PYTHONPATH=path) as probed:
        code = probed.ended()
    with child(folder, "worker", "plain:cache", PYTHONPATH=path) as quiet:
        quiet.told("process.ready")
        code_of_quiet, _ = quiet.ends_in_s()

    assert (code, code_of_quiet) == (1, 0)
    assert "pip install 'everfresh[all]'" in "".join(probed.lines)
