"""URLs of sources: `amqp://`, `nats://`, `redis+stream://`, `mqtt://`, each to its adapter."""

from __future__ import annotations

import importlib
from typing import Protocol, cast

from everfresh.model.errors import InvalidOption
from everfresh.sources.addresses import SourceUrl
from everfresh.sources.formats import format_of
from everfresh.sources.source import Adapter, Format

# Who has no RabbitMQ needs no driver for it: the modules are imported when a URL names them.
_AMQP = ("amqp", "Amqp", "amqp", ("aio_pika", "aiormq", "pamqp", "yarl"))
_REDIS = ("redis_streams", "RedisStream", "redis", ("redis", "hiredis"))
_NATS = ("jetstream", "JetStream", "nats", ("nats",))
_MQTT = ("mqtt", "Mqtt", "mqtt", ("paho",))
_OF_SCHEME = {
    "amqp": _AMQP,
    "amqps": _AMQP,
    "redis+stream": _REDIS,
    "rediss+stream": _REDIS,
    "nats": _NATS,
    "tls": _NATS,
    "mqtt": _MQTT,
    "mqtts": _MQTT,
}


class _Made(Protocol):
    """The class of an adapter."""

    def of_url(self, url: SourceUrl, *, format: Format, name: str | None) -> Adapter:  # noqa: A002 - the word for it
        """The adapter that the URL describes."""
        ...


def source_of(url: str, *, format: Format | str = "auto", name: str | None = None) -> Adapter:  # noqa: A002 - as above
    """The source that a URL describes; its query parameters are the options of its adapter.

    `format` reads its messages, by name or itself. `name` is the source's own; without, the adapter
    makes one of the URL.

    Raises:
        InvalidOption: there is no such source, its driver is not installed, or a parameter is wrong.
    """
    address = SourceUrl(url)
    found = _OF_SCHEME.get(address.scheme)
    if found is None:
        known = ", ".join(f"{scheme}://" for scheme in _OF_SCHEME)
        raise InvalidOption(f"source: there is none for {address.scheme[:20]!r}. There are {known}.")
    module, made, extra, drivers = found
    try:
        adapter = cast("_Made", getattr(importlib.import_module(f"everfresh.sources.{module}"), made))
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in drivers:
            raise
        msg = f"source: the driver for {address.scheme}:// is not installed. Run: pip install 'everfresh[{extra}]'"
        raise InvalidOption(msg) from error
    opened = adapter.of_url(address, format=format_of(format), name=name)
    address.check_taken()
    return opened
