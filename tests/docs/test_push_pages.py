"""The applications of the pages on frameworks: served by the commands that stand there, and one update followed."""

import asyncio
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from everfresh.testing.waiting import DEADLINE_S, until
from tests.docs.page_runner import written
from tests.push.serving import watching

ROOT = Path(__file__).parents[2]
HOW_TO = ROOT / "docs/how-to"
RUNNER = Path(__file__).with_name("page_runner.py")
COMMANDS = re.compile(r"^```sh\n(?P<text>(?:(?:everfresh|flask) .+\n)+)```$", re.MULTILINE)
SERVES = re.compile(r"127\.0\.0\.1:(?P<port>[1-9]\d*)")
PORT = re.compile(r"(?<=--listen 127\.0\.0\.1:)\d+|(?<=--port )\d+")
SCRIPT = re.compile(r'<script type="module" src="([^"]+)">')
META = re.compile(r'<meta name="live-(?P<name>\w+)" content="(?P<text>[^"]*)">')


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page on a framework, and how its application is used."""

    name: str
    file: str = "docs/how-to/push-with-{}.md"
    topic: str = "stock"
    updates: str = "/updates"
    shown: str = "/"
    changed_by: tuple[str, str] = ("POST", "/sell/tea")
    before: str = "<li>tea: 3</li>"
    after: object = "<li>tea: 2</li>"


PAGES = [
    Page(
        name="everfresh",
        file="README.md",
        topic="price",
        changed_by=("POST", "/change"),
        before=">tea: 3 EUR<",
        after="tea: 4 EUR",
    ),
    Page(name="starlette"),
    Page(name="django"),
    Page(name="flask"),
    Page(
        name="fastapi",
        updates="/updates/",
        shown="/stock",
        changed_by=("PUT", "/stock/tea?n=2"),
        before='{"tea":3}',
        after={"tea": 2},
    ),
]


@contextmanager
def running(folder: Path, command: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A command of a page, at a port of its own, once it says where it serves."""
    command = PORT.sub("0", command)
    program, *arguments = shlex.split(command)
    if program == "everfresh" and "--listen" not in arguments:
        arguments += ["--listen", "127.0.0.1:0"]
    log = folder / f"{program}.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", program, *arguments],
            cwd=folder,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            stdout=file,
            stderr=subprocess.STDOUT,
        )

    def port() -> str | None:
        assert process.poll() is None, log.read_text()
        found = SERVES.search(log.read_text())
        return found and found["port"]

    try:
        yield process, f"http://127.0.0.1:{until(port, what=f'where {program} serves')}"
    finally:
        process.kill()
        process.wait()


async def followed(page: Page, pages: str, streams: str, server: subprocess.Popen[bytes]) -> tuple[object, str]:
    """What a browser is sent when something changes, and the last that it hears when the server is told to end."""
    async with httpx2.AsyncClient(timeout=DEADLINE_S, trust_env=False) as browser:
        shown = (await browser.get(f"{pages}{page.shown}")).text
        assert page.before in shown
        said = {found["name"]: found["text"] for found in META.finditer(shown)}
        assert said.get("updates", page.updates) == page.updates
        for script in SCRIPT.findall(shown):
            assert (await browser.get(f"{streams}{script}")).headers["content-type"].startswith("text/javascript")
        async with watching(f"{streams}{page.updates}", [page.topic], cursor=said.get("position", "")) as client:
            await client.begun()
            await browser.request(page.changed_by[0], f"{pages}{page.changed_by[1]}")
            async with asyncio.timeout(DEADLINE_S):
                while (update := (await client.until("update"))[-1].data)["version"] < 2:
                    pass
            server.send_signal(signal.SIGTERM)
            rest = await client.rest()
    return update.get("html", update.get("value")), rest[-1].event


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
async def test_who_does_as_the_page_says_follows_an_update(page: Page, tmp_path: Path) -> None:
    """The files as they stand there, started by its commands: what changes arrives, and the end is said."""
    pytest.importorskip(page.name)
    source = ROOT / page.file.format(page.name)
    commands = COMMANDS.search(source.read_text("utf-8"))
    assert commands is not None
    written(source, tmp_path)

    with ExitStack() as stack:
        servers = [stack.enter_context(running(tmp_path, line)) for line in commands["text"].splitlines()]
        server, streams = servers[-1]
        answer = await followed(page, servers[0][1], streams, server)
        code = await asyncio.to_thread(server.wait, DEADLINE_S)

    assert (*answer, code) == (page.after, "bye", 0)


DJANGO = """
from asgiref.sync import async_to_sync

store = SessionStore()
store["_auth_user_id"] = "7"
store.save()
for cookie in (f"sessionid={store.session_key}", "sessionid=forged", ""):
    print(async_to_sync(authorize)(Request("GET", [(b"cookie", cookie.encode())]), frozenset({"stock"})))
"""
FLASK = """
serializer = pages.session_interface.get_signing_serializer(pages)
cookies = [f"session={serializer.dumps({'user': 'ann'})}", "session=forged", ""]
for cookie in cookies:
    print(authorize(Request("GET", [(b"cookie", cookie.encode())]), frozenset({"stock"})))
signed_in.discard("ann")
print(authorize(Request("GET", [(b"cookie", cookies[0].encode())]), frozenset({"stock"})))
"""


@pytest.mark.parametrize(
    ("name", "code", "user", "n_refused"), [("django", DJANGO, "7", 2), ("flask", FLASK, "ann", 3)], ids=str
)
def test_a_page_reads_the_sessions_of_its_framework(
    tmp_path: Path, name: str, code: str, user: str, n_refused: int
) -> None:
    """Of who has signed in, and of nobody else."""
    pytest.importorskip(name)
    text = (HOW_TO / f"push-with-{name}.md").read_text("utf-8")
    # These need no table.
    sessions = 'DATABASES=DATABASES, SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies")'
    page = tmp_path / "page.md"
    page.write_text(f"{text.replace('DATABASES=DATABASES)', sessions)}\n```python\n{code}```\n", "utf-8")

    done = subprocess.run(
        [sys.executable, str(RUNNER), str(page)],
        check=False,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=DEADLINE_S,
    )

    told = done.stdout.splitlines()[-n_refused - 1 :]
    assert told == [
        f"Grant(topics=frozenset({{'stock'}}), user='{user}', subjects=['user:{user}'], expires_at=None)",
        *["None"] * n_refused,
    ]
