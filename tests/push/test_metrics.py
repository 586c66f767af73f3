"""Metrics of the streams of this process."""

import gc
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from everfresh import Key, StoreUnavailable
from everfresh.asgi import Request
from everfresh.cli.exposing import exposition
from everfresh.push import Access, Grant, Limits, Topic, Updates
from everfresh.push.metrics import PushCollector
from tests.push.fake import FakeCache, calling

TOPICS = {name: Topic(Key(name)) for name in ("a", "b")}


@pytest.fixture(autouse=True)
def _alone() -> Iterator[None]:
    """What other tests have left is no stream of this one."""
    gc.collect()
    yield
    gc.collect()


def samples() -> dict[str, float]:
    """Each sample that is not zero, by its name and labels, without what they have in common."""
    registry = CollectorRegistry()
    registry.register(PushCollector())
    lines = generate_latest(registry).decode().splitlines()
    found = {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}
    return {name.removeprefix("everfresh_push_"): value for name, value in found.items() if value}


async def test_open_streams_and_what_they_are_sent() -> None:
    """A change counts once, and its deliveries once for each stream."""
    cache = FakeCache()
    updates = Updates(cache, TOPICS)
    async with calling(updates, "topic=a&topic=b") as one, calling(updates, "topic=a") as other:
        await one.begun()
        await other.begun()
        cache.commit("a")
        cache.commit("b")
        await other.until("update")
        await one.until("update")
        await one.until("update")
        during = samples()

    assert during == {"streams": 2, "opened_total": 2, "changes_total": 2, "deliveries_total": 3}
    assert samples() == {
        'ended_total{reason="left"}': 2,
        "opened_total": 2,
        "changes_total": 2,
        "deliveries_total": 3,
    }


async def test_what_a_slow_client_never_gets_is_counted() -> None:
    """One is on its way, one waits, and those between were overtaken."""
    cache = FakeCache()
    updates = Updates(cache, TOPICS)
    async with calling(updates, "topic=a") as slow, calling(updates, "topic=a") as quick:
        await slow.begun()
        await quick.begun()
        slow.may_send.clear()
        for n in range(5):
            cache.commit("a", value=n)
            await quick.until("update")
        slow.may_send.set()
        assert [(await slow.next()).data["value"] for _ in range(2)] == [0, 4]

        assert samples()["skipped_total"] == 3


async def test_how_streams_end() -> None:
    """Each as the first that ended it had it."""
    cache = FakeCache()
    ends = {
        "left": Updates(cache, TOPICS),
        "expired": Updates(cache, TOPICS, lifetime=timedelta(milliseconds=20)),
        "stalled": Updates(cache, TOPICS, patience=timedelta(milliseconds=20)),
        "told": Updates(cache, TOPICS),
    }
    for how, updates in ends.items():
        async with calling(updates, "topic=a") as client:
            await client.begun()
            match how:
                case "expired":
                    await client.ended()
                case "stalled":
                    client.may_send.clear()
                    cache.commit("a")
                    await client.ended()
                case "told":
                    # It does not read it, and is cut off in the end.
                    client.may_send.clear()
                    await updates.drain(timedelta(milliseconds=20))
                case _:
                    pass

    found = samples()
    assert {name: value for name, value in found.items() if name.startswith("ended")} == {
        f'ended_total{{reason="{how}"}}': 1 for how in ends
    }
    assert "streams" not in found


async def test_what_is_revoked_and_refused_is_counted() -> None:
    """Topics that were taken away, and requests by the status of their answer."""
    cache = FakeCache()
    seen = {"a", "b"}

    async def authorize(_: Request, names: frozenset[str]) -> Grant:
        return Grant(names & seen, subjects=["user:1"])

    updates = Updates(cache, TOPICS, access=Access(authorize=authorize), limits=Limits(per_address=1))
    async with calling(updates, "topic=a&topic=b") as client:
        await client.begun()
        async with calling(updates, "topic=a") as one_more:
            await one_more.ended()
        seen.clear()
        cache.commit("everfresh.access:user:1")
        await client.until("revoked")
        await client.ended()
    async with calling(updates, "topic=a&since=") as poll:
        await poll.ended()

    assert samples() == {
        "opened_total": 1,
        "revoked_total": 2,
        'ended_total{reason="revoked"}': 1,
        'refused_total{status="403"}': 1,
        'refused_total{status="429"}': 1,
    }


async def test_polls_and_failures_of_the_feed_are_counted() -> None:
    """A feed that fails ends every stream."""
    cache = FakeCache()
    updates = Updates(cache, TOPICS)
    async with calling(updates, "topic=a&since=") as poll:
        await poll.ended()
    async with calling(updates, "topic=a") as client:
        await client.begun()
        cache.batches.put_nowait(StoreUnavailable("away"))
        await client.ended()

    assert samples() == {
        "polls_total": 1,
        "opened_total": 1,
        "feed_failures_total": 1,
        'ended_total{reason="told"}': 1,
    }


def test_nobody_needs_prometheus_who_does_not_ask_for_it() -> None:
    """The client is imported with the collector, and with nothing else."""
    code = "import sys, everfresh.push; sys.exit('prometheus_client' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_health_port_tells_of_streams_too() -> None:
    """Whoever starts a process by our command has nothing to register."""
    exposed = exposition()

    assert exposed is not None
    assert b"everfresh_push_streams" in exposed.page
    assert exposition() is not None
