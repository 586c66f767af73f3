"""A consumer of any bus as a process that is killed, and what the storms of the buses have in common."""

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

from everfresh import State
from everfresh.model.message import Message
from everfresh.refresh import Worker
from everfresh.sources.consuming import Source
from everfresh.sources.source import Adapter, Batch, Format, Start, Stream
from everfresh.sources.urls import source_of
from everfresh.testing.waiting import soon, until
from tests.sources.stormy_amqp import N_ITEMS, TOPIC, Shop, Stopping

ROOT = Path(__file__).parents[2]
# 20,000 is what is promised.
N_EVENTS = int(os.environ.get("EVERFRESH_STORM_EVENTS", "600"))
SEED = int(os.environ.get("EVERFRESH_STORM_SEED", "1"))
N_ROUNDS = 4 if N_EVENTS < 20_000 else 20
DRAIN_S = 60.0 + N_EVENTS / 100
# Not as a module that is run: the names of its functions would be others than here.
PLAY = "import sys; from tests.sources.stormy_buses import main; main(*sys.argv[1:])"

in_storm = pytest.mark.timeout(120 + N_EVENTS / 40)


class Bus(Protocol):
    """A broker with what the storm needs of it."""

    @property
    def source_url(self) -> str:
        """The source."""
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


def main(url: str, store: str, folder: str, n_events: str, is_stopping: str) -> None:
    """Consume until killed."""
    shop = Shop(store, Path(folder), int(n_events))
    made = cast("Format", Stopping(Path(folder))) if is_stopping else "plain"
    adapter = source_of(url, format=made, name="storm")
    asyncio.run(shop.cache.consume(Watched(adapter, Path(folder))))
    sys.exit("it ended by itself")


def message(number: int) -> Message:
    """An event of the storm."""
    return Message(topic=TOPIC, body=msgspec.json.encode({"number": number, "item": number % N_ITEMS}), id=str(number))


class Scene:
    """A bus, a store with all entries, and a consumer as a process of its own."""

    def __init__(self, bus: Bus, store: str, folder: Path) -> None:
        self.bus = bus
        self.shop = Shop(store, folder, N_EVENTS)
        self._store, self._folder = store, folder
        self.child: subprocess.Popen[bytes] | None = None
        self.n_kills = 0
        self._up = folder / "up"

    async def begin(self) -> None:
        """Have the source known to the store, and all entries built, so that events alone touch them from now on."""
        source = source_of(self.bus.source_url, format="plain", name="storm")
        consuming = asyncio.create_task(self.shop.cache.consume(Watched(source, self._folder)))
        await soon(self.offset, what="a stored offset")
        consuming.cancel()
        with suppress(asyncio.CancelledError):
            await consuming
        # That nobody had followed it until now.
        (self._folder / "gap").unlink(missing_ok=True)
        await self.shop.build_all()

    async def offset(self) -> str | None:
        """The stored one."""
        states = (await self.shop.cache.sources.read(["storm"])).states
        return states[0].offset if states else None

    def consume(self, *, is_stopping: bool = False) -> None:
        """Start the consumer."""
        words = (self.bus.source_url, self._store, str(self._folder), str(N_EVENTS), "x" * is_stopping)
        self._up.unlink(missing_ok=True)
        self.child = subprocess.Popen([sys.executable, "-c", PLAY, *words], cwd=ROOT)

    async def kill_soon(self, chance: random.Random) -> None:
        """Kill it while it is at work."""
        await self.work_for(chance.uniform(0.1, 1.0))
        self.kill()

    async def work_for(self, time_s: float) -> None:
        """Let it consume for so long."""
        await soon(self._up.exists, what="a consumer that has begun")
        assert self.child is not None
        with suppress(subprocess.TimeoutExpired):
            await asyncio.to_thread(self.child.wait, time_s)

    def kill(self) -> None:
        """Kill it, as a crash does."""
        if self.child is not None:
            assert self.child.poll() is None, "the consumer ended by itself"
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
        file = self._folder / "gap"
        return file.read_text() if file.exists() else ""


@asynccontextmanager
async def scene_on(bus: Bus, store: str, folder: Path) -> AsyncIterator[Scene]:
    """A scene that leaves no process behind."""
    scene = Scene(bus, store, folder)
    try:
        yield scene
    finally:
        if scene.child is not None:
            scene.child.kill()
            scene.child.wait()
        await scene.shop.cache.aclose()


async def play_storm(scene: Scene) -> None:
    """Kill the consumer at random moments and the broker once; at the end nothing is stale, and no loss was told."""
    chance = random.Random(SEED)  # noqa: S311 - it chooses moments
    await scene.begin()
    begun_at = monotonic()
    size = -(-N_EVENTS // N_ROUNDS)
    for number in range(N_ROUNDS):
        part = scene.told(range(number * size, min((number + 1) * size, N_EVENTS)))
        if number == N_ROUNDS // 2:
            await scene.bus.break_while(scene, part)
        else:
            scene.consume()
            await scene.bus.tell(part)
        await scene.kill_soon(chance)
    await drain(scene, chance)
    passed_s = monotonic() - begun_at

    assert scene.gap() == ""
    await check_values(scene.shop)
    print(f"{N_EVENTS:,} events, {scene.n_kills} kills of the consumer, 1 of the broker, {passed_s:.0f} s")  # noqa: T201


async def drain(scene: Scene, chance: random.Random) -> None:
    """Go on killing until all is consumed."""
    ends_at = monotonic() + DRAIN_S
    while n_open := await scene.bus.n_open():
        assert monotonic() < ends_at, f"{n_open} messages are still there"
        scene.consume()
        await scene.kill_soon(chance)


async def check_values(shop: Shop) -> None:
    """Refresh what is due; then every entry is what is true, without having been asked for."""
    with Worker(shop.cache).in_thread():
        until(lambda: is_drained(shop), what="nothing is due", deadline_s=DRAIN_S)
    stale = [number for number in range(N_EVENTS) if await shop.seen.peek(number) is not True]
    assert not stale, f"{len(stale)} events were never applied: {stale[:20]}"
    expected = {item: shop.ledger.latest(item) for item in range(N_ITEMS)}
    assert {item: await shop.latest.peek(item) for item in range(N_ITEMS)} == expected


def is_drained(shop: Shop) -> bool:
    """Whether there is nothing left to refresh."""
    return all(entry.state is State.FRESH for entry in shop.cache.blocking.entries())


async def play_killed_between(scene: Scene, folder: Path, n: int = 50) -> None:
    """A consumer is killed between receiving and applying: nothing is acknowledged, and the next one applies all."""
    numbers = range(n)
    await scene.begin()
    scene.consume(is_stopping=True)
    await scene.bus.tell(scene.told(numbers))
    await soon((folder / "stopped").exists, what="a message that is received and not applied")
    scene.kill()
    n_open = await scene.bus.n_open()
    assert n_open == n
    assert [number for number in numbers if await state_of(scene, number) is not State.FRESH] == []

    scene.consume()
    await soon(lambda: all_are_dirty(scene, numbers), what="all events applied")


async def all_are_dirty(scene: Scene, numbers: range) -> bool:
    """Whether the events have touched their entries."""
    return all([await state_of(scene, number) is State.DIRTY for number in numbers])


async def state_of(scene: Scene, number: int) -> State:
    """The state of an event's entry."""
    entry = await scene.shop.cache.stored(scene.shop.seen.key(number))
    assert entry is not None
    return entry.state
