"""What a process finds out about itself when it is asked."""

import asyncio
import json
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from everfresh import Cache
from everfresh.cli.health import ANSWER_S, QUIET_S, Health
from everfresh.cli.listening import Address, CannotListen, listen, url_of
from everfresh.model.errors import StoreUnavailable
from everfresh.model.marks import override
from everfresh.model.position import Position
from everfresh.refresh import Worker
from everfresh.sources.reports import problems
from everfresh.testing.broker import FakeBroker
from everfresh.testing.waiting import soon


class Stuck(Worker):
    """A worker whose loop waits for something."""

    @property
    @override
    def quiet_s(self) -> float:
        return QUIET_S + 1


class Silent(Cache):
    """A cache whose store does not answer."""

    @override
    async def position(self) -> Position:
        return await asyncio.get_running_loop().create_future()


class Broken(Cache):
    """A cache whose store refuses."""

    @override
    async def position(self) -> Position:
        raise StoreUnavailable("not now")


async def asked(health: Health, path: str, method: str = "GET") -> tuple[object, dict[str, object]]:
    """The status and the document of an answer."""
    sent: list[dict[str, object]] = []

    async def receive() -> Mapping[str, object]:
        return {"type": "http.request"}

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    await health({"type": "http", "method": method, "path": path, "headers": [], "query_string": b""}, receive, send)
    body = sent[1]["body"]
    assert isinstance(body, bytes)
    return sent[0]["status"], json.loads(body)


@pytest.mark.parametrize("path", ["/live", "/ready"])
@pytest.mark.parametrize("url", ["memory:", "sqlite"])
async def test_a_sound_process_says_so(path: str, url: str, tmp_path: Path) -> None:
    """With each kind of store."""
    async with Cache(f"sqlite:///{tmp_path}/cache.db" if url == "sqlite" else url) as cache, Worker(cache) as worker:
        health = Health(cache, asyncio.Event())
        health.worker = worker
        status, document = await asked(health, path)

    assert (status, document["ok"], document["reasons"]) == (200, True, [])


async def test_a_feed_that_nobody_follows_is_not_ready(tmp_path: Path) -> None:
    """Here another process writes, and no poller runs that would hear of it."""
    url = f"sqlite:///{tmp_path}/cache.db"
    async with Cache(url) as cache, Cache(url) as other:
        await other.put("key", 1)
        _, document = await asked(Health(cache, asyncio.Event()), "/ready")

    assert document["reasons"] == [f"feed: not followed within {ANSWER_S:g} s"]


@pytest.mark.parametrize(
    ("kind", "reason"),
    [(Silent, f"store: no answer within {ANSWER_S:g} s"), (Broken, "store: StoreUnavailable: not now")],
)
async def test_a_store_that_does_not_answer_is_alive_and_not_ready(kind: type[Cache], reason: str) -> None:
    """To start the process anew would not bring it back."""
    async with kind() as cache:
        health = Health(cache, asyncio.Event())
        live, _ = await asked(health, "/live")
        ready, document = await asked(health, "/ready")

    assert (live, ready, document["reasons"]) == (200, 503, [reason])


async def test_who_serves_without_the_store_is_ready_without_it() -> None:
    """Its readers call their functions: all that could serve would be taken out of service otherwise."""
    async with Broken() as cache, Broken(on_store_failure="raise") as strict:
        serving = await asked(Health(cache, asyncio.Event(), is_serving=True), "/ready")
        refusing = await asked(Health(strict, asyncio.Event(), is_serving=True), "/ready")

    assert (serving[0], serving[1]["reasons"], serving[1]["degraded"]) == (
        200,
        [],
        ["store: StoreUnavailable: not now"],
    )
    assert (refusing[0], refusing[1]["reasons"]) == (503, ["store: StoreUnavailable: not now"])


async def test_a_worker_that_is_stuck_is_not_alive() -> None:
    """Only a new process helps."""
    async with Cache() as cache:
        health = Health(cache, asyncio.Event())
        health.worker = Stuck(cache)
        live, document = await asked(health, "/live")
        ready, _ = await asked(health, "/ready")

    assert (live, ready, document["reasons"]) == (503, 503, ["worker: its loop has not gone round for 31 s"])


async def test_parts_that_have_not_started_are_named() -> None:
    """Nothing should be asked of them yet."""
    async with Cache() as cache:
        health = Health(cache, asyncio.Event())
        health.waits_for = {"web", "worker"}
        status, document = await asked(health, "/ready")

    assert (status, document["reasons"]) == (503, ["starting: web", "starting: worker"])


@pytest.mark.parametrize(("method", "path"), [("GET", "/"), ("POST", "/live")])
async def test_nothing_else_is_there(method: str, path: str) -> None:
    """What there is, the answer says."""
    async with Cache() as cache:
        status, document = await asked(Health(cache, asyncio.Event()), path, method)

    assert (status, document["detail"]) == (
        404,
        "There are GET /live and GET /ready, and GET /metrics where prometheus-client is installed.",
    )


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [("127.0.0.1:8000", "127.0.0.1", 8000), ("[::1]:0", "::1", 0), ("::1:9", "::1", 9), ("web:65535", "web", 65535)],
)
def test_an_address_is_a_host_and_a_port(text: str, host: str, port: int) -> None:
    """Also of the newer kind."""
    assert Address.parse(text) == Address(host, port)


@pytest.mark.parametrize("text", ["", "8000", ":8000", "[]:1", "host:", "host:-1", "host:65536", "host:x"])
def test_what_is_no_address_is_refused(text: str) -> None:
    """And it says how one is written."""
    with pytest.raises(ValueError, match="HOST:PORT"):
        Address.parse(text)


def test_a_host_that_is_not_there_is_named() -> None:
    """As a port is that is taken."""
    with pytest.raises(CannotListen, match=r"no-such-host\.invalid:8000.* Name another address"):
        listen(Address("no-such-host.invalid", 8000))
    with listen(Address("127.0.0.1", 0)) as first:
        port = int(url_of(first).rpartition(":")[2])
        with pytest.raises(CannotListen, match=str(port)):
            listen(Address("127.0.0.1", port))


async def test_metrics_are_not_there_without_their_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has to install it."""
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    async with Cache() as cache:
        status, _ = await asked(Health(cache, asyncio.Event()), "/metrics")

    assert status == 404


async def test_sources_count_for_who_is_to_consume_them() -> None:
    """A process whose application consumes beside serving is not taken out of service for that."""
    broker = FakeBroker(name="bus")
    broker.is_down = True
    async with Cache() as cache:
        consuming = asyncio.create_task(cache.consume(broker))
        await soon(lambda: bool(problems()), what="the source is missed")
        only, serving, neither = [
            await asked(Health(cache, asyncio.Event(), is_consuming=consumes, is_serving=serves), "/ready")
            for consumes, serves in ((True, False), (True, True), (False, True))
        ]
        consuming.cancel()
        await asyncio.gather(consuming, return_exceptions=True)

    assert (only[0], serving[0], neither[0]) == (503, 200, 200)
    assert str(only[1]["reasons"]).startswith("['source bus: ")
    assert serving[1]["degraded"] == only[1]["reasons"]
    assert neither[1]["degraded"] == []
