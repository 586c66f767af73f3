"""Which entries an event would rebuild, and why."""

from datetime import timedelta

import pytest

from everfresh import Cache, Event, State, dep, track
from everfresh.cache.foretelling import Foreteller, Foretold
from everfresh.protocol.foreseeing import Fate

pytestmark = pytest.mark.redis

PAID = Event("order.paid", {"buyer": "ann", "total": 20})


def foretold(cache: Cache, event: Event) -> dict[str, Foretold]:
    """What the event would do to each entry, in the order in which it is told."""
    return {one.key: one for one in Foreteller(cache).foretell(event)}


def test_an_entry_says_which_of_its_dependencies_are_met(cache: Cache) -> None:
    """And no other entry is named."""
    by_buyer = dep.Topic("order.*", where={"buyer": "ann"})
    cache.blocking.put("ann", 1, by_buyer, dep.Topic("order.#"), dep.Topic("other"))
    cache.blocking.put("bob", 1, dep.Topic("order.*", where={"buyer": "bob"}))

    found = foretold(cache, PAID)

    assert list(found) == ["ann"]
    assert set(found["ann"].met) == {"topic order.#", "topic order.* where buyer = ann"}
    assert (found["ann"].fate, found["ann"].state) == (Fate.DROP, State.FRESH)


def test_nothing_is_touched_by_asking(cache: Cache) -> None:
    """Not even the position moves."""
    cache.blocking.put("ann", 1, dep.Topic("order.*"))
    before = cache.blocking.position()

    foretold(cache, PAID)

    assert cache.blocking.has("ann")
    assert cache.blocking.position() == before


def test_what_the_event_cannot_say_is_told_as_the_reason(cache: Cache) -> None:
    """So nobody looks for a value that is not there."""
    cache.blocking.put("sf", 1, dep.Scope("book", {"genre": "sf"}))

    found = foretold(cache, Event.change("book", after={"id": 1, "genre": "crime"}, changed=("genre",)))

    assert found["sf"].met == (
        "scope book where genre = sf: the event touches all of these, as the event carries no before image",
    )


async def test_what_is_built_from_a_touched_entry_becomes_suspect(cache: Cache) -> None:
    """Directly or not; and the entry below it is named."""

    @cache.cached(key="inner", depends_on=[dep.Topic("order.*")])
    async def inner() -> int:
        return 1

    @cache.cached(key="middle")
    async def middle() -> int:
        return await inner()

    @cache.cached(key="outer")
    async def outer() -> int:
        return await middle()

    await outer()

    found = foretold(cache, PAID)

    assert [(one.key, one.fate, one.inner) for one in found.values()] == [
        ("inner", Fate.REFRESH, ()),
        ("middle", Fate.SUSPECT, ("inner",)),
        ("outer", Fate.SUSPECT, ("middle",)),
    ]
    await cache.publish(PAID)
    assert {one.key for one in await cache.entries(state=State.SUSPECT)} == {"middle", "outer"}


async def test_what_is_built_from_a_dropped_entry_is_built_again(cache: Cache) -> None:
    """As nobody watches over the dependencies of what is gone."""
    cache.blocking.put("prices", 1, dep.Topic("order.*"))

    @cache.cached(key="page")
    async def page() -> int:
        return int(await cache.get("prices"))

    await page()

    found = foretold(cache, PAID)

    assert [(one.key, one.fate, one.inner) for one in found.values()] == [
        ("prices", Fate.DROP, ()),
        ("page", Fate.REFRESH, ("prices",)),
    ]
    await cache.publish(PAID)
    assert [one.key for one in await cache.entries(state=State.DIRTY)] == ["page"]


async def test_a_predicate_that_says_yes_is_named(cache: Cache) -> None:
    """Also beside another dependency that is met; and one that says no is not."""

    def should_refresh(event: Event, least: int) -> bool:
        return bool(event.body["total"] >= least)

    @cache.cached(key="orders:{least}", should_refresh=should_refresh, topics=("order.*",))
    async def orders(least: int) -> int:
        if least:
            track(dep.Topic("order.#"))
        return least

    for least in (0, 10, 30):
        await orders(least)
    yes = f"topic order.*, if should_refresh of {orders.name} says so: it says yes"

    found = foretold(cache, PAID)

    assert {key: set(one.met) for key, one in found.items()} == {
        "orders:0": {yes},
        "orders:10": {yes, "topic order.#"},
        "orders:30": {"topic order.#"},
    }


async def test_a_predicate_that_is_not_here_counts_as_yes(cache: Cache) -> None:
    """As for publishing."""

    @cache.cached(key="orders", should_refresh=lambda event: False, topics=("order.*",))
    async def orders() -> int:
        return 1

    await orders()
    del cache.engine.functions[orders.name]

    assert foretold(cache, PAID)["orders"].met[0].endswith("this process does not have it, which counts as yes")


async def test_what_may_be_dropped_as_cold_says_so(cache: Cache) -> None:
    """When is not decided before the refresh is due."""

    @cache.cached(key="page", depends_on=[dep.Topic("order.*")], keep_warm=timedelta(days=7))
    async def page() -> int:
        return 1

    await page()

    assert foretold(cache, PAID)["page"].but == "dropped instead if nobody has read it for 7 d"
