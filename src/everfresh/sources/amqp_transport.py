"""The driver's connection to a broker, with a reader that keeps the deliveries: see `amqp_wire`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, SupportsIndex

from aiormq.connection import TransportFactory
from aiormq.exceptions import AMQPConnectionError
from yarl import URL

from everfresh.model.marks import override
from everfresh.sources.amqp_wire import Deliveries


class KeepingTransport(TransportFactory):
    """Opens the connection as the driver does, and lets it have all bytes but those of deliveries.

    The driver takes a broker for dead that sends it nothing for some heartbeats, and with deliveries a broker sends
    none. So somebody has to ask the broker something now and then: `AmqpStream.watch` does.
    """

    def __init__(self, deliveries: Deliveries) -> None:
        self._deliveries = deliveries

    @override
    async def create(
        self,
        url: URL,
        **kwargs: Any,  # the driver's own, and more of them from version to version
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        provider = kwargs.pop("ssl_context_provider")
        context = await provider.get_context() if url.scheme == "amqps" else None
        loop = asyncio.get_running_loop()
        reader = _Reader(self._deliveries)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        try:
            place = (url.host or "", url.port or 0)
            transport, _ = await loop.create_connection(lambda: protocol, *place, ssl=context, **kwargs)
        except OSError as error:
            raise AMQPConnectionError(*error.args) from error
        return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


class _Reader(asyncio.StreamReader):
    """What the driver reads from."""

    def __init__(self, deliveries: Deliveries) -> None:
        super().__init__()
        self._deliveries = deliveries

    @override
    def feed_data(self, data: Iterable[SupportsIndex]) -> None:
        passed_on = self._deliveries.feed(bytes(data))
        if passed_on:
            super().feed_data(passed_on)
