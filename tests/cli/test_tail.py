"""`everfresh tail`: changes as lines, until somebody ends it."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from everfresh import Cache, dep
from everfresh.testing.waiting import DEADLINE_S, until


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A store that processes share, with an entry."""
    url = f"sqlite:///{tmp_path / 'cache.db'}"
    with Cache(url) as cache:
        cache.blocking.put("prices:old", 1)
    return url


@contextmanager
def tailing(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The command, while it runs; it ends with the block."""
    with subprocess.Popen(
        [sys.executable, "-m", "everfresh", "tail", *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def lines(process: subprocess.Popen[str], n: int) -> list[str]:
    """Its next lines."""
    assert process.stdout is not None
    return [process.stdout.readline().rstrip("\n") for _ in range(n)]


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Its exit code, and what it said on standard error."""
    _, said = process.communicate(timeout=DEADLINE_S)
    return process.returncode, said


def test_each_change_is_a_line(url: str, tmp_path: Path) -> None:
    """With the state, the version, the key, and the value if it is new; Ctrl-C is its good end."""
    with Cache(url) as cache, tailing(tmp_path, url, "prices:*", "--all") as process:
        first = lines(process, 1)
        cache.blocking.put("prices:tea\x1b[2J", {"eur": 3}, dep.Tag("t"))
        cache.blocking.put("others", 1)
        first += lines(process, 1)
        cache.blocking.delete("prices:tea\x1b[2J")
        first += lines(process, 1)
        process.send_signal(signal.SIGINT)

        assert ended(process) == (0, "")
    assert [line.split(maxsplit=1)[1] for line in first] == [
        "fresh     v1    prices:old  1",
        'fresh     v1    prices:tea\\x1b[2J  {"eur":3}',
        "dropped         prices:tea\\x1b[2J",
    ]


def test_as_json_each_is_an_object(url: str, tmp_path: Path) -> None:
    """Which says all that is known; the limit ends it."""
    with tailing(tmp_path, url, "--all", "--json", "--limit", "1") as process:
        (line,) = lines(process, 1)
        code = ended(process)

    document = json.loads(line)
    assert code == (0, "")
    assert {"key": "prices:old", "state": "fresh", "version": 1, "value": 1}.items() <= document.items()


def test_values_may_be_left_out(url: str, tmp_path: Path) -> None:
    """They may be nobody's business."""
    with tailing(tmp_path, url, "--all", "--json", "--no-values", "--limit", "1") as process:
        (line,) = lines(process, 1)

    assert "value" not in json.loads(line)


def test_a_pipe_that_is_closed_ends_it_quietly(url: str, tmp_path: Path) -> None:
    """As `tail` of the system does for `head`."""
    with Cache(url) as cache, tailing(tmp_path, url, "--all") as process:
        lines(process, 1)
        assert process.stdout is not None
        process.stdout.close()

        def is_over() -> bool:
            cache.blocking.put("prices:new", os.urandom(8).hex())
            return process.poll() is not None

        until(is_over, what="its end")
        assert process.stderr is not None
        assert (process.returncode, process.stderr.read()) == (0, "")


def test_what_only_this_process_sees_is_refused(tmp_path: Path) -> None:
    """Nothing would ever come."""
    (tmp_path / "shop.py").write_text("from everfresh import Cache\ncache = Cache()")
    with tailing(tmp_path, "shop:cache") as process:
        code, said = ended(process)

    assert code == 2
    assert "sqlite: or redis:" in " ".join(said.replace("│", " ").split())


def test_after_so_many_seconds_it_ends(url: str, tmp_path: Path) -> None:
    """With nothing printed, if nothing happened."""
    with tailing(tmp_path, url, "--seconds", "0.05") as process:
        assert ended(process) == (0, "")


def test_what_json_does_not_have_is_said(url: str, tmp_path: Path) -> None:
    """One such value stops no other."""

    async def put() -> None:
        async with Cache(url) as cache:
            await cache.put("odd", {(1, 2): 3})

    asyncio.run(put())
    with tailing(tmp_path, url, "odd", "--all", "--json", "--limit", "1") as process:
        (line,) = lines(process, 1)

    assert json.loads(line)["value"].startswith("no JSON: ")
