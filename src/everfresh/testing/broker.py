"""FakeBroker: a source in memory, with the troubles of brokers, for tests of what consumes it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from everfresh.matching.covering import may_meet
from everfresh.model.message import Message
from everfresh.sources.consuming import Source
from everfresh.sources.formats import format_of
from everfresh.sources.source import Batch, Format, SourceUnavailable, Start, Stream

Watcher = Callable[[Batch], None]


class FakeBroker(Source):
    """A queue, or with `has_positions` a log that is read from an offset on.

    A queue gives what was not acknowledged again to the next connection. With `binds` it takes only topics that a
    connection has asked for. `on_acknowledge` is called with each batch when it is acknowledged, so that a test can
    look whether it may be.
    """

    is_down: bool = False
    """Whether connections are refused."""
    refusal: Exception = SourceUnavailable("it is down")
    """With what they are."""
    takes_canaries: bool = True
    """Whether consumers may send through it."""
    gap_topics: tuple[str, ...] = ()
    """What it says that its gaps concern."""
    hangs: str = ""
    """What never comes to an end: `open`, `fetch`, `acknowledge` or `close`."""
    gives_up: str = ""
    """What ends once as if it were cancelled, as drivers cancel their own futures."""

    def __init__(
        self,
        *,
        name: str = "fake",
        format: Format | str = "plain",  # noqa: A002 - the word for it
        has_positions: bool = True,
        binds: bool = False,
        on_acknowledge: Watcher | None = None,
    ) -> None:
        self.name = name
        self.delivers: tuple[str, ...] = ("#",)
        self.format = format_of(format)
        self.has_positions = has_positions
        self.n_opened = 0
        self.n_acknowledged = 0
        self.sent: list[Message] = []
        """What consumers sent through it."""
        self.bound: set[str] | None = set() if binds else None
        self._on_acknowledge = on_acknowledge
        self._log: dict[int, Message] = {}
        self._n_published = 0
        self._lost = ""
        self._streams: list[_FakeStream] = []
        self.news = asyncio.Event()

    def publish(self, *messages: Message) -> None:
        """Take messages."""
        for message in messages:
            if self.bound is not None and not any(may_meet(pattern, message.topic) for pattern in self.bound):
                continue
            self._n_published += 1
            self._log[self._n_published] = message
        self.news.set()

    def trim(self, n_kept: int = 0) -> None:
        """Forget all but the newest, whether or not anybody has fetched them; a queue keeps what somebody holds."""
        held: set[int] = (
            set() if self.has_positions else {number for stream in self._streams for number in stream.given}
        )
        gone = [number for number in self._log if number <= self._n_published - n_kept and number not in held]
        for number in gone:
            self._lost = f"trimmed up to {number}"
            del self._log[number]

    def disconnect(self) -> None:
        """Break all connections."""
        for stream in self._streams:
            stream.is_broken = True
        self.news.set()

    def fall_silent(self) -> None:
        """Connections stand and give nothing any more; new ones are sound."""
        for stream in self._streams:
            stream.is_silent = True

    @property
    def n_held(self) -> int:
        """How many messages consumers have fetched, and not acknowledged."""
        return sum(len(stream.given - stream.acknowledged) for stream in self._streams)

    @property
    def n_waiting(self) -> int:
        """How many messages nobody has acknowledged."""
        return len(self._log)

    def open(self, start: Start) -> AbstractAsyncContextManager[Stream]:
        """A connection; see `Adapter`."""
        return self._opened(start)

    @asynccontextmanager
    async def _opened(self, start: Start) -> AsyncGenerator[Stream]:
        await self.turn("open")
        if self.is_down:
            raise self.refusal
        self.n_opened += 1
        stream = _FakeStream(self, int(start.offset or 0))
        await stream.widen(start.topics)
        self._streams.append(stream)
        try:
            yield stream
        finally:
            self._streams.remove(stream)
            await self.turn("close")

    async def turn(self, what: str) -> None:
        """Let others run, or hang."""
        await asyncio.sleep(0)
        if what == self.hangs:
            await asyncio.get_running_loop().create_future()
        if what == self.gives_up:
            self.gives_up = ""
            given_up = asyncio.get_running_loop().create_future()
            given_up.cancel()
            await given_up

    def after(self, number: int, n_max: int, given: set[int]) -> tuple[list[int], str]:
        """What is to be given next, and what was lost before it."""
        numbers = [one for one in sorted(self._log) if one not in given and (not self.has_positions or one > number)]
        lost = self._lost
        if self.has_positions:
            first = next(iter(sorted(self._log)), self._n_published + 1)
            lost = f"trimmed up to {first - 1}" if number + 1 < first else ""
        return numbers[:n_max], lost

    def message(self, number: int) -> Message:
        """The message of a number."""
        return self._log[number]

    def acknowledge(self, batch: Batch) -> None:
        """It has been applied."""
        if self._on_acknowledge is not None:
            self._on_acknowledge(batch)
        self.n_acknowledged += len(batch.messages)
        if batch.gap:
            # Until then every connection is told of it.
            self._lost = ""
        if not self.has_positions:
            for number in batch.tags:
                self._log.pop(number, None)

    @property
    def n_published(self) -> int:
        """How many messages it has taken."""
        return self._n_published


class _FakeStream:
    """A connection to it."""

    def __init__(self, broker: FakeBroker, after: int) -> None:
        self._broker = broker
        self._after = after
        self.given: set[int] = set()
        self.acknowledged: set[int] = set()
        self._told = ""
        self.is_broken = False
        self.is_silent = False

    async def fetch(self, n_max: int, wait_s: float) -> Batch:
        await self._broker.turn("fetch")
        self._check()
        if self.is_silent:
            await asyncio.sleep(wait_s)
            return Batch()
        numbers, lost = self._next(n_max)
        if not numbers and not lost:
            self._broker.news.clear()
            try:
                async with asyncio.timeout(wait_s):
                    await self._broker.news.wait()
            except TimeoutError:
                return Batch(lag=0)
            self._check()
            numbers, lost = self._next(n_max)
        return self._given(numbers, lost)

    def _next(self, n_max: int) -> tuple[list[int], str]:
        numbers, lost = self._broker.after(self._after, n_max, self.given)
        is_told, self._told = lost == self._told, lost
        return numbers, "" if is_told else lost

    def _given(self, numbers: list[int], lost: str) -> Batch:
        messages = [self._broker.message(number) for number in numbers]
        self._after = max([self._after, *numbers])
        if lost and not numbers:
            self._after = self._broker.n_published
        self.given.update(numbers)
        offset = str(self._after) if self._broker.has_positions else None
        return Batch(
            messages=messages, offset=offset, gap=lost, gap_topics=self._broker.gap_topics, lag=0, tags=numbers
        )

    async def acknowledge(self, batch: Batch) -> None:
        await self._broker.turn("acknowledge")
        self._check()
        self._broker.acknowledge(batch)
        self.acknowledged.update(batch.tags)

    async def widen(self, topics: Sequence[str]) -> Sequence[str]:
        self._check()
        bound = self._broker.bound
        if bound is None:
            return ()
        new = [topic for topic in topics if topic not in bound]
        bound.update(new)
        return new

    async def send(self, message: Message) -> None:
        self._check()
        if not self._broker.takes_canaries:
            raise SourceUnavailable("nobody may send here")
        self._broker.sent.append(message)
        if not self.is_silent:
            self._broker.publish(message)

    def _check(self) -> None:
        if self.is_broken:
            raise SourceUnavailable("the connection broke")
