"""`track`, and the dependencies that are declared: what a value is said, and seen, to depend on."""
# ruff: noqa: ANN401 - values of any type are what is tested

import asyncio
import threading
from typing import Any

import pytest

from everfresh import Cache, Event, InvalidDependency, NotInCache, dep, track
from everfresh.testing.clock import FakeClock
from tests.cache.making import Colour, done, is_fresh
from tests.cache.upstreams import Upstream

pytestmark = pytest.mark.redis


async def test_what_is_tracked_in_a_build_touches_the_value(colour: Colour) -> None:
    """Only the data tells on what it depends."""
    titles = {1: "Tea", 2: "Rice"}

    @colour.cached()
    async def title(number: int) -> str:
        track(dep.Id("article", number))
        return titles[number]

    values = [await done(title(n)) for n in titles]
    titles.update({1: "Mint", 2: "Bread"})
    await colour.cache.publish(Event.change("article", before={"id": 1}, after={"id": 1}))
    values += [await done(title(n)) for n in titles]

    assert values == ["Tea", "Rice", "Mint", "Rice"]


async def test_what_a_helper_tracks_counts_for_the_build(colour: Colour, upstream: Upstream) -> None:
    """It stands where the data is read, however deep."""

    def read() -> int:
        track(upstream.tag)
        return upstream.read()

    @colour.cached()
    async def value() -> int:
        return read()

    await done(value())
    await upstream.change(2)

    assert await done(value()) == 2


async def test_dependencies_are_those_of_the_last_build(colour: Colour) -> None:
    """What a value no longer depends on does not touch it."""
    executed: list[str] = []
    tags = ["a", "b"]

    @colour.cached(depends_on=[dep.Tag("both")])
    async def value() -> str:
        track(dep.Tag(tags[len(executed)]))
        executed.append(tags[len(executed)])
        return executed[-1]

    await done(value())
    await colour.cache.invalidate(dep.Tag("both"))
    await done(value())
    await colour.cache.invalidate(dep.Tag("a"))
    await done(value())

    assert executed == ["a", "b"]


def test_outside_a_build_track_does_nothing() -> None:
    """Code that reads data is shared with code that is not cached."""
    track(dep.Tag("t"), dep.Id("article", 1))


def test_outside_a_build_track_still_refuses_what_is_no_dependency() -> None:
    """A mistake is found by the first test that comes along, cached or not."""
    with pytest.raises(InvalidDependency, match="'article'"):
        track("article")  # type: ignore[arg-type]  # the mistake is the test


async def test_a_mistake_in_track_fails_the_build(colour: Colour) -> None:
    """A dependency without a canonical text would never be found again."""

    @colour.cached()
    async def value() -> int:
        track(dep.Id("article", object()))
        return 1

    with pytest.raises(InvalidDependency):
        await done(value())


async def test_what_is_tracked_after_the_build_ended_is_ignored(cache: Cache) -> None:
    """A task that outlived its build can no longer say what the value depends on, and breaks nothing."""
    may_go_on = asyncio.Event()
    tasks: list[asyncio.Task[None]] = []

    async def late() -> None:
        await may_go_on.wait()
        track(dep.Tag("late"))

    @cache.cached
    async def value() -> int:
        tasks.append(asyncio.create_task(late()))
        return 1

    await value()
    may_go_on.set()
    await asyncio.gather(*tasks)
    await cache.invalidate(dep.Tag("late"))

    assert await is_fresh(value)


async def test_a_shape_is_known_before_the_function_reads_on(colour: Colour) -> None:
    """So an event that comes after `track` is judged by what it says; one that means something else outruns nothing."""
    built: list[int] = []

    @colour.cached()
    async def value(number: int) -> int:
        track(dep.Topic("news", where={f"field_{number}": 1}))
        built.append(number)
        if built.count(number) == 1:
            colour.cache.blocking.publish(Event("news", {f"field_{number}": number}))
        return number

    for number in (1, 2):
        await done(value(number))

    assert [await is_fresh(value, number) for number in (1, 2)] == [False, True]


async def test_a_cached_value_read_after_the_build_ended_is_no_dependency(cache: Cache, upstream: Upstream) -> None:
    """As with `track`."""
    may_go_on = asyncio.Event()
    tasks: list[asyncio.Task[int]] = []

    @cache.cached(depends_on=[upstream.tag])
    async def inner() -> int:
        await may_go_on.wait()
        return upstream.read()

    @cache.cached
    async def outer() -> int:
        tasks.append(asyncio.create_task(inner()))
        return 1

    await outer()
    may_go_on.set()
    await asyncio.gather(*tasks)
    await upstream.change(2)

    assert await is_fresh(outer)


async def test_a_thread_that_a_build_starts_belongs_to_it_if_it_is_given_the_context(cache: Cache) -> None:
    """`asyncio.to_thread` hands the context on, so what is tracked there counts."""

    def read() -> int:
        track(dep.Tag("t"))
        return threading.get_ident()

    @cache.cached
    async def value() -> int:
        return await asyncio.to_thread(read)

    await value()
    await cache.invalidate(dep.Tag("t"))

    assert not await is_fresh(value)


