"""NATS JetStream as a source: a durable pull consumer, shared by all processes that name it.

The driver does not reconnect by itself: it would not say what was lost meanwhile. A connection that broke is over.
"""

from __future__ import annotations

import copy
import secrets
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any, Literal, Self, cast
from urllib.parse import unquote

from nats.aio.client import Client

from everfresh.model.errors import InvalidOption
from everfresh.sources.addresses import SourceUrl, told
from everfresh.sources.consuming import Source
from everfresh.sources.formats import format_of, keeps_topics
from everfresh.sources.jetstream_stream import DRIVER_ERRORS, OpenJetStream
from everfresh.sources.jetstream_terms import Terms
from everfresh.sources.options import texts, tls_context
from everfresh.sources.source import Adapter, Format, SourceUnavailable, Start

# A server that refuses is tried once more, and not sixty times, two seconds apart.
_OPTIONS: dict[str, Any] = {
    "allow_reconnect": False,
    "max_reconnect_attempts": 1,
    "reconnect_time_wait": 0.1,
    "connect_timeout": 5,
    "ping_interval": 10,
}
_SCHEMES = ("nats://", "tls://", "ws://", "wss://")


class JetStream(Source):
    """The messages of one stream, for the processes that share one durable consumer.

    `url` is that of a server, or several of one cluster. `subjects` choose some of the stream's (one, up to NATS 2.9);
    without them, the choice of a consumer that is there already stands. Where nothing is stored and there is no
    consumer, `start` decides whether it begins with what comes (`new`) or with what is there (`all`). What a process
    holds for `ack_wait` without a sign of life goes to another. `credentials` is a file as `nsc` makes them; `cafile`,
    `certfile` and `keyfile` are for TLS. `domain` is that of JetStream behind a leaf node. `delivers` are the topics of
    the events that come, as far as that is known.

    Raises:
        InvalidOption: an option cannot hold.
    """

    def __init__(  # noqa: PLR0913 - options by name, of people who write them down once
        self,
        url: str | Sequence[str],
        stream: str,
        *,
        durable: str,
        subjects: Sequence[str] | None = None,
        format: Format | str = "auto",  # noqa: A002 - the word of the seam
        name: str | None = None,
        delivers: Sequence[str] | None = None,
        start: Literal["new", "all"] = "new",
        ack_wait: timedelta = timedelta(seconds=30),
        domain: str | None = None,
        credentials: str | None = None,
        cafile: str | None = None,
        certfile: str | None = None,
        keyfile: str | None = None,
    ) -> None:
        self.urls = (url,) if isinstance(url, str) else tuple(url)
        chosen, delivered = texts(subjects, option="subjects"), texts(delivers, option="delivers")
        place = ", ".join(map(_place_of, self.urls))
        at = f"{place.partition(',')[0]}/{domain}" if domain else place.partition(",")[0]
        self.name = name or f"nats:{at}:{stream}:{durable}"
        self.format = format_of(format)
        patterns = tuple(map(_pattern_of, chosen)) if keeps_topics(self.format) else ()
        self.delivers = delivered or patterns or ("#",)
        self.credentials = credentials
        self.terms = Terms(
            place=place,
            stream=_named("stream", stream),
            durable=_named("durable", durable),
            subjects=chosen,
            starts_at_all=start == "all",
            ack_wait_s=ack_wait.total_seconds(),
            domain=domain,
        )
        self._tls = (cafile, certfile, keyfile)
        if start not in {"new", "all"}:
            raise InvalidOption(f"start: {start!r} is neither 'new' nor 'all'.")
        if ack_wait < timedelta(seconds=1):
            raise InvalidOption("ack_wait: it must be a second or more.")
        if not self.urls or not all(one.startswith(_SCHEMES) for one in self.urls):
            raise InvalidOption("url: it names no NATS server. Use for example 'nats://host:4222'.")

    @classmethod
    def of_url(cls, url: SourceUrl, *, format: Format | str, name: str | None = None) -> Self:  # noqa: A002 - as above
        """The source that a URL names: `nats://host:4222/stream?durable=...`.

        Raises:
            InvalidOption: something is missing or cannot hold.
        """
        durable = url.take("durable")
        if not url.path or "/" in url.path or not durable:
            raise InvalidOption(f"source {url.without_password}: write nats://host:4222/stream?durable=name.")
        start, ack_wait = url.take("start") or "new", url.take_duration("ack_wait")
        return cls(
            f"{url.scheme}://{url.authority}",
            url.path,
            durable=durable,
            subjects=url.take_all("subject"),
            format=format,
            name=name,
            delivers=url.take_all("delivers"),
            start=cast("Literal['new', 'all']", start),
            ack_wait=timedelta(seconds=30) if ack_wait is None else ack_wait,
            domain=url.take("domain"),
            credentials=url.take("credentials"),
            cafile=url.take("cafile"),
            certfile=url.take("certfile"),
            keyfile=url.take("keyfile"),
        )

    def __repr__(self) -> str:
        return f"JetStream({self.terms.stream!r}, durable={self.terms.durable!r}, at {self.terms.place})"

    def tapped(self) -> Adapter:
        """The same messages for somebody who only looks: by a consumer that ends with its connection, from now on."""
        tap = copy.copy(self)
        name = f"tap-{secrets.token_hex(6)}"
        tap.terms = replace(self.terms, durable=name, starts_at_all=False, is_tap=True)
        return tap

    @asynccontextmanager
    async def open(self, start: Start) -> AsyncGenerator[OpenJetStream]:
        """A connection; see `Adapter.open`."""
        said: list[str] = []
        client = await self._connected(said)
        opened = OpenJetStream(self.terms, client, said)
        try:
            await opened.begin(start.offset)
            yield opened
        finally:
            try:
                await opened.end()
            finally:
                # Also when whoever ends it waits for no farewell.
                with suppress(*DRIVER_ERRORS):
                    await client.close()

    async def _connected(self, said: list[str]) -> Client:
        async def note(error: Exception) -> None:
            said[:] = [told(error)]

        options: dict[str, Any] = {
            "tls": tls_context(*self._tls) if any(self._tls) else None,
            "user_credentials": self.credentials,
            "error_cb": note,
        }
        problem = ""
        for url in self.urls:
            place, login = _without_login(url)
            client = Client()
            try:
                await client.connect(place, **_OPTIONS, **options, **login)
            except DRIVER_ERRORS as error:
                problem = said[0] if said else told(error)
                with suppress(*DRIVER_ERRORS):
                    await client.close()
            else:
                return client
        raise SourceUnavailable(f"{self.terms.place}: no connection ({problem}).")


def _place_of(url: str) -> str:
    """Its hosts and ports, without what may be a secret."""
    return url.partition("://")[2].rpartition("@")[2].partition("/")[0]


def _pattern_of(subject: str) -> str:
    return subject.replace(">", "#")


def _without_login(url: str) -> tuple[str, dict[str, Any]]:
    """The URL and, beside it, its login, which the driver would not unquote: a user and a password, or a token."""
    scheme, _, rest = url.partition("://")
    login, at, place = rest.rpartition("@")
    user, colon, password = login.partition(":")
    if not at:
        return url, {}
    given = {"user": unquote(user), "password": unquote(password)} if colon else {"token": unquote(user)}
    return f"{scheme}://{place}", given


def _named(option: str, value: object) -> str:
    if not isinstance(value, str) or not value or set(value) & set(" .*>/\\"):
        raise InvalidOption(f"{option}: {value!r} is no name of NATS: no dots, blanks, '*', '>' and slashes.")
    return value
