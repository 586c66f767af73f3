"""MQTT 5 as a source: a session at the broker that outlives the process, at least once, acknowledged after applying.

The broker keeps what comes while nobody is there, as long as it keeps the session. Whether it did, it says when we come
back; that it did is worth nothing if the process before us was killed before it could see to a loss. So a session
in which nothing is amiss bears a mark: a subscription to a topic that nobody publishes to.

A broker that keeps only so many messages for a session drops the others without a word. So when as many have come after
an absence, some may be missing. Until that is known the session bears no mark, from the first acknowledgement on: after
that one, the next process would find fewer.
"""

from __future__ import annotations

import asyncio
import copy
import secrets
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Self
from urllib.parse import unquote, urlsplit

import msgspec

from everfresh.matching.covering import without_covered
from everfresh.model.errors import InvalidOption
from everfresh.model.message import Message
from everfresh.model.options import whole_number
from everfresh.sources.addresses import SourceUrl
from everfresh.sources.canary import PREFIX
from everfresh.sources.consuming import Source
from everfresh.sources.formats import format_of, keeps_topics
from everfresh.sources.mqtt_session import NO_SUBSCRIPTION, Come, Session, Terms
from everfresh.sources.mqtt_topics import Stored, filter_of, not_covered, pattern_of, stored_of
from everfresh.sources.options import texts, tls_context
from everfresh.sources.source import Adapter, Batch, Format, SourceUnavailable, Start

_FAILURE = 128
_MAX_PREFETCH = 65_535
_MAX_EXPIRY_S = 2**32 - 1
_NOT_FOLLOWED = "nobody has followed it until now, and there may have been earlier messages"
# So long nothing comes, with nothing under way: the broker has given all that it had kept.
_CAUGHT_UP_S = 0.25
_PORTS = {"mqtt": 1883, "mqtts": 8883}


class Mqtt(Source):
    """The messages that a broker keeps for one client.

    `client_id` names the session: the same after a restart, and another for each process. Processes that share the work
    have one `share`. `topics` are filters of MQTT; without them, the topics that functions depend on are asked for. The
    session is kept for `session_expiry` after a connection ends. At most `prefetch` messages are under way, and no more
    than the broker has in flight for a client. `backfill` is how many messages the broker keeps for a client that is
    away, 0 for a broker that keeps all. `delivers` are the topics of the events that come, as far as that is known.

    Raises:
        InvalidOption: an option cannot hold.
    """

    def __init__(  # noqa: PLR0913 - options by name, of people who write them down once
        self,
        url: str,
        topics: Sequence[str] | None = None,
        *,
        client_id: str,
        share: str | None = None,
        format: Format | str = "auto",  # noqa: A002 - the word of the seam
        name: str | None = None,
        delivers: Sequence[str] | None = None,
        backfill: int = 1_000,
        session_expiry: timedelta = timedelta(days=7),
        prefetch: int = 1_000,
        cafile: str | None = None,
        certfile: str | None = None,
        keyfile: str | None = None,
    ) -> None:
        self.topics, delivered = texts(topics, option="topics"), texts(delivers, option="delivers")
        self.share = share
        self.format = format_of(format)
        self.keeps_topics = keeps_topics(self.format)
        """Whether the topics of the broker are those of events."""
        patterns = tuple(map(pattern_of, self.topics)) if self.keeps_topics else ()
        self.delivers = delivered or patterns or ("#",)
        self.backfill = whole_number(backfill, option="backfill", least=0)
        self.untold: tuple[str, tuple[str, ...]] | None = None
        """Why messages may have been lost, and of which topics, until a batch that says so is acknowledged."""
        if not client_id or set(client_id) & set("+#"):
            raise InvalidOption(f"client_id: {client_id!r} is no name. Use one that is the same after a restart.")
        if share is not None and (not share or set(share) & set("+#/")):
            raise InvalidOption(f"share: {share!r} is no name.")
        if not 1 <= prefetch <= _MAX_PREFETCH:
            raise InvalidOption(f"prefetch: {prefetch!r} is not between 1 and {_MAX_PREFETCH}.")
        if not 1 <= session_expiry.total_seconds() <= _MAX_EXPIRY_S:
            raise InvalidOption("session_expiry: it must be a second or more, and less than 136 years.")
        self.terms = _terms(url, client_id, int(session_expiry.total_seconds()), prefetch, (cafile, certfile, keyfile))
        self.name = name or f"mqtt:{self.terms.host}:{self.terms.port}:{client_id}"

    @classmethod
    def of_url(cls, url: SourceUrl, *, format: Format | str, name: str | None = None) -> Self:  # noqa: A002 - as above
        """The source that a URL names: `mqtt://host:1883?client_id=...&topic=...`.

        Raises:
            InvalidOption: something is missing or cannot hold.
        """
        client_id = url.take("client_id")
        if client_id is None or url.path:
            raise InvalidOption(
                f"source {url.without_password}: write mqtt://host:1883?client_id=name&topic=a/b/%23, "
                "with %23 for '#' and %2B for '+'."
            )
        session_expiry, backfill = url.take_duration("session_expiry"), url.take_number("backfill")
        return cls(
            f"{url.scheme}://{url.authority}",
            url.take_all("topic"),
            client_id=client_id,
            share=url.take("share"),
            format=format,
            name=name,
            delivers=url.take_all("delivers"),
            backfill=1_000 if backfill is None else backfill,
            session_expiry=timedelta(days=7) if session_expiry is None else session_expiry,
            prefetch=url.take_number("prefetch", least=1) or 1_000,
            cafile=url.take("cafile"),
            certfile=url.take("certfile"),
            keyfile=url.take("keyfile"),
        )

    def __repr__(self) -> str:
        return f"Mqtt(client_id={self.terms.client_id!r}, at {self.terms.place})"

    def tapped(self) -> Adapter:
        """The same messages for somebody who only looks: by a session of its own that ends with its connection."""
        tap = copy.copy(self)
        tap.share, tap.untold = None, None
        name = f"{self.terms.client_id}-tap-{secrets.token_hex(6)}"
        tap.terms = replace(self.terms, client_id=name, session_expiry_s=0)
        return tap

    @asynccontextmanager
    async def open(self, start: Start) -> AsyncGenerator[OpenMqtt]:
        """A connection; see `Adapter.open`."""
        session = Session(self.terms)
        opened = OpenMqtt(self, session)
        try:
            await opened.begin(start)
            yield opened
        finally:
            await session.close()


