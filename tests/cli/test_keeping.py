"""`everfresh web --workers N`: processes that serve one address side by side, kept alive by their parent."""

import asyncio
import math
import os
import signal
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import httpx2
import pytest

from everfresh.cli.keeping import pause_s
from everfresh.testing.waiting import DEADLINE_S, soon, until
from tests.cli.children import APP, Child, child, command
from tests.cli.crowd import Reader, all_ended, crowd
from tests.needing import ONLY_WHERE_SHARED

ANY_PORT = "127.0.0.1:0"
WEB = ("web", "shop:app", "--listen", ANY_PORT)
HEALTH = ("--health", ANY_PORT)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with an application."""
    (tmp_path / "shop.py").write_text(APP)
    (tmp_path / "tea").write_text("3 EUR")
    return tmp_path


@contextmanager
def kept(folder: Path, n: int, *arguments: str, **environment: str) -> Iterator[Child]:
    """A parent with that many processes, once all have started."""
    with child(folder, *WEB, "--workers", str(n), *arguments, **environment) as parent:
        parent.told("processes.ready")
        yield parent


def url_of(parent: Child) -> str:
    """Where they serve."""
    url: str = parent.told("processes.ready")["web"]
    return url


def pids(parent: Child) -> list[int]:
    """Those that have started so far, in that order."""
    return [line["pid"] for line in parent.log() if line["event"] == "process.ready"]


def who_answers(url: str) -> int | None:
    """The process that answers on a connection of its own; None when it was killed in the middle."""
    try:
        return int(httpx2.get(f"{url}/which", timeout=DEADLINE_S).text.strip("<>"))
    except httpx2.TransportError:
        return None


def ended(readers: list[Reader]) -> list[Reader]:
    """Those whose stream is over."""
    return [reader for reader in readers if reader.ended.is_set()]


def is_alive(pid: int) -> bool:
    """Whether there is such a process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_they_serve_one_application(folder: Path) -> None:
    """On one port, with one health, and end in order together."""
    with kept(folder, 2, *HEALTH) as parent:
        page = httpx2.get(f"{url_of(parent)}/items/tea", timeout=DEADLINE_S).text
        health = parent.health("/ready", started="processes.started")
        alive = parent.health("/live", started="processes.started").is_success
        code, _ = parent.ends_in_s()

    assert (page, alive, code) == ("tea: 3 EUR", True, 0)
    assert health.json() == {"ok": True, "reasons": [], "degraded": [], "pid": parent.popen.pid}
    assert len(set(pids(parent)) - {parent.popen.pid}) == 2
    assert [line["code"] for line in parent.log() if line["event"] == "process.stopped"] == [0, 0]
    assert parent.log()[-1] == parent.log()[-1] | {"event": "processes.stopped", "code": 0}


def test_whole_applications_stand_side_by_side_too(folder: Path) -> None:
    """Each of them builds what events touch, wherever these came in."""
    with child(folder, "run", *WEB[1:], "--workers", "2") as parent:
        url = url_of(parent)
        with httpx2.Client(base_url=url, timeout=DEADLINE_S) as client:
            before = client.get("/items/tea").text
            (folder / "tea").write_text("4 EUR")
            client.post("/events", json={"topic": "price.changed", "body": {"item": "tea"}}).raise_for_status()
        refreshed = parent.told("refresh.done")
        after = httpx2.get(f"{url}/items/tea", timeout=DEADLINE_S).text
        code, _ = parent.ends_in_s()

    assert (before, after, code) == ("tea: 3 EUR", "tea: 4 EUR", 0)
    assert refreshed["pid"] in pids(parent)


@ONLY_WHERE_SHARED
async def test_connections_are_shared_evenly(folder: Path) -> None:
    """By the kernel, among a socket of each process; that it does so within a tenth stands in test_listening."""
    n, n_processes = 400, 4
    with kept(folder, n_processes) as parent:
        # The whole answer: its head alone may come first.
        async with crowd(f"{url_of(parent)}/which", n, awaits=b">") as readers:
            shares = Counter(bytes(reader.received).partition(b"<")[2] for reader in readers)
        expected = {f"{pid}>".encode() for pid in pids(parent)}

    # Six times the deviation of a fair draw: one run in a hundred million fails by chance.
    slack = 6 * math.sqrt(n / n_processes * (1 - 1 / n_processes))
    assert shares.keys() == expected
    assert all(abs(share - n / n_processes) < slack for share in shares.values()), shares


