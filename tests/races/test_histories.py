"""Readers, workers, writers, deaths and jumps of the clock, in any order that chance or Hypothesis can think of."""

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from everfresh.model.clock import Clock
from everfresh.stores.store import Store
from everfresh.stores.tables import NO_ROOM_LIMIT, Room
from everfresh.stores.urls import open_store
from everfresh.testing.simulation import (
    Move,
    PromiseBroken,
    Simulator,
    World,
    random_world,
    standard_world,
)
from everfresh.testing.simulation.moves import N_NUMBERS, TROUBLES, names_without
from everfresh.testing.simulation.simulator import OpenStores
from tests.redis_servers import RedisServer, new_prefix
from tests.searching import n_searched

# What is found is made shorter, which takes its time.
pytestmark = [pytest.mark.searching, pytest.mark.timeout(400)]

STANDARD = standard_world()
seeds = st.integers(0, 2**63)
# Few entries, or few bytes, of which a small value takes one and a larger one about ten.
rooms = st.builds(Room, max_entries=st.integers(1, 16)) | st.builds(Room, max_bytes=st.integers(2, 30))
# A smaller number is no simpler history; the simulator shortens what was found by itself.
by_seed = settings(deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))


@st.composite
def histories(draw: st.DrawFn) -> list[Move]:
    """Moves, some kinds of trouble left out of all of them."""
    absent = frozenset(draw(st.sets(st.sampled_from(TROUBLES))))
    moves = st.builds(Move, st.sampled_from(names_without(absent)), st.integers(0, N_NUMBERS - 1))
    return [Move("warm", 0)] * draw(st.booleans()) + draw(st.lists(moves, min_size=20, max_size=80))


@settings(by_seed, max_examples=n_searched(200))
@given(seed=seeds)
def test_no_history_breaks_a_promise_in_memory(seed: int) -> None:
    """What is promised is promised for each order of things, in a world with every kind of function."""
    keeps_its_promises(STANDARD, seed, "memory")


@settings(by_seed, max_examples=n_searched(250))
@given(seed=seeds)
def test_no_history_of_any_world_breaks_a_promise_in_memory(seed: int) -> None:
    """The same for functions that are nested in any way."""
    keeps_its_promises(random_world(seed), seed, "memory")


@settings(by_seed, max_examples=n_searched(80))
@given(seed=seeds, room=rooms)
def test_no_history_breaks_a_promise_where_room_is_short(seed: int, room: Room) -> None:
    """What is dropped for want of room is built by whoever asks for it next, and by nobody else."""
    keeps_its_promises(world_of(seed), seed, "memory", room)


@settings(deadline=None, max_examples=n_searched(80))
@given(moves=histories())
def test_no_history_that_hypothesis_thinks_of_breaks_a_promise_in_memory(moves: list[Move]) -> None:
    """The same for what is drawn move by move, of which Hypothesis finds the shortest."""
    Simulator(STANDARD, moves=moves).run()


@settings(by_seed, max_examples=n_searched(50))
@given(seed=seeds)
def test_no_history_breaks_a_promise_in_a_file(seed: int) -> None:
    """The same for three processes over one file, which is open twice."""
    keeps_its_promises(STANDARD, seed, "sqlite")


@settings(by_seed, max_examples=n_searched(25))
@given(seed=seeds)
def test_no_history_of_any_world_breaks_a_promise_in_a_file(seed: int) -> None:
    """The same for functions that are nested in any way."""
    keeps_its_promises(random_world(seed), seed, "sqlite")


@settings(by_seed, max_examples=n_searched(15))
@given(seed=seeds, room=rooms)
def test_no_history_breaks_a_promise_in_a_file_where_room_is_short(seed: int, room: Room) -> None:
    """The same where a file holds few entries, or small ones."""
    keeps_its_promises(world_of(seed), seed, "sqlite", room)


def test_no_history_breaks_a_promise_on_redis(shared_redis: RedisServer) -> None:
    """The same for three processes over one server, to which they have two stores."""

    @settings(by_seed, max_examples=n_searched(25))
    @given(seed=seeds)
    def play(seed: int) -> None:
        keeps_its_promises(STANDARD, seed, on_redis(shared_redis))

    play()


def test_no_history_of_any_world_breaks_a_promise_on_redis(shared_redis: RedisServer) -> None:
    """The same for functions that are nested in any way."""

    @settings(by_seed, max_examples=n_searched(15))
    @given(seed=seeds)
    def play(seed: int) -> None:
        keeps_its_promises(random_world(seed), seed, on_redis(shared_redis))

    play()


def test_no_history_breaks_a_promise_on_shards(shared_redis: RedisServer) -> None:
    """The same for three processes over several shards: whatever is told between them is told in time."""

    @settings(by_seed, max_examples=n_searched(10))
    @given(seed=seeds)
    def play(seed: int) -> None:
        keeps_its_promises(world_of(seed), seed, on_redis(shared_redis, n_shards=4))

    play()


def test_no_history_breaks_a_promise_on_redis_where_room_is_short(shared_redis: RedisServer) -> None:
    """The same where the store drops what was read longest ago."""

    @settings(by_seed, max_examples=n_searched(10))
    @given(seed=seeds, room=rooms)
    def play(seed: int, room: Room) -> None:
        keeps_its_promises(world_of(seed), seed, on_redis(shared_redis, room), room)

    play()


@pytest.mark.parametrize("store", ["memory", "sqlite"])
def test_a_history_without_a_fault_is_quiet(store: str) -> None:
    """When nothing happens after everything was read, nothing is built twice, but what ends by time."""
    n_functions = sum(not declared.is_by_hand for declared in STANDARD.declared.values())
    ending = {"expires", "ends", "wears"}

    report = Simulator(moves=[Move("warm", 0), *[Move("refresh", 0), Move("finish", 0)] * 3], store=store).run()

    assert ending <= STANDARD.declared.keys()
    assert report.n_builds == n_functions + len(ending)


def world_of(seed: int) -> World:
    """The standard world, or one drawn by chance."""
    return STANDARD if seed % 2 else random_world(seed)


def on_redis(server: RedisServer, room: Room = NO_ROOM_LIMIT, *, n_shards: int = 1) -> OpenStores:
    """Opens new stores on the server, each twice, as by two processes."""

    def open_stores(clock: Clock) -> list[Store]:
        url = f"{server.url}?prefix={new_prefix()}&shards={n_shards}"
        return [open_store(url, clock=clock, room=room) for _ in range(2)]

    return open_stores


def keeps_its_promises(world: World, seed: int, store: str | OpenStores, room: Room = NO_ROOM_LIMIT) -> None:
    """Play the history of the seed; of one that breaks a promise, say the shortest that does."""
    simulator = Simulator(world, seed=seed, store=store, room=room)
    try:
        simulator.run()
    except PromiseBroken:
        simulator.shortened().run()
        raise
