"""Who cancels a consumer ends it, whatever drivers make of a cancellation; and nobody else's ends it."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from datetime import timedelta

import pytest

from everfresh import StoreError, dep
from everfresh.model.message import Message
from everfresh.sources.canary import Canary
from everfresh.sources.consuming import Consumer
from everfresh.sources.source import Batch, Start, Stream
from everfresh.testing.broker import FakeBroker
from everfresh.testing.timeless import elapse, run_timeless
from tests.sources.consumed import World, message

pytestmark = pytest.mark.usefixtures("quiet")

OPERATIONS = ["open", "fetch", "acknowledge", "widen", "send", "close"]


class Stubborn(FakeBroker):
    """Its operation `at` waits, and takes so many cancellations for nothing; then it answers as if it had been none."""

    def __init__(self, at: str, *, n_swallowed: int = 1) -> None:
        super().__init__()
        self.at = at
        self.n_swallowed = n_swallowed
        self.is_waiting = asyncio.Event()
        self.is_free = asyncio.Event()

    def open(self, start: Start) -> AbstractAsyncContextManager[Stream]:
        """A connection."""
        return self._turning(super().open(start))

    @asynccontextmanager
    async def _turning(self, opened: AbstractAsyncContextManager[Stream]) -> AsyncGenerator[Stream]:
        async with opened as stream:
            yield Turning(self, stream)

    async def turn(self, what: str) -> None:
        """Let others run, and wait where that is asked for."""
        await super().turn(what)
        if what == self.at:
            await self.swallow()

    async def swallow(self) -> None:
        """Wait until it is free, or cancelled more often than it heeds."""
        self.is_waiting.set()
        for _ in range(self.n_swallowed):
            with suppress(asyncio.CancelledError):
                await self.is_free.wait()


class Turning:
    """A connection whose operations all have their turn."""

    def __init__(self, broker: Stubborn, stream: Stream) -> None:
        self._broker = broker
        self._stream = stream

    async def fetch(self, n_max: int, wait_s: float) -> Batch:
        """See `Stream`; this has its turn anyhow."""
        return await self._stream.fetch(n_max, wait_s)

    async def acknowledge(self, batch: Batch) -> None:
        """As above."""
        await self._stream.acknowledge(batch)

    async def widen(self, topics: Sequence[str]) -> Sequence[str]:
        """See `Stream`."""
        await self._broker.turn("widen")
        return await self._stream.widen(topics)

    async def send(self, message: Message) -> None:
        """See `Stream`."""
        await self._broker.turn("send")
        await self._stream.send(message)


async def cancelled_at(world: World, broker: Stubborn) -> asyncio.Task[None]:
    """A consumer that is cancelled when it waits there."""
    await world.built(1)
    broker.publish(message("thing.moved", id=1))
    consumer = Consumer(broker, canary=Canary(), grace=timedelta(0))
    task = asyncio.create_task(world.cache.consume(consumer))
    if broker.at == "close":
        await elapse(1)
        task.cancel()
    elif broker.at == "widen":
        await elapse(1)

        @world.cache.cached(depends_on=[dep.Topic("other.*")])
        async def other() -> None: ...

        await other()
    await broker.is_waiting.wait()
    task.cancel()
    return task


def play(test: Callable[[World], Awaitable[None]]) -> None:
    """Play it in a world of its own, where waiting takes no time."""

    async def main() -> None:
        world = World()
        async with world.cache:
            await test(world)

    run_timeless(main())


@pytest.mark.parametrize("what", OPERATIONS)
def test_a_driver_that_swallows_a_cancellation_keeps_nobody_alive(what: str) -> None:
    """As `asyncio.wait_for` up to 3.11 does, when what it waits for ends in the same turn: it returns an answer."""

    async def test(world: World) -> None:
        task = await cancelled_at(world, Stubborn(what))
        await elapse(0.01)
        assert task.done(), what
        assert task.cancelled()

    play(test)


@pytest.mark.parametrize("what", OPERATIONS)
def test_a_driver_that_heeds_no_cancellation_at_all_is_left_behind(what: str) -> None:
    """The consumer ends all the same, after some seconds; nobody can end the driver."""

    async def test(world: World) -> None:
        broker = Stubborn(what, n_swallowed=1_000)
        task = await cancelled_at(world, broker)
        try:
            await elapse(10)
            assert task.done(), what
            assert task.cancelled()
        finally:
            broker.is_free.set()

    play(test)


def test_a_close_that_hangs_holds_up_nobody_who_ends() -> None:
    """A process that is to end has less than the time in which a source may answer."""

    async def test(world: World) -> None:
        broker = Stubborn("close")
        async with world.consuming(broker) as task:
            await elapse(1)
            task.cancel()
            await elapse(5)
            assert not task.done()
            await elapse(6)
            assert task.cancelled()

    play(test)


@pytest.mark.parametrize("operation", ["read", "learn", "apply", "quarantine", "suspect", "tell"])
def test_a_driver_of_the_store_that_swallows_a_cancellation_keeps_nobody_alive(operation: str) -> None:
    """Wherever the consumer is just then."""

    async def test(world: World) -> None:
        broker = Stubborn("")
        world.fail(operation, broker.swallow)
        broker.publish(Message(topic="thing.moved", body=b"{"), message("thing.moved", id=1))
        broker.trim(1)
        broker.publish(Message(topic="thing.moved", body=b"{"))
        task = asyncio.create_task(world.cache.consume(Consumer(broker, grace=timedelta(0))))
        await broker.is_waiting.wait()
        task.cancel()
        await elapse(0.01)
        assert task.cancelled()

    play(test)


def test_a_batch_that_came_as_it_was_cancelled_comes_again() -> None:
    """Nobody applied it, so it is not acknowledged."""

    async def test(world: World) -> None:
        broker = Stubborn("fetch")
        task = await cancelled_at(world, broker)
        await elapse(0.01)
        assert (task.done(), broker.n_acknowledged) == (True, 0)
        broker.at = ""

        async with world.consuming(broker):
            await elapse(1)
        assert (broker.n_acknowledged, await world.built(1)) == (1, 2)

    play(test)


def test_a_time_limit_around_it_ends_it() -> None:
    """Its cancellation is the caller's, and comes out as its time-out."""

    async def test(world: World) -> None:
        broker = Stubborn("fetch")
        broker.publish(message("thing.moved", id=1))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await world.cache.consume(broker)

        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0

    play(test)


