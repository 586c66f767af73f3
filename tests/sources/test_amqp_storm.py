"""A consumer that is killed again and again, and the broker once: each event is applied at least once, none is lost.

EVERFRESH_STORM_EVENTS says how many events; 20,000 is what is promised.
"""

import asyncio
import os
import random
import subprocess
import sys
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic

import aio_pika
import pytest
from aio_pika.exceptions import AMQPError, ChannelInvalidStateError

from everfresh import Event, State
from everfresh.refresh import Worker
from everfresh.sources.amqp import Amqp
from everfresh.sources.fedora import fedora_message
from everfresh.sources.source import SourceUnavailable, Stream
from everfresh.testing.waiting import soon, until
from tests.rabbitmq_servers import STARTS_WITHIN_S, RabbitServer, new_queue, rabbitmq_server
from tests.sources.rabbit import consumed, fetched, n_in, start, tell, topics_of
from tests.sources.stormy_amqp import N_ITEMS, TOPIC, Shop, source

ROOT = Path(__file__).parents[2]
N_EVENTS = int(os.environ.get("EVERFRESH_STORM_EVENTS", "2000"))
SEED = int(os.environ.get("EVERFRESH_STORM_SEED", "1"))
N_ROUNDS = 4 if N_EVENTS < 20_000 else 20
EVERY_S = 1.0
N_AT_ONCE = 100
SENT_AT = datetime(2026, 11, 22, tzinfo=UTC)
EXCHANGE = "amq.topic"
# Not as a module that is run: the names of its functions would be others than here.
PLAY = "import sys; from tests.sources.stormy_amqp import main; main(*sys.argv[1:])"
DRAIN_S = 60.0 + N_EVENTS / 100

pytestmark = pytest.mark.timeout(180 + N_EVENTS / 40)


class Scene:
    """A broker, a store with all entries, and a consumer as a process of its own."""

    def __init__(self, server: RabbitServer, store: str, folder: Path) -> None:
        self.server = server
        self.queue = new_queue()
        self.shop = Shop(store, folder, N_EVENTS)
        self._store, self._folder = store, folder
        self.child: subprocess.Popen[bytes] | None = None
        self.n_kills = self.n_told = 0

    async def begin(self) -> str:
        """Have the queue known to the store, and all entries built, so that events alone touch them from now on."""
        async with consumed(self.shop.cache, source(self.server.url, self.queue)):
            await self.shop.build_all()
        return await self.offset()

    async def offset(self) -> str:
        """The stored one: it changes with each gap."""
        (state,) = (await self.shop.cache.sources.read(["storm"])).states
        assert state.offset is not None
        return state.offset

    def consume(self, *, is_stopping: bool = False) -> None:
        """Start the consumer."""
        words = (self.server.url, self.queue, self._store, str(self._folder), str(N_EVENTS), "x" * is_stopping)
        # Its lines are not counted: it is always killed, and would never write them.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
        self.child = subprocess.Popen([sys.executable, "-c", PLAY, *words], cwd=ROOT, env=environment)

    async def let_live(self, lives_s: float) -> None:
        """Let it be at work for so long; it does not end by itself."""
        assert self.child is not None
        with pytest.raises(subprocess.TimeoutExpired):
            await asyncio.to_thread(self.child.wait, lives_s)

    def kill(self) -> None:
        """Kill it, as a crash does."""
        if self.child is not None:
            assert self.child.poll() is None, "the consumer ended by itself"
            self.child.kill()
            self.child.wait()
            self.child = None
            self.n_kills += 1

    async def tell(self, numbers: range) -> None:
        """Publish events until the broker has confirmed each; some may be published twice."""
        self.shop.ledger.tell(numbers)
        while True:
            await soon(self.server.is_ready, what="a broker that answers", deadline_s=STARTS_WITHIN_S)
            with suppress(AMQPError, ChannelInvalidStateError, OSError, TimeoutError, asyncio.CancelledError):
                async with asyncio.timeout(20), await aio_pika.connect(self.server.url, timeout=5) as connection:
                    channel = await connection.channel(on_return_raises=True)
                    there = await channel.get_exchange(EXCHANGE)
                    for start in range(numbers.start, numbers.stop, N_AT_ONCE):
                        part = range(start, min(start + N_AT_ONCE, numbers.stop))
                        await asyncio.gather(*(there.publish(*message(number)) for number in part))
                        self.n_told = max(self.n_told, part.stop)
                return

    async def n_waiting(self) -> int:
        """How many messages are in the queue; none is under way while there is no consumer."""
        assert self.child is None
        return await n_in(self.server.url, self.queue)


def message(number: int) -> tuple[aio_pika.Message, str]:
    """An event, and where to."""
    event = Event(TOPIC, {"number": number, "item": number % N_ITEMS})
    wire = fedora_message(event, id=str(number), sent_at=SENT_AT)
    return aio_pika.Message(
        wire.body, headers=dict(wire.headers), message_id=wire.message_id, delivery_mode=2
    ), wire.routing_key


@pytest.fixture(scope="module")
def server() -> Iterator[RabbitServer]:
    """A broker that may be killed; each test has a queue of its own."""
    with rabbitmq_server() as one:
        yield one


@asynccontextmanager
async def scene_on(server: RabbitServer, store: str, folder: Path) -> AsyncGenerator[Scene]:
    """A scene that leaves no process behind."""
    scene = Scene(server, store, folder)
    try:
        yield scene
    finally:
        if scene.child is not None:
            scene.child.kill()
            scene.child.wait()
        await scene.shop.cache.aclose()


