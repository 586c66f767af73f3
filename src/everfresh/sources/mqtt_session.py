"""One connection to an MQTT 5 broker in the running event loop, with a session that outlives it.

The driver is paho itself: aiomqtt on top of it neither tells whether the broker still had the session, nor leaves it to
us when a message is acknowledged. It connects in a thread, as that blocks; all else happens in the loop.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, cast

from paho.mqtt.client import MQTT_ERR_SUCCESS, Client, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from everfresh.model.message import Message
from everfresh.sources.addresses import told
from everfresh.sources.mqtt_topics import ID, message_of
from everfresh.sources.source import SourceUnavailable

NO_SUBSCRIPTION = 17
"""What the broker answers to the end of a subscription that was not there."""

_FAILURE = 128
_ANSWER_S = 5.0
# A broker that is silent for one and a half of it is given up.
_KEEPALIVE_S = 15
_MISC_S = 1.0
# Retained messages come with the first subscription, and not again with each connection.
_ONLY_IF_NEW = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Where the broker is and who we are there; `place` is for people."""

    place: str
    host: str
    port: int
    client_id: str
    user: str | None
    password: str | None = field(repr=False)
    tls: ssl.SSLContext | None
    session_expiry_s: int
    prefetch: int


@dataclass(frozen=True, slots=True)
class Come:
    """A message, and what the broker calls it until it is acknowledged; None for one that need not be."""

    mid: int | None
    message: Message


