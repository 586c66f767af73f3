"""Streams in an application under a uvicorn of its own: SIGTERM ends them with a goodbye, and then the server."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from everfresh.testing.waiting import DEADLINE_S
from tests.cli.crowd import all_ended, crowd

CACHE = """
from contextlib import asynccontextmanager

from everfresh import Cache, Key
from everfresh.push import Limits, Topic, Updates
from everfresh.push.ending import saying_goodbye

cache = Cache("sqlite:///cache.db")
updates = Updates(cache, {"a": Topic(Key("a"))}, limits=Limits(per_address=1000))
"""
STARLETTE = """
from starlette.applications import Starlette
from starlette.routing import Mount, Route


@asynccontextmanager
async def lifespan(app):
    async with cache:
        with saying_goodbye(updates):
            yield


app = Starlette(routes=[Route("/updates", updates), Mount("/mounted", updates)], lifespan=lifespan)
"""
PLAIN = """
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        async with cache:
            with saying_goodbye(updates):
                await updates(scope, receive, send)
    else:
        await updates(scope, receive, send)
"""
RUNNING = re.compile(r"http://127\.0\.0\.1:\d+")


@contextmanager
def uvicorn(folder: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The server's own command, once it serves, and where."""
    with subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "shop:app", "--port", "0"],
        cwd=folder,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as process:
        try:
            assert process.stderr is not None
            found = None
            for line in process.stderr:
                found = found or RUNNING.search(line)
                if found is not None:
                    break
            assert found is not None
            yield process, found[0]
        finally:
            process.kill()


@pytest.mark.parametrize("path", ["/updates", "/mounted/"])
@pytest.mark.parametrize("app", [STARLETTE, PLAIN], ids=["Starlette", "plain"])
async def test_a_server_with_open_streams_ends(tmp_path: Path, app: str, path: str) -> None:
    """By itself it would wait for them for ever."""
    (tmp_path / "shop.py").write_text(CACHE + app)
    with uvicorn(tmp_path) as (process, url):
        async with crowd(f"{url}{path}?topic=a", 50) as readers:
            process.send_signal(signal.SIGTERM)
            await all_ended(readers)
        # uvicorn ends by the signal that it was sent.
        code = process.wait(DEADLINE_S)

    assert [b"event: bye" in reader.received and reader.is_whole for reader in readers] == [True] * 50
    assert code == -signal.SIGTERM


def test_a_server_without_streams_ends_as_ever(tmp_path: Path) -> None:
    """Nothing is waited for."""
    (tmp_path / "shop.py").write_text(CACHE + STARLETTE)
    with uvicorn(tmp_path) as (process, url):
        refused = httpx2.get(f"{url}/updates", timeout=DEADLINE_S)
        process.send_signal(signal.SIGTERM)
        code = process.wait(DEADLINE_S)

    assert (refused.status_code, code) == (400, -signal.SIGTERM)
