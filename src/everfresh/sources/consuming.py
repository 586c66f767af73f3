"""Consuming: from a source to a cache, until somebody ends it.

    read the stored offset ─▶ open ─▶ fetch ─▶ settle ─▶ acknowledge ─▶ fetch ...
              ▲                                   └ while it lasts, the next batch is fetched
              └──────── wait, longer each time ◀── the connection broke, or is silent

Rules
- A batch is acknowledged only after all of it has been settled; see `settling`. Whatever ends this before that, the
  batch comes again.
- At most two batches are held: the one that is settled, and the next.
- Of what was asked for later than messages could have come, everything is suspect.
- Who cancels waits for the batch under way, but no longer than `grace`; who cancels twice does not wait, if it is one
  source: a task group of several passes the second on to none.
"""

from __future__ import annotations

import asyncio
import os
import socket
from dataclasses import KW_ONLY, dataclass
from datetime import timedelta

from everfresh.cache.cache import Cache
from everfresh.cache.sourcing import PER_S
from everfresh.model.clock import Dice, fair_dice, seconds_of
from everfresh.model.errors import InvalidOption, StoreError, StoreUnavailable
from everfresh.model.options import whole_number
from everfresh.protocol.sourcing import Reported
from everfresh.sources.addresses import told
from everfresh.sources.backoff import Backoff
from everfresh.sources.canary import PATTERN, Canary, Listening, canary_of
from everfresh.sources.connecting import ANSWER_S, Open, Unanswered, answer, begun, ended, opened
from everfresh.sources.reports import Status
from everfresh.sources.settling import Settler
from everfresh.sources.source import Adapter, Batch, Start, Stream
from everfresh.sources.templates import encoded_word

# With a batch of so many a step costs little for each; more would be held longer, and come again together.
_MAX_MESSAGES = 500
_BATCH_BYTES = 1_048_576
# How long an idle source waits for messages, and nobody looks after the rest.
_WAIT_S = 1.0
_FIRST_RETRY_S, _LAST_RETRY_S = 0.5, 30.0
_REPORT_S = 5.0
# A consumer that has told nothing for so long is gone.
_PRESENT_S = 6 * _REPORT_S
_FAREWELL_S = 1.0


class Source:
    """What an adapter gets to be given to `cache.consume` as it is; `Consumer` has the options."""

    __slots__ = ()

    async def run(self: Adapter, cache: Cache) -> None:
        """Consume until this is cancelled; see `Consumer.run`."""
        await Consumer(self).run(cache)


def consumer_name() -> str:
    """The name of this process among the consumers of a source: its machine and its number."""
    return f"{socket.gethostname()}:{os.getpid()}"


@dataclass(frozen=True, slots=True)
class Consumer:
    """A source, and how it is consumed: `cache.consume(Consumer(Amqp(...), canary=Canary()))`.

    `canary` sends one now and then, so that a source that is silent is told from one that is quiet; without, one that
    has been quiet for `idle_alarm` is taken for silent. Either way it is opened anew and reported. After a gap, so many
    entries a second are built anew as `suspects_per_s` says. `n_quarantined` messages are kept that nobody could
    read, of all sources together. `grace` is how long the batch under way is waited for at the end. `consumer` is its
    own name, by default that of machine and process.

    Raises:
        InvalidOption: an option cannot hold.
    """

    adapter: Adapter
    _: KW_ONLY
    consumer: str = ""
    canary: Canary | None = None
    idle_alarm: timedelta | None = None
    suspects_per_s: float = PER_S
    n_quarantined: int = 1_000
    grace: timedelta = timedelta(seconds=2)
    dice: Dice = fair_dice

    def __post_init__(self) -> None:
        if self.idle_alarm is not None and seconds_of(self.idle_alarm, option="idle_alarm") < 1:
            raise InvalidOption(f"idle_alarm: {self.idle_alarm!r} is no silence. Use a second or more.")
        if not self.suspects_per_s > 0:
            raise InvalidOption(f"suspects_per_s: {self.suspects_per_s!r} would build nothing anew. Use 1 or more.")
        whole_number(self.n_quarantined, option="n_quarantined", least=1)
        seconds_of(self.grace, option="grace")

    @property
    def name(self) -> str:
        """The source's name."""
        return self.adapter.name

    async def run(self, cache: Cache) -> None:
        """Consume until this is cancelled; then the batch under way is finished, if that takes no longer than `grace`.

        A source or a store that does not answer is tried again without an end. Whenever it ends, what was not
        acknowledged comes again, to this consumer or another.

        Raises:
            StoreError: the cache was closed, or the store will never answer.
            InvalidOption: the source cannot be opened as it was said.
        """
        await _Run(self, cache).run()


