"""Where an AMQP broker is, and how it is spoken to."""

from __future__ import annotations

import ssl
from typing import Self
from urllib.parse import quote

import aio_pika
import msgspec
from aio_pika.abc import AbstractConnection
from aio_pika.connection import make_url

from everfresh.model.errors import InvalidOption
from everfresh.sources.addresses import SourceUrl
from everfresh.sources.amqp_transport import KeepingTransport
from everfresh.sources.amqp_wire import Deliveries

_CONNECTS_WITHIN_S = 15.0
# The broker drops a connection that was silent for two of these.
_HEARTBEAT_S = 20
# What the broker is asked now and then must come in between.
_LEAST_HEARTBEAT_S = 5
_PORTS = {"amqp": 5672, "amqps": 5671}


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """Where a broker is, and how it is spoken to."""

    host: str
    port: int
    vhost: str
    user: str
    password: str
    is_tls: bool
    heartbeat_s: int
    tls: ssl.SSLContext | None

    @classmethod
    def of(cls, url: SourceUrl, tls: ssl.SSLContext | None) -> Self:
        """What a URL says.

        Raises:
            InvalidOption: it is no AMQP URL, or one of its options cannot hold.
        """
        if url.scheme not in _PORTS or not url.host:
            raise InvalidOption(
                f"source {url.without_password}: write amqp://user:password@host:port/vhost, or amqps:."
            )
        is_tls = url.scheme == "amqps"
        asked = _tls_of(url, is_tls=is_tls)
        heartbeat_s = url.take_number("heartbeat", least=_LEAST_HEARTBEAT_S)
        return cls(
            host=url.host,
            port=url.port or _PORTS[url.scheme],
            vhost=url.path or "/",
            user=url.user or "guest",
            password=url.password or "guest",
            is_tls=is_tls,
            heartbeat_s=heartbeat_s or _HEARTBEAT_S,
            tls=tls or asked,
        )

    @property
    def text(self) -> str:
        """For people: without user and password."""
        return f"amqp://{self.host}:{self.port}/{quote(self.vhost, safe='')}"

    async def connect(self, client: str, deliveries: Deliveries) -> AbstractConnection:
        """A connection, which the broker lists under the client's name; deliveries go past the driver."""
        url = make_url(
            host=self.host,
            port=self.port,
            login=self.user,
            password=self.password,
            virtualhost=self.vhost,
            ssl=self.is_tls,
            heartbeat=self.heartbeat_s,
        )
        connection = aio_pika.Connection(url, ssl_context=self.tls, client_properties={"connection_name": client})
        # `connect` gives these to the driver below it, which knows it under this name.
        connection.kwargs["transport_factory"] = KeepingTransport(deliveries)
        try:
            await connection.connect(timeout=_CONNECTS_WITHIN_S)
        except BaseException:
            await connection.close()
            raise
        return connection


def _tls_of(url: SourceUrl, *, is_tls: bool) -> ssl.SSLContext | None:
    """What the parameters of a URL say of certificates; None without TLS."""
    files = {name: url.take(name) for name in ("cafile", "certfile", "keyfile")}
    is_verified = url.take_flag("tls_verify")
    if not is_tls:
        if any(files.values()) or is_verified is not None:
            raise InvalidOption(f"source {url.without_password}: without TLS there are no certificates. Write amqps:.")
        return None
    try:
        context = ssl.create_default_context(cafile=files["cafile"])
        if files["certfile"] is not None:
            context.load_cert_chain(files["certfile"], files["keyfile"])
    except OSError as error:
        raise InvalidOption(f"source {url.without_password}: the certificates cannot be read ({error}).") from error
    if is_verified is False:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
