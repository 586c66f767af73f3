"""Conformance 7: load the old, invalidate, put the old."""

from everfresh import Event, dep
from tests.cache.by_hand import ByHand


async def test_an_invalidation_between_the_miss_and_the_put_wins(by_hand: ByHand) -> None:
    """7: what was loaded before the invalidation is not stored after it, so the next get misses."""
    missed = not await by_hand.has("k")
    loaded = "old"
    await by_hand.invalidate(dep.Id("article", 1))
    await by_hand.put("k", loaded, dep.Id("article", 1))

    assert (missed, await by_hand.has("k")) == (True, False)


async def test_an_event_between_the_miss_and_the_put_wins(by_hand: ByHand) -> None:
    """7: however it is told; also for a list, which the object only enters."""
    assert not await by_hand.has("k")
    await by_hand.publish(Event.change("book", after={"id": 1, "category": "sci-fi"}))
    await by_hand.put("k", [], dep.Scope("book", {"category": "sci-fi"}))

    assert await by_hand.has("k") is False


async def test_the_next_round_is_stored(by_hand: ByHand) -> None:
    """7: the fence is for that one put; what is loaded afterwards is the new value."""
    assert not await by_hand.has("k")
    await by_hand.invalidate(dep.Id("article", 1))
    await by_hand.put("k", "old", dep.Id("article", 1))
    missed = not await by_hand.has("k")
    await by_hand.put("k", "new", dep.Id("article", 1))

    assert (missed, await by_hand.get("k")) == (True, "new")


async def test_an_invalidation_of_something_else_does_not_hinder_the_put(by_hand: ByHand) -> None:
    """7: else a busy store would hold nothing. The first entry of a kind tells the store what to look for."""
    await by_hand.put("first", 1, dep.Id("article", 0))
    assert not await by_hand.has("k")
    await by_hand.invalidate(dep.Id("article", 2))
    await by_hand.put("k", "value", dep.Id("article", 1))

    assert await by_hand.get("k") == "value"
