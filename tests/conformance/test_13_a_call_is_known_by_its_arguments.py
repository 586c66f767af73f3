"""Conformance 13: one call, one entry; another call, another one."""

from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from everfresh import dep
from everfresh.testing.clock import FakeClock
from everfresh.testing.plugin import Drain
from tests.cache.making import Colour, done


@dataclass(frozen=True)
class Config:
    """What a person set for a widget."""

    owner: str
    n_rows: int = 10


@pytest.fixture
def n_built() -> Counter[str]:
    """How often each body ran."""
    return Counter()


@pytest.fixture
def search(colour: Colour, n_built: Counter[str]) -> Any:  # noqa: ANN401 - of either colour
    """A function with keywords and defaults."""

    @colour.cached()
    async def search(word: str, *, limit: int = 10, order: str = "date") -> str:
        n_built["search"] += 1
        return f"{word} {limit} {order}"

    return search


async def test_called_twice_it_is_executed_once(search: Any, n_built: Counter[str]) -> None:  # noqa: ANN401 - as above
    """13: the second caller gets what the first one had built."""
    assert [await done(search("a")), await done(search("a"))] == ["a 10 date"] * 2
    assert n_built["search"] == 1


async def test_another_argument_is_another_entry(search: Any, n_built: Counter[str]) -> None:  # noqa: ANN401 - as above
    """13: whichever of them it is."""
    values = [await done(search("a")), await done(search("b")), await done(search("a", limit=5))]

    assert (values, n_built["search"]) == (["a 10 date", "b 10 date", "a 5 date"], 3)


async def test_the_order_of_keywords_and_defaults_do_not_matter(
    search: Any,  # noqa: ANN401 - as above
    n_built: Counter[str],
) -> None:
    """13: who writes a default out means the same as who leaves it out."""
    await done(search("a", limit=10, order="date"))
    await done(search("a", order="date", limit=10))
    await done(search(word="a"))
    await done(search("a"))

    assert n_built["search"] == 1


async def test_changing_a_widgets_configuration_is_a_new_entry_and_the_old_one_goes(
    colour: Colour, clock: FakeClock, drain: Drain
) -> None:
    """13: the new one is built; the old one is not refreshed once nobody has read it for `keep_warm`, but dropped."""
    n_built: Counter[int] = Counter()

    @colour.cached(depends_on=[dep.Tag("bugs")], keep_warm=timedelta(days=7))
    async def widget(config: Config) -> str:
        n_built[config.n_rows] += 1
        return f"{config.n_rows} rows of {config.owner}"

    old, new = Config("ann"), Config("ann", n_rows=25)
    await done(widget(old))
    clock.advance(timedelta(days=7).total_seconds())
    shown = await done(widget(new))
    clock.advance(1)
    await colour.cache.invalidate(dep.Tag("bugs"))
    drained = await drain()

    assert shown == "25 rows of ann"
    assert (drained.dropped, drained.refreshed) == ([widget.key(old)], [widget.key(new)])
    assert [one.key for one in await colour.cache.entries(function=widget)] == [widget.key(new)]
    assert n_built == {10: 1, 25: 2}
