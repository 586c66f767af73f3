"""Sending to an AMQP broker, over a connection of its own.

A broker that is short of memory or disk reads nothing more from a connection that publishes, no acknowledgement either.
So a canary on the consumer's own would stop it just when the queue should be emptied.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from aio_pika.abc import AbstractChannel
from pamqp import commands as spec

from everfresh.model.message import Message
from everfresh.sources.amqp_address import Address
from everfresh.sources.amqp_connecting import connected
from everfresh.sources.amqp_wire import Deliveries
from everfresh.sources.source import Start


class Speaker:
    """Sends; connected when there is something to send."""

    def __init__(self, address: Address, start: Start) -> None:
        self._address = address
        self._start = start
        self._stack = AsyncExitStack()
        self._channel: AbstractChannel | None = None

    async def send(self, exchange: str, message: Message) -> None:
        """Send it, and see that a queue has taken it."""
        headers: dict[str, Any] = dict(message.headers)
        properties = spec.Basic.Properties(
            headers=headers,
            content_type=headers.pop("content-type", "application/json"),
            message_id=message.id or None,
            delivery_mode=2,
        )
        underlay = await (await self._open_channel()).get_underlay_channel()
        # The broker takes what no queue wants, and says nothing, unless it is asked to.
        await underlay.basic_publish(
            message.body, exchange=exchange, routing_key=message.topic, properties=properties, mandatory=True
        )

    async def _open_channel(self) -> AbstractChannel:
        if self._channel is None or self._channel.is_closed:
            await self.close()
            connection = await self._stack.enter_async_context(connected(self._address, self._start, Deliveries()))
            self._channel = await connection.channel(on_return_raises=True)
        return self._channel

    async def close(self) -> None:
        """Say good-bye; repeating is safe."""
        self._channel = None
        await self._stack.aclose()


@asynccontextmanager
async def speaking(address: Address, start: Start) -> AsyncGenerator[Speaker]:
    """A speaker for the length of a block."""
    speaker = Speaker(address, start)
    try:
        yield speaker
    finally:
        await speaker.close()
