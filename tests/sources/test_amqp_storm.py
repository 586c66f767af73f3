"""RabbitMQ in the storm: the consumer is killed each second, the broker once, which comes back on its data."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime

import aio_pika
import msgspec
import pytest
from aio_pika.abc import AbstractExchange
from aio_pika.exceptions import AMQPError, ChannelInvalidStateError

from everfresh import Event
from everfresh.model.message import Message
from everfresh.sources.amqp import Amqp
from everfresh.sources.fedora import fedora_message
from everfresh.sources.source import SourceUnavailable, Stream
from everfresh.testing.waiting import soon
from tests.rabbitmq_servers import RabbitServer, new_queue, rabbitmq_server
from tests.sources.rabbit import fetched, meddler, n_in, start, tell, topics_of
from tests.sources.stormy_buses import Scene, Storm, in_storm, n_of_storm

N_EVENTS = n_of_storm(1_000)
N_AT_ONCE = 100
SENT_AT = datetime(2026, 11, 22, tzinfo=UTC)
EXCHANGE = "amq.topic"

pytestmark = in_storm(N_EVENTS, starts_s=60)


class AmqpBus:
    """A quorum queue on a broker that may be killed."""

    format = "fedora"

    def __init__(self, server: RabbitServer) -> None:
        self.server = server
        self.queue = new_queue()
        self.source_url = f"{server.url}?queue={self.queue}&delivery_limit=1000"
        self.n_confirmed = 0

    async def tell(self, messages: Sequence[Message]) -> None:
        """Some may be published twice."""
        left = list(messages)
        while left:
            await soon(self.server.is_ready, what="a broker that answers", deadline_s=self.server.starts_within_s)
            with suppress(AMQPError, ChannelInvalidStateError, OSError, TimeoutError, asyncio.CancelledError):
                async with asyncio.timeout(20), await aio_pika.connect(self.server.url, timeout=5) as connection:
                    channel = await connection.channel(on_return_raises=True)
                    there = await channel.get_exchange(EXCHANGE)
                    while left:
                        await asyncio.gather(*(publish(there, message) for message in left[:N_AT_ONCE]))
                        self.n_confirmed += len(left[:N_AT_ONCE])
                        del left[:N_AT_ONCE]

    async def n_open(self) -> int:
        """What waits, once the broker knows that nobody consumes: what was with a consumer is back by then."""
        async with meddler(self.server.url) as channel:

            async def is_alone() -> bool:
                queue = await channel.declare_queue(self.queue, passive=True)
                return queue.declaration_result.consumer_count == 0

            await soon(is_alone, what="the end of all consumers")
        return await n_in(self.server.url, self.queue)

    async def break_while(self, scene: Scene, messages: Sequence[Message]) -> None:
        """When a part of them is confirmed."""
        scene.consume()
        enough = self.n_confirmed + len(messages) // 4
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.tell(messages))
            await soon(lambda: self.n_confirmed > enough, what="some of the events confirmed")
            self.server.kill()
            await asyncio.to_thread(self.server.start)


async def publish(exchange: AbstractExchange, message: Message) -> None:
    """Publish it as Fedora's library would, until the broker has confirmed it."""
    wire = fedora_message(Event(message.topic, msgspec.json.decode(message.body)), id=message.id, sent_at=SENT_AT)
    made = aio_pika.Message(wire.body, headers=dict(wire.headers), message_id=wire.message_id, delivery_mode=2)
    await exchange.publish(made, wire.routing_key)


@pytest.fixture(scope="module")
def server() -> Iterator[RabbitServer]:
    """A broker that may be killed; each test has a queue of its own."""
    with rabbitmq_server() as one:
        yield one


@pytest.fixture
def bus(server: RabbitServer) -> AmqpBus:
    """A queue on it, which the first consumer declares."""
    return AmqpBus(server)


class TestStorm(Storm):
    """A killed consumer's messages are in the queue again."""

    n_events = N_EVENTS

    @pytest.fixture(autouse=True)
    async def without_dead_letters(self, bus: AmqpBus, scene: Scene) -> AsyncIterator[None]:
        """However often a consumer was killed, no message was given up, and no gap changed the offset."""
        yield
        assert await n_in(bus.server.url, f"{bus.queue}.dead") == 0
        assert await scene.offset() == scene.first_offset


async def test_a_broker_that_was_killed_and_came_back_is_no_gap(server: RabbitServer) -> None:
    """It has the queue, its messages and its sign of life on its disk; what was confirmed is there."""
    queue = new_queue()
    adapter = Amqp(server.url, queue=queue, format="fedora")
    async with adapter.open(start("n.*")) as stream:
        offset = (await stream.fetch(1, 0)).offset
        # Half a second later: a quorum queue that is younger is never led again by a broker of this version.
        await soon(lambda: server.n_registered(queue) == 3, what="all queues in the broker's register")
        await tell(server.url, "amq.topic", "n.1", "n.2")
        server.kill()
        with pytest.raises(SourceUnavailable):
            await soon(lambda: has_more(stream), what="the end of the connection")
    await asyncio.to_thread(server.start)

    async with adapter.open(start("n.*", offset=offset)) as stream:
        assert topics_of(await fetched(stream, 2)) == ["n.1", "n.2"]


async def has_more(stream: Stream) -> bool:
    """Never; it ends when the connection does."""
    await stream.fetch(500, 0.1)
    return False