class _Run:
    """One run of a consumer."""

    def __init__(self, options: Consumer, cache: Cache) -> None:
        adapter = options.adapter
        self._options = options
        self._adapter = adapter
        self._operations = cache.sources
        self._predicates = cache.engine.predicates
        self._consumer = encoded_word(options.consumer or consumer_name())
        self._status = Status(adapter.name, self._consumer, adapter.delivers)
        self._settler = Settler(
            self._operations,
            adapter,
            self._status,
            dice=options.dice,
            suspects_per_s=options.suspects_per_s,
            n_quarantined_max=options.n_quarantined,
        )
        self._backoff = Backoff(_FIRST_RETRY_S, _LAST_RETRY_S, options.dice)
        self._n_wanted = _MAX_MESSAGES
        self.opened_at = 0.0
        self._learnt: object = None
        self._topics: frozenset[str] = frozenset()
        self._ahead_s: float | None = None
        self._ended_by: StoreError | None = None
        self._sending: asyncio.Task[None] | None = None

    async def run(self) -> None:
        with self._status.listed():
            telling = begun(self._tell_often())
            try:
                await self._go_on()
            finally:
                await ended(telling)
                self._status.is_connected = False
                await self._tell(_FAREWELL_S)

    async def _go_on(self) -> None:
        while True:
            try:
                await self._consume()
            except (StoreError, InvalidOption):
                raise
            except Exception as error:  # noqa: BLE001 - whatever it was, another connection may be sound
                if self._status.is_connected and _now() > self.opened_at + _LAST_RETRY_S:
                    # However quiet it was, it was no failure.
                    self._backoff.reset()
                wait_s = self._backoff.next_s()
                self._status.lost(str(error) if isinstance(error, _Silent) else told(error), wait_s)
                await asyncio.sleep(wait_s)

    async def _consume(self) -> None:
        """One connection, from its opening to its end."""
        offset = await self._settler.insist(self._stored_offset)
        await self._settler.insist(self._operations.learn)
        start = Start(offset=offset, topics=self._wanted_topics(), consumer=self._consumer)
        async with opened(self._adapter, start) as connection:
            self._status.connected()
            self.opened_at = _now()
            canary, idle_alarm = self._options.canary, self._options.idle_alarm
            listening = Listening(
                None if canary is None else canary.every.total_seconds(),
                None if idle_alarm is None else idle_alarm.total_seconds(),
                _now(),
            )
            await self._pump(connection, listening, is_beginning=offset is None)

    async def _pump(self, connection: Open, listening: Listening, *, is_beginning: bool) -> None:
        stream, ends = connection
        fetching = self._fetch(stream)
        try:
            while True:
                batch = await answer(fetching, _WAIT_S + ANSWER_S, ends)
                if batch.messages:
                    self._backoff.reset()
                    self._status.heard()
                    listening.heard(_now())
                self._n_wanted = _n_wanted(batch, self._n_wanted)
                # While this one is settled the next comes; it waits until this one is done.
                fetching = self._fetch(stream)
                if batch.messages or batch.gap or batch.offset is not None:
                    await self._settle(stream, batch, is_beginning=is_beginning and batch.offset is not None)
                    is_beginning = is_beginning and batch.offset is None
                    listening.listened(_now())
                else:
                    self._status.lag = batch.lag
                await self._look_after(stream, listening)
        finally:
            await ended(fetching)
            if self._sending is not None:
                await ended(self._sending)
                self._sending = None

    def _fetch(self, stream: Stream) -> asyncio.Task[Batch]:
        return begun(stream.fetch(self._n_wanted, _WAIT_S))

    async def _settle(self, stream: Stream, batch: Batch, *, is_beginning: bool) -> None:
        """Settle and acknowledge; who cancels this waits for it, for a while."""

        async def settle() -> None:
            await self._settler.settle(batch, is_beginning=is_beginning)
            await answer(stream.acknowledge(batch), ANSWER_S)

        settling = begun(settle())
        try:
            # Unlike awaiting it, to be cancelled here does not cancel it.
            await asyncio.wait({settling})
        except asyncio.CancelledError:
            await asyncio.wait({settling}, timeout=_at_most(self._options.grace))
            raise
        finally:
            await ended(settling)
        settling.result()

    async def _look_after(self, stream: Stream, listening: Listening) -> None:
        """What is due between two batches."""
        if self._ended_by is not None:
            raise self._ended_by
        if self._operations.learnt != self._learnt:
            await self._widen(stream)
        await self._settler.tend()
        if listening.is_canary_due(_now()) and (self._sending is None or self._sending.done()):
            # A broker that takes none may give messages all the same, and these do not wait for it.
            self._sending = begun(self._send_canary(stream, min(ANSWER_S, listening.silence_s)))
        silent_s = listening.silent_s(_now())
        if silent_s is not None and listening.is_silent(_now(), await self._n_consumers()):
            self._status.silent(silent_s)
            raise _Silent(self._status.silence)

    async def _send_canary(self, stream: Stream, most_s: float) -> None:
        try:
            await answer(stream.send(canary_of(self._consumer)), most_s)
            self._status.deafness = ""
        except Exception as error:  # noqa: BLE001 - what still comes is not given up for it; silence is noticed
            self._status.deaf(told(error))

    async def _widen(self, stream: Stream) -> None:
        """Ask for the topics that the cache depends on by now."""
        before = self._topics
        new = [topic for topic in self._wanted_topics() if topic not in before]
        if new:
            not_heard = await answer(stream.widen(new), ANSWER_S)
            if not_heard:
                await self._settler.suspect(not_heard, "these topics were asked for only now")

    def _wanted_topics(self) -> tuple[str, ...]:
        # Read before: what is learnt meanwhile is then looked at once more.
        self._learnt = self._operations.learnt
        topics = self._operations.topics()
        if self._options.canary is not None:
            topics = (*topics, PATTERN)
        self._topics = frozenset(topics)
        return topics

    async def _stored_offset(self) -> str | None:
        sources = await self._operations.read([self._adapter.name])
        return sources.states[0].offset if sources.states else None

    async def _n_consumers(self) -> int:
        """How many consumers the source has, this one included; without the store, so many that none is blamed."""
        try:
            sources = await answer(self._operations.read([self._adapter.name]), ANSWER_S)
        except (StoreUnavailable, Unanswered):
            return 1_000
        reports = sources.states[0].reports if sources.states else ()
        return 1 + sum(self._is_beside(one, sources.now) for one in reports)

    def _is_beside(self, one: Reported, now: float) -> bool:
        is_other = one.report.consumer != self._consumer
        return is_other and one.report.is_connected and one.at >= now - _PRESENT_S

    async def _tell_often(self) -> None:
        while True:
            self._status.is_news.clear()
            await self._tell(ANSWER_S)
            try:
                async with asyncio.timeout(_REPORT_S):
                    await self._status.is_news.wait()
            except TimeoutError:
                pass

    async def _tell(self, most_s: float) -> None:
        report = self._status.report(self._ahead_s, self._predicates.counts())
        try:
            self._ahead_s = await answer(self._operations.tell(report), most_s) - _now()
        except (StoreUnavailable, Unanswered) as error:
            # The next one says all that this one would have said.
            self._status.log("report.failed", error=told(error))
        except StoreError as error:
            # However quiet the source is, this ends the run.
            self._ended_by = error
        except Exception as error:  # noqa: BLE001 - a report that cannot be told stops nobody
            self._status.log("report.failed", error=told(error))
            await self._learn()

    async def _learn(self) -> None:
        """Learn what others depend on, which `tell` would have done."""
        try:
            await answer(self._operations.learn(), ANSWER_S)
        except Exception as error:  # noqa: BLE001 - as above
            self._status.log("report.failed", error=told(error))


class _Silent(Exception):
    """The connection gave nothing for too long."""


def _n_wanted(batch: Batch, before: int) -> int:
    """How many messages like these are about as large as a batch should be."""
    n_bytes = sum(len(message.body) for message in batch.messages)
    if not n_bytes:
        return before
    return max(1, min(_MAX_MESSAGES, _BATCH_BYTES * len(batch.messages) // n_bytes))


def _now() -> float:
    return asyncio.get_running_loop().time()


def _at_most(grace: timedelta) -> float | None:
    return None if grace == timedelta.max else grace.total_seconds()
