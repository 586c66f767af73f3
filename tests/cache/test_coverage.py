"""Coverage: how many of the entries that are known have a value. Conformance 28."""

import pytest

from everfresh import Coverage, State
from tests.cache.by_hand import ByHand
from tests.cache.making import Colour, done


async def test_95_of_107_entries_are_88_79_percent(colour: Colour) -> None:
    """Conformance 28; what waits for its first build is known, and not built."""

    @colour.cached()
    async def value(n: int) -> int:
        return n

    await done(value.warm(range(107)))
    for n in range(95):
        await done(value(n))
    coverage = await colour.cache.coverage()

    assert (coverage.n_known, coverage.n_built, coverage.percent) == (107, 95, 88.79)
    assert str(coverage) == "95 of 107 entries built: 88.79 %"
    assert sum(coverage.n_by_state.values()) == 107
    assert coverage.n_by_state[State.FRESH] == 95


async def test_coverage_of_one_function(colour: Colour) -> None:
    """Others do not count."""

    @colour.cached()
    async def one(n: int) -> int:
        return n

    @colour.cached()
    async def other() -> int:
        return 1

    for call in (one(1), one(2), other()):
        await done(call)
    of_one = await colour.cache.coverage(one)

    assert (of_one.n_known, (await colour.cache.coverage()).n_known) == (2, 3)


async def test_the_bytes_are_those_of_the_values(by_hand: ByHand) -> None:
    """As they are encoded."""
    await by_hand.put("a", "xyz")
    await by_hand.put("b", None)

    assert (await by_hand.coverage()).n_bytes == 5


@pytest.mark.parametrize(
    ("n_known", "n_built", "percent"),
    [(0, 0, 100.0), (3, 0, 0.0), (3, 1, 33.33), (3, 3, 100.0), (100_000, 99_999, 99.99), (107, 95, 88.79)],
)
def test_percent_has_two_decimals(n_known: int, n_built: int, percent: float) -> None:
    """A hundred is shown only when none is missing."""
    coverage = Coverage(n_known=n_known, n_built=n_built, n_by_state={}, n_bytes=0)

    assert coverage.percent == percent
