"""An event, a death or a late awakening at every moment of a read, a refresh and a rebuild."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from everfresh.model.entry import Entry, State
from everfresh.protocol.requests import Commit
from everfresh.testing.stepping import Look, Process, Walk
from tests.races.world import FACTS, LEASE_S, World, check_not_older, world_on

pytestmark = pytest.mark.searching

STORES = ("memory", "sqlite", "redis", "shards")


@dataclass(frozen=True)
class Scene:
    """What happened before, and the walk that is disturbed; `n_events` touched something before it began."""

    name: str
    begin: Callable[[World, Process], Walk[Any]]
    n_events: int = 0


def cold(name: str) -> Scene:
    """The first reader of a function."""
    return Scene(f"cold {name}", lambda _, process: process.read(name))


def stale(name: str, fact: str, what: str) -> Scene:
    """Somebody who comes when the entry was touched, or what is below it."""

    def begin(world: World, process: Process) -> Walk[Any]:
        process.read(name).run()
        world.change(process, fact)
        return process.read(name) if what == "read" else process.refresh()

    return Scene(f"{what} {name} after {fact}", begin, n_events=1)


def fresh(name: str) -> Scene:
    """Somebody who wants a fresh entry to be built again; that counts like an event."""

    def begin(_: World, process: Process) -> Walk[Any]:
        process.read(name).run()
        return process.rebuild(name)

    return Scene(f"rebuild {name}", begin, n_events=1)


SCENES = [
    *map(cold, ("a", "half", "tracked", "middle", "outer", "switch", "dropped", "over")),
    *(stale(name, fact, "read") for name, fact in (
        ("a", "a"), ("tracked", "b"), ("middle", "a"), ("outer", "a"), ("outer", "b"), ("switch", "a"), ("over", "c"),
    )),
    *(stale(name, fact, "refresh") for name, fact in (
        ("a", "a"), ("half", "a"), ("tracked", "b"), ("outer", "a"), ("outer", "b"), ("switch", "a"), ("over", "c"),
    )),
    *map(fresh, ("a", "tracked", "outer", "dropped", "over")),
]  # fmt: skip

# One of each kind and not the longest, for what takes longer: a file, or any two moments.
FEW_SCENES = [
    *map(cold, ("tracked", "middle", "over")),
    *(stale(name, fact, "read") for name, fact in (("middle", "a"), ("switch", "a"))),
    *(stale(name, fact, "refresh") for name, fact in (("tracked", "b"), ("outer", "b"))),
    fresh("over"),
]
# Of several shards each moment has many steps: only what crosses them.
FEWEST_SCENES = [cold("middle"), stale("outer", "b", "refresh")]

on_each_store = pytest.mark.parametrize("store", STORES, indirect=True)
in_each_scene = pytest.mark.parametrize(
    ("store", "scene"),
    [
        *(("memory", scene) for scene in SCENES),
        *(("sqlite", scene) for scene in FEW_SCENES),
        *(("redis", scene) for scene in FEW_SCENES),
        *(("shards", scene) for scene in FEWEST_SCENES),
    ],
    ids=lambda value: getattr(value, "name", value),
    indirect=["store"],
)
in_few_scenes = pytest.mark.parametrize("scene", FEW_SCENES, ids=lambda scene: scene.name)


@in_each_scene
@pytest.mark.parametrize("fact", FACTS)
def test_an_event_at_any_moment_is_not_lost(store: str, scene: Scene, fact: str) -> None:
    """All ends fresh and true, and nothing is built more often than events came, plus once."""
    for world, walk in moments(store, scene):
        world.change(world.process(), fact)

        world.check_settled()
        walk.run()
        check_end(world, n_events=scene.n_events + 1)


@in_few_scenes
@pytest.mark.parametrize("fact", FACTS)
def test_a_change_at_any_moment_and_its_event_at_any_later_one(scene: Scene, fact: str) -> None:
    """Whatever was read between the change and the word of it."""
    n_between = 0
    is_done = False
    while not is_done:
        n_between += 1
        is_done = True
        for world, walk in moments("memory", scene):
            told = world.begin_change(fact)
            for _ in range(n_between):
                walk.step()
            is_done = is_done and walk.is_over
            world.publish(world.process(), told)

            world.check_settled()
            walk.run()
            check_end(world, n_events=scene.n_events + 1)


@in_few_scenes
@pytest.mark.parametrize("facts", [("a", "a"), ("a", "b"), ("c", "a")], ids="-".join)
def test_two_events_at_any_two_moments_are_not_lost(scene: Scene, facts: tuple[str, str]) -> None:
    """The second finds the first one's work half done."""
    n_between = 0
    is_done = False
    while not is_done:
        is_done = True
        for world, walk in moments("memory", scene):
            world.change(world.process(), facts[0])
            for _ in range(n_between):
                walk.step()
            is_done = is_done and walk.is_over
            world.change(world.process(), facts[1])

            world.check_settled()
            walk.run()
            check_end(world, n_events=scene.n_events + 2)
        n_between += 1