def test_who_went_on_after_a_cancellation_may_consume() -> None:
    """That of before is over: a driver that cancels itself ends nothing, and the next cancellation ends it."""

    async def test(world: World) -> None:
        broker = FakeBroker()
        broker.gives_up = "fetch"
        broker.publish(message("thing.moved", id=1))

        async def go_on() -> None:
            with suppress(asyncio.CancelledError):
                await asyncio.get_running_loop().create_future()
            await world.cache.consume(broker)

        task = asyncio.create_task(go_on())
        await elapse(1)
        task.cancel()
        await elapse(60)
        assert (task.done(), broker.n_acknowledged) == (False, 1)
        task.cancel()
        await elapse(0.01)
        assert task.cancelled()

    play(test)


def test_reports_go_on_when_the_stores_driver_cancels_itself_twice() -> None:
    """While a report is told, and while what others depend on is learnt in its place."""

    async def test(world: World) -> None:
        async def give_up() -> None:
            given_up = asyncio.get_running_loop().create_future()
            given_up.cancel()
            await given_up

        broker = FakeBroker()
        async with world.consuming(broker):
            await elapse(1)
            world.fail("tell", RuntimeError("an answer that nobody knows"))
            world.fail("learn", give_up)
            await elapse(10)
            broker.publish(message("thing.moved", id=1))
            await elapse(10)
            assert (await world.report()).n_events == 1

    play(test)


def test_events_are_not_blamed_for_a_driver_of_the_store_that_cancels_itself() -> None:
    """They are applied once more, over the same connection."""

    async def test(world: World) -> None:
        async def give_up() -> None:
            given_up = asyncio.get_running_loop().create_future()
            given_up.cancel()
            await given_up

        broker = FakeBroker()
        world.fail("apply", TypeError("one of them"), give_up, give_up, give_up)
        broker.publish(message("thing.moved", id=1), message("thing.moved", id=2))
        async with world.consuming(broker):
            await elapse(60)

        assert (await world.cache.sources.quarantined(), broker.n_acknowledged, broker.n_opened) == ((), 2, 1)

    play(test)


