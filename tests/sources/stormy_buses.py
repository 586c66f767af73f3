"""The storm that each bus has to stand: a consumer that is killed again and again, and the broker once.

Each event is applied at least once, none is lost, and no loss is told. EVERFRESH_STORM_EVENTS says how many events;
20,000 is what is promised.
"""

import asyncio
import os
import random
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from time import monotonic
from typing import Protocol, cast

import msgspec
import pytest
from scripts.server_processes import ServerProcess

from everfresh import State
from everfresh.model.message import Message
from everfresh.refresh import Worker
from everfresh.sources.consuming import Source
from everfresh.sources.source import Adapter, Batch, Format, Start, Stream
from everfresh.sources.urls import source_of
from everfresh.testing.waiting import soon, until
from tests.sources.stormy_shop import N_ITEMS, TOPIC, Shop, Stopping

ROOT = Path(__file__).parents[2]
SEED = int(os.environ.get("EVERFRESH_STORM_SEED", "1"))
# Not as a module that is run: the names of its functions would be others than here.
PLAY = "import sys; from tests.sources.stormy_buses import main; main(*sys.argv[1:])"


def n_of_storm(usual: int = 600) -> int:
    """How many events: as many as is said, else what is usual for this bus."""
    return int(os.environ.get("EVERFRESH_STORM_EVENTS", str(usual)))


def in_storm(n_events: int = n_of_storm(), *, starts_s: int = 0) -> list[pytest.MarkDecorator]:
    """The time that a storm may take; a broker that is slow to start has more."""
    return [pytest.mark.uncounted, pytest.mark.timeout(120 + starts_s + n_events / 40)]


class Bus(Protocol):
    """A broker with what the storm needs of it."""

    @property
    def source_url(self) -> str:
        """The source."""
        ...

    @property
    def format(self) -> str:
        """What reads its messages."""
        ...

    async def tell(self, messages: Sequence[Message]) -> None:
        """Publish them; what was not confirmed is published again."""
        ...

    async def n_open(self) -> int:
        """How many messages are not acknowledged, while nobody consumes."""
        ...

    async def break_while(self, scene: "Scene", messages: Sequence[Message]) -> None:
        """Publish, and kill the broker meanwhile, and start it on its data."""
        ...


class Watched(Source):
    """The source itself; it leaves a file when it tells of a loss."""

    def __init__(self, adapter: Adapter, folder: Path) -> None:
        self._adapter = adapter
        self._folder = folder
        self.name, self.delivers = adapter.name, adapter.delivers

    @property
    def format(self) -> Format:
        return self._adapter.format

    @asynccontextmanager
    async def open(self, start: Start) -> AsyncGenerator[Stream]:
        async with self._adapter.open(start) as stream:
            (self._folder / "up").touch()
            fetch = stream.fetch

            async def watched(n_max: int, wait_s: float) -> Batch:
                batch = await fetch(n_max, wait_s)
                if batch.gap:
                    (self._folder / "gap").write_text(batch.gap)
                return batch

            vars(stream)["fetch"] = watched
            yield stream


def main(url: str, reads: str, store: str, folder: str, n_events: str) -> None:
    """Consume until killed; without a name of a format, stop with the first message."""
    shop = Shop(store, Path(folder), int(n_events))
    adapter = source_of(url, format=reads or cast("Format", Stopping(Path(folder))), name="storm")
    asyncio.run(shop.cache.consume(Watched(adapter, Path(folder))))
    sys.exit("it ended by itself")


def message(number: int) -> Message:
    """An event of the storm."""
    return Message(topic=TOPIC, body=msgspec.json.encode({"number": number, "item": number % N_ITEMS}), id=str(number))


class Scene:
    """A bus, a store with all entries, and a consumer as a process of its own."""

    def __init__(self, bus: Bus, store: str, folder: Path, n_events: int) -> None:
        self.bus = bus
        self.folder = folder
        self.n_events = n_events
        self.shop = Shop(store, folder, n_events)
        self.child: subprocess.Popen[bytes] | None = None
        self.n_kills = 0
        self.first_offset = ""
        self._store = store

    @property
    def n_rounds(self) -> int:
        """In how many parts the events are told."""
        return 4 if self.n_events < 20_000 else 20

    @property
    def drain_s(self) -> float:
        """How long what is left over may take."""
        return 60.0 + self.n_events / 100

    async def begin(self) -> None:
        """Have the source known to the store, and all entries built, so that events alone touch them from now on."""
        source = source_of(self.bus.source_url, format=self.bus.format, name="storm")
        consuming = asyncio.create_task(self.shop.cache.consume(Watched(source, self.folder)))
        self.first_offset = await soon(self.offset, what="a stored offset") or ""
        consuming.cancel()
        with suppress(asyncio.CancelledError):
            await consuming
        # That nobody had followed it until now.
        (self.folder / "gap").unlink(missing_ok=True)
        await self.shop.build_all()

    async def offset(self) -> str | None:
        """The stored one."""
        states = (await self.shop.cache.sources.read(["storm"])).states
        return states[0].offset if states else None

    def consume(self, *, is_stopping: bool = False) -> None:
        """Start the consumer."""
        reads = "" if is_stopping else self.bus.format
        words = (self.bus.source_url, reads, self._store, str(self.folder), str(self.n_events))
        # It is always killed, and would never write what was counted. And where coverage looks for a package below ours
        # (--cov=everfresh.sources) it imports asyncio twice, and no driver knows a cancellation any more.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
        (self.folder / "up").unlink(missing_ok=True)
        self.child = subprocess.Popen([sys.executable, "-c", PLAY, *words], cwd=ROOT, env=environment)

    async def kill_soon(self, chance: random.Random) -> None:
        """Kill it while it is at work."""
        await self.work_for(chance.uniform(0.1, 1.0))
        self.kill()

    async def work_for(self, time_s: float) -> None:
        """Let it consume for so long."""
        await self.leaves("up", what="a consumer that has begun")
        assert self.child is not None
        with suppress(subprocess.TimeoutExpired):
            await asyncio.to_thread(self.child.wait, time_s)

    async def leaves(self, name: str, *, what: str) -> None:
        """Wait for a file that the consumer leaves."""
        await soon(lambda: self.lives() and (self.folder / name).exists(), what=what)

    def lives(self) -> bool:
        """It does; it does not end by itself."""
        assert self.child is not None
        assert self.child.poll() is None, "the consumer ended by itself"
        return True

    def kill(self) -> None:
        """Kill it, as a crash does."""
        if self.child is not None and self.lives():
            self.child.kill()
            self.child.wait()
            self.child = None
            self.n_kills += 1

    def told(self, numbers: range) -> Sequence[Message]:
        """The events, which are true from now on."""
        self.shop.ledger.tell(numbers)
        return [message(number) for number in numbers]

    def gap(self) -> str:
        """What was told of a loss."""
        file = self.folder / "gap"
        return file.read_text() if file.exists() else ""


