"""The simulator itself: what it finds, what it says of it, and that it says the same each time."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from scripts import soak

from everfresh import Event, dep
from everfresh.model.entry import Terms
from everfresh.model.marks import override
from everfresh.model.position import Position
from everfresh.protocol.applying import Apply
from everfresh.protocol.queueing import Distrust
from everfresh.protocol.requests import Bounds, Commit, Delete, Fail, Policy, Request, Steps
from everfresh.stores.memory import MemoryStore
from everfresh.stores.store import StepListener, Store
from everfresh.stores.tables import Room
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
from everfresh.testing.simulation.floors import Demand, Floors
from everfresh.testing.simulation.simulator import OpenStores
from everfresh.testing.simulation.stage import Stage
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


def _lenient(floors: Floors, bounds: Bounds) -> Demand:
    return floors.demand(floors.now, bounds, is_strict=False)


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


def test_what_stands_in_is_possible_as_far_back_as_is_allowed() -> None:
    """An old value below one that failed may be as old as its function says, and not older."""
    world = World({"a": [Event("a")]})

    @world.function(depends_on=[dep.Topic("a")], policy=Policy(bounds=Bounds(stale_if_error_s=30.0)))
    def inner(build: Build) -> Steps[int]:
        return (yield from build.fact("a"))

    @world.function()
    def outer(build: Build) -> Steps[int]:
        return (yield from build.call("inner"))

    truths = Truths(world)

    possible = [
        count
        for count in range(6)
        if truths.is_possible("outer", bytes([count]), (4,), (5,), Leniency.STOOD_IN, old=(2,))
    ]

    assert possible == [2, 3, 4, 5]


def test_a_failure_is_no_excuse_for_ever() -> None:
    """Once a newer word is told, and the bound is over, a reader is owed what a reader is owed without trouble."""
    clock, said = FakeClock(), [1]
    stage = Stage(shop(), lambda _: said[0], Truths(shop()).uses, clock)
    floors = Floors(stage, clock, lambda: said[0])
    lenient = Bounds(stale_if_error_s=5.0)
    stage.broken.add("price")
    with pytest.raises(SourceBroken):
        stage.see("price")
    came_with_it = floors.now
    said[0] = 2
    floors.note_told("price", 3, Position("", 1))

    asked = [floors.demand(came_with_it), floors.demand(floors.now), _lenient(floors, lenient)]
    clock.advance(5.5)

    assert [demand.leniency for demand in asked] == [Leniency.TROUBLED, Leniency.BUILT, Leniency.STOOD_IN]
    assert _lenient(floors, lenient).leniency is Leniency.BUILT
    assert _lenient(floors, lenient).low == (3, 0)


def test_what_nobody_tells_of_may_be_seen_for_a_lifetime() -> None:
    """A value that expires may show what was true so long ago, and its bound, and the time that it took to build."""
    world, clock = World({"a": [Event("a")]}, untold={"u": 25.0}), FakeClock()
    floors = Floors(Stage(world, lambda _: 0, Truths(world).uses, clock), clock, lambda: 0)
    clock.advance(1.0)
    floors.note_changed("u")
    floors.note_built(2.0)
    clock.advance(27.0)
    in_time, lenient = floors.low(floors.now), floors.low(floors.now, older_s=5.0)
    clock.advance(5.0)

    assert (in_time, lenient) == ((0, 1), (0, 0))
    assert floors.low(floors.now, older_s=5.0) == (0, 1)


def test_what_expires_too_late_is_found() -> None:
    """Nobody tells of the price, so what was seen of it must not be served for longer than the world says."""
    world = World({"stock": [dep.Tag("stock")]}, untold={"price": 5.0})

    @world.function(depends_on=[dep.Tag("stock")], policy=Policy(terms=Terms(expires_s=50.0)))
    def offer(build: Build) -> Steps[list[int]]:
        return [(yield from build.fact("price")), (yield from build.fact("stock"))]

    assert found(world).promise is Promise.NEVER_OLDER


@pytest.mark.parametrize("store", ["memory", "sqlite"])
def test_a_new_life_of_the_store_is_survived(store: str) -> None:
    """Whoever walks goes on, publishers with the shapes that they know, and all is true in the end."""
    moves = [("warm", 0), ("tell", 3), ("read", 5), ("distrust", 0), ("interrupt", 0), ("tell", 4), ("warm", 0)]

    report = Simulator(moves=moves, store=store).run()

    n_functions = sum(not declared.is_by_hand for declared in standard_world().declared.values())
    assert report.n_builds >= 2 * n_functions


def test_a_store_that_trusts_its_old_life_is_found() -> None:
    """After a loss nothing is served as up to date, and followers are told."""

    class Trusting(MemoryStore):
        def __init__(self, clock: FakeClock) -> None:
            self.listeners: list[StepListener] = []
            super().__init__(clock=clock)

        @override
        def carry_out(self, request: Request[Any]) -> Any:
            if not isinstance(request, Distrust):
                return super().carry_out(request)
            for listener in self.listeners:
                listener(())
            return 0

        @override
        def listen(self, listener: StepListener) -> None:
            self.listeners.append(listener)
            super().listen(listener)

    moves = [("warm", 0), ("distrust", 0)]

    with pytest.raises(PromiseBroken) as broken:
        Simulator(shop(), moves=moves, store=lambda clock: [Trusting(clock)]).run()

    assert broken.value.promise is Promise.NOTHING_TRUSTED


def test_a_store_that_drops_what_it_should_keep_is_found() -> None:
    """A failure is no reason to drop; with little room anything may go."""

    class Forgetful(MemoryStore):
        @override
        def carry_out(self, request: Request[Any]) -> Any:
            answer = super().carry_out(request)
            if isinstance(request, Fail):
                super().carry_out(Delete((request.lease.key,)))
            return answer

    def opened(clock: FakeClock) -> Sequence[Store]:
        return [Forgetful(clock=clock)]

    broken = found(shop(), opened)

    assert broken.promise is Promise.KEPT
    Simulator(shop(), moves=broken.moves, store=opened, room=Room(max_entries=1)).run()


@pytest.mark.parametrize("store", ["memory", "sqlite"])
def test_little_room_breaks_no_promise(store: str) -> None:
    """What has no room is built by whoever asks for it, and the queue gets empty."""
    room = Room(max_entries=3)

    reports = [Simulator(seed=seed, store=store, room=room).run() for seed in range(3)]

    assert all(report.n_reads > 0 for report in reports)


def test_a_history_with_little_room_is_replayed_with_it() -> None:
    """What is found with little room may be there with little room only."""
    broken = None
    for seed in ANY:
        try:
            Simulator(shop(forgets=True), seed=seed, room=Room(max_entries=7)).run()
        except PromiseBroken as error:
            broken = error
            break

    assert broken is not None
    assert "room=Room(max_entries=7, max_bytes=None)" in str(broken)


def test_a_bound_that_begins_anew_is_found() -> None:
    """However long a refresh takes, the old value is served so long from when it became old."""

    def anew(request: Request[Any]) -> Request[Any]:
        if isinstance(request, Commit):
            late = msgspec.structs.replace(request.lease, begun_at=request.lease.begun_at + 1_000)
            return replace(request, lease=late)
        return request

    world = World({"price": [Event("price")]})

    @world.function(depends_on=[dep.Topic("price")], policy=Policy(bounds=Bounds(stale_while_revalidate_s=5.0)))
    def price(build: Build) -> Steps[int]:
        return (yield from build.fact("price"))

    def opened(clock: FakeClock) -> Sequence[Store]:
        return [Meddled(clock, anew)]

    assert found(world, opened).promise is Promise.NEVER_OLDER


def test_several_are_read_at_once() -> None:
    """Of functions that need no other, each value is checked as a single reader's."""
    report = Simulator(moves=[("read_many", 4_321), ("finish", 0)]).run()

    assert report.n_reads == 3
    assert report.n_builds >= 3


def test_a_soak_plays_each_kind_of_world_on_each_store_with_any_room() -> None:
    """Nothing is left out because two of the choices go by the same digit of the seed."""
    combinations = {
        (store, seed % 2, len(soak.simulator(shop(), seed, store).moves) // 40, soak.room_of(seed))
        for seed in range(1_000)
        for store in soak.stores_of(seed)
    }

    assert len(combinations) == 4 * 2 * 3 * 2


def test_two_functions_of_one_name_are_refused() -> None:
    """The name is the key."""
    world = shop()

    with pytest.raises(ValueError, match="'price'"):
        world.function(lambda _: 1, name="price")