async def test_killed_at_random_each_event_is_applied_and_the_end_is_right(
    server: RabbitServer, redis_url: str, tmp_path: Path
) -> None:
    """The consumer each second, the broker once, which comes back on its data; nothing is lost, so there is no gap."""
    chance = random.Random(SEED)  # noqa: S311 - it chooses moments
    async with scene_on(server, redis_url, tmp_path) as scene:
        offset = await scene.begin()
        begun_at = monotonic()
        await storm(scene, chance)
        passed_s = monotonic() - begun_at

        assert await n_in(server.url, f"{scene.queue}.dead") == 0
        assert await scene.offset() == offset
        await check_values(scene.shop)
        print(f"{N_EVENTS:,} events, {scene.n_kills} kills of the consumer, 1 of the broker, {passed_s:.0f} s")  # noqa: T201


async def storm(scene: Scene, chance: random.Random) -> None:
    """Publish in parts, kill after each, and go on killing until all is consumed."""
    size = -(-N_EVENTS // N_ROUNDS)
    for number in range(N_ROUNDS):
        part = range(number * size, min((number + 1) * size, N_EVENTS))
        scene.consume()
        if number == N_ROUNDS // 2:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(scene.tell(part))
                enough = part.start + size // 4
                await soon(lambda least=enough: scene.n_told > least, what="some of the events confirmed")
                scene.server.kill()
                await asyncio.to_thread(scene.server.start)
        else:
            await scene.tell(part)
        await scene.let_live(chance.uniform(0.5, 1.5) * EVERY_S)
        scene.kill()
    ends_at = monotonic() + DRAIN_S
    while await scene.n_waiting():
        assert monotonic() < ends_at, f"{await scene.n_waiting()} messages are still there"
        scene.consume()
        await scene.let_live(chance.uniform(0.5, 1.5) * EVERY_S)
        scene.kill()


async def check_values(shop: Shop) -> None:
    """Refresh what is due; then every entry is what is true, without having been asked for."""
    with Worker(shop.cache).in_thread():
        until(lambda: is_drained(shop), what="nothing is due", deadline_s=DRAIN_S)
    stored = {entry.key: entry.state for entry in shop.cache.blocking.entries()}
    assert len(stored) == N_EVENTS + N_ITEMS
    assert set(stored.values()) == {State.FRESH}
    stale = [number for number in range(N_EVENTS) if await shop.seen.peek(number) is not True]
    assert not stale, f"{len(stale)} events were never applied: {stale[:20]}"
    expected = {item: shop.ledger.latest(item) for item in range(N_ITEMS)}
    assert {item: await shop.latest.peek(item) for item in range(N_ITEMS)} == expected


def is_drained(shop: Shop) -> bool:
    """Whether there is nothing left to refresh."""
    return all(entry.state is State.FRESH for entry in shop.cache.blocking.entries())


async def test_what_was_received_and_not_applied_is_not_acknowledged(
    server: RabbitServer, redis_url: str, tmp_path: Path
) -> None:
    """A consumer is killed between the two: all its messages are in the queue again, and the next one applies them."""
    numbers = range(50)
    async with scene_on(server, redis_url, tmp_path) as scene:
        await scene.begin()
        scene.consume(is_stopping=True)
        await scene.tell(numbers)
        await soon((tmp_path / "stopped").exists, what="a message that is received and not applied")
        scene.kill()
        await soon(lambda: all_are_back(scene, len(numbers)), what="all messages in the queue again")
        assert [number for number in numbers if await state_of(scene, number) is not State.FRESH] == []

        scene.consume()
        await soon(lambda: all_are_dirty(scene, numbers), what="all events applied")


async def all_are_back(scene: Scene, n: int) -> bool:
    """Whether so many messages wait."""
    return await scene.n_waiting() == n


async def all_are_dirty(scene: Scene, numbers: range) -> bool:
    """Whether the events have touched their entries."""
    return all([await state_of(scene, number) is State.DIRTY for number in numbers])


async def state_of(scene: Scene, number: int) -> State:
    """The state of an event's entry."""
    entry = await scene.shop.cache.stored(scene.shop.seen.key(number))
    assert entry is not None
    return entry.state


async def test_a_broker_that_was_killed_and_came_back_is_no_gap(server: RabbitServer) -> None:
    """It has the queue, its messages and its sign of life on its disk; what was confirmed is there."""
    queue = new_queue()
    adapter = Amqp(server.url, queue=queue, format="fedora")
    async with adapter.open(start("n.*")) as stream:
        offset = (await stream.fetch(1, 0)).offset
        # Half a second later: a quorum queue that is younger is never led again by a broker of this version.
        await soon(lambda: server.n_registered(queue) == 3, what="all queues in the broker's register")
        await tell(server.url, "amq.topic", "n.1", "n.2")
        server.kill()
        with pytest.raises(SourceUnavailable):
            await soon(lambda: has_more(stream), what="the end of the connection")
    await asyncio.to_thread(server.start)

    async with adapter.open(start("n.*", offset=offset)) as stream:
        assert topics_of(await fetched(stream, 2)) == ["n.1", "n.2"]


async def has_more(stream: Stream) -> bool:
    """Never; it ends when the connection does."""
    await stream.fetch(500, 0.1)
    return False