async def test_a_declared_dependency_takes_the_value_of_an_argument(colour: Colour) -> None:
    """`dep.arg` stands for it, wherever a value may stand."""
    executed: list[str] = []

    @colour.cached(
        depends_on=[
            dep.Topic("mail.*", where={"to.name": dep.arg("name")}),
            dep.Id("person", dep.arg("name")),
            dep.Tag(dep.arg("name")),
        ]
    )
    async def mailbox(name: str) -> str:
        executed.append(name)
        return name

    for name in ("ann", "bob"):
        await done(mailbox(name))
    for touch in (
        colour.cache.publish(Event("mail.sent", {"to": [{"name": "ann"}, {"name": "eve"}]})),
        colour.cache.invalidate(dep.Id("person", "ann")),
        colour.cache.invalidate(dep.Tag("ann")),
    ):
        await touch
        for name in ("ann", "bob"):
            await done(mailbox(name))

    assert executed == ["ann", "bob", "ann", "ann", "ann"]


async def test_a_dependency_on_another_entry_can_be_said(colour: Colour, upstream: Upstream) -> None:
    """`dep.Call` for what was read past the cached function."""

    @colour.cached(depends_on=[upstream.tag])
    async def inner() -> int:
        return upstream.read()

    @colour.cached()
    async def outer() -> int:
        track(dep.Call(inner.key()))
        return upstream.value * 10

    await done(inner())
    await done(outer())
    await upstream.change(2)

    assert await done(outer()) == 20


async def test_a_dependency_on_an_entry_that_is_not_there_touches_when_it_comes(colour: Colour) -> None:
    """That there was nothing is what was seen."""

    @colour.cached()
    async def outer() -> int:
        track(dep.Call("later"))
        return 1

    await done(outer())
    was_fresh = await is_fresh(outer)
    await colour.cache.put("later", 2)

    assert (was_fresh, await is_fresh(outer)) == (True, False)


async def test_a_value_put_by_hand_and_read_in_a_build_is_a_dependency(colour: Colour) -> None:
    """`get` is seen like a call."""
    cache = colour.cache
    await cache.put("rate", 2)

    @colour.cached()
    async def price() -> int:
        return 10 * (await cache.get("rate") if colour.is_async else cache.blocking.get("rate"))

    prices = [await done(price())]
    await cache.put("rate", 3)
    prices.append(await done(price()))

    assert prices == [20, 30]


async def test_a_value_put_again_with_an_equal_value_touches_nothing(colour: Colour) -> None:
    """Who was built from it has nothing new to see."""
    cache, executed = colour.cache, []
    await cache.put("rate", 2)

    @colour.cached()
    async def price() -> int:
        executed.append("price")
        return 10 * (await cache.get("rate") if colour.is_async else cache.blocking.get("rate"))

    await done(price())
    await cache.put("rate", 2)
    await done(price())

    assert executed == ["price"]


async def test_a_value_is_not_kept_beyond_the_end_of_what_it_was_built_from(colour: Colour, clock: FakeClock) -> None:
    """`expires` of a value put by hand is the end of what was computed from it, too."""
    cache = colour.cache
    await cache.put("rate", 2, expires=60)

    @colour.cached()
    async def price() -> int | None:
        try:
            return 10 * (await cache.get("rate") if colour.is_async else cache.blocking.get("rate"))
        except NotInCache:
            return None

    prices = [await done(price())]
    clock.advance(59)
    prices.append(await done(price()))
    clock.advance(1)
    prices.append(await done(price()))

    assert prices == [20, 20, None]


async def test_what_was_missing_in_a_build_is_a_dependency(colour: Colour) -> None:
    """A build that found nothing is out of date when something is put there."""
    cache = colour.cache

    @colour.cached()
    async def price() -> int | None:
        try:
            return 10 * (await cache.get("rate") if colour.is_async else cache.blocking.get("rate"))
        except NotInCache:
            return None

    prices = [await done(price())]
    await cache.put("rate", 2)
    prices.append(await done(price()))

    assert prices == [None, 20]


@pytest.mark.parametrize(
    "depends_on",
    [["article"], [None], dep.Tag("t"), [dep.Tag(dep.arg("nobody"))], [dep.Topic("a", {"b": object()})], 5],
    ids=["text", "None", "not a list", "no such parameter", "no canonical text", "number"],
)
def test_a_declared_dependency_that_cannot_be_is_refused(cache: Cache, depends_on: Any) -> None:
    """At the declaration, not at the first event that is missed."""

    def value(n: int) -> int:
        return n

    with pytest.raises(InvalidDependency):
        cache.cached(depends_on=depends_on)(value)


def test_an_ignored_argument_cannot_be_depended_on(cache: Cache) -> None:
    """The entry stands for all values of it."""

    def value(n: int, client: str = "none") -> int:
        return n

    with pytest.raises(InvalidDependency, match="tells calls apart"):
        cache.cached(depends_on=[dep.Tag(dep.arg("client"))], ignore=("client",))(value)