class Storm:
    """What is asked of a bus. Who inherits it has a fixture `bus`."""

    n_events = n_of_storm()

    @pytest.fixture
    async def scene(self, bus: Bus, redis_url: str, tmp_path: Path) -> AsyncIterator[Scene]:
        """A scene that leaves no process behind."""
        made = Scene(bus, redis_url, tmp_path, self.n_events)
        try:
            yield made
        finally:
            if made.child is not None:
                made.child.kill()
                made.child.wait()
            await made.shop.cache.aclose()

    async def test_killed_at_random_each_event_is_applied_and_the_end_is_right(self, scene: Scene) -> None:
        """The consumer at random moments, the broker once; at the end nothing is stale, and no loss was told."""
        chance = random.Random(SEED)  # noqa: S311 - it chooses moments
        await scene.begin()
        begun_at = monotonic()
        await play(scene, chance)
        await drain(scene, chance)
        passed_s = monotonic() - begun_at

        assert scene.gap() == ""
        await check_values(scene)
        print(f"{scene.n_events:,} events, {scene.n_kills} kills of the consumer, 1 of the broker, {passed_s:.0f} s")  # noqa: T201

    async def test_what_was_received_and_not_applied_is_not_acknowledged(self, scene: Scene) -> None:
        """A consumer is killed between the two: all its messages are still there, and the next one applies them."""
        numbers = range(50)
        await scene.begin()
        scene.consume(is_stopping=True)
        await scene.bus.tell(scene.told(numbers))
        await scene.leaves("stopped", what="a message that is received and not applied")
        scene.kill()
        assert await scene.bus.n_open() == len(numbers)
        assert [number for number in numbers if await state_of(scene, number) is not State.FRESH] == []

        scene.consume()
        await soon(lambda: all_are_dirty(scene, numbers), what="all events applied")


async def play(scene: Scene, chance: random.Random) -> None:
    """Tell the events in parts, and kill the consumer after each; the broker in the midst of one."""
    size = -(-scene.n_events // scene.n_rounds)
    for number in range(scene.n_rounds):
        part = scene.told(range(number * size, min((number + 1) * size, scene.n_events)))
        if number == scene.n_rounds // 2:
            await scene.bus.break_while(scene, part)
        else:
            scene.consume()
            await scene.bus.tell(part)
        await scene.kill_soon(chance)


async def break_amid(scene: Scene, server: ServerProcess, messages: Sequence[Message]) -> None:
    """Kill the broker while messages are told and a consumer is at work, and start it on its data."""
    scene.consume()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(scene.bus.tell(messages))
        await scene.work_for(0.1)
        server.kill()
        await asyncio.to_thread(server.start)


async def drain(scene: Scene, chance: random.Random) -> None:
    """Go on killing until all is consumed."""
    ends_at = monotonic() + scene.drain_s
    while n_open := await scene.bus.n_open():
        assert monotonic() < ends_at, f"{n_open} messages are still there"
        scene.consume()
        await scene.kill_soon(chance)


async def check_values(scene: Scene) -> None:
    """Refresh what is due; then every entry is what is true, without having been asked for."""
    shop = scene.shop
    with Worker(shop.cache).in_thread():
        until(lambda: is_drained(shop), what="nothing is due", deadline_s=scene.drain_s)
    stored = {entry.key: entry.state for entry in shop.cache.blocking.entries()}
    assert len(stored) == scene.n_events + N_ITEMS
    assert set(stored.values()) == {State.FRESH}
    stale = [number for number in range(scene.n_events) if await shop.seen.peek(number) is not True]
    assert not stale, f"{len(stale)} events were never applied: {stale[:20]}"
    expected = {item: shop.ledger.latest(item) for item in range(N_ITEMS)}
    assert {item: await shop.latest.peek(item) for item in range(N_ITEMS)} == expected


def is_drained(shop: Shop) -> bool:
    """Whether there is nothing left to refresh."""
    return all(entry.state is State.FRESH for entry in shop.cache.blocking.entries())


async def all_are_dirty(scene: Scene, numbers: range) -> bool:
    """Whether the events have touched their entries."""
    return all([await state_of(scene, number) is State.DIRTY for number in numbers])


async def state_of(scene: Scene, number: int) -> State:
    """The state of an event's entry."""
    entry = await scene.shop.cache.stored(scene.shop.seen.key(number))
    assert entry is not None
    return entry.state
