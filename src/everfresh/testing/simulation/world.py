"""World: what a simulation is about. Facts that change, what is said when they do, and cached functions over them.

A fact is a number that says how often it changed; what a function makes of it is the function's affair. A function is
written as a generator, with a step wherever it asks for something, so that anything can happen in between:

    world = World({"price": [Event("price.changed")], "stock": [Id("stock", 7)]})

    @world.function(depends_on=[Topic("price.*")])
    def price(build: Build) -> Steps[int]:
        return (yield from build.fact("price")) // 2

    @world.function()
    def offer(build: Build) -> Steps[list[int]]:
        cost = yield from build.call("price")
        left = yield from build.fact("stock")
        yield from build.track(Id("stock", 7))
        return [cost, left]
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeGuard, cast

import msgspec

from everfresh.model.dependency import Dependency
from everfresh.model.event import Event
from everfresh.protocol.requests import Policy, Steps

Say = Event | Dependency
"""What is said when a fact changed: an event to publish, or a name to invalidate."""


class SourceBroken(Exception):
    """The upstream of a fact does not answer. A function may catch it and do without what it called."""


class Build(Protocol):
    """What a function may ask for while it builds; each is a step of its own."""

    def fact(self, name: str) -> Steps[int]:
        """How often the fact has changed by now.

        Raises:
            SourceBroken: its source does not answer now.
        """
        ...

    def track(self, dependency: Dependency) -> Steps[None]:
        """Depend on it from here on."""
        ...

    def call(self, name: str) -> Steps[Any]:
        """The value of another function; what its build raises is raised."""
        ...

    def peek(self, name: str) -> Steps[Any]:
        """The stored value of another function or by hand, whatever its state; None when there is none."""
        ...


Run = Callable[[Build], "Steps[Any] | object"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """A function of the world; one that is put by hand has no recipe, and whoever misses it computes and puts it."""

    name: str
    run: Run
    depends_on: tuple[Dependency, ...] = ()
    policy: Policy = field(default_factory=Policy)
    is_by_hand: bool = False
    expires_s: float | None = None


class World:
    """Facts by name, each with what is said when it changed, and functions over them.

    Of an `untold` fact nobody says when it changes; so what is seen of it must expire, and the number is within how
    many seconds: each function that looks at it has that for `expires_s`, or less.

    One world serves any number of simulations: it holds what was declared and nothing that happens.
    """

    def __init__(
        self, facts: Mapping[str, Sequence[Say]], *, untold: Mapping[str, float] | None = None, text: str = "world"
    ) -> None:
        self.text = text
        """How a failure names it to whoever replays it."""
        self.untold = dict(untold or {})
        """The facts that change unsaid, each with how long what was seen of it may be served."""
        self.facts: dict[str, tuple[Say, ...]] = {name: tuple(said) for name, said in facts.items()}
        """All facts, each with what is said of it."""
        self.facts.update(dict.fromkeys(self.untold, ()))
        self.declared: dict[str, Declared] = {}

    def function(
        self,
        run: Run | None = None,
        *,
        name: str = "",
        depends_on: Iterable[Dependency] = (),
        policy: Policy | None = None,
    ) -> Callable[[Run], Run]:
        """Declare a cached function without arguments; its name is its key. A family of calls is declared in a loop.

        `policy` says what `@cache.cached` says: bounds, whether it drops on change, its lease and its retries.
        """

        def declare(run: Run) -> Run:
            self._add(
                Declared(name=name or run.__name__, run=run, depends_on=tuple(depends_on), policy=policy or Policy())
            )
            return run

        return declare if run is None else cast("Callable[[Run], Run]", declare(run))

    def by_hand(
        self, *, name: str = "", depends_on: Iterable[Dependency] = (), expires_s: float | None = None
    ) -> Callable[[Run], Run]:
        """Declare a value that is put by hand: whoever looks and finds nothing computes it so, and puts it.

        It may ask for facts only.
        """

        def declare(run: Run) -> Run:
            dependencies = tuple(depends_on)
            self._add(
                Declared(
                    name=name or run.__name__, run=run, depends_on=dependencies, is_by_hand=True, expires_s=expires_s
                )
            )
            return run

        return declare

    def _add(self, declared: Declared) -> None:
        if declared.name in self.declared:
            raise ValueError(f"world: there are two functions {declared.name!r}. Give one of them another name.")
        self.declared[declared.name] = declared


def is_steps(value: object) -> TypeGuard[Steps[Any]]:
    """Whether a function was written with steps."""
    return isinstance(value, Generator)


def encoded(value: object) -> bytes:
    """A value as the store keeps it, mappings in one order."""
    return msgspec.msgpack.encode(value, order="sorted")
