"""In which order the worker takes what is due: what people look at first, and nobody is starved."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from everfresh import Cache, Key, dep
from everfresh.refresh import Worker
from everfresh.testing.clock import FakeClock
from everfresh.testing.waiting import soon
from tests.cache.making import Colour, done

TAG = dep.Tag("t")


class Order:
    """Functions that write down in which order they are built."""

    def __init__(self, colour: Colour) -> None:
        self.colour = colour
        self.built: list[str] = []

    async def entry(self, name: str, **options: Any) -> Any:  # noqa: ANN401 - of either colour
        """A function under that name, with its entry."""

        async def build() -> int:
            self.built.append(name)
            return 1

        build.__qualname__ = name
        function = self.colour.cached(depends_on=[dep.Tag(name), TAG], key=name, **options)(build)
        await done(function())
        self.built.clear()
        return function

    async def of(self, n: int) -> list[str]:
        """The order in which one lane of a worker builds all that is due."""
        async with Worker(self.colour.cache, concurrency=1):
            await soon(lambda: len(self.built) == n, what=f"{n} refreshes")
        return self.built


async def test_the_higher_priority_goes_first(colour: Colour) -> None:
    """Conformance 22: of what fell due together."""
    order = Order(colour)
    for name, priority in [("low", -1), ("middle", 0), ("high", 1)]:
        await order.entry(name, priority=priority)
    await colour.cache.invalidate(TAG)

    assert await order.of(3) == ["high", "middle", "low"]


async def test_the_low_priority_is_not_starved(colour: Colour, clock: FakeClock) -> None:
    """Conformance 22: a level is worth a minute of waiting, so who waited for longer goes first."""
    order = Order(colour)
    await order.entry("low", priority=0)
    await order.entry("high", priority=3)

    await colour.cache.invalidate(dep.Tag("low"))
    clock.advance(181)
    await colour.cache.invalidate(dep.Tag("high"))

    assert await order.of(2) == ["low", "high"]


async def test_an_entry_that_is_touched_again_and_again_keeps_its_place(colour: Colour, clock: FakeClock) -> None:
    """It is due since its first event; else it would always stand at the end of a queue that is behind."""
    order = Order(colour)
    await order.entry("busy")
    await order.entry("quiet")

    await colour.cache.invalidate(dep.Tag("busy"))
    clock.advance(10)
    await colour.cache.invalidate(dep.Tag("quiet"))
    clock.advance(10)
    await colour.cache.invalidate(dep.Tag("busy"))

    assert await order.of(2) == ["busy", "quiet"]


async def test_watched_entries_go_first_and_recently_read_ones_next(colour: Colour, clock: FakeClock) -> None:
    """Conformance, design 5: whoever looks at a page waits least."""
    cache, order = colour.cache, Order(colour)
    entries = [await order.entry(name) for name in ("forgotten", "read", "watched")]
    async with _watching(cache, "watched"):
        clock.advance(7200)
        await done(entries[1]())
        cache.engine.attention.flush()
        await cache.invalidate(TAG)

        assert await order.of(3) == ["watched", "read", "forgotten"]


async def test_what_begins_to_be_watched_while_it_waits_moves_up(colour: Colour) -> None:
    """Somebody opens the page whose entry is due already."""
    cache, order = colour.cache, Order(colour)
    await order.entry("first")
    await order.entry("second")
    await cache.invalidate(TAG)

    async with _watching(cache, "second"):
        cache.engine.attention.flush()

        assert await order.of(2) == ["second", "first"]


@asynccontextmanager
async def _watching(cache: Cache, key: str) -> AsyncIterator[None]:
    """Mark the entry as a page does that shows it."""
    with cache.engine.attention.watching(Key(key)):
        yield
