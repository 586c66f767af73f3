"""A source that is read beside the application, which misses nothing."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from datetime import timedelta

import nats
import pytest

from everfresh.cli.recording import Tappable
from everfresh.model.message import Message
from everfresh.sources.jetstream import JetStream
from everfresh.sources.mqtt import Mqtt
from everfresh.sources.mqtt_session import Session
from everfresh.sources.redis_streams import RedisStream
from everfresh.sources.source import Adapter, Start, Stream
from everfresh.testing.waiting import soon
from tests.mosquitto_servers import mosquitto_server
from tests.nats_servers import nats_server
from tests.redis_servers import RedisServer, new_prefix

BODIES = ["1", "2"]


class Both:
    """The application's connection to a source, and a tap's."""

    def __init__(self, stack: AsyncExitStack, adapter: Adapter) -> None:
        self._stack = stack
        self._adapter = adapter

    async def open(self) -> tuple[Stream, Stream]:
        """Connect both."""
        assert isinstance(self._adapter, Tappable)
        tap = self._adapter.tapped()
        assert (tap.name, tap.delivers, tap.format) == (
            self._adapter.name,
            self._adapter.delivers,
            self._adapter.format,
        )
        start = Start(offset=None, topics=("#",), consumer="me")
        own = await self._stack.enter_async_context(self._adapter.open(start))
        return own, await self._stack.enter_async_context(tap.open(start))

    async def close(self) -> None:
        """Disconnect both."""
        await self._stack.aclose()


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    """What is open in a test."""
    async with AsyncExitStack() as made:
        yield made


async def bodies(stream: Stream, *, is_tap: bool = False) -> list[str]:
    """Two bodies, acknowledged; who only looks is told of no loss, the application of what came before its start."""
    found: list[str] = []

    async def are_there() -> bool:
        batch = await stream.fetch(10, 0.1)
        assert not (is_tap and batch.gap)
        found.extend(message.body.decode() for message in batch.messages)
        await stream.acknowledge(batch)
        return len(found) >= len(BODIES)

    await soon(are_there, what="two messages")
    return found


async def test_a_redis_stream_is_tapped_without_its_group(shared_redis: RedisServer, stack: AsyncExitStack) -> None:
    """It begins with what comes, and no other group is made."""
    name = new_prefix()
    with shared_redis.client() as client:
        client.xadd(name, {"topic": "t", "body": "before"})
        both = Both(stack, RedisStream(shared_redis.url, name, group="cache"))
        own, tap = await both.open()
        for body in BODIES:
            client.xadd(name, {"topic": "t", "body": body})

        assert await bodies(tap, is_tap=True) == await bodies(own) == BODIES
        assert [one["name"] for one in client.xinfo_groups(name)] == [b"cache"]
        await both.close()


@pytest.fixture(scope="module")
def nats_url() -> Iterator[str]:
    """A server of NATS."""
    with nats_server() as server:
        yield server.url


async def test_a_stream_of_nats_is_tapped_by_a_consumer_of_its_own(nats_url: str, stack: AsyncExitStack) -> None:
    """It begins with what comes, and the consumer is gone afterwards."""
    client = await nats.connect(nats_url)
    stream, name = client.jetstream(), new_prefix()
    await stream.add_stream(name=name, subjects=[f"{name}.>"])
    await stream.publish(f"{name}.t", b"before")
    both = Both(stack, JetStream(nats_url, name, durable="cache"))
    own, tap = await both.open()
    for body in BODIES:
        await stream.publish(f"{name}.t", body.encode())

    assert await bodies(tap, is_tap=True) == await bodies(own) == BODIES
    await both.close()

    async def names() -> list[str | None]:
        return [one.name for one in await stream.consumers_info(name)]

    async def is_alone() -> bool:
        return await names() == ["cache"]

    await soon(is_alone, what="the other consumer goes")
    await client.close()


async def test_topics_of_mqtt_are_tapped_by_a_session_of_its_own(stack: AsyncExitStack) -> None:
    """The application's session stays with the application."""
    with mosquitto_server() as server:
        writer = Session(Mqtt(server.url, client_id="writer", session_expiry=timedelta(seconds=1)).terms)
        await writer.connect()
        both = Both(stack, Mqtt(server.url, ["shop/#"], client_id="cache", share="all"))
        own, tap = await both.open()
        for body in BODIES:
            await writer.publish("shop/order", Message(topic="", body=body.encode()))

        assert await bodies(tap, is_tap=True) == await bodies(own) == BODIES
        await both.close()
        await writer.close()
