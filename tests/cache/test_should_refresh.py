"""`should_refresh`: any Python that says whether an event touches an entry of its function."""
# ruff: noqa: ANN401 - arguments of any type are what is tested

from collections.abc import Callable
from typing import Any

import pytest

from everfresh import Cache, Event, Notice, State, dep, track
from everfresh.cache.predicates import WARN_AFTER_RUNS
from everfresh.refresh import Worker
from everfresh.testing.waiting import soon
from tests.cache.fixtures import OpenCache
from tests.cache.making import CachedFunction, Colour, Gate, done, entry_of, is_fresh

pytestmark = pytest.mark.redis

TOPICS = ("shop.order.*",)


class Orders:
    """Ten entries whose predicate compares what no index could, and what it was asked."""

    def __init__(self, colour: Colour, predicate: Callable[..., bool] | None = None) -> None:
        self.cache = colour.cache
        self.asked: list[tuple[str, int]] = []
        self.n_built = 0

        def should_refresh(event: Event, least: int) -> bool:
            self.asked.append((event.topic, least))
            if predicate is not None:
                return predicate(event, least)
            return event.body["total"] % (least + 1) == 0

        @colour.cached(should_refresh=should_refresh, topics=TOPICS)
        async def orders(least: int) -> int:
            self.n_built += 1
            return self.n_built

        self.cached: CachedFunction[[int], int] = orders

    async def build(self, n: int) -> None:
        """Build the first n."""
        for least in range(n):
            await done(self.cached(least))
        self.asked.clear()

    async def dirty(self, n: int) -> list[int]:
        """Which of the first n are not fresh."""
        return [least for least in range(n) if not await is_fresh(self.cached, least)]


async def test_exactly_those_that_say_yes_are_touched(colour: Colour) -> None:
    """Three of ten entries accept the message."""
    orders = Orders(colour)
    await orders.build(10)

    touched = await colour.cache.touched_by(Event("shop.order.paid", {"total": 9}))
    await colour.cache.publish(Event("shop.order.paid", {"total": 9}))

    assert touched == sorted(orders.cached.key(least) for least in (0, 2, 8))
    assert await orders.dirty(10) == [0, 2, 8]


async def test_it_is_asked_about_its_topics_alone(colour: Colour) -> None:
    """Other events cost it nothing."""
    orders = Orders(colour)
    await orders.build(3)
    await colour.cache.publish(Event("shop.order", {"total": 0}), Event("shop.item.sold", {"total": 0}))
    n_asked = len(orders.asked)
    await colour.cache.publish(Event("shop.order.paid", {"total": 1}))

    assert (n_asked, sorted(orders.asked)) == (0, [("shop.order.paid", least) for least in range(3)])


async def test_it_is_asked_for_each_event_until_it_says_yes(colour: Colour) -> None:
    """Of several at once, one is enough."""
    orders = Orders(colour, lambda event, least: event.body["total"] == least)
    await orders.build(2)
    await colour.cache.publish(*(Event("shop.order.paid", {"total": total}) for total in (1, 0, 5)))

    assert await orders.dirty(2) == [0, 1]
    assert len(orders.asked) == 3


