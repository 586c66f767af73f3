"""`everfresh doctor` looks at a real cache."""
# ruff: noqa: ANN401 - reports of any kind are what is told of

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from everfresh import Cache, dep
from everfresh.cli.commands import run
from everfresh.protocol.sourcing import Report
from everfresh.testing.clock import FakeClock
from tests.redis_servers import RedisServer, new_prefix

STORE = "sqlite:///cache.db"
APP = """
from everfresh import Cache, dep, track
cache = Cache({url!r})

@cache.cached(key="page", depends_on=[dep.Topic("shop.order.*")])
def page():
    track(dep.Id("article", 1))
    return 1

@cache.cached(key="list", should_refresh=lambda event: False, topics=("shop.item.*",))
def listed():
    return 1

page()
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with an application; it is the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "shop.py").write_text(APP.format(url=STORE))
    yield tmp_path
    sys.modules.pop("shop", None)


def tell(url: str = STORE, **fields: Any) -> None:
    """Have a consumer tell of itself."""

    async def told() -> None:
        async with Cache(url) as cache:
            await cache.sources.tell(Report(source="bus", consumer="web:1", **fields))

    asyncio.run(told())


def test_a_cache_that_is_well_is_told_of(capsys: pytest.CaptureFixture[str]) -> None:
    """A line for each thing, and what could be done about warnings."""
    tell(is_connected=True, topics=("shop.order.#",), predicates={"shop.listed@1": (0, 0)})

    code = run(["doctor", "shop:cache"])

    lines = capsys.readouterr().out.splitlines()
    assert code == 0
    assert lines[0].startswith("ok       store: answers, in ")
    assert "ok       functions: 2 cached functions declared" in lines
    assert "ok       source bus: 1 consumer connected; no event yet, lag not known" in lines
    assert "ok       topics: 1 of 3 patterns met by what sources deliver" in lines
    assert "warning  topic shop.item.*: no source delivers it; waited for by shop.listed@1" in lines
    assert "warning  topic article.*: no source delivers it; waited for by entries that track it" in lines
    assert "warning  predicate of shop.listed@1: never asked since the consumers began" in lines
    assert lines[-1] == "0 problems, 3 warnings."


def test_a_problem_has_an_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    """So that a probe need not read; a program may."""
    tell(is_connected=False, topics=("#",), problem="refused")

    code = run(["doctor", "shop:cache", "--json"])

    found = json.loads(capsys.readouterr().out)
    assert (code, found["verdict"]) == (1, "problem")
    assert [one["text"] for one in found["findings"] if one["about"] == "source bus"] == [
        "not connected: refused; no event yet, lag not known"
    ]


def test_nothing_is_changed() -> None:
    """Neither the position moves, nor is anything built."""
    with Cache(STORE) as cache:
        before = cache.blocking.position()

    (Path("shop.py")).write_text(APP.format(url=STORE).replace("\npage()\n", ""))
    run(["doctor", "shop:cache"])

    with Cache(STORE) as cache:
        assert cache.blocking.position() == before
        assert cache.blocking.coverage().n_known == 0


def test_a_store_that_is_not_reached_is_the_only_finding(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing else can be said."""
    (folder / "shop.py").write_text(APP.format(url="redis://127.0.0.1:1/0").replace("\npage()\n", ""))

    code = run(["doctor", "shop:cache"])

    lines = capsys.readouterr().out.splitlines()
    assert code == 1
    assert lines[0].startswith("problem  store: ")
    assert lines[-1] == "1 problem, 0 warnings."


def test_a_server_that_evicts_is_warned_of(
    folder: Path, shared_redis: RedisServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the process that uses it would log."""
    client = shared_redis.client()
    client.config_set("maxmemory-policy", "allkeys-lru")
    try:
        (folder / "shop.py").write_text(APP.format(url=f"{shared_redis.url}?prefix={new_prefix()}"))
        code = run(["doctor", "shop:cache"])
    finally:
        client.config_set("maxmemory-policy", "noeviction")
        client.close()

    out = capsys.readouterr().out
    assert code == 0
    assert "warning  store: store.evicts, " in out
    assert "allkeys-lru" in out


def test_what_a_source_tells_sends_nothing_to_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever sends messages may decide about what goes wrong with them."""
    tell(is_connected=True, topics=("#",), problem="\x1b[2J\n\u202e")

    run(["doctor", "shop:cache"])

    assert all(line.isprintable() for line in capsys.readouterr().out.split("\n"))


def test_entries_that_wait_for_long_are_told_of(capsys: pytest.CaptureFixture[str]) -> None:
    """Perhaps nobody builds them."""
    clock = FakeClock(time.time() - 300)
    with Cache(STORE, clock=clock) as cache:

        @cache.cached(key="late", depends_on=[dep.Tag("late")])
        def late() -> int:
            return 1

        late()
        cache.blocking.invalidate(dep.Tag("late"))

    run(["doctor", "shop:cache"])

    assert "warning  workers: 1 entry to be built, the first due for 5 min" in capsys.readouterr().out
