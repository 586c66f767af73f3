"""The standard world: every kind of function that the rules know, and nesting that is deep and full of equal values."""

from __future__ import annotations

import random
from collections.abc import Sequence

from everfresh.model import conditions
from everfresh.model.dependency import Dependency, Id, Scope, Tag, Topic
from everfresh.model.entry import OnChange, Terms
from everfresh.model.event import Event, Row
from everfresh.protocol.requests import Bounds, Policy, Steps
from everfresh.testing.simulation.world import Build, Run, Say, SourceBroken, World

_DROPS = Policy(terms=Terms(on_change=OnChange.DROP))
_STANDS_IN = Policy(bounds=Bounds(stale_if_error_s=30.0))
_WAITS = Policy(terms=Terms(debounce_s=2.0, max_wait_s=20.0))
_LOOKS_AGAIN = Policy(terms=Terms(settle_s=(1.0, 15.0)))
_EXPIRES = Policy(terms=Terms(expires_s=25.0))
_SERVES_OLD = Policy(bounds=Bounds(stale_while_revalidate_s=5.0, stale_if_error_s=5.0))
_ENDS = Policy(bounds=Bounds(stale_while_revalidate_s=5.0, stale_if_error_s=12.0), terms=Terms(expires_s=25.0))
_GETS_COLD = Policy(terms=Terms(keep_warm_s=20.0))
_HURRIES = Policy(
    bounds=_SERVES_OLD.bounds,
    terms=Terms(job_expires_s=8.0, debounce_s=1.0, max_wait_s=5.0),
    first_retry_s=30.0,
)
_POLICIES = (
    *(None, None, None, None),
    *(_DROPS, _STANDS_IN, _WAITS, _LOOKS_AGAIN, _EXPIRES, _SERVES_OLD, _ENDS, _GETS_COLD, _HURRIES),
)
# Of the fact "u" nobody tells; so long may what was seen of it be served as fresh.
_UNTOLD = {"u": 25.0}
_N_LEAVES_MAX = 4


def standard_world() -> World:
    """Six facts, and functions of every kind over them, up to five levels deep."""
    world = World(
        {"a": [_event("a")], "b": [_change("b")], "c": [_event("c")], "d": [Tag("d")], "e": [_move("e")]},
        untold=_UNTOLD,
    )
    world.function(_looks_at("a"), name="a", depends_on=[_topic("a")])
    world.function(_looks_at("a", 2), name="half", depends_on=[_topic("a")])
    world.function(_looks_at("a", 3), name="third", depends_on=[_topic("a")])
    world.function(_tracks("b", "b"), name="tracked")
    world.function(_looks_at("c"), name="dropped", depends_on=[_topic("c")], policy=_DROPS)
    world.function(_looks_at("d", 2), name="tagged", depends_on=[Tag("d")], policy=_STANDS_IN)
    world.by_hand(name="handmade", depends_on=[_topic("c")])(_looks_at("c"))
    _add_nested(world)
    _add_timed(world)
    return world


def random_world(seed: int) -> World:
    """Facts and functions drawn by chance: one to four levels, small values that are often equal."""
    dice = random.Random(seed)  # noqa: S311 - it must be repeatable
    trackers = [f"leaf{number}" for number in range(_N_LEAVES_MAX)]
    # Each function that tracks has a type of its own, whose shape is new to the store when it is first built.
    facts: dict[str, list[Say]] = {
        "a": [_event("a")],
        "b": [_event("b"), *map(_change, trackers)],
        "c": [Tag("c")],
        "e": list(map(_move, trackers)),
    }
    world = World(facts, untold=_UNTOLD, text=f"random_world({seed})")
    levels: list[list[str]] = [[]]
    for number in range(dice.randint(1, _N_LEAVES_MAX)):
        levels[0].append(f"leaf{number}")
        _add_leaf(world, f"leaf{number}", dice)
    for level in range(1, dice.randint(2, 5)):
        below = [name for names in levels for name in names]
        levels.append([f"level{level}.{number}" for number in range(dice.randint(1, 2))])
        for name in levels[level]:
            used = [dice.choice(levels[level - 1]), *dice.sample(below, min(len(below), dice.randint(0, 2)))]
            world.function(_sums(used, dice.choice((1, 1, 2, 3))), name=name, policy=dice.choice(_POLICIES))
    return world


def _add_nested(world: World) -> None:
    """Functions that need others, always or at times, and lists."""
    world.function(_pair("half", "tracked"), name="middle")
    world.function(_pair("middle", "third"), name="outer")
    world.function(_pair("outer", "half"), name="top")
    world.function(_pair("top", "tagged"), name="roof")
    world.function(_pair("dropped", "half"), name="over")
    world.function(_looks_at("a", modulus=2), name="parity", depends_on=[_topic("a")])
    world.function(_pair("parity", "parity"), name="twice")
    world.function(_switch, name="switch", depends_on=[_topic("a")])
    world.function(_does_without, name="makeshift", depends_on=[Id("thing_b", "b")])
    world.function(_peeks, name="peeking", depends_on=[_topic("a")])
    for number, scope in enumerate(_scopes("e")):
        if number % 2:
            world.function(_looks_at("e", number + 1), name=f"listed{number}", depends_on=[scope])
        else:
            world.function(_tracks_first("e", scope), name=f"found{number}")