async def test_one_that_raises_is_told_counts_as_yes_and_stops_nobody(colour: Colour) -> None:
    """A needless refresh costs little; a missed one leaves a stale value."""
    told: list[Notice] = []
    colour.cache.listen(told.append)
    orders = Orders(colour, lambda event, least: event.body["total"] // least > 1)

    @colour.cached(should_refresh=lambda event, number: number == 2, topics=TOPICS)
    async def other(number: int) -> int:
        return number

    await orders.build(3)
    await done(other.many([1, 2]))
    await colour.cache.publish(Event("shop.order.paid", {"total": 2}))
    failed = [notice.fields for notice in told if notice.name == "predicate.failed"]

    assert await orders.dirty(3) == [0, 1]
    assert [await is_fresh(other, number) for number in (1, 2)] == [True, False]
    assert [(fields["key"], fields["topic"]) for fields in failed] == [(orders.cached.key(0), "shop.order.paid")]
    assert "ZeroDivisionError" in failed[0]["error"]


async def test_it_does_not_see_the_publishers_context(colour: Colour, cache: Cache) -> None:
    """A publishing build is no business of it: what it tracks belongs to nobody."""
    orders = Orders(colour, lambda event, least: track(dep.Tag("predicate")) is None)
    await orders.build(1)

    @cache.cached
    async def publisher() -> int:
        await cache.publish(Event("shop.order.paid"))
        return 1

    await publisher()
    await cache.invalidate(dep.Tag("predicate"))

    assert await is_fresh(publisher)


async def test_an_event_during_the_first_build_is_not_lost(colour: Colour, gate: Gate) -> None:
    """The entry is asked about before it is there."""
    facts = {"total": 1}

    @colour.cached(should_refresh=lambda event: event.body["total"] > 1, topics=TOPICS)
    async def total() -> int:
        seen = facts["total"]
        await gate.stop()
        return seen

    builder = colour.start(total)
    await gate.reached()
    facts["total"] = 2
    await colour.cache.publish(Event("shop.order.paid", {"total": 2}))
    gate.open()
    await builder

    assert await done(total()) == 2


async def test_an_event_during_a_build_that_it_says_no_to_costs_nothing(colour: Colour, gate: Gate) -> None:
    """The build settles the entry."""

    @colour.cached(should_refresh=lambda event: False, topics=TOPICS)
    async def total() -> int:
        await gate.stop()
        return 1

    builder = colour.start(total)
    await gate.reached()
    await colour.cache.publish(Event("shop.order.paid"))
    gate.open()
    await builder

    assert await is_fresh(total)


async def test_a_worker_builds_those_that_said_yes(colour: Colour) -> None:
    """And no other."""
    orders = Orders(colour)
    await orders.build(10)
    async with Worker(colour.cache):
        await colour.cache.publish(Event("shop.order.paid", {"total": 9}))
        await soon(lambda: _none(orders), what="the refreshes")

    assert orders.n_built == 13


async def _none(orders: Orders) -> bool:
    return await orders.dirty(10) == []


async def test_a_process_without_the_function_touches_what_it_cannot_ask(
    open_cache: OpenCache, sqlite_url: str, colour: Colour
) -> None:
    """Whoever knows more about it builds it for nothing, at worst."""
    orders = Orders(Colour(open_cache(sqlite_url), is_async=colour.is_async))
    await orders.build(2)
    await open_cache(sqlite_url).publish(Event("shop.order.paid", {"total": 7}))

    assert (await orders.dirty(2), orders.asked) == ([0, 1], [])


async def test_another_process_with_the_function_asks_it(
    open_cache: OpenCache, sqlite_url: str, colour: Colour
) -> None:
    """With the arguments as they were written, whoever built the entry."""
    builder, publisher = (Orders(Colour(open_cache(sqlite_url), is_async=colour.is_async)) for _ in range(2))
    await builder.build(3)
    await publisher.cache.publish(Event("shop.order.paid", {"total": 4}))

    assert await builder.dirty(3) == [0, 1]
    assert sorted(publisher.asked) == [("shop.order.paid", least) for least in range(3)]


async def test_arguments_that_are_ignored_are_not_told(colour: Colour) -> None:
    """Nobody knows them any more."""
    told: list[dict[str, Any]] = []

    def should_refresh(event: Event, **arguments: Any) -> bool:
        told.append(arguments)
        return True

    @colour.cached(should_refresh=should_refresh, topics=TOPICS, ignore=("session",))
    async def orders(least: int, session: object = None) -> int:
        return least

    await done(orders(7, session="s-1"))
    await colour.cache.publish(Event("shop.order.paid"))

    assert told == [{"least": 7}]


async def test_declared_dependencies_hold_besides(colour: Colour) -> None:
    """Either of them touches."""

    @colour.cached(should_refresh=lambda event: False, topics=TOPICS, depends_on=[dep.Tag("all")])
    async def orders() -> int:
        return 1

    await done(orders())
    await colour.cache.invalidate(dep.Tag("all"))

    assert (await entry_of(orders)).state is State.DIRTY


async def test_a_function_of_many_ids_is_asked_for_each_id(colour: Colour) -> None:
    """Under the name of its first parameter."""

    @colour.cached_many(should_refresh=lambda event, ids: event.body["id"] == ids, topics=TOPICS)
    async def orders(ids: list[int]) -> dict[int, int]:
        return {id_: id_ for id_ in ids}

    await done(orders([1, 2, 3]))
    touched = await colour.cache.touched_by(Event("shop.order.paid", {"id": 2}))

    assert touched == [orders.one.key(2)]


async def test_one_that_never_says_yes_is_warned_of_once(cache: Cache) -> None:
    """After many runs it is likely to compare what is never equal."""
    told: list[Notice] = []
    cache.listen(told.append)

    @cache.cached(should_refresh=lambda event: event.body["total"] == "7", topics=TOPICS)
    def orders() -> int:
        return 1

    orders()
    events = [Event("shop.order.paid", {"total": 7})] * (WARN_AFTER_RUNS // 2)
    warned: list[list[Any]] = []
    for _ in range(4):
        cache.blocking.publish(*events)
        warned.append([notice.fields for notice in told if notice.name == "predicate.never"])

    assert warned[0] == []
    assert warned[1] == [{"function": orders.name, "n_runs": WARN_AFTER_RUNS}]
    assert warned[3] == warned[1]


async def test_how_many_were_asked_is_told_with_the_event(colour: Colour) -> None:
    """This way of matching costs what there are of entries, so that it must be seen."""
    told: list[Notice] = []
    orders = Orders(colour)
    await orders.build(10)
    colour.cache.listen(told.append)
    await colour.cache.publish(Event("shop.order.paid", {"total": 9}))
    (applied,) = [notice for notice in told if notice.name == "event.applied"]

    assert applied.fields["n_predicates"] == 10
