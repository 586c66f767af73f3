"""NATS JetStream in the storm: the consumer is killed each second, the server once.

What the server has written outlives its process; a power failure would take what it has not synced, which it does
every two minutes.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress

import nats
import nats.errors
import pytest
from nats.js import JetStreamContext

from everfresh.model.message import Message
from tests.nats_servers import NatsServer, nats_server
from tests.sources.stormy_buses import Scene, Storm, break_amid, in_storm

pytestmark = in_storm()


class NatsBus:
    """A stream on a server that may be killed."""

    format = "plain"

    def __init__(self, server: NatsServer) -> None:
        self.server = server
        self.source_url = f"{server.url}/storm?durable=g&start=all&ack_wait=1s"

    @asynccontextmanager
    async def context(self) -> AsyncIterator[JetStreamContext]:
        """A connection that does not come back by itself."""
        client = await nats.connect(
            self.server.url, allow_reconnect=False, max_reconnect_attempts=1, reconnect_time_wait=0.05
        )
        try:
            yield client.jetstream(timeout=2)
        finally:
            with suppress(nats.errors.Error, OSError):
                await client.close()

    async def make(self) -> None:
        """The stream, in files."""
        async with self.context() as context:
            await context.add_stream(name="storm", subjects=["storm.>"])

    async def tell(self, messages: Sequence[Message]) -> None:
        """Some may be published twice."""
        left = list(messages)
        while left:
            with suppress(nats.errors.Error, TimeoutError, OSError):
                async with self.context() as context:
                    while left:
                        part = left[:250]
                        await asyncio.gather(*(context.publish(one.topic, one.body, timeout=2) for one in part))
                        del left[:250]

    async def n_open(self) -> int:
        """What waits, and what is with consumers."""
        async with self.context() as context:
            info = await context.consumer_info("storm", "g")
            return (info.num_pending or 0) + (info.num_ack_pending or 0)

    async def break_while(self, scene: Scene, messages: Sequence[Message]) -> None:
        """In the midst of it."""
        await break_amid(scene, self.server, messages)


@pytest.fixture
def server() -> Iterator[NatsServer]:
    """A server that may be killed."""
    with nats_server() as one:
        yield one


@pytest.fixture
async def bus(server: NatsServer) -> NatsBus:
    """A stream on it."""
    made = NatsBus(server)
    await made.make()
    return made


class TestStorm(Storm):
    """Another consumer gets what was not acknowledged after `ack_wait`."""