class Session:
    """A connection; see the module. After `trouble` is set it is over."""

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._loop = asyncio.get_running_loop()
        self._client = client = Client(
            CallbackAPIVersion.VERSION2, terms.client_id, protocol=MQTTv5, reconnect_on_failure=False, manual_ack=True
        )
        if terms.user is not None:
            client.username_pw_set(terms.user, terms.password)
        if terms.tls is not None:
            cast("Any", client).tls_set_context(terms.tls)
        client.on_connect, client.on_disconnect = self._on_connect, self._on_disconnect
        client.on_message, client.on_publish = self._on_message, self._on_publish
        client.on_subscribe = client.on_unsubscribe = self._on_answer
        client.on_socket_open, client.on_socket_close = self._on_socket_open, self._on_socket_close
        client.on_socket_register_write = self._on_write_wanted
        client.on_socket_unregister_write = self._on_write_over
        self._connected: asyncio.Future[bool] = self._loop.create_future()
        self._answers: dict[int, asyncio.Future[list[int]]] = {}
        self._misc: asyncio.Task[None] | None = None
        self._is_open = False
        self.come: deque[Come] = deque()
        self.is_news = asyncio.Event()
        self.trouble = ""

    async def connect(self) -> bool:
        """Whether the broker still had the session.

        Raises:
            SourceUnavailable: it is not there, or refuses.
        """
        properties = _properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = self._terms.session_expiry_s
        properties.ReceiveMaximum = self._terms.prefetch

        def connect() -> None:
            self._client.connect_timeout = _ANSWER_S
            self._client.connect(
                self._terms.host, self._terms.port, _KEEPALIVE_S, clean_start=False, properties=properties
            )

        try:
            await self._loop.run_in_executor(None, connect)
            async with asyncio.timeout(_ANSWER_S):
                was_there = await self._connected
        except (OSError, ValueError) as error:
            why = "no answer" if isinstance(error, TimeoutError) else told(error)
            raise SourceUnavailable(f"{self._terms.place}: no connection ({why}).") from error
        self._misc = asyncio.create_task(self._look_after())
        return was_there

    async def subscribe(self, filters: Sequence[str]) -> list[int]:
        """The broker's answer for each filter."""
        options = SubscribeOptions(qos=1, retainHandling=_ONLY_IF_NEW)
        _, mid = self._client.subscribe([(one, options) for one in filters])
        return await self._answer(mid)

    async def unsubscribe(self, topic_filter: str) -> int:
        """The broker's answer."""
        _, mid = self._client.unsubscribe(topic_filter)
        return (await self._answer(mid))[0]

    async def publish(self, topic: str, message: Message) -> None:
        """Publish it; the broker has taken it.

        Raises:
            SourceUnavailable: it has not.
        """
        properties = _properties(PacketTypes.PUBLISH)
        headers = {**message.headers, **({ID: message.id} if message.id else {})}
        if headers:
            properties.UserProperty = list(headers.items())
        sent = self._client.publish(topic, message.body, qos=1, properties=properties)
        (code,) = await self._answer(sent.mid)
        if code >= _FAILURE:
            raise SourceUnavailable(f"{self._terms.place}: this user may not publish to {topic}.")

    def acknowledge(self, mids: Sequence[int]) -> None:
        """Let these go, in this order.

        Raises:
            SourceUnavailable: the connection broke.
        """
        self.check()
        for mid in mids:
            self._client.ack(mid, 1)
        self.check()

    def check(self) -> None:
        """Look whether it is still there.

        Raises:
            SourceUnavailable: it is over.
        """
        if self.trouble:
            raise SourceUnavailable(f"{self._terms.place}: {self.trouble}.")

    async def close(self) -> None:
        """End the connection; the session stays."""
        if self._misc is not None:
            self._misc.cancel()
            await asyncio.gather(self._misc, return_exceptions=True)
        if self._is_open:
            with suppress(OSError, ValueError):
                self._client.disconnect()
                # Acknowledgements may wait to be written; what does not go at once comes again.
                self._client.loop_write()
            with suppress(OSError, ValueError):
                self._client._sock_close()  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - no other way ends it at once

    async def _answer(self, mid: int | None) -> list[int]:
        self.check()
        if mid is None:
            raise SourceUnavailable(f"{self._terms.place}: the connection broke.")
        answer = self._answers.setdefault(mid, self._loop.create_future())
        try:
            async with asyncio.timeout(_ANSWER_S):
                return await answer
        except TimeoutError as error:
            raise SourceUnavailable(f"{self._terms.place}: no answer in time.") from error
        finally:
            self._answers.pop(mid, None)

    async def _look_after(self) -> None:
        while True:
            if self._client.loop_misc() != MQTT_ERR_SUCCESS:
                self._end("the connection broke")
                return
            await asyncio.sleep(_MISC_S)

    def _end(self, trouble: str) -> None:
        self.trouble = self.trouble or trouble
        self.is_news.set()
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(SourceUnavailable(f"{self._terms.place}: {self.trouble}."))

    def _on_connect(self, _client: Client, _data: object, flags: Any, reason: Any, _properties: object) -> None:  # noqa: ANN401 - an untyped driver
        if self._connected.done():
            return
        if reason.is_failure:
            self._connected.set_exception(OSError(f"the broker refuses: {reason}"))
        else:
            self._connected.set_result(bool(flags.session_present))

    def _on_disconnect(self, _client: Client, _data: object, flags: Any, reason: Any, _properties: object) -> None:  # noqa: ANN401 - as above
        why = f"the broker ended it: {reason}" if flags.is_disconnect_packet_from_server else "the connection broke"
        if not self._connected.done():
            self._connected.set_exception(OSError(why))
        self._end(why)

    def _on_message(self, _client: Client, _data: object, come: Any) -> None:  # noqa: ANN401 - as above
        try:
            topic = come.topic
        except UnicodeDecodeError:
            topic = "not-utf8"
        message = message_of(topic, bytes(come.payload), come.properties)
        self.come.append(Come(come.mid if come.qos else None, message))
        self.is_news.set()

    def _on_publish(self, client: Client, data: object, mid: int, reason: Any, properties: object) -> None:  # noqa: ANN401 - as above
        self._on_answer(client, data, mid, [reason], properties)

    def _on_answer(self, _client: Client, _data: object, mid: int, reasons: Any, _properties: object) -> None:  # noqa: ANN401 - as above
        answer = self._answers.setdefault(mid, self._loop.create_future())
        if not answer.done():
            answer.set_result([reason.value for reason in reasons])

    def _on_socket_open(self, _client: Client, _data: object, one: Any) -> None:  # noqa: ANN401 - as above
        self._is_open = True
        self._loop.call_soon_threadsafe(self._loop.add_reader, one.fileno(), self._read, one)

    def _on_socket_close(self, _client: Client, _data: object, one: Any) -> None:  # noqa: ANN401 - as above
        self._is_open = False
        number = one.fileno()
        if number >= 0:
            self._in_loop(self._loop.remove_reader, number)
            self._in_loop(self._loop.remove_writer, number)

    def _on_write_wanted(self, _client: Client, _data: object, one: Any) -> None:  # noqa: ANN401 - as above
        self._in_loop(self._loop.add_writer, one.fileno(), self._write)

    def _on_write_over(self, _client: Client, _data: object, one: Any) -> None:  # noqa: ANN401 - as above
        self._in_loop(self._loop.remove_writer, one.fileno())

    def _in_loop(self, do: Any, *arguments: Any) -> None:  # noqa: ANN401 - as above
        """At once where this is the loop, else soon: while connecting it is a thread."""
        try:
            is_here = asyncio.get_running_loop() is self._loop
        except RuntimeError:
            is_here = False
        if is_here:
            do(*arguments)
        else:
            self._loop.call_soon_threadsafe(do, *arguments)

    def _read(self, one: Any) -> None:  # noqa: ANN401 - as above
        try:
            self._client.loop_read()
            # What TLS has decoded already wakes nobody.
            while self._is_open and hasattr(one, "pending") and one.pending():
                self._client.loop_read()
        except Exception as error:  # noqa: BLE001 - whatever it is, the connection is no good
            self._end(told(error))

    def _write(self) -> None:
        try:
            self._client.loop_write()
        except Exception as error:  # noqa: BLE001 - as above
            self._end(told(error))


def _properties(packet: int) -> Any:  # noqa: ANN401 - as above
    return cast("Any", Properties)(packet)