def _add_timed(world: World) -> None:
    """Functions whose entries are served for a while, wait for a while, or go after a while."""
    world.function(_looks_at("c"), name="waits", depends_on=[_topic("c")], policy=_WAITS)
    world.function(_looks_at("c", 3), name="looks again", depends_on=[_topic("c")], policy=_LOOKS_AGAIN)
    world.function(_pair("found0", "listed1", "looks again"), name="expires", policy=_EXPIRES)
    world.function(_looks_at_both("d", "u"), name="ends", depends_on=[Tag("d")], policy=_ENDS)
    world.function(_pair("ends", "found4"), name="wears", policy=_SERVES_OLD)
    world.function(_looks_at("c"), name="serves old", depends_on=[_topic("c")], policy=_SERVES_OLD)
    world.function(_looks_at("d"), name="gets cold", depends_on=[Tag("d")], policy=_GETS_COLD)
    world.function(_pair("gets cold", "serves old"), name="hurries", policy=_HURRIES)


def _add_leaf(world: World, name: str, dice: random.Random) -> None:
    fact, policy = dice.choice("abc"), dice.choice(_POLICIES)
    match dice.choice(("looks", "looks", "parity", "tracks", "tracks", "forks", "lists", "ends")):
        case "ends":
            world.function(_looks_at_both("c", "u"), name=name, depends_on=[Tag("c")], policy=_ENDS)
        case "lists":
            world.function(_tracks_first("e", dice.choice(_scopes(name))), name=name, policy=policy)
        case "tracks":
            world.function(_tracks("b", name), name=name, policy=policy)
        case "forks":
            world.function(_forks, name=name, depends_on=[_topic("a")], policy=policy)
        case "parity":
            world.function(_looks_at(fact, modulus=2), name=name, depends_on=_DEPENDS_ON[fact], policy=policy)
        case _:
            run = _looks_at(fact, dice.choice((1, 2, 3)))
            world.function(run, name=name, depends_on=_DEPENDS_ON[fact], policy=policy)


def _event(fact: str) -> Event:
    return Event("fact", {"name": fact})


def _change(id_: str) -> Event:
    return Event("thing.update", row=Row(f"thing_{id_}", before={"id": id_}, after={"id": id_}))


def _move(id_: str) -> Event:
    """Something falls from level 9 to level 3, of a type of its own."""
    before = {"id": id_, "kind": "x", "level": 9, "tags": ["old", "both"]}
    after = {"id": id_, "kind": "x", "level": 3, "tags": ["both", "new"]}
    return Event("row.moved", row=Row(f"row_{id_}", before=before, after=after))


def _scopes(id_: str) -> list[Scope]:
    """Lists that it enters, leaves, or in which it moves."""
    type_ = f"row_{id_}"
    return [
        Scope(type_, {"kind": "x", "level": conditions.gt(5)}),
        Scope(type_, {"kind": conditions.one_of("x", "y"), "level": conditions.between(1, 4)}),
        Scope(type_, {"kind": conditions.startswith("x")}, watch=("level",)),
        Scope(type_, {"tags": "new", "gone": conditions.is_null()}),
        Scope(type_, {"kind": conditions.not_("y"), "level": conditions.lt(9)}, mode="any"),
    ]


def _topic(fact: str) -> Topic:
    return Topic("fact", {"name": fact})


def _looks_at(fact: str, divisor: int = 1, *, modulus: int = 1_000) -> Run:
    def run(build: Build) -> Steps[int]:
        return (yield from build.fact(fact)) // divisor % modulus

    return run


def _looks_at_both(told: str, untold: str) -> Run:
    def run(build: Build) -> Steps[int]:
        count = yield from build.fact(told)
        return count * 100 + (yield from build.fact(untold))

    return run


def _tracks(fact: str, id_: str) -> Run:
    """Looks first and says so afterwards, as people write it; the shape is new to the store."""

    def run(build: Build) -> Steps[int]:
        count = yield from build.fact(fact)
        yield from build.track(Id(f"thing_{id_}", id_))
        return count

    return run


def _pair(*names: str) -> Run:
    def run(build: Build) -> Steps[list[object]]:
        found: list[object] = []
        for name in names:
            value = yield from build.call(name)
            found.append(value)
        return found

    return run


def _tracks_first(fact: str, dependency: Dependency) -> Run:
    """Says what it depends on, and then looks."""

    def run(build: Build) -> Steps[int]:
        yield from build.track(dependency)
        return (yield from build.fact(fact))

    return run


_DEPENDS_ON: dict[str, list[Dependency]] = {"a": [_topic("a")], "b": [_topic("b")], "c": [Tag("c")]}


def _sums(names: Sequence[str], divisor: int) -> Run:
    def run(build: Build) -> Steps[int]:
        total = 0
        for name in names:
            total += yield from build.call(name)
        return total // divisor

    return run


def _forks(build: Build) -> Steps[int]:
    """Looks at one thing or another, and says so afterwards."""
    if (yield from build.fact("a")) % 2:
        count = yield from build.fact("b")
        yield from build.track(_topic("b"))
    else:
        count = yield from build.fact("c")
        yield from build.track(Tag("c"))
    return count


def _switch(build: Build) -> Steps[list[object]]:
    """Needs one thing or another."""
    count = yield from build.fact("a")
    return [count, (yield from build.call("tracked" if count % 2 else "dropped"))]


def _does_without(build: Build) -> Steps[list[object]]:
    """Goes on when what is below it fails."""
    count = yield from build.fact("b")
    try:
        return [count, (yield from build.call("a"))]
    except SourceBroken:
        return [count, None]


def _peeks(build: Build) -> Steps[list[object]]:
    """Takes what is there, stale or not, and does without if need be."""
    count = yield from build.fact("a")
    by_hand = yield from build.peek("handmade")
    return [count, by_hand, (yield from build.peek("dropped"))]
