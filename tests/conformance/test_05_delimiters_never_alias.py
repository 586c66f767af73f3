"""Conformance 5: whatever stands in ids and values, another dependency is another one."""

from itertools import permutations

import pytest

from everfresh import Event, dep
from tests.cache.by_hand import ByHand

# Each of the first is what a careless join of parts would make of the second.
PAIRS: list[tuple[dep.Dependency, dep.Dependency]] = [
    (dep.Id("a", "b:c"), dep.Id("a:b", "c")),
    (dep.Id("article", "1&y=2"), dep.Id("article", "1")),
    (dep.Id("article", "*"), dep.Id("article", "1")),
    (dep.Tag("a:b"), dep.Tag("a")),
    (dep.Tag("*"), dep.Tag("a")),
    (dep.Scope("book", {"a": "1&b=2"}), dep.Scope("book", {"a": "1", "b": "2"})),
    (dep.Scope("book", {"a": "x,y", "b": ""}), dep.Scope("book", {"a": "x", "b": ",y"})),
    (dep.Scope("book", {"a": "*"}), dep.Scope("book", {"a": "1"})),
]
WAYS = [way for pair in PAIRS for way in permutations(pair)]


@pytest.mark.parametrize(("own", "other"), WAYS, ids=[f"{own}-{other}" for own, other in WAYS])
async def test_invalidating_another_name_leaves_the_entry(
    by_hand: ByHand, own: dep.Dependency, other: dep.Dependency
) -> None:
    """5: a colon, an ampersand and a star are letters like others; the entry's own name does take it away."""
    await by_hand.put("k", 1, own)
    await by_hand.invalidate(other)
    kept = await by_hand.has("k")
    await by_hand.invalidate(own)

    assert (kept, await by_hand.has("k")) == (True, False)


@pytest.mark.parametrize("text", ["a:b", "1&y=2", "*", "#", "a.b", "", "\0", "x,y"], ids=ascii)
async def test_a_value_in_an_event_meets_only_its_equal(by_hand: ByHand, text: str) -> None:
    """5: in both places, the row of the event and the condition of the list."""
    texts = ["a:b", "1&y=2", "*", "#", "a.b", "", "\0", "x,y", "1", "a"]
    for number, other in enumerate(texts):
        await by_hand.put(f"k{number}", other, dep.Scope("book", {"shelf": other}))
    await by_hand.publish(Event.change("book", after={"id": 1, "shelf": text}))

    assert [other for number, other in enumerate(texts) if not await by_hand.has(f"k{number}")] == [text]


async def test_arguments_of_calls_do_not_alias_either(by_hand: ByHand) -> None:
    """5: a key has one call."""

    @by_hand.cache.cached
    def pair(left: str, right: str = "") -> str:
        return f"{left}|{right}"

    calls = [("a", "b"), ("a,b", ""), ("a", "b,"), ("a:b", ""), ("*", ""), ('"a"', "")]

    assert len({pair.key(*call) for call in calls}) == len(calls)
    assert [pair(*call) for call in calls] == [f"{left}|{right}" for left, right in calls]
