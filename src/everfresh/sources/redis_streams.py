"""Redis Streams, on Redis 7 or Valkey, as a source.

How it is read: `redis_stream_reading`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any, Literal, Self, cast
from urllib.parse import quote

from everfresh.model.errors import InvalidOption, StoreUrlInvalid
from everfresh.sources.addresses import SourceUrl
from everfresh.sources.consuming import Source
from everfresh.sources.formats import format_of
from everfresh.sources.options import texts
from everfresh.sources.redis_stream_entries import EntryFields, check_fields
from everfresh.sources.redis_stream_reading import OpenRedisStream
from everfresh.sources.redis_stream_tap import OpenTap
from everfresh.sources.redis_stream_terms import Terms
from everfresh.sources.source import Adapter, Format, Start, Stream
from everfresh.stores.redis.addresses import SCHEMES, Address, address_of
from everfresh.stores.redis.driving import OF_LOOP, made
from everfresh.stores.redis.failures import DRIVER_ERRORS


class RedisStream(Source):
    """The entries of one stream, for the consumers of one group.

    `url` is that of a server, a socket or Sentinels, as of a store. `consumer` names this process in the group; it
    should be the same after a restart, as its own unfinished entries then come first. Where nothing is stored and
    there is no group, `start` decides whether it begins with what comes (`new`) or with what is there (`all`). What
    other consumers have left unacknowledged for `claim_after` is taken over. `fields` says where an entry holds what.

    Raises:
        InvalidOption: an option cannot hold.
    """

    def __init__(  # noqa: PLR0913 - options by name, of people who write them down once
        self,
        url: str,
        stream: str,
        *,
        group: str,
        consumer: str | None = None,
        format: Format | str = "auto",  # noqa: A002 - the word of the seam
        name: str | None = None,
        delivers: Sequence[str] | None = None,
        start: Literal["new", "all"] = "new",
        claim_after: timedelta = timedelta(seconds=15),
        fields: EntryFields | None = None,
    ) -> None:
        self.consumer = consumer
        self.delivers = texts(delivers, option="delivers") or ("#",)
        self.format = format_of(format)
        self.terms = Terms(
            address=_address(url),
            stream=_named("stream", stream),
            group=_named("group", group),
            fields=fields or EntryFields(),
            starts_at_all=start == "all",
            claim_after_s=claim_after.total_seconds(),
        )
        self.name = name or f"redis:{_place(self.terms.address)}/{stream}:{group}"
        if start not in {"new", "all"}:
            raise InvalidOption(f"start: {start!r} is neither 'new' nor 'all'.")
        if claim_after <= timedelta():
            raise InvalidOption("claim_after: it must be more than 0 s, and more than a batch takes to be applied.")
        if problem := check_fields(self.terms.fields):
            raise InvalidOption(f"fields: {problem}.")

    @classmethod
    def of_url(cls, url: SourceUrl, *, format: Format | str, name: str | None = None) -> Self:  # noqa: A002 - as above
        """The source that a URL names: `redis+stream://host:port/db/stream?group=...`.

        Raises:
            InvalidOption: something is missing or cannot hold.
        """
        db, _, stream = url.path.partition("/")
        group = url.take("group")
        if not db.isdecimal() or not stream or not group:
            raise InvalidOption(
                f"source {url.without_password}: write redis+stream://host:6379/0/stream?group=name, with the database."
            )
        start, claim_after = url.take("start") or "new", url.take_duration("claim_after")
        tls = [f"{option}={quote(value)}" for option in _TLS if (value := url.take(option))]
        scheme = "rediss" if url.scheme.startswith("rediss") else "redis"
        return cls(
            f"{scheme}://{url.authority}/{db}{'?' if tls else ''}{'&'.join(tls)}",
            stream,
            group=group,
            consumer=url.take("consumer"),
            format=format,
            name=name,
            delivers=url.take_all("delivers"),
            start=cast("Literal['new', 'all']", start),
            claim_after=timedelta(seconds=15) if claim_after is None else claim_after,
        )

    def __repr__(self) -> str:
        return f"RedisStream({self.terms.stream!r}, group={self.terms.group!r}, at {self.terms.address})"

    def tapped(self) -> Adapter:
        """The same entries for somebody who only looks: without the group, from now on."""
        return _Tap(self)

    @asynccontextmanager
    async def open(self, start: Start) -> AsyncGenerator[OpenRedisStream]:
        """A connection; see `Adapter.open`."""
        async with _client(self.terms.address) as client:
            opened = OpenRedisStream(self.terms, client, self.consumer or start.consumer)
            try:
                await opened.begin(start.offset)
                yield opened
            finally:
                await opened.leave()


class _Tap(Source):
    """The source of somebody who only looks."""

    def __init__(self, source: RedisStream) -> None:
        self.name, self.delivers, self.format = source.name, source.delivers, source.format
        self._terms = source.terms

    @asynccontextmanager
    async def open(self, start: Start) -> AsyncGenerator[Stream]:  # noqa: ARG002 - from now on, all of it
        """A connection; see `Adapter.open`."""
        async with _client(self._terms.address) as client:
            opened = OpenTap(client, self._terms)
            await opened.begin()
            yield opened


@asynccontextmanager
async def _client(address: Address) -> AsyncGenerator[Any]:
    """A client of the driver, and its end."""
    client, helpers = made(OF_LOOP, address, None)
    try:
        yield client
    finally:
        for each in (client, *helpers):
            with suppress(*DRIVER_ERRORS):
                await each.aclose()


_TLS = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs")


def _address(url: str) -> Address:
    scheme = url.partition(":")[0]
    if scheme not in SCHEMES:
        raise InvalidOption("url: it names no Redis. Use for example 'redis://host:6379/0' or 'unix:///path?db=0'.")
    try:
        address = address_of(url)
    except StoreUrlInvalid as error:
        raise InvalidOption(str(error).replace("store URL", "url")) from None
    if address.kind == "cluster":
        raise InvalidOption("url: a stream stands on one node of a Cluster. Name that: 'redis://node:6379/0'.")
    return address


def _place(address: Address) -> str:
    """Where it is, in short: streams of the same name on two servers are two sources."""
    hosts = ",".join(sorted(f"{host}:{port}" for host, port in address.hosts))
    return "/".join(part for part in (hosts, address.path, address.service, str(address.db)) if part)


def _named(option: str, value: object) -> str:
    if not isinstance(value, str) or not value:
        raise InvalidOption(f"{option}: {value!r} is no name.")
    return value
