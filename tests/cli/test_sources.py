"""What a store remembers of sources, at the command line."""

import asyncio
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from everfresh import Cache
from everfresh.cli.commands import run
from everfresh.model.message import Message
from everfresh.protocol.sourcing import Offset, Report, Sources
from everfresh.sources.quarantine import unreadable
from everfresh.testing.clock import FakeClock

STORE = "sqlite:///cache.db"
APP = f"from everfresh import Cache\ncache = Cache({STORE!r})\n"
EVIL = "redis:a\nb"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with an application; it is the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "shop.py").write_text(APP)
    yield tmp_path
    sys.modules.pop("shop", None)


def leave(
    source: str,
    *,
    is_connected: bool | None = False,
    offset: str | None = None,
    n_kept: int = 0,
    ago_s: float = 0.0,
) -> None:
    """Have something of a source in the store."""

    async def left() -> None:
        async with Cache(STORE, clock=FakeClock(time.time() - ago_s)) as cache:
            if is_connected is not None:
                report = Report(source=source, consumer="web:1", is_connected=is_connected, topics=("#",))
                await cache.sources.tell(report)
            if offset is not None:
                await cache.sources.apply((), offset=Offset(source, offset))
            some = [Message(topic="t", body=str(number).encode()) for number in range(n_kept)]
            await cache.sources.quarantine([unreadable(source, "plain", "no", one) for one in some])

    asyncio.run(left())


def stored() -> dict[str, tuple[str | None, int, int]]:
    """Of each source its offset, how many consumers have told, how many of its messages are in quarantine."""

    async def read() -> Sources:
        async with Cache(STORE) as cache:
            return await cache.sources.read()

    states = asyncio.run(read()).states
    return {state.source: (state.offset, len(state.reports), state.n_quarantined) for state in states}


@pytest.mark.parametrize("store", ["shop:cache", STORE], ids=["by the application", "by the store"])
def test_sources_are_listed(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each with what is remembered of it."""
    leave("bus", is_connected=True, offset="5", n_kept=2)
    leave("ended")
    leave("http", is_connected=None, n_kept=1)
    leave(EVIL, is_connected=None, offset="1")

    assert run(["sources", "list", store]) == 0

    assert capsys.readouterr().out.splitlines() == [
        "bus: 1 consumer connected, an offset, 2 in quarantine",
        "ended: not connected, no offset",
        "http: no consumer has told of itself, no offset, 1 in quarantine",
        "redis:a\\nb: no consumer has told of itself, an offset",
        "4 sources.",
    ]


@pytest.mark.parametrize("name", [EVIL, "redis:a\\nb"], ids=["as it is", "as it is listed"])
def test_a_source_is_forgotten(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Offset and reports go, what is in quarantine stays; and so do other sources."""
    leave(EVIL, offset="5", n_kept=1)
    leave("bus", offset="7")

    assert run(["sources", "forget", STORE, name]) == 0

    assert capsys.readouterr().out == "1 source forgotten.\n"
    assert stored() == {"bus": ("7", 1, 0), EVIL: (None, 0, 1)}


def test_doctor_says_nothing_of_a_forgotten_source(capsys: pytest.CaptureFixture[str]) -> None:
    """Before, it is a problem for ever; what doctor says tells how to have it forgotten."""
    leave("old", is_connected=True, ago_s=300.0)
    assert run(["doctor", "shop:cache"]) == 1
    told = capsys.readouterr().out
    assert "problem  source old: no consumer for 5 min" in told
    assert "everfresh sources forget APP NAME" in told

    assert run(["sources", "forget", STORE, "old"]) == 0

    # Another process imports it anew.
    sys.modules.pop("shop")
    assert run(["doctor", "shop:cache"]) == 0
    assert "source old" not in capsys.readouterr().out


def test_one_that_is_connected_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """It would be back at once; whoever is sure may do so, and nothing is forgotten by halves."""
    leave("bus", is_connected=True, offset="5")
    leave("ended", offset="7")

    assert run(["sources", "forget", STORE, "ended", "bus"]) == 1
    assert "bus: a consumer has told in the last 30 s that it is connected" in capsys.readouterr().err
    assert stored().keys() == {"bus", "ended"}

    assert run(["sources", "forget", STORE, "ended", "bus", "--yes"]) == 0
    assert capsys.readouterr().out == "2 sources forgotten.\n"
    assert stored() == {}


@pytest.mark.parametrize(
    ("name", "told"), [("nobody", "no such source"), ("http", "nothing but messages in quarantine")]
)
def test_what_cannot_be_forgotten_is_told(name: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    """And what to do instead."""
    leave("http", is_connected=None, n_kept=1)

    assert run(["sources", "forget", STORE, name]) == 1

    assert told in capsys.readouterr().err
    assert stored() == {"http": (None, 0, 1)}
