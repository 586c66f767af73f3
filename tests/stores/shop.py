"""Prices that a source says, cached by processes on one server, and what a strict reader of them must be told.

Each `Shop` has a store of its own, as a process has. The truth changes only by `change`, which publishes; so from its
return on no strict reader may be told less than what the source says.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import timedelta
from typing import Any

from everfresh import Cache, Event, Key, Position, State, StoreUnavailable, dep
from everfresh.feed.streaming import StreamFollower
from everfresh.refresh import Worker
from everfresh.testing.waiting import soon
from tests.cache.making import Colour, done

N_ITEMS = 4
LEASE = timedelta(seconds=1)
PATIENCE = timedelta(seconds=60)


class Source:
    """What things cost."""

    def __init__(self) -> None:
        self.prices = dict.fromkeys(range(N_ITEMS), 1)
        self.n_asked: Counter[int] = Counter()

    def price(self, item: int) -> int:
        """What it costs now."""
        self.n_asked[item] += 1
        return self.prices[item]


class Shop:
    """One process that asks the source by cached functions of one colour."""

    def __init__(self, cache: Cache, source: Source, *, is_async: bool) -> None:
        self.cache = cache
        self.source = source
        self.is_async = is_async
        colour = Colour(cache, is_async=is_async)
        item = dep.Id("item", dep.arg("item"))

        @colour.cached(key="strict:{item}", depends_on=[item])
        async def strict(item: int) -> int:
            return source.price(item)

        @colour.cached(key="patient:{item}", depends_on=[item], stale_while_revalidate=PATIENCE, priority=1)
        async def patient(item: int) -> int:
            return source.price(item)

        @colour.cached(key="unkind:{item}", depends_on=[item], on_store_failure="raise", priority=2)
        async def unkind(item: int) -> int:
            return source.price(item)

        @colour.cached(key="sum")
        async def total() -> int:
            return sum([await done(strict(item)) for item in range(N_ITEMS)])

        self.strict, self.patient, self.unkind, self.total = strict, patient, unkind, total

    async def read(self, function: Any, *args: int) -> Any:  # noqa: ANN401 - of either colour
        """What a reader is told."""
        if self.is_async:
            return await function(*args)
        return await asyncio.to_thread(function, *args)

    async def check(self, function: Any, item: int) -> None:  # noqa: ANN401 - as above
        """What a reader is told is what is true."""
        assert await self.read(function, item) == self.source.prices[item]

    async def read_all(self) -> None:
        """Read everything, strictly, and check it."""
        prices = dict(self.source.prices)
        for item, price in prices.items():
            for function in (self.strict, self.unkind):
                assert await self.read(function.read(after=await self.position()), item) == price
            await self.read(self.patient, item)
        assert await self.read(self.total.read(after=await self.position())) == sum(prices.values())

    async def change(self, item: int, *, acknowledged: bool = False) -> Position:
        """Another price, which is published."""
        self.source.prices[item] += 1
        return await self.publish(item, acknowledged=acknowledged)

    async def publish(self, item: int, *, acknowledged: bool = False) -> Position:
        """Say that the price is another one."""
        event = Event.change("item", before={"id": item}, after={"id": item})
        if self.is_async:
            return await self.cache.publish(event, acknowledged=acknowledged)
        return await asyncio.to_thread(self.cache.blocking.publish, event, acknowledged=acknowledged)

    async def position(self) -> Position:
        """Where the store is."""
        return await self.cache.position() if self.is_async else await asyncio.to_thread(self.cache.blocking.position)

    @property
    def is_current(self) -> bool:
        """Whether it would serve anything that it holds near."""
        follower = self.cache.engine.follower
        assert isinstance(follower, StreamFollower)
        return follower.is_current

    async def works_again(self) -> bool:
        """Whether it holds near what it reads, as it did."""
        await self.read_all()
        return self.holds("strict:0", "patient:0", "unkind:0", "sum")

    def holds(self, *keys: str) -> bool:
        """Whether it would serve all of these without asking anybody."""
        near = self.cache.engine.near
        return all(near.get(Key(key)) is not None for key in keys) and self.is_current

    async def states(self) -> dict[str, tuple[State, float | None]]:
        """The state of each entry, and when it is due."""
        return {entry.key: (entry.state, entry.due) for entry in await self.cache.entries()}

    async def recovers(self) -> None:
        """Work until nothing is left to do; all the while no strict reader is told anything old, nor at the end."""
        async with Worker(self.cache):
            await soon(self._is_settled, what="everything is fresh", deadline_s=30)
        for key in {f"{kind}:{item}" for kind in ("strict", "patient", "unkind") for item in range(N_ITEMS)}:
            entry = await self.cache.stored(key)
            found = None if entry is None else self.strict.load(entry)
            assert found in (None, self.source.prices[int(key[-1])]), key
        await self.read_all()

    async def _is_settled(self) -> bool:
        with suppress(StoreUnavailable):
            await self.read_all()
            return all(found == (State.FRESH, None) for found in (await self.states()).values())
        return False


@asynccontextmanager
async def shops(url: str, *, is_async: bool) -> AsyncIterator[tuple[Shop, Shop]]:
    """A process with a near cache, and one without, which have read everything."""
    source = Source()
    async with AsyncExitStack() as stack:
        near, far = [
            Shop(await stack.enter_async_context(Cache(url, near=n, lease=LEASE)), source, is_async=is_async)
            for n in (100, 0)
        ]
        await far.read_all()
        await soon(near.works_again, what="it holds everything near")
        yield near, far


async def seconds_of(task: Callable[[], Any]) -> float:
    """How long it takes."""
    loop = asyncio.get_running_loop()
    begun_at = loop.time()
    await task()
    return loop.time() - begun_at