def test_a_cache_that_is_closed_ends_it_whatever_is_swallowed() -> None:
    """What ends it is told, not how."""

    async def test(world: World) -> None:
        broker = Stubborn("fetch")
        task = asyncio.create_task(world.cache.consume(broker))
        await broker.is_waiting.wait()
        await world.cache.aclose()
        broker.is_free.set()
        with pytest.raises(StoreError):
            await task

    play(test)


def test_a_canary_that_nobody_takes_is_waited_for_no_longer_than_silence() -> None:
    """A broker that stands still takes none, and answers nothing else: the connection is made anew."""

    async def test(world: World) -> None:
        broker = Stubborn("send", n_swallowed=0)
        canary = Canary(every=timedelta(seconds=1))
        async with world.consuming(Consumer(broker, canary=canary, dice=lambda: 1.0)):
            await elapse(10)
            broker.n_swallowed = 1
            before = broker.n_opened
            broker.is_waiting.clear()
            await broker.is_waiting.wait()
            broker.is_down = True
            await elapse(3.1)
            report = await world.report()
            assert not report.is_connected
            assert report.problem.startswith("nothing has come for 3 s; a canary could not be sent: Unanswered")

            broker.n_swallowed, broker.is_down = 0, False
            await elapse(10)
            assert (before, broker.n_opened, (await world.report()).problem) == (1, 2, "")

    play(test)


def test_messages_do_not_wait_for_a_canary_that_nobody_takes() -> None:
    """A broker that is short of memory takes none, and gives what it has all the same: it is to be emptied."""

    async def test(world: World) -> None:
        broker = Stubborn("send", n_swallowed=1_000)
        async with world.consuming(Consumer(broker, canary=Canary(every=timedelta(seconds=1)))):
            for _ in range(30):
                broker.publish(message("thing.moved", id=1))
                await elapse(1)
            # Or nothing would end this test when it fails.
            broker.is_free.set()
            assert (broker.n_opened, broker.n_acknowledged) == (1, 30)

    play(test)


def test_a_canary_that_is_refused_costs_no_connection() -> None:
    """What still comes is worth more; that nothing does is noticed."""

    async def test(world: World) -> None:
        broker = FakeBroker()
        broker.takes_canaries = False
        async with world.consuming(Consumer(broker, canary=Canary(every=timedelta(seconds=10)))):
            for _ in range(10):
                broker.publish(message("thing.moved", id=1))
                await elapse(10)

        assert (broker.n_opened, broker.n_acknowledged) == (1, 10)

    play(test)


class Breaking(FakeBroker):
    """Its connection has a reader of its own, as adapters with a task group have; `break_now` ends that."""

    def __init__(self) -> None:
        super().__init__()
        self.break_now = asyncio.Event()

    def open(self, start: Start) -> AbstractAsyncContextManager[Stream]:
        """A connection."""
        return self._read(super().open(start))

    @asynccontextmanager
    async def _read(self, opened: AbstractAsyncContextManager[Stream]) -> AsyncGenerator[Stream]:
        async with opened as stream, asyncio.TaskGroup() as readers:
            readers.create_task(self._broken())
            yield stream

    async def _broken(self) -> None:
        await self.break_now.wait()
        self.break_now.clear()
        raise ConnectionError("the broker has gone")


def test_a_connection_that_ends_by_itself_is_made_anew() -> None:
    """Whatever its stream goes on to say; events would stop coming, and nobody would know."""

    async def test(world: World) -> None:
        await world.built(1)
        broker = Breaking()
        task = asyncio.create_task(world.cache.consume(broker))
        await elapse(5)
        broker.break_now.set()
        await elapse(60)
        assert broker.n_opened == 2
        broker.publish(message("thing.moved", id=1))
        await elapse(5)
        assert broker.n_acknowledged == 1
        task.cancel()
        await asyncio.wait({task})

    play(test)