@pytest.mark.alone
@pytest.mark.parametrize(("n_processes", "n"), [(1, 1_000), (2, 200)])
async def test_all_streams_hear_goodbye_in_time(folder: Path, n_processes: int, n: int) -> None:
    """Each ends whole, with word when to come back, before the process would cut off whoever is left: within 2 s."""
    with child(folder, *WEB, "--workers", str(n_processes)) as parent:
        url = parent.told("process.ready" if n_processes == 1 else "processes.ready")["web"]
        async with crowd(f"{url}/updates?topic=tea", n) as readers:
            parent.signal()
            await all_ended(readers)
            code = await asyncio.to_thread(parent.ended)

    said = sum(b"event: bye" in reader.received for reader in readers)
    assert (said, sum(reader.is_whole for reader in readers), code) == (n, n, 0)
    assert not [line for line in parent.log() if line["event"] in {"process.cut", "process.crashed"}]


@ONLY_WHERE_SHARED
def test_one_that_is_killed_leaves_the_others_to_serve(folder: Path) -> None:
    """Its clients find another at once, and before long there are as many as there were."""
    with kept(folder, 2) as parent:
        url = url_of(parent)
        victim, survivor = pids(parent)
        os.kill(victim, signal.SIGKILL)
        until(lambda: who_answers(url) == survivor, what="an answer of the other")
        lost = parent.told("processes.lost")
        parent.told("processes.again")
        (newcomer,) = set(pids(parent)) - {victim, survivor}
        until(lambda: who_answers(url) == newcomer, what="an answer of the new one")
        code, _ = parent.ends_in_s()

    assert (lost["how"], code) == ("SIGKILL", 0)


@ONLY_WHERE_SHARED
async def test_streams_of_one_that_is_killed_go_on_elsewhere(folder: Path) -> None:
    """Each finds another process, with its cursor, at the first try: while there is nobody in place of the first."""
    async with httpx2.AsyncClient(timeout=DEADLINE_S) as client:
        with kept(folder, 2) as parent:
            url = url_of(parent)
            await client.get(f"{url}/items/tea")
            victim, survivor = pids(parent)
            async with crowd(f"{url}/updates?topic=tea", 40, awaits=b"3 EUR") as readers:
                (folder / "broken").touch()
                os.kill(victim, signal.SIGKILL)
                await asyncio.to_thread(parent.told, "processes.lost")
                broken = await soon(partial(ended, readers), what="streams that break off")
                cursor = bytes(broken[0].received).rpartition(b"id: ")[2].partition(b"\n")[0].decode()
                (folder / "tea").write_text("4 EUR")
                await client.post(f"{url}/events", json={"topic": "price.changed", "body": {"item": "tea"}})
                await client.get(f"{url}/items/tea")
                back = f"{url}/updates?topic=tea&last_event_id={cursor}"
                async with crowd(back, len(broken), awaits=b"4 EUR"):
                    served_by = await asyncio.to_thread(who_answers, url)
            parent.ends_in_s()

    assert 0 < len(broken) < 40
    assert served_by == survivor


def test_one_that_begins_badly_again_is_tried_again(folder: Path) -> None:
    """After it was well; the others serve meanwhile."""
    with kept(folder, 2, *HEALTH) as parent:
        (folder / "broken").touch()
        os.kill(pids(parent)[0], signal.SIGKILL)
        parent.told("processes.lost", 3)
        health = parent.health("/ready", started="processes.started").json()
        (folder / "broken").unlink()
        parent.told("processes.again")
        code, _ = parent.ends_in_s()

    assert (health["ok"], health["reasons"], code) == (True, [], 0)
    assert [what.partition(": ")[2] for what in health["degraded"]] == ["starting"]


def test_one_that_never_starts_ends_all(folder: Path) -> None:
    """With its exit code, as one process alone would."""
    with child(folder, *WEB, "--workers", "2", BROKEN_LIFESPAN="1") as parent:
        code = parent.ended()

    assert code == 1
    assert "no database" in "".join(parent.lines)


@pytest.mark.parametrize(
    ("app", "code"), [("none:app", 2), ("shop:not_callable", 2)], ids=["no module", "no application"]
)
def test_a_mistake_in_the_command_line_is_one(folder: Path, app: str, code: int) -> None:
    """No process is tried again for it."""
    with child(folder, "web", app, "--listen", ANY_PORT, "--workers", "2") as parent:
        assert parent.popen.wait(DEADLINE_S) == code


def test_a_cache_that_they_would_not_share_is_refused(folder: Path) -> None:
    """Each would serve what the others do not know."""
    (folder / "shop.py").write_text(APP.replace("f\"sqlite:///{os.environ.get('STORE', 'cache.db')}\"", '"memory:"'))
    with child(folder, *WEB, "--workers", "2") as parent:
        code = parent.popen.wait(DEADLINE_S)
    text = "".join(parent.lines)

    assert code == 2
    assert "sqlite: or redis:" in " ".join(text.replace("│", " ").split())


