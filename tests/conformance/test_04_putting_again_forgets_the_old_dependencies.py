"""Conformance 4: an entry hangs on what its newest value hangs on."""

from collections import Counter

from everfresh import dep, track
from tests.cache.by_hand import ByHand
from tests.cache.making import Colour, done


async def test_putting_again_forgets_the_old_dependencies(by_hand: ByHand) -> None:
    """4: the old ones touch it no more, the new ones do."""
    await by_hand.put("k", "old", dep.Tag("old"))
    await by_hand.put("k", "new", dep.Tag("new"))
    await by_hand.invalidate(dep.Tag("old"))
    kept = await by_hand.has("k")
    await by_hand.invalidate(dep.Tag("new"))

    assert (kept, await by_hand.has("k")) == (True, False)


async def test_building_again_forgets_the_old_dependencies(colour: Colour) -> None:
    """4: what a function tracks counts for that build alone."""
    n_built: Counter[str] = Counter()
    current = ["a"]

    @colour.cached()
    async def function() -> str:
        n_built["function"] += 1
        track(dep.Tag(current[0]))
        return current[0]

    await done(function())
    current[0] = "b"
    await done(function.refresh())
    await colour.cache.invalidate(dep.Tag("a"))
    await done(function())
    n_before = n_built["function"]
    await colour.cache.invalidate(dep.Tag("b"))
    await done(function())

    assert (n_before, n_built["function"]) == (2, 3)
