"""Stage: the world as it runs in one simulation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from math import inf
from typing import Any, TypeVar

from everfresh.matching.shapes import grouped, shape_and_values
from everfresh.model.clock import Clock
from everfresh.model.dependency import Dependency
from everfresh.model.entry import Key
from everfresh.model.marks import override
from everfresh.protocol.requests import Load, Put, Steps, ask
from everfresh.testing.simulation.truths import Uses
from everfresh.testing.simulation.world import Build, Declared, SourceBroken, World, encoded, is_steps
from everfresh.testing.stepping import Building, Function, Look

A = TypeVar("A")


class Stage:
    """What is true now, and which sources do not answer."""

    def __init__(self, world: World, say: Callable[[str], int], uses: Uses, clock: Clock) -> None:
        self.world = world
        self.uses = uses
        """What each function was ever seen to ask for."""
        self.facts: dict[str, int] = dict.fromkeys(world.facts, 0)
        self.broken: set[str] = set()
        """Sources that do not answer until they are mended."""
        self.stumbling: set[str] = set()
        """Sources that do not answer the next one who asks."""
        self.failed_at: int | None = None
        """When a source last failed to answer, counted in what was told of here; None for never."""
        self.failed_time = -inf
        """When that was by the clock."""
        self.last_seen = next(iter(world.facts))
        """The fact that was looked at last."""
        self._say = say
        self._clock = clock
        self.functions = tuple(self._functions())

    def see(self, name: str) -> int:
        """Look at a fact now."""
        self.last_seen = name
        if name in self.broken or name in self.stumbling:
            self.stumbling.discard(name)
            self.failed_at = self._say(f"looks at {name}: no answer")
            self.failed_time = self._clock()
            raise SourceBroken(name)
        self._say(f"looks at {name}: {self.facts[name]}")
        return self.facts[name]

    def fetch(self, declared: Declared) -> Steps[bytes]:
        """Get what was put by hand; compute and put it if there is nothing, fenced by that miss."""
        key = Key(declared.name)
        loaded = yield from ask(Load(key))
        if loaded.entry is not None:
            return loaded.entry.value
        made = declared.run(_ByHand(self))
        data = encoded((yield from made) if is_steps(made) else made)
        yield from ask(
            Put(
                key=key,
                value=data,
                digest=data.hex(),
                groups=grouped(map(shape_and_values, declared.depends_on)),
                fence=loaded.position,
                expires_s=declared.expires_s,
            )
        )
        return data

    def _functions(self) -> Iterator[Function]:
        for declared in self.world.declared.values():
            if not declared.is_by_hand:
                yield Function(
                    declared.name, partial(self._run, declared), depends_on=declared.depends_on, policy=declared.policy
                )

    def _run(self, declared: Declared, building: Building) -> object:
        return declared.run(_Live(self, declared.name, building))


class _Live(Build):
    """A build that really happens."""

    def __init__(self, stage: Stage, name: str, building: Building) -> None:
        self._stage = stage
        self._name = name
        self._uses = stage.uses
        self._building = building

    @override
    def fact(self, name: str) -> Steps[int]:
        self._uses.see(self._name, name)
        return (yield from self._building.look(partial(self._stage.see, name)))

    @override
    def track(self, dependency: Dependency) -> Steps[None]:
        yield from self._building.track(dependency)

    @override
    def call(self, name: str) -> Steps[Any]:
        self._uses.see(self._name, name, is_call=True)
        return (yield from self._building.call(name))

    @override
    def peek(self, name: str) -> Steps[Any]:
        self._uses.see(self._name, name, is_call=True)
        return (yield from self._building.peek(name))


class _ByHand(Build):
    """What somebody does who computes a value to put it."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    @override
    def fact(self, name: str) -> Steps[int]:
        return (yield from ask(Look(partial(self._stage.see, name))))

    @override
    def track(self, dependency: Dependency) -> Steps[None]:
        raise TypeError(f"by hand: nothing is tracked outside a build. Give {dependency} in depends_on.")

    @override
    def call(self, name: str) -> Steps[Any]:
        raise TypeError(f"by hand: {name} cannot be called here. Ask for facts only.")

    @override
    def peek(self, name: str) -> Steps[Any]:
        raise TypeError(f"by hand: {name} cannot be peeked at here. Ask for facts only.")
