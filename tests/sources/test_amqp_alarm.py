"""A RabbitMQ that is short of memory: it takes nothing more from whoever publishes, and is to be emptied."""

import asyncio
from collections.abc import Iterator

import pytest

from everfresh.sources.amqp import Amqp
from everfresh.sources.canary import canary_of
from tests.rabbitmq_servers import RabbitServer, new_queue, rabbitmq_server
from tests.sources.rabbit import start


@pytest.fixture(scope="module")
def short_of_memory() -> Iterator[RabbitServer]:
    """A broker that has less than it needs from the beginning."""
    with rabbitmq_server({"vm_memory_high_watermark.absolute": "1"}) as one:
        yield one


async def test_a_canary_that_is_not_taken_stops_nothing_else(short_of_memory: RabbitServer) -> None:
    """It goes over a connection of its own; the consumer's is answered."""
    adapter = Amqp(short_of_memory.url, queue=new_queue(), format="fedora")
    async with adapter.open(start("n.*")) as stream:
        assert (await stream.fetch(1, 0)).gap
        sending = asyncio.create_task(stream.send(canary_of("tester")))

        async with asyncio.timeout(20):
            for number in range(50):
                assert list(await stream.widen([f"more.{number}"])) == [f"more.{number}"]
        assert not sending.done(), "it was taken: the broker has memory"
        sending.cancel()
