"""The simulator itself: what it finds, what it says of it, and that it says the same each time."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from everfresh import Event, dep
from everfresh.model.marks import override
from everfresh.protocol.applying import Apply
from everfresh.protocol.requests import Commit, Request, Steps
from everfresh.stores.memory import MemoryStore
from everfresh.stores.store import Store
from everfresh.testing.clock import FakeClock
from everfresh.testing.simulation import (
    Build,
    Move,
    Promise,
    PromiseBroken,
    Simulator,
    SourceBroken,
    World,
    moves_of,
    random_world,
    standard_world,
)
from everfresh.testing.simulation.simulator import OpenStores
from everfresh.testing.simulation.truths import Leniency, Truths

ANY = range(60)


def shop(*, forgets: bool = False) -> World:
    """A price and an offer over it; a shop that forgets does not say what its price depends on."""
    world = World({"price": [Event("price")], "stock": [dep.Tag("stock")]})

    @world.function(depends_on=[] if forgets else [dep.Topic("price")])
    def price(build: Build) -> Steps[int]:
        return (yield from build.fact("price"))

    @world.function(depends_on=[dep.Tag("stock")])
    def offer(build: Build) -> Steps[list[int]]:
        left = yield from build.fact("stock")
        return [(yield from build.call("price")), left]

    return world


class Meddled(MemoryStore):
    """A store that does not do quite what it is asked."""

    def __init__(self, clock: FakeClock, meddle: Callable[[Request[Any]], Request[Any]]) -> None:
        super().__init__(clock=clock)
        self._meddle = meddle

    @override
    def carry_out(self, request: Request[Any]) -> Any:
        return super().carry_out(self._meddle(request))


def found(world: World, store: str | OpenStores = "memory") -> PromiseBroken:
    """What the first seed that finds something finds."""
    for seed in ANY:
        try:
            Simulator(world, seed=seed, store=store).run()
        except PromiseBroken as broken:
            return broken
    pytest.fail("no seed found anything")


@pytest.mark.parametrize("store", ["memory", "sqlite"])
def test_a_sound_world_keeps_every_promise(store: str) -> None:
    """Nothing is found where there is nothing."""
    reports = [Simulator(shop(), seed=seed, store=store).run() for seed in range(10)]

    assert all(report.n_requests > 0 for report in reports)
    assert sum(report.n_reads for report in reports) > 0


def test_a_dependency_that_was_forgotten_is_found() -> None:
    """The value is never built again, so a reader gets an older truth."""
    broken = found(shop(forgets=True))

    assert broken.promise in (Promise.NEVER_OLDER, Promise.TRUE_WHEN_QUIET)
    assert "'price'" in str(broken)


def test_what_is_found_can_be_replayed() -> None:
    """The message names a seed, and the seed finds the same again."""
    world = shop(forgets=True)
    broken = found(world)

    with pytest.raises(PromiseBroken) as again:
        Simulator(world, moves=broken.moves).run()

    assert again.value.promise is broken.promise
    assert "Simulator(world, seed=" in str(broken)
    assert "Commit price" in str(broken)


def test_what_is_found_can_be_made_shorter() -> None:
    """Few moves are enough to show it, and each of them is needed."""
    world = shop(forgets=True)
    broken = found(world)

    short = Simulator(world, moves=broken.moves).shortened()

    with pytest.raises(PromiseBroken) as again:
        short.run()
    assert again.value.promise is broken.promise
    assert len(short.moves) <= 4
    for number in range(len(short.moves)):
        fewer = [*short.moves[:number], *short.moves[number + 1 :]]
        assert Simulator(world, moves=fewer).shortened().moves == fewer


def test_a_history_without_fault_is_not_made_shorter() -> None:
    """There is nothing that it must still do."""
    assert Simulator(shop(), seed=3).shortened().moves == moves_of(3, 80)


def test_a_store_that_loses_events_is_found() -> None:
    """An adapter can be held to the promises before it has a user."""

    def deaf(request: Request[Any]) -> Request[Any]:
        if isinstance(request, Apply):
            return Apply(type(request.touched)(), request.generation, request.mentions)
        return request

    def opened(clock: FakeClock) -> Sequence[Store]:
        return [Meddled(clock, deaf)]

    assert found(shop(), opened).promise in (Promise.NEVER_OLDER, Promise.TRUE_WHEN_QUIET)


def test_a_store_that_gives_the_wrong_value_is_found() -> None:
    """A value that was never true is no older truth, and no truth."""

    def wrong(request: Request[Any]) -> Request[Any]:
        if isinstance(request, Commit) and request.lease.key == "price":
            return replace(request, built=replace(request.built, value=b"\x63"))
        return request

    def opened(clock: FakeClock) -> Sequence[Store]:
        return [Meddled(clock, wrong)]

    assert found(shop(), opened).promise is Promise.NEVER_OLDER


@pytest.mark.parametrize("world", [standard_world(), random_world(5)], ids=["standard", "random"])
def test_a_seed_is_one_history(world: World) -> None:
    """The same seed does the same again, whatever was played in between."""
    first = Simulator(world, seed=11).run()
    Simulator(world, seed=12).run()

    assert Simulator(world, seed=11).run() == first


def test_moves_are_what_the_seed_says() -> None:
    """A seed and a length are one list of moves in every process."""
    assert moves_of(1, 3) == moves_of(1, 3)
    assert moves_of(1, 30) != moves_of(2, 30)
    assert len([move for move in moves_of(4, 50) if move != Move("warm", 0)]) <= 50


def test_what_is_possible_follows_what_was_told() -> None:
    """Each look may have met any number from what was told to what is; nothing before, nothing after."""
    truths = Truths(shop())

    possible = [
        (cost, left)
        for cost in range(5)
        for left in range(5)
        if truths.is_possible("offer", bytes([0x92, cost, left]), (1, 2), (2, 3), Leniency.BUILT)
    ]

    assert possible == [(1, 2), (1, 3), (2, 2), (2, 3)]


def test_a_nested_call_that_may_have_failed_is_possible_only_in_trouble() -> None:
    """Who catches the error of a source goes on without its value."""
    world = World({"a": [Event("a")]})

    @world.function(depends_on=[dep.Topic("a")])
    def inner(build: Build) -> Steps[int]:
        return (yield from build.fact("a"))

    @world.function()
    def outer(build: Build) -> Steps[int | None]:
        try:
            return (yield from build.call("inner"))
        except SourceBroken:
            return None

    truths = Truths(world)
    nothing = b"\xc0"

    assert not truths.is_possible("outer", nothing, (0,), (3,), Leniency.BUILT)
    assert truths.is_possible("outer", nothing, (0,), (3,), Leniency.TROUBLED)


def test_two_functions_of_one_name_are_refused() -> None:
    """The name is the key."""
    world = shop()

    with pytest.raises(ValueError, match="'price'"):
        world.function(lambda _: 1, name="price")
