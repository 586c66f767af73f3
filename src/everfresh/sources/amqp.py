"""AMQP 0-9-1: events from a topic exchange of RabbitMQ, through a durable quorum queue.

    exchange ──bindings──▶ QUEUE ──▶ everfresh, one or many consumers
                             └─ delivered too often, expired ──▶ QUEUE.dlx ──▶ QUEUE.dead, and QUEUE.lost

The connection is a plain one, and not the driver's "robust" one, which repairs itself: what was received before it
broke comes again by another connection, and a queue that had gone may not come back without a word. So a stream
ends with its connection, and the next `open` looks at everything anew. How a loss is noticed: `amqp_queue.py`.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Self

import msgspec
from aio_pika.abc import AbstractChannel, AbstractConnection

from everfresh.model.dependency import Topic
from everfresh.model.errors import InvalidOption
from everfresh.model.marks import override
from everfresh.sources.addresses import SourceUrl
from everfresh.sources.amqp_address import Address
from everfresh.sources.amqp_connecting import Unfit, connected, explained, watched
from everfresh.sources.amqp_queue import (
    ANYTHING,
    Mark,
    Terms,
    begin_life,
    begin_sign,
    bind,
    declare,
    is_alive,
    is_there,
    mark_of,
    may_go,
    patterns_of,
    that_matter,
)
from everfresh.sources.amqp_speaking import speaking
from everfresh.sources.amqp_stream import AmqpStream, Binding, Gap
from everfresh.sources.amqp_wire import Deliveries
from everfresh.sources.canary import PREFIX
from everfresh.sources.consuming import Source
from everfresh.sources.formats import Auto, Plain, format_of, keeps_topics
from everfresh.sources.reports import logger
from everfresh.sources.source import Adapter, Format, Start, Stream

# Four batches of the largest size: while one is applied the next are under way.
_PREFETCH = 2_000
# A restart of a consumer counts one for all that it held, so this is far above what restarts add up to; a message
# that kills whoever reads it is out of the way after as many.
_DELIVERY_LIMIT = 50
# A name may have 255 bytes, and those of our own add to the queue's.
_MAX_NAME_BYTES = 200


class Amqp(Source, Adapter):
    """Events that an AMQP broker sends to a queue, from these exchanges.

    The queue is declared durable, and bound to the topics that functions depend on, or only to `bindings` where they
    are given; it is never unbound. A format whose events have topics of their own, such as CloudEvents, needs
    `bindings`. `delivers` says which topics events may have, in the words of functions: a gap concerns these. Consumers
    with the same queue share its messages. At most `prefetch` messages are under way. A message that was delivered more
    than `delivery_limit` times goes to the queue `dead_letter`, by default the queue's name with `.dead`, and what
    depends on the source is built again. `tls` is used with `amqps:`.

    Raises:
        InvalidOption: an option cannot hold.
    """

    def __init__(  # noqa: PLR0913 - each option is a decision of its own
        self,
        url: str | SourceUrl,
        *,
        queue: str,
        exchanges: Sequence[str] = ("amq.topic",),
        bindings: Sequence[str] | None = None,
        delivers: Sequence[str] | None = None,
        prefetch: int = _PREFETCH,
        delivery_limit: int = _DELIVERY_LIMIT,
        dead_letter: str | None = None,
        format: Format | str = "auto",  # noqa: A002 - the word of the command line
        name: str | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        given = SourceUrl(url) if isinstance(url, str) else url
        self._address = Address.of(given, tls)
        if isinstance(url, str):
            given.check_taken()
        _check_names(queue, exchanges, dead_letter)
        _check_numbers(prefetch, delivery_limit)
        for pattern in (*(bindings or ()), *(delivers or ())):
            # It says what is wrong with one that is no pattern.
            Topic(pattern)
        self._terms = Terms(queue, f"{queue}.dead" if dead_letter is None else dead_letter, delivery_limit)
        self._exchanges = tuple(exchanges)
        self._bindings = None if bindings is None else tuple(bindings)
        self._prefetch = prefetch
        self._format = format_of(format)
        self._keeps_topics = keeps_topics(self._format)
        if bindings is None and not (self._keeps_topics or isinstance(self._format, Auto | Plain)):
            what = (
                f"the events of the format {self._format.name} have topics of their own, which no routing key need be"
            )
            raise InvalidOption(f"bindings: {what}. Name what to bind, or '#' for all: bindings=['#'], bind=%23.")
        self._delivers = self._all_delivered() if delivers is None else tuple(delivers)
        self._name = name or f"{self._address.text}/{queue}"
        self._has_opened = False

    @classmethod
    def of_url(cls, url: SourceUrl, *, format: Format | str, name: str | None) -> Self:  # noqa: A002 - as above
        """The source of a URL, with `queue`, and if wanted `exchange`, `bind` and others as parameters.

        Raises:
            InvalidOption: a parameter cannot hold, or `queue` is missing.
        """
        queue = url.take("queue")
        if queue is None:
            raise InvalidOption(f"source {url.without_password}: name the queue: add ?queue=NAME.")
        return cls(
            url,
            queue=queue,
            exchanges=url.take_all("exchange") or ("amq.topic",),
            bindings=url.take_all("bind") or None,
            delivers=url.take_all("delivers") or None,
            prefetch=url.take_number("prefetch", least=1) or _PREFETCH,
            delivery_limit=url.take_number("delivery_limit", least=1) or _DELIVERY_LIMIT,
            dead_letter=url.take("dead_letter"),
            format=format,
            name=name,
        )

    @property
    @override
    def name(self) -> str:
        return self._name

    @property
    @override
    def delivers(self) -> tuple[str, ...]:
        return self._delivers

    @property
    @override
    def format(self) -> Format:
        return self._format

    def _all_delivered(self) -> tuple[str, ...]:
        return (ANYTHING,) if self._bindings is None or not self._keeps_topics else self._bindings

    @override
    def open(self, start: Start) -> AbstractAsyncContextManager[Stream]:
        return self._opened(start)

    def tapped(self) -> Adapter:
        """The same events for somebody who only looks: by a queue that goes with its connection, from now on."""
        return _Tap(self, self._address, self._exchanges, self._bindings)

    @asynccontextmanager
    async def _opened(self, start: Start) -> AsyncGenerator[AmqpStream]:
        deliveries = Deliveries()
        address = self._address
        # Who leaves lets go of its messages first.
        async with speaking(address, start) as speaker, connected(address, start, deliveries) as connection:
            with explained(address.text):
                control = await connection.channel()
                await self._check_exchanges(connection)
                await declare(control, self._terms)
                mark, gap = await self._known(connection, control, start)
                stream = AmqpStream(self._binding(), speaker.send, mark, gap, is_untold=mark.text != start.offset)
                await stream.begin(connection, control, deliveries, prefetch=self._prefetch)
            self._has_opened = True
            async with watched(stream):
                yield stream

    def _binding(self) -> Binding:
        is_derived = self._bindings is None
        if is_derived and isinstance(self._format, Auto) and not self._has_opened:
            what = "only messages whose routing key is a topic of a function come; CloudEvents and others need bindings"
            logger.warning("source.bound_by_topics %s", {"source": self._name, "what": what})
        delivers = None if self._keeps_topics else self._delivers
        return Binding(self._terms.queue, self._terms.lost, self._exchanges, is_derived, delivers)

    async def _check_exchanges(self, connection: AbstractConnection) -> None:
        for exchange in self._exchanges:
            if not await is_there(connection, exchange):
                raise Unfit(f"there is no exchange {exchange}. Declare it, or name another: exchange=amq.topic")

    async def _known(
        self, connection: AbstractConnection, control: AbstractChannel, start: Start
    ) -> tuple[Mark, Gap | None]:
        """Bind the queue; what is known of it now, and what was lost since the store was told last."""
        queue, topics = self._terms.queue, start.topics
        canaries = tuple(one for one in topics if one.startswith(PREFIX))
        patterns = patterns_of(topics if self._bindings is None else self._bindings)
        mark, gap = await self._followed(connection, control, mark_of(start.offset))
        gone = await self._gone(connection, mark)
        if gone:
            gap = Gap(f"the exchange {', '.join(sorted(gone))} was deleted, and the bindings of {queue} with it")
        # Before they are bound: a sign that is younger than a binding may outlive it.
        mark = await self._signed(connection, mark, gone)
        await bind(control, queue, self._exchanges, (*patterns, *canaries))
        for exchange in gone:
            # Others may need what they had bound.
            await bind(control, queue, (exchange,), mark.bound.get(exchange, ()))
        new = that_matter(mark.missing(self._exchanges, patterns))
        if new and gap is None:
            gap = Gap(f"the queue {queue} was not bound to {', '.join(new)}", new if self._keeps_topics else ())
        return mark.with_bound(self._exchanges, that_matter(patterns)), gap

    async def _followed(
        self, connection: AbstractConnection, control: AbstractChannel, mark: Mark | None
    ) -> tuple[Mark, Gap | None]:
        """The mark of the queue that the store follows, or a new one."""
        queue = self._terms.queue
        if mark is not None and await is_alive(connection, queue, mark.life):
            return mark, None
        what = "is not known to this store" if mark is None else "was deleted"
        return Mark(await begin_life(control, queue), {}), Gap(
            f"the queue {queue} {what}: earlier events may have gone elsewhere"
        )

    async def _gone(self, connection: AbstractConnection, mark: Mark) -> set[str]:
        """Those of the exchanges that were deleted since they were signed, whoever declared them again."""
        signs = {exchange: sign for exchange, sign in mark.signs.items() if exchange in self._exchanges}
        return {one for one, sign in signs.items() if not await is_alive(connection, self._terms.queue, sign)}

    async def _signed(self, connection: AbstractConnection, mark: Mark, gone: set[str]) -> Mark:
        """The mark with a sign of each exchange that may be deleted."""
        signs = {one: sign for one, sign in mark.signs.items() if one in self._exchanges and one not in gone}
        for exchange in filter(may_go, self._exchanges):
            if exchange in signs:
                continue
            sign = await begin_sign(connection, self._terms.queue, exchange)
            if sign is not None:
                signs[exchange] = sign
            elif not self._has_opened:
                what = f"no right to write to {exchange}: nobody will notice when it is deleted and declared again"
                logger.warning("source.unsigned %s", {"source": self._name, "what": what})
        return msgspec.structs.replace(mark, signs=signs)


class _Tap(Adapter):
    """What an adapter's exchanges send, for somebody who only looks."""

    def __init__(
        self, of: Amqp, address: Address, exchanges: tuple[str, ...], bindings: tuple[str, ...] | None
    ) -> None:
        self._of = of
        self._address = address
        self._exchanges = exchanges
        self._bindings = bindings

    @property
    @override
    def name(self) -> str:
        return self._of.name

    @property
    @override
    def delivers(self) -> tuple[str, ...]:
        return self._of.delivers

    @property
    @override
    def format(self) -> Format:
        return self._of.format

    @override
    def open(self, start: Start) -> AbstractAsyncContextManager[Stream]:
        return self._opened(start)

    @asynccontextmanager
    async def _opened(self, start: Start) -> AsyncGenerator[AmqpStream]:
        patterns = patterns_of(start.topics or (ANYTHING,) if self._bindings is None else self._bindings)
        deliveries = Deliveries()
        address = self._address
        # Who leaves lets go of its messages first.
        async with speaking(address, start) as speaker, connected(address, start, deliveries) as connection:
            with explained(address.text):
                control = await connection.channel()
                declared = await control.declare_queue(exclusive=True, auto_delete=True)
                await bind(control, declared.name, self._exchanges, patterns)
                binding = Binding(declared.name, None, self._exchanges, self._bindings is None)
                stream = AmqpStream(binding, speaker.send, None, None)
                await stream.begin(connection, control, deliveries, prefetch=_PREFETCH)
            async with watched(stream):
                yield stream


def _check_names(queue: str, exchanges: Sequence[str], dead_letter: str | None) -> None:
    for what, name in (("queue", queue), ("dead_letter", dead_letter), *(("exchanges", one) for one in exchanges)):
        if name is not None and not (name and len(name.encode()) <= _MAX_NAME_BYTES):
            raise InvalidOption(f"{what}: {name[:40]!r} is no name. Use 1 to {_MAX_NAME_BYTES} bytes.")
    if isinstance(exchanges, str) or not exchanges:
        raise InvalidOption("exchanges: name at least one, in a list: exchanges=['amq.topic'].")
    if dead_letter in {queue, f"{queue}.lost"}:
        raise InvalidOption(f"dead_letter: {queue!r} is taken by the queue itself. Name another.")


def _check_numbers(prefetch: int, delivery_limit: int) -> None:
    # AMQP has 16 bits for the first.
    if not 1 <= prefetch < 2**16:
        raise InvalidOption(f"prefetch: {prefetch} messages cannot be under way. Use 1 to {2**16 - 1}.")
    if delivery_limit < 1:
        raise InvalidOption(f"delivery_limit: a message must be delivered at least once, not {delivery_limit} times.")