class OpenMqtt:
    """One connection with its session; see `Stream`."""

    def __init__(self, source: Mqtt, session: Session) -> None:
        self._source = source
        self._session = session
        self._mark = f"everfresh/mark/{source.terms.client_id}"
        self._patterns: tuple[str, ...] = ()
        self._is_marked = False
        self._bears_mark = False
        self._is_beginning = False
        # Until all has come that the broker kept while nobody was there.
        self._is_behind = False
        self._n_come = 0
        self._n_open = 0
        self._said: object = None
        self._last_offset = ""

    async def begin(self, start: Start) -> None:
        """Find out whether the session is the one we left, and ask for the topics."""
        was_there = await self._session.connect()
        stored = None if start.offset is None else stored_of(start.offset)
        wanted = self._wanted(start.topics)
        # Who only looks misses nothing.
        self._is_beginning = start.offset is None and self._source.terms.session_expiry_s > 0
        if start.offset is not None:
            self._is_behind = was_there and self._source.backfill > 0
            await self._look_for_loss(stored, wanted, was_there=was_there)
        await self._ask(wanted)
        self._patterns = wanted if stored is None or not was_there else tuple({*stored.patterns, *wanted})
        if self._source.untold is None:
            await self._set_mark()

    def _wanted(self, topics: Sequence[str]) -> tuple[str, ...]:
        own = self._source.topics
        asked = (*map(pattern_of, own), *(one for one in topics if one.startswith(PREFIX))) if own else topics
        return tuple(sorted(without_covered(asked)))

    async def _look_for_loss(self, stored: Stored | None, wanted: tuple[str, ...], *, was_there: bool) -> None:
        if stored is None or stored.client_id != self._source.terms.client_id:
            self._lost("the stored offset is of another client")
        elif not was_there:
            self._lost("the broker had dropped the session")
        elif stored.is_marked and await self._session.unsubscribe(self._mark) == NO_SUBSCRIPTION:
            self._lost("the session is another than the one that was stored")
        elif new := not_covered([one for one in wanted if not one.startswith(PREFIX)], stored.patterns):
            self._lost("these topics were asked for only now", new if self._source.keeps_topics else ())

    def _lost(self, why: str, patterns: tuple[str, ...] = ()) -> None:
        known = self._source.untold
        if known is None:
            self._source.untold = (why, patterns)
        elif why not in known[0]:
            self._source.untold = (f"{known[0]}; {why}", ())

    async def _ask(self, patterns: Sequence[str]) -> None:
        own = {pattern_of(topic): topic for topic in self._source.topics}
        filters = [own.get(pattern) or filter_of(pattern) for pattern in patterns]
        share = self._source.share
        wanted = [f"$share/{share}/{one}" if share else one for one in filters]
        if not wanted:
            return
        for one, code in zip(wanted, await self._session.subscribe(wanted), strict=True):
            if code >= _FAILURE:
                place = self._source.terms.place
                raise SourceUnavailable(f"{place}: the broker refuses the subscription {one} (reason {code}).")

    async def _set_mark(self) -> None:
        # Some brokers forbid it; then the session's presence alone has to do.
        (code,) = await self._session.subscribe([self._mark])
        self._is_marked = self._bears_mark = code < _FAILURE

    async def fetch(self, n_max: int, wait_s: float) -> Batch:
        """What has come; see `Stream.fetch`."""
        untold = self._source.untold
        if untold is not None and untold is not self._said:
            self._said = untold
            return Batch(gap=untold[0], gap_topics=untold[1])
        if self._is_beginning:
            # What depends on them may have been built before.
            self._is_beginning = False
            return Batch(gap=_NOT_FOLLOWED, offset=self._offset())
        session, ends_at = self._session, time.monotonic() + wait_s
        while not session.come and (left_s := ends_at - time.monotonic()) > 0:
            await self._wait(left_s)
        session.check()
        come = [session.come.popleft() for _ in range(min(n_max, len(session.come)))]
        self._count(come)
        mids = [one.mid for one in come if one.mid is not None]
        return Batch(messages=[one.message for one in come], offset=self._offset(), tags=mids)

    async def _wait(self, wait_s: float) -> None:
        """Wait for a message, and see whether none was left."""
        session = self._session
        session.check()
        session.is_news.clear()
        try:
            async with asyncio.timeout(min(wait_s, _CAUGHT_UP_S) if self._is_behind else wait_s):
                await session.is_news.wait()
        except TimeoutError:
            if self._is_behind and not self._n_open and wait_s >= _CAUGHT_UP_S:
                await self._caught_up()

    async def _caught_up(self) -> None:
        if not self._bears_mark and self._source.untold is None:
            await self._set_mark()
        self._is_behind = False

    def _count(self, come: Sequence[Come]) -> None:
        self._n_open += sum(one.mid is not None for one in come)
        self._n_come += len(come)
        if self._is_behind and self._n_come >= self._source.backfill:
            self._is_behind = False
            self._lost(f"{self._n_come} messages had been kept, and the broker may have dropped more")

    def _offset(self) -> str | None:
        if self._source.untold is not None:
            # It would say that all is well.
            return None
        stored = Stored(self._source.terms.client_id, self._patterns, self._is_marked)
        offset = msgspec.json.encode(stored).decode()
        is_news, self._last_offset = offset != self._last_offset, offset
        return offset if is_news else None

    async def acknowledge(self, batch: Batch) -> None:
        """They need not come again; see `Stream.acknowledge`."""
        tags = batch.tags or ()
        if tags and self._bears_mark and (self._is_behind or self._source.untold is not None):
            self._bears_mark = False
            await self._session.unsubscribe(self._mark)
        self._session.acknowledge(tags)
        self._n_open -= len(tags)
        untold = self._source.untold
        if batch.gap and untold is not None and untold[0] == batch.gap:
            await self._set_mark()
            self._source.untold = None

    async def widen(self, topics: Sequence[str]) -> Sequence[str]:
        """Ask for these too; see `Stream.widen`."""
        new = not_covered(self._wanted(topics), self._patterns)
        await self._ask(new)
        self._patterns = tuple(sorted({*self._patterns, *new}))
        return new if self._source.keeps_topics or not new else self._source.delivers

    async def send(self, message: Message) -> None:
        """Publish it; see `Stream.send`."""
        await self._session.publish(message.topic.replace(".", "/"), message)


def _terms(
    url: str, client_id: str, session_expiry_s: int, prefetch: int, tls: tuple[str | None, str | None, str | None]
) -> Terms:
    parts = urlsplit(url)
    try:
        port = parts.port or _PORTS[parts.scheme]
    except (KeyError, ValueError):
        raise InvalidOption("url: it names no broker. Use for example 'mqtt://host:1883' or 'mqtts://host'.") from None
    if not parts.hostname or parts.path.strip("/") or parts.query or parts.fragment:
        raise InvalidOption("url: write 'mqtt://user:password@host:1883', with '/', '?', '#' and '@' percent-encoded.")
    return Terms(
        place=f"mqtt {parts.hostname}:{port}",
        host=parts.hostname,
        port=port,
        client_id=client_id,
        user=None if parts.username is None else unquote(parts.username),
        password=None if parts.password is None else unquote(parts.password),
        tls=tls_context(*tls) if parts.scheme == "mqtts" else None,
        session_expiry_s=session_expiry_s,
        prefetch=prefetch,
    )