def test_an_address_that_somebody_has_is_exit_code_4(folder: Path) -> None:
    """Also if that shares it: two applications would answer in turn."""
    with kept(folder, 2) as first:
        port = url_of(first).rpartition(":")[2]
        with child(folder, "web", "shop:app", "--listen", f"127.0.0.1:{port}", "--workers", "2") as second:
            code = second.ended()
        with child(folder, "web", "shop:app", "--listen", f"127.0.0.1:{port}") as third:
            code_of_one = third.ended()

    assert (code, code_of_one) == (4, 4)


def test_without_their_parent_they_end(folder: Path) -> None:
    """In order; nobody would start them again, and the next parent wants the address."""
    with kept(folder, 2) as parent:
        theirs = pids(parent)
        parent.signal(signal.SIGKILL)
        until(lambda: not any(map(is_alive, theirs)), what="the end of both")

    assert [line["why"] for line in parent.log() if line["event"] == "process.stopping"] == ["its parent is gone"] * 2


def test_one_that_says_nothing_is_killed(folder: Path) -> None:
    """Only another process helps."""
    kept_ = f"Kept(n=1, arguments={command(*WEB, '--workers', '2')[2:]}, listen=Address('127.0.0.1', 0), "
    program = (
        "import sys\nfrom everfresh.cli.keeping import Kept, keep\nfrom everfresh.cli.listening import Address\n"
        "from everfresh.cli.logs import configure\nconfigure('json', 'debug')\n"
        f"sys.exit(keep({kept_}quiet_s=0.5, ask_every_s=0.05)))"
    )
    with child(folder, "-c", program) as parent:
        parent.told("processes.ready")
        os.kill(pids(parent)[0], signal.SIGSTOP)
        parent.told("processes.stuck")
        lost = parent.told("processes.lost")
        parent.told("processes.again")
        code, _ = parent.ends_in_s()

    assert (lost["how"], code) == ("SIGKILL", 0)


def test_one_that_does_not_end_is_killed_at_the_end(folder: Path) -> None:
    """Shortly after the time at which it would have cut itself off."""
    with kept(folder, 2) as parent:
        stopped, _ = pids(parent)
        os.kill(stopped, signal.SIGSTOP)
        code, _ = parent.ends_in_s()
        until(lambda: not is_alive(stopped), what="its end")

    assert code == 0
    assert "process.cut" in {line["event"] for line in parent.log() if line["pid"] == parent.popen.pid}


def test_they_are_not_ready_while_they_end(folder: Path) -> None:
    """A slow answer is waited for meanwhile."""
    with kept(folder, 2, *HEALTH, "--grace", "20") as parent, httpx2.Client(timeout=DEADLINE_S) as client:
        with socket.create_connection(("127.0.0.1", int(url_of(parent).rpartition(":")[2]))) as slow:
            slow.sendall(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n")
            until((folder / "slow.begun").exists, what="the request")
            parent.signal()
            parent.told("processes.stopping")
            health = client.get(f"{parent.told('processes.started')['health']}/ready")
            (folder / "go").touch()
            slow.settimeout(DEADLINE_S)
            answer = b"".join(iter(lambda: slow.recv(4096), b""))
        code = parent.ended()

    assert (health.status_code, health.json()["reasons"][0], code) == (503, "stopping", 0)
    assert answer.endswith(b"late")


def test_where_sockets_cannot_be_shared_there_is_one_for_all(folder: Path) -> None:
    """They serve, if not evenly."""
    (folder / "sitecustomize.py").write_text("import socket\ndel socket.SO_REUSEPORT")
    with kept(folder, 2, PYTHONPATH=str(folder)) as parent:
        url = url_of(parent)
        victim, survivor = pids(parent)
        os.kill(victim, signal.SIGKILL)
        until(lambda: who_answers(url) == survivor, what="an answer of the other")
        parent.told("processes.again")
        code, _ = parent.ends_in_s()

    assert code == 0


def test_a_service_manager_hears_from_the_parent(folder: Path) -> None:
    """When all have started, and when they stop; each once."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(folder / "notify"))
        manager.settimeout(DEADLINE_S)
        told: list[bytes] = []
        with child(
            folder, *WEB, "--workers", "2", NOTIFY_SOCKET=str(folder / "notify"), WATCHDOG_USEC="200000"
        ) as parent:
            for last in (b"READY=1", b"STOPPING=1"):
                while last not in told:
                    told.append(manager.recv(100))
                if last == b"READY=1":
                    parent.signal()
            code = parent.ended()

    assert code == 0
    assert [said for said in told if said != b"WATCHDOG=1"] == [b"READY=1", b"STOPPING=1"]


def test_pauses_grow_to_ten_seconds() -> None:
    """None before the first new start, and never twice the same for all."""
    longest = [pause_s(n, 1.0) for n in range(12)]

    assert longest[:4] == [0.0, 0.1, 0.2, 0.4]
    assert (longest[-1], pause_s(10_000, 1.0), pause_s(10_000, 0.0)) == (10.0, 10.0, 5.0)
