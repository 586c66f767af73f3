"""How a queue is bound to many topics."""

from typing import cast

import pytest
from aio_pika.abc import AbstractChannel

from everfresh.sources.amqp_queue import bind
from everfresh.sources.amqp_stream import answered
from everfresh.sources.source import SourceUnavailable
from tests.rabbitmq_servers import new_queue
from tests.sources.rabbit import meddler


class Recorded:
    """A channel that writes down what is to be bound, and whether its answer is waited for."""

    def __init__(self) -> None:
        self.bound: list[tuple[str, str, str]] = []
        self.n_waited = 0

    async def get_underlay_channel(self) -> "Recorded":
        """The driver's."""
        return self

    async def queue_bind(self, queue: str, exchange: str, *, routing_key: str, nowait: bool = False) -> None:
        """Bind it."""
        self.bound.append((queue, exchange, routing_key))
        self.n_waited += not nowait


@pytest.mark.parametrize("n", [0, 1, 2, 1_000])
async def test_however_many_topics_are_bound_few_answers_are_waited_for(n: int) -> None:
    """A broker far away answers a thousand in the time of two; the last answer says that all are bound."""
    channel = Recorded()
    topics = [f"n.{number}" for number in range(n)]

    await bind(cast("AbstractChannel", channel), "q", ["a", "b"], topics)

    assert channel.bound == [("q", exchange, topic) for topic in topics for exchange in ("a", "b")]
    assert channel.n_waited == min(2, 2 * n)


@pytest.mark.parametrize("n", [1, 2, 100])
async def test_a_binding_that_is_refused_is_noticed_though_nobody_waited_for_it(amqp_url: str, n: int) -> None:
    """The broker ends the channel at the first that it refuses."""
    queue = new_queue()
    async with meddler(amqp_url) as channel:
        await channel.declare_queue(queue, exclusive=True)
        exchanges = ["amq.topic", "nobodys", "amq.direct"]

        with pytest.raises(SourceUnavailable), answered("binding"):
            await bind(channel, queue, exchanges, [f"n.{number}" for number in range(n)])
