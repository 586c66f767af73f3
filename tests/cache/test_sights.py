"""`cache.watch`: what becomes of many entries, each change once, the newest of several."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

import msgspec
import pytest

from everfresh import Cache, FeedRecord, Key, Kind, Position, Sight, State, dep
from everfresh.cache.sights import Seen
from everfresh.model.errors import InvalidOption, StoreClosed
from everfresh.protocol.requests import FeedBatch
from everfresh.testing.waiting import DEADLINE_S
from tests.cache.fixtures import OpenCache
from tests.push.making import at, entry

Told = tuple[str, str, object, bool]


def told(sight: Sight) -> Told:
    """The key, the state, the value, and whether that is new."""
    if sight.entry is None:
        return (sight.key, "gone", None, sight.is_value_new)
    value = msgspec.msgpack.decode(sight.entry.value)
    return (sight.key, sight.entry.state.value, value, sight.is_value_new)


async def take(sights: AsyncGenerator[Sight, None], n: int) -> list[Told]:
    """The next changes, waited for."""
    async with asyncio.timeout(DEADLINE_S):
        return [told(await anext(sights)) for _ in range(n)]


async def test_it_begins_with_what_is_there(cache: Cache) -> None:
    """Then comes each change, of a value and of a state, once."""
    await cache.put("a", 1, dep.Tag("t"))
    async with aclosing(cache.watch("a", "b")) as sights:
        first = await take(sights, 1)
        await cache.put("b", 1)
        await cache.put("c", 1)
        await cache.put("a", 2)
        changes = await take(sights, 2)
        await cache.delete("b")
        changes += await take(sights, 1)

    assert first == [("a", "fresh", 1, True)]
    assert changes == [("b", "fresh", 1, True), ("a", "fresh", 2, True), ("b", "gone", None, False)]


async def test_a_new_state_is_told_without_its_value_being_new(cache: Cache) -> None:
    """And a build that comes out equal makes it fresh again."""

    @cache.cached(depends_on=[dep.Tag("t")])
    async def value() -> int:
        return 7

    await value()
    async with aclosing(cache.watch(value.key())) as sights:
        told_ = await take(sights, 1)
        await cache.invalidate(dep.Tag("t"))
        told_ += await take(sights, 1)
        await value()
        told_ += await take(sights, 1)

    assert [(state, is_new) for _, state, _, is_new in told_] == [("fresh", True), ("dirty", False), ("fresh", False)]


async def test_who_takes_long_is_told_the_newest_alone(cache: Cache) -> None:
    """What was in between is of no use to anybody."""
    async with aclosing(cache.watch("a", "b", from_now=True)) as sights:
        waiting = asyncio.create_task(take(sights, 1))
        await asyncio.sleep(0)
        await cache.put("a", 0)
        first = await waiting
        for n in range(1, 50):
            await cache.put("a", n)
            await cache.put("b", n)
        rest = await take(sights, 2)
        await cache.put("b", "last")
        last = await take(sights, 1)

    assert first == [("a", "fresh", 0, True)]
    assert sorted(rest) == [("a", "fresh", 49, True), ("b", "fresh", 49, True)]
    assert last == [("b", "fresh", "last", True)]


async def test_a_pattern_means_entries_that_come_later_too(cache: Cache) -> None:
    """And no others."""
    await cache.put("reviews:a", 1)
    await cache.put("prices:a", 1)
    async with aclosing(cache.watch(pattern="reviews:*")) as sights:
        first = await take(sights, 1)
        await cache.put("prices:b", 1)
        await cache.put("reviews:b", 1)
        rest = await take(sights, 1)

    assert (first, rest) == ([("reviews:a", "fresh", 1, True)], [("reviews:b", "fresh", 1, True)])


async def test_what_another_process_commits_is_told(open_cache: OpenCache, sqlite_url: str) -> None:
    """A cache of its own on the same file is another process as far as the store can tell."""
    here, there = open_cache(sqlite_url), open_cache(sqlite_url)
    async with aclosing(here.watch("a", from_now=True)) as sights:
        waiting = asyncio.create_task(take(sights, 1))
        await asyncio.sleep(0)
        await there.put("a", 1)

        assert await waiting == [("a", "fresh", 1, True)]


async def test_a_store_that_is_gone_for_a_while_is_waited_for(open_cache: OpenCache, tmp_path: Path) -> None:
    """What changed meanwhile is told when it is back."""
    (tmp_path / "data").mkdir()
    url = f"sqlite:///{tmp_path / 'data' / 'cache.db'}"
    here, there = open_cache(url), open_cache(url)
    async with aclosing(here.watch("a")) as sights:
        await there.put("a", 1)
        first = await take(sights, 1)
        (tmp_path / "data").rename(tmp_path / "aside")
        waiting = asyncio.create_task(take(sights, 1))
        (tmp_path / "aside").rename(tmp_path / "data")
        await there.put("a", 2)

        assert (first, await waiting) == ([("a", "fresh", 1, True)], [("a", "fresh", 2, True)])


async def test_the_end_of_the_cache_ends_it(cache: Cache) -> None:
    """Nobody waits for a store that was closed."""
    await cache.put("a", 1)
    sights = cache.watch("a")
    await take(sights, 1)
    await cache.aclose()

    with pytest.raises(StoreClosed):
        await take(sights, 1)


@pytest.mark.parametrize("keys", [(), (7,), (["a", "b"],)], ids=["nothing", "a number", "a list"])
def test_what_names_no_entry_is_refused(cache: Cache, keys: tuple[str, ...]) -> None:
    """At once, and not when somebody iterates."""
    with pytest.raises(InvalidOption, match="watch"):
        cache.watch(*keys)


def test_after_a_reset_all_is_told_anew() -> None:
    """What is there, and what was there and is gone; what was gone before is no news."""
    seen = Seen([], "*")
    for key, found in (("a", entry("a")), ("b", entry("b")), ("c", None)):
        seen.look(Key(key), found)
    seen.start_over([Key("a"), Key("d")])
    due = list(seen.due)
    sights = [seen.look(key, None if key == "b" else entry(key)) for key in due]

    assert due == ["a", "d", "b"]
    assert [(sight.key, sight.entry is None) for sight in sights if sight] == [("a", False), ("d", False), ("b", True)]
    assert seen.look(Key("c"), None) is None


def test_records_have_their_entry_looked_at_once() -> None:
    """At the place of the last."""
    seen = Seen([Key("a"), Key("b")], None)
    records = [FeedRecord(n, Key(key), Kind.CHANGED, n, "d") for n, key in enumerate("abxa", 1)]
    seen.take(FeedBatch(tuple(records), at(4)))

    assert list(seen.due) == ["b", "a"]


@pytest.mark.parametrize(
    ("change", "is_told"),
    [
        ({"state": State.DIRTY}, True),
        ({"attempts": 1}, True),
        ({"reason": "another"}, False),
        ({"changed_at": Position("e1", 2)}, True),
        ({"changed_at": Position("another life", 1)}, True),
    ],
    ids=["state", "a failed build", "reason", "value", "value of another life"],
)
def test_what_counts_as_a_change(change: dict[str, object], is_told: bool) -> None:
    """A new value, a new state, and that the last build failed."""
    seen = Seen([Key("k")], None)
    seen.look(Key("k"), entry())
    sight = seen.look(Key("k"), msgspec.structs.replace(entry(), **change))

    assert (sight is not None) == is_told
    assert sight is None or sight.is_value_new == ("changed_at" in change)
