"""What tests of the AMQP source share: a connection of one's own to meddle with, and a stream to look at."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aio_pika
from aio_pika.abc import AbstractChannel

from everfresh import Cache
from everfresh.model.message import Message
from everfresh.sources.amqp import Amqp
from everfresh.sources.source import Batch, Start, Stream
from everfresh.testing.waiting import soon


@asynccontextmanager
async def meddler(url: str) -> AsyncGenerator[AbstractChannel]:
    """A channel with publisher confirms, of somebody else."""
    async with await aio_pika.connect(url) as connection:
        yield await connection.channel()


@asynccontextmanager
async def exchange_named(url: str, name: str) -> AsyncGenerator[None]:
    """A topic exchange that is there during the block."""
    async with meddler(url) as channel:
        await channel.declare_exchange(name, aio_pika.ExchangeType.TOPIC, durable=True)
        yield
        await channel.exchange_delete(name)


async def tell(url: str, exchange: str, *topics: str, body: bytes = b"{}", **properties: Any) -> None:  # noqa: ANN401 - those of aio_pika.Message
    """Publish a message under each topic, and see that it went to a queue."""
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel(on_return_raises=True)
        there = await channel.get_exchange(exchange, ensure=False)
        for topic in topics:
            await there.publish(aio_pika.Message(body, delivery_mode=2, **properties), topic)


async def delete_queue(url: str, queue: str) -> None:
    """Delete a queue with all that is in it."""
    async with meddler(url) as channel:
        await channel.queue_delete(queue)


async def n_in(url: str, queue: str) -> int:
    """How many messages wait in a queue."""
    async with meddler(url) as channel:
        declared = await channel.declare_queue(queue, passive=True)
        return int(declared.declaration_result.message_count or 0)


def start(*topics: str, offset: str | None = None) -> Start:
    """A beginning."""
    return Start(offset=offset, topics=topics, consumer="tester")


async def first_offset(adapter: Amqp, *topics: str) -> str:
    """Open it for the first time, and have the gap of that behind; the offset is what a store would have then."""
    async with adapter.open(start(*topics)) as stream:
        batch = await stream.fetch(10, 0)
        assert batch.gap
        assert batch.offset is not None
        return batch.offset


async def fetched(stream: Stream, n: int, *, n_max: int = 500) -> list[Message]:
    """So many messages, acknowledged."""
    messages: list[Message] = []

    async def is_enough() -> bool:
        batch = await stream.fetch(n_max, 0.1)
        assert not batch.gap, batch.gap
        messages.extend(batch.messages)
        await stream.acknowledge(batch)
        return len(messages) >= n

    await soon(is_enough, what=f"{n} messages, not {[one.topic for one in messages]}")
    assert len(messages) == n
    return messages


async def next_with(stream: Stream, what: str) -> Batch:
    """The next batch with a gap, or messages, or a lag."""
    found: list[Batch] = []

    async def has_it() -> bool:
        batch = await stream.fetch(500, 0.1)
        if getattr(batch, what):
            found.append(batch)
        return bool(found)

    await soon(has_it, what=f"a batch with {what}")
    return found[0]


@asynccontextmanager
async def consumed(cache: Cache, *adapters: Amqp) -> AsyncGenerator["asyncio.Task[None]"]:
    """While the block runs; it begins when all are connected and what came before has been answered."""
    consuming = asyncio.create_task(cache.consume(*adapters))
    try:
        await soon(lambda: _follow(cache, adapters, consuming), what="a connection of each source")
        yield consuming
    finally:
        consuming.cancel()
        await asyncio.gather(consuming, return_exceptions=True)


async def _follow(cache: Cache, adapters: Sequence[Amqp], consuming: "asyncio.Task[None]") -> bool:
    if consuming.done():
        consuming.result()
    sources = await cache.sources.read([adapter.name for adapter in adapters])
    return len([one for one in sources.states if one.offset is not None]) == len(adapters)


def topics_of(messages: Sequence[Message]) -> list[str]:
    """Their topics."""
    return [message.topic for message in messages]
