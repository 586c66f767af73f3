"""`settled`: the function itself says whether a value shows what the event told of."""

# ruff: noqa: ANN401 - mistakes of any type are what is tested

import operator
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from everfresh import Cache, Event, InvalidOption, dep
from everfresh.refresh import Worker
from everfresh.testing.clock import FakeClock
from everfresh.testing.waiting import soon
from tests.cache.making import Colour, done, is_fresh

pytestmark = pytest.mark.redis
SETTLE = (timedelta(seconds=2), timedelta(seconds=30))


@pytest.mark.parametrize(
    "event",
    [
        Event("page.edited", {"version": 2, "tags": ("a", "b")}, "m-1", {"source": "wiki"}),
        Event.change("page", before={"version": 1}, after={"version": 2}, changed=["version"]),
    ],
    ids=["topic", "row"],
)
async def test_it_is_asked_with_the_event_and_the_new_value(colour: Colour, event: Event) -> None:
    """The event is equal to the one that was published, by whomever the value is built."""
    asked: list[tuple[Event, object]] = []

    @colour.cached(
        depends_on=[dep.Topic("page.edited"), dep.Scope("page", mode="any")],
        settle=SETTLE,
        settled=lambda event, value: asked.append((event, value)) is None,
    )
    async def page() -> list[int]:
        return [7]

    await done(page())
    n_before = len(asked)
    await colour.cache.publish(event)
    await done(page())

    assert (n_before, asked) == (0, [(event, [7])])


async def test_an_invalidation_by_name_has_no_event_to_ask_about(colour: Colour) -> None:
    """The value counts by whether it changed."""
    asked: list[object] = []

    @colour.cached(depends_on=[dep.Tag("page")], settle=SETTLE, settled=lambda event, value: bool(asked.append(event)))
    async def page() -> int:
        return 7

    await done(page())
    await colour.cache.invalidate(dep.Tag("page"))
    await done(page())

    assert asked == []


async def test_the_value_is_looked_at_again_until_it_says_yes(colour: Colour, clock: FakeClock) -> None:
    """By workers, after each delay."""
    version = [1]
    n_built = [0]

    @colour.cached(
        depends_on=[dep.Topic("page.edited")],
        settle=SETTLE,
        settled=lambda event, value: value >= event.body["version"],
    )
    async def page() -> int:
        n_built[0] += 1
        return version[0]

    await done(page())
    await colour.cache.publish(Event("page.edited", {"version": 2}))
    early = await done(page())
    version[0] = 2
    clock.advance(2)
    async with Worker(colour.cache):
        await soon(lambda: n_built[0] == 3, what="the second look")
        await soon(lambda: is_fresh(page), what="its commit")

    assert (early, await done(page())) == (1, 2)


async def test_one_that_raises_is_told_and_counts_as_yes(colour: Colour, clock: FakeClock) -> None:
    """The entry is not looked at again for somebody's mistake."""
    told: list[str] = []
    colour.cache.listen(lambda notice: told.append(notice.name))

    @colour.cached(
        depends_on=[dep.Topic("page.edited")], settle=SETTLE, settled=lambda event, value: event.body["none"]
    )
    async def page() -> int:
        return 7

    await done(page())
    await colour.cache.publish(Event("page.edited"))
    value = await done(page())
    clock.advance(60)

    assert (value, await is_fresh(page)) == (7, True)
    assert told.count("predicate.failed") == 1


@pytest.mark.parametrize(
    ("settled", "match"),
    [
        (lambda value: True, r"settled is called with \(event, value\), but: too many positional arguments"),
        (lambda event, value, more: True, r"settled is called with \(event, value\), but: missing a required argument"),
        (lambda *, event, value: True, "but: too many positional arguments"),
    ],
)
def test_a_predicate_that_cannot_be_asked_is_refused(cache: Cache, settled: Any, match: str) -> None:
    """At the declaration: one that fails at each look would count as yes, and settle what is not settled."""

    def value() -> int:
        return 1

    with pytest.raises(InvalidOption, match=match):
        cache.cached(settle=(timedelta(seconds=1),), settled=settled)(value)


class Patient:
    """Asked, it would answer later."""

    async def __call__(self, event: Event, value: object) -> bool:
        return False


async def patient(_event: Event, _value: object) -> bool:
    """The same as a function."""
    return False


@pytest.mark.parametrize("settled", [patient, Patient()], ids=["function", "object"])
def test_a_predicate_that_is_asynchronous_is_refused(cache: Cache, settled: Any) -> None:
    """What it gives at once is a coroutine, which is as good as yes."""

    def value() -> int:
        return 1

    with pytest.raises(InvalidOption, match=r"settled .* is no plain function"):
        cache.cached(settle=(timedelta(seconds=1),), settled=settled)(value)


@pytest.mark.parametrize("settled", [operator.eq, partial(operator.eq), lambda *told: len(told) == 2])
def test_whatever_takes_an_event_and_a_value_is_taken(cache: Cache, settled: Any) -> None:
    """Builtins too, that do not say what they take."""

    @cache.cached(settle=(timedelta(seconds=1),), settled=settled)
    def value() -> int:
        return 1

    assert value() == 1