@in_each_scene
def test_a_death_at_any_moment_loses_nothing(store: str, scene: Scene) -> None:
    """Events come after it, the lease runs out, and others take over."""
    for world, walk in moments(store, scene):
        del walk
        other = world.process()
        for fact in FACTS:
            world.change(other, fact)
        world.clock.advance(LEASE_S)

        for name in world.stored():
            check_not_older(other.read(name).run(), world.published)
        other.drain()
        world.check_ended_well()


@in_each_scene
def test_who_awakes_after_the_lease_disturbs_nobody(store: str, scene: Scene) -> None:
    """Others took over, an event came, all is fresh; then the late one goes on and changes nothing of that."""
    for world, walk in moments(store, scene):
        floor = dict(world.published)
        world.clock.advance(LEASE_S)
        other = world.process()
        other.drain()
        world.change(other, "a")
        for name in world.names:
            other.read(name).run()
        other.drain()
        versions = {name: entry.version for name, entry in world.stored().items()}

        walk.run()

        check_reader(walk, floor)
        other.drain()
        world.check_ended_well()
        assert all(entry.version >= versions[name] for name, entry in world.stored().items())


@on_each_store
@pytest.mark.parametrize(("name", "fact"), [("a", "a"), ("half", "a"), ("tracked", "b"), ("switch", "a")])
def test_an_event_in_the_middle_of_a_build_leaves_it_dirty(store: str, name: str, fact: str) -> None:
    """The fact was looked at before it changed; the entry is built exactly once more."""
    with world_on(store) as world:
        walk = (process := world.process()).read(name)
        to_request(walk, Look)
        walk.step()
        world.change(world.process(), fact)

        walk.run()

        assert world.stored()[name].state is State.DIRTY
        process.drain()
        assert world.n_built[name] == 2
        world.check_ended_well()


@on_each_store
def test_an_event_below_in_the_middle_of_an_outer_build(store: str) -> None:
    """The inner value was read before it changed; both are built exactly once more."""
    with world_on(store) as world:
        walk = (process := world.process()).read("middle")
        to_request(walk, Commit)
        walk.step()
        to_request(walk, Commit)
        walk.step()
        for _ in range(2):
            world.change(world.process(), "a")

        walk.run()

        assert world.stored()["middle"].stale_since is not None
        process.drain()
        assert (world.n_built["half"], world.n_built["middle"], world.n_built["tracked"]) == (2, 2, 1)
        world.check_ended_well()


@on_each_store
def test_an_inner_value_that_comes_out_equal_builds_nothing_outside(store: str) -> None:
    """Half of one is half of nothing: the middle and the outer entry are settled by it."""
    with world_on(store) as world:
        (process := world.process()).read("middle").run()
        before = world.stored()["middle"]
        world.change(process, "a")
        assert world.stored()["middle"].state is State.SUSPECT

        process.drain()

        assert world.stored()["middle"] == before
        assert (world.n_built["half"], world.n_built["middle"]) == (2, 1)


def moments(store: str, scene: Scene) -> Iterator[tuple[World, Walk[Any]]]:
    """The scene again and again, each in a new world, one step further each time, until it is over."""
    n_steps = 0
    is_over = False
    while not is_over:
        with world_on(store) as world:
            walk = scene.begin(world, world.process())
            for _ in range(n_steps):
                walk.step()
            is_over = walk.is_over
            yield world, walk
        n_steps += 1


def to_request(walk: Walk[Any], kind: type) -> None:
    """Go on until the next request is of this kind."""
    while not isinstance(walk.request, kind):
        walk.step()


def check_reader(walk: Walk[Any], floor: dict[str, int]) -> None:
    """If the walk was a reader's, what it got misses nothing of what it must not miss."""
    if isinstance(walk.value, Entry):
        check_not_older(walk.value, floor)


def check_end(world: World, *, n_events: int) -> None:
    """When the queue is empty all is true, and nothing was built in vain."""
    world.check_settled()
    world.process().drain()
    world.check_ended_well()
    assert max(world.n_built.values()) <= n_events + 1, world.n_built
