"""A cache whose every answer the test decides, and a caller of ASGI applications without a server."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Generator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any

import msgspec

from everfresh.model.entry import Entry, FeedRecord, Key, Kind
from everfresh.model.position import Position
from everfresh.protocol.requests import FeedBatch
from tests.push.making import EPOCH, at, entry
from tests.push.serving import DEADLINE_S
from tests.push.sse import Reader, Received

Application = Callable[[Any, Any, Any], Coroutine[None, None, None]]


class FakeCache:
    """What push needs of a cache."""

    def __init__(self) -> None:
        self.epoch = EPOCH
        self.sequence = 0
        self.entries: dict[str, Entry] = {}
        self.batches: asyncio.Queue[FeedBatch | Exception | None] = asyncio.Queue()
        self.broken: dict[str, Exception] = {}
        self.n_loads = 0
        self.may_load = asyncio.Event()
        self.may_load.set()
        self._was_loaded: dict[str, asyncio.Event] = {}
        self.watched: list[Key] = []

    async def position(self) -> Position:
        self._raise("position")
        return at(self.sequence, self.epoch)

    async def stored(self, key: str) -> Entry | None:
        self._raise("stored")
        self.n_loads += 1
        await self.may_load.wait()
        await asyncio.sleep(0)
        self._was_loaded.setdefault(key, asyncio.Event()).set()
        return self.entries.get(key)

    async def loaded(self, key: str) -> None:
        """Wait until the entry is loaded the next time, and what was waiting for it has gone on."""
        was_loaded = self._was_loaded[key] = asyncio.Event()
        async with asyncio.timeout(DEADLINE_S):
            await was_loaded.wait()
        await self.turn()

    async def turn(self) -> None:
        """Let everybody go on who can."""
        for _ in range(20):
            await asyncio.sleep(0)

    @contextmanager
    def watching(self, *keys: Key) -> Generator[None]:
        self.watched.extend(keys)
        yield
        for key in keys:
            self.watched.remove(key)

    @asynccontextmanager
    async def feed(self, after: Position | None = None) -> AsyncGenerator[AsyncIterator[FeedBatch]]:
        self._raise("feed")
        yield self._follow()

    def commit(self, *names: str, value: object = "v", is_error: bool = False) -> None:
        """Change entries, in one batch of the feed."""
        records: list[FeedRecord] = []
        for name in names:
            self.sequence += 1
            version = self.entries[name].version + 1 if name in self.entries else 1
            now = entry(name, version=version, changed_at=self.sequence, value=value, epoch=self.epoch)
            self.entries[name] = msgspec.structs.replace(now, is_error=is_error)
            records.append(FeedRecord(self.sequence, Key(name), Kind.CHANGED, version, "d"))
        self.batches.put_nowait(FeedBatch(tuple(records), at(self.sequence, self.epoch)))

    def begin_anew(self, *names: str, value: object) -> None:
        """Lose everything; a new life begins with these entries."""
        self.epoch, self.sequence, self.entries = "e2", 0, {}
        for name in names:
            self.sequence += 1
            self.entries[name] = entry(name, changed_at=self.sequence, value=value, epoch=self.epoch)
        self.batches.put_nowait(FeedBatch((), at(self.sequence, self.epoch), is_reset=True))

    async def _follow(self) -> AsyncIterator[FeedBatch]:
        while (batch := await self.batches.get()) is not None:
            if isinstance(batch, Exception):
                raise batch
            yield batch

    def _raise(self, what: str) -> None:
        if what in self.broken:
            raise self.broken[what]


class Call:
    """One call of an ASGI application: the test is the server."""

    def __init__(self, n_topics: int) -> None:
        self.n_topics = n_topics
        self.sent: list[Mapping[str, Any]] = []
        self.may_send = asyncio.Event()
        self.may_send.set()
        self.is_gone = False
        self.inbox: asyncio.Queue[Mapping[str, Any]] = asyncio.Queue()
        self.task: asyncio.Task[None]
        self._arrived = asyncio.Event()
        self._reader = Reader()
        self._received: list[Received] = []

    async def receive(self) -> Mapping[str, Any]:
        return await self.inbox.get()

    async def send(self, message: Mapping[str, Any]) -> None:
        await self.may_send.wait()
        if self.is_gone:
            raise OSError("the client is gone")
        self.sent.append(message)
        if message["type"] == "http.response.body":
            self.arrive(message["body"])
        self._arrived.set()

    def arrive(self, body: bytes) -> None:
        """Take bytes of the answer."""
        self._received += self._reader.feed(body)
        self._arrived.set()

    @property
    def status(self) -> int:
        status: int = self.sent[0]["status"]
        return status

    async def next(self) -> Received:
        """The next event of the stream."""
        async with asyncio.timeout(DEADLINE_S):
            while not self._received:
                self._arrived.clear()
                await self._arrived.wait()
        return self._received.pop(0)

    def arrived(self) -> list[Received]:
        """The events that have come, without waiting."""
        arrived, self._received = self._received, []
        return arrived

    async def until(self, event: str) -> list[Received]:
        """The events up to and with the first of that name."""
        received = [await self.next()]
        while received[-1].event != event:
            received.append(await self.next())
        return received

    async def begun(self) -> list[Received]:
        """The events up to the first word of each topic."""
        received: list[Received] = []
        while len({event.data["topic"] for event in received if "topic" in event.data}) < self.n_topics:
            received.append(await self.next())
        return received

    async def ended(self) -> list[Received]:
        """What is left of the stream, once the application has returned."""
        async with asyncio.timeout(DEADLINE_S):
            await asyncio.wait([self.task])
        received, self._received = self._received, []
        return received


class DirectCall(Call):
    """A call whose server shows the response, as uvicorn does (see push/direct.py)."""

    def __init__(self, n_topics: int) -> None:
        super().__init__(n_topics)
        self.flow = self.transport = self
        self.scope = {"method": "GET"}
        self.chunked_encoding = True
        self.response_complete = self.disconnected = False

    @property
    def response_started(self) -> bool:
        return bool(self.sent)

    @property
    def write_paused(self) -> bool:
        return not self.may_send.is_set()

    def write(self, data: bytes) -> None:
        """Take a chunk."""
        assert not self.write_paused, "the client does not keep up"
        size, _, rest = data.partition(b"\r\n")
        body, end = rest[: int(size, 16)], rest[int(size, 16) :]
        assert end == b"\r\n"
        self.arrive(body)


@asynccontextmanager
async def calling(
    app: Application, query: str = "", *, by: type[Call] = Call, is_reading: bool = True, **scope: object
) -> AsyncGenerator[Call]:
    """Call the application with a scope; at the end of the block the client leaves."""
    call = by(query.count("topic="))
    if not is_reading:
        call.may_send.clear()
    whole = {"type": "http", "method": "GET", "headers": [], "query_string": query.encode(), **scope}
    async with AsyncExitStack() as stack:
        call.task = asyncio.create_task(app(whole, call.receive, call.send))
        stack.push_async_callback(asyncio.wait, [call.task])
        stack.callback(call.inbox.put_nowait, {"type": "http.disconnect"})
        yield call
    if not call.task.cancelled() and (error := call.task.exception()) is not None:
        raise error
