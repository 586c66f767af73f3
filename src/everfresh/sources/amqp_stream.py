"""What has come over a connection to an AMQP broker, and the ways back: acknowledging, binding, sending."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import msgspec
from aio_pika.abc import AbstractChannel, AbstractConnection
from aio_pika.exceptions import AMQPError, ChannelInvalidStateError
from aiormq.abc import AbstractChannel as Underlay
from pamqp import commands as spec

from everfresh.model.marks import override
from everfresh.model.message import Message
from everfresh.sources.addresses import told
from everfresh.sources.amqp_queue import Mark, bind, exchange_gone, n_waiting, patterns_of, that_matter
from everfresh.sources.amqp_wire import Deliveries, Delivery, message_of
from everfresh.sources.source import Batch, SourceUnavailable, Stream

# How long a loss may stay unseen; how old the lag may be that is told.
_LOOK_EVERY_S = 5.0
# A broker that is asked how many messages wait, and takes longer, has gone.
_ANSWERS_WITHIN_S = 20.0


Speak = Callable[[str, Message], Awaitable[None]]


class Binding(msgspec.Struct, frozen=True):
    """What a stream stands on: its queues, and whether the topics that it asks for are for the stream to choose.

    `lost` is the queue that says that something was lost. `delivers` are the topics of whatever may come, where a
    message's own is not that of its event, None where it is.
    """

    queue: str
    lost: str | None
    exchanges: tuple[str, ...]
    is_derived: bool
    delivers: tuple[str, ...] | None = None

    def concerned(self, patterns: tuple[str, ...]) -> tuple[str, ...]:
        """The topics of the events that messages with these routing keys may bring."""
        return patterns if self.delivers is None or not patterns else self.delivers


class Gap(msgspec.Struct, frozen=True):
    """Why events may be missing, for people, and of which topics; none are all.

    `lost` is the number of the message that said so, to be acknowledged when the gap has been answered.
    """

    reason: str
    topics: tuple[str, ...] = ()
    lost: int | None = None

    def with_(self, other: Gap | None) -> Gap:
        """Both."""
        if other is None:
            return self
        topics = self.topics + other.topics if self.topics and other.topics else ()
        return Gap(f"{other.reason}; {self.reason}", topics, other.lost if self.lost is None else self.lost)


class _Answered(msgspec.Struct, frozen=True):
    """Tag of a gap that a message in the queue `lost` had told."""

    stream: AmqpStream
    tag: int


class AmqpStream(Stream):
    """A consumer on a queue. Two channels: errors of one, as of an exchange that has gone, shall not close the other.

    `mark` is what is known of the queue, None for one that is not kept. `speak` sends to an exchange, over another
    connection.
    """

    def __init__(
        self, binding: Binding, speak: Speak, mark: Mark | None, gap: Gap | None, *, is_untold: bool = False
    ) -> None:
        self._binding = binding
        self._speak = speak
        self._mark = mark
        self._gap = gap
        # Whether the store has not been given the mark.
        self._is_untold = is_untold
        self._is_holding_lost = False
        self._waiting: deque[Delivery] = deque()
        self._woken = asyncio.Event()
        self._problem = ""
        self._lag: int | None = None
        self._bound_to_send: set[str] = set()
        self._consuming: Underlay | None = None
        self._control: AbstractChannel | None = None
        self._connection: AbstractConnection | None = None

    async def begin(
        self, connection: AbstractConnection, control: AbstractChannel, deliveries: Deliveries, *, prefetch: int
    ) -> None:
        """Have messages come, at most so many that are not acknowledged.

        Raises:
            SourceUnavailable: the connection broke, or a queue has gone.
        """
        self._connection, self._control = connection, control
        consuming = await connection.channel()
        self._consuming = underlay = await consuming.get_underlay_channel()
        for channel in (consuming, control):
            channel.close_callbacks.add(self._closed)
        cast("Any", underlay).on_consumer_cancel_callbacks.add(self._cancelled)
        # What was lost by now is a gap of before.
        await self.look()
        await underlay.basic_qos(prefetch_count=prefetch)
        deliveries.channel, deliveries.take = underlay.number, self._take
        await underlay.basic_consume(self._binding.queue, _untaken)

    async def watch(self) -> None:
        """Look now and then how many wait, and what was lost; ends only when the connection does."""
        while not self._problem:
            await asyncio.sleep(_LOOK_EVERY_S)
            try:
                async with asyncio.timeout(_ANSWERS_WITHIN_S):
                    await self.look()
            except TimeoutError:
                self._break(f"the broker has not answered for {_ANSWERS_WITHIN_S:g} s")
            except Exception as error:  # noqa: BLE001 - whatever it was, nobody watches now, and `fetch` says so
                self._break(str(error))

    async def look(self) -> None:
        """Learn the lag, and of losses that nobody knows.

        Raises:
            SourceUnavailable: the connection broke, or one of the queues or exchanges has gone.
        """
        binding = self._binding
        with answered(f"the queue {binding.queue}"):
            control = self._open_control()
            self._lag = len(self._waiting) + await n_waiting(control, binding.queue)
            if self._mark is not None:
                connection = cast("AbstractConnection", self._connection)
                exchange = await exchange_gone(connection, binding.queue, self._mark.signs)
                if exchange is not None:
                    raise SourceUnavailable(f"the exchange {exchange} was deleted, and its bindings with it")
            if binding.lost is not None and not self._is_holding_lost:
                await self._look_for_lost(binding.lost)

    async def _look_for_lost(self, queue: str) -> None:
        got = await (await self._open_control().get_underlay_channel()).basic_get(queue)
        if isinstance(got.delivery, spec.Basic.GetOk):
            # Held until the gap is answered: who dies before that leaves it to the next.
            self._is_holding_lost = True
            what = f"the broker took messages out of {self._binding.queue}, delivered too often or too old"
            self._gap = Gap(what, lost=got.delivery.delivery_tag).with_(self._gap)
            self._woken.set()

    @override
    async def fetch(self, n_max: int, wait_s: float) -> Batch:
        if not self._waiting and self._gap is None and not self._problem:
            self._woken.clear()
            try:
                async with asyncio.timeout(wait_s):
                    await self._woken.wait()
            except TimeoutError:
                pass
        if self._problem:
            raise SourceUnavailable(self._problem)
        gap, self._gap = self._gap, None
        if gap is not None:
            # By itself, so that it is answered before what came later is applied.
            tags = None if gap.lost is None else _Answered(self, gap.lost)
            return Batch(gap=gap.reason, gap_topics=gap.topics, offset=self._untold_offset(), lag=self._lag, tags=tags)
        waiting = self._waiting
        taken = [waiting.popleft() for _ in range(min(n_max, len(waiting)))]
        if not taken:
            return Batch(offset=self._untold_offset(), lag=self._lag)
        return Batch(
            messages=[message_of(one) for one in taken],
            offset=self._untold_offset(),
            lag=self._lag,
            tags=(self, taken[-1].tag),
        )

    @override
    async def acknowledge(self, batch: Batch) -> None:
        if batch.tags is None:
            return
        is_gap = isinstance(batch.tags, _Answered)
        stream, tag = (batch.tags.stream, batch.tags.tag) if is_gap else cast("tuple[AmqpStream, int]", batch.tags)
        if stream is not self:
            # Tags count anew with each connection: this one would be another message's.
            raise SourceUnavailable(f"the messages of {self._binding.queue} were received by an earlier connection")
        with answered(f"an acknowledgement to {self._binding.queue}"):
            if is_gap:
                await (await self._open_control().get_underlay_channel()).basic_ack(tag)
                self._is_holding_lost = False
            else:
                await cast("Underlay", self._consuming).basic_ack(tag, multiple=True)

    @override
    async def widen(self, topics: Sequence[str]) -> Sequence[str]:
        binding = self._binding
        if not binding.is_derived:
            return ()
        patterns = patterns_of(topics)
        with answered(f"binding {binding.queue}"):
            await bind(self._open_control(), binding.queue, binding.exchanges, patterns)
        if self._mark is None:
            return ()
        new = that_matter(self._mark.missing(binding.exchanges, patterns))
        if new:
            self._mark = self._mark.with_bound(binding.exchanges, new)
            self._is_untold = True
        return binding.concerned(new)

    @override
    async def send(self, message: Message) -> None:
        binding = self._binding
        with answered(f"sending to {binding.exchanges[0]}"):
            control = self._open_control()
            if message.topic not in self._bound_to_send:
                await bind(control, binding.queue, binding.exchanges[:1], (message.topic,))
                self._bound_to_send.add(message.topic)
            await self._speak(binding.exchanges[0], message)

    def _take(self, delivery: Delivery) -> None:
        self._waiting.append(delivery)
        self._woken.set()

    def _untold_offset(self) -> str | None:
        if not self._is_untold or self._mark is None:
            return None
        self._is_untold = False
        return self._mark.text

    def _open_control(self) -> AbstractChannel:
        if self._problem or self._control is None:
            raise SourceUnavailable(self._problem or "the connection is not open")
        return self._control

    def _cancelled(self, _frame: object) -> None:
        self._break(f"the queue {self._binding.queue} was deleted, or its node has gone")

    def _closed(self, _channel: object, error: BaseException | None) -> None:
        self._break(f"the connection broke ({told(error)})" if error else "the connection was closed")

    def _break(self, problem: str) -> None:
        self._problem = self._problem or problem
        self._woken.set()


@contextmanager
def answered(what: str) -> Generator[None]:
    """Translate what the driver raises.

    Raises:
        SourceUnavailable: it raised.
    """
    try:
        yield
    except (AMQPError, ChannelInvalidStateError, OSError, TimeoutError) as error:
        raise SourceUnavailable(f"{what}: {told(error)}") from error
    except asyncio.CancelledError as error:
        # The driver cancels its own tasks when the connection breaks, and with them whoever waits for one.
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise SourceUnavailable(f"{what}: the connection broke") from error


async def _untaken(message: object) -> None:
    raise AssertionError(f"{message!r} came by the driver")
