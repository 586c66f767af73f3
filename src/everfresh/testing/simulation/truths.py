"""Truths: every value that a function could have given while the facts went from one state to another.

A build looks at one fact after the other, and the world goes on meanwhile. So each look may have met any number
between the two states, each by itself, and each nested value is one that was possible for it. The function is run with
one choice after the other until all are tried.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from enum import Enum
from operator import mul
from typing import Any, NamedTuple, TypeVar, cast

import msgspec

from everfresh.model.dependency import Dependency
from everfresh.model.marks import override
from everfresh.protocol.requests import Steps
from everfresh.testing.simulation.world import Build, SourceBroken, World, encoded, is_steps

T = TypeVar("T")
Facts = tuple[int, ...]
"""How often each fact has changed, in the order of the world."""

# Beyond this a value counts as possible, and the report says how often that happened.
N_RUNS_MAX = 500
# Memory for a long soak; what is forgotten is computed again.
_N_KNOWN_MAX = 100_000
# Who needs one thing or another shows it within a few numbers; what is asked later is seen when it is.
_N_STATES_SEEN = 4
_FAILED = object()


class Leniency(Enum):
    """What besides the facts a value may have met."""

    SETTLED = "settled"
    """Nothing: it is stored and settled, so all that is below it is too."""
    BUILT = "built"
    """It was built: what it peeked at may have been as old as it liked."""
    TROUBLED = "troubled"
    """Besides, sources failed, so nested calls may have raised."""
    STOOD_IN = "stood in"
    """Besides, the last good value of a function that declares it may have stood in for one that failed."""


class _Question(NamedTuple):
    """What could the function have given? `old` is how far the facts were for the oldest value that may stand in."""

    name: str
    low: Facts
    high: Facts
    leniency: Leniency
    stored: frozenset[str] | None
    old: Facts = ()


class Uses:
    """Which facts and functions each function was ever seen to ask for."""

    def __init__(self, facts: Iterable[str], functions: Iterable[str]) -> None:
        self.n_seen = 0
        """How many were seen."""
        self._facts = tuple(facts)
        self._used: dict[str, set[str]] = {name: set() for name in functions}
        self._calling: set[str] = set()
        self._below: dict[str, frozenset[str]] = {}
        self._above: dict[str, tuple[str, ...]] = {}
        self._mask: dict[str, Facts] = {}

    def see(self, name: str, used: str, *, is_call: bool = False) -> None:
        """The function asks for the fact, or for the other function."""
        if is_call:
            self._calling.add(name)
        if used not in self._used[name]:
            self._used[name].add(used)
            self.n_seen += 1
            self._below.clear()
            self._above.clear()
            self._mask.clear()

    def is_leaf(self, name: str) -> bool:
        """Whether the function asks for facts only."""
        return name not in self._calling

    def below(self, name: str) -> frozenset[str]:
        """The facts and functions that the function was ever seen to need, directly or not."""
        found = self._below.get(name)
        if found is None:
            known: set[str] = set()
            frontier = [name]
            while frontier:
                new = self._used.get(frontier.pop(), set()) - known
                known |= new
                frontier.extend(new)
            found = self._below[name] = frozenset(known)
        return found

    def above(self, name: str) -> tuple[str, ...]:
        """The functions that were ever seen to need the fact or function, directly or not."""
        found = self._above.get(name)
        if found is None:
            found = self._above[name] = tuple(outer for outer in self._used if name in self.below(outer))
        return found

    def seen_from(self, name: str, facts: Facts) -> Facts:
        """The facts as far as the function was ever seen to need them; zero for all others."""
        mask = self._mask.get(name)
        if mask is None:
            below = self.below(name)
            mask = self._mask[name] = tuple(int(fact in below) for fact in self._facts)
        return tuple(map(mul, facts, mask))


class TooManyTruths(Exception):
    """There are more values that were possible than are tried."""


class Truths:
    """The possible values of one world's functions."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._index = {name: number for number, name in enumerate(world.facts)}
        self._known: dict[_Question, frozenset[bytes] | None] = {}
        self.uses = Uses(world.facts, world.declared)
        """What each function was ever seen to ask for."""
        self.n_unknown = 0
        """How often there were too many possible values to tell."""
        self._learn_uses()

    def is_possible(
        self, name: str, value: bytes, low: Facts, high: Facts, leniency: Leniency, *, old: Facts | None = None
    ) -> bool:
        """Whether the function could have given the value while the facts went from `low` to `high`.

        What stood in below is not older than `old`, None for as old as it likes.
        """
        plain = encoded(msgspec.msgpack.decode(value))
        old = old if leniency is Leniency.STOOD_IN and old is not None else (0,) * len(high)
        now = _Question(name, high, high, leniency, None, old)
        if plain in self._now(now) or (low != high and plain in self._now(now._replace(low=low, high=low))):
            return True
        try:
            return plain in self._possible(now._replace(low=low))
        except TooManyTruths:
            self.n_unknown += 1
            return True

    def is_true(self, name: str, value: bytes, facts: Facts, stored: frozenset[str]) -> bool:
        """Whether the function gives the value now, with what is stored of all that it may peek at."""
        question = _Question(name, facts, facts, Leniency.SETTLED, stored)
        return encoded(msgspec.msgpack.decode(value)) in self._possible(question)

    def _learn_uses(self) -> None:
        """Run each function with a few states of the facts, to see what it asks for."""
        n_facts = len(self._world.facts)
        for count in range(_N_STATES_SEEN):
            facts = (count,) * n_facts
            for name in self._world.declared:
                self._now(_Question(name, facts, facts, Leniency.TROUBLED, None))

    def _now(self, question: _Question) -> frozenset[bytes]:
        """What it gives when nothing changes meanwhile; cheap, and nearly always enough."""
        try:
            return self._possible(question)
        except TooManyTruths:
            return frozenset()

    def _possible(self, question: _Question) -> frozenset[bytes]:
        while True:
            n_seen = self.uses.n_seen
            asked = self._without_the_rest(question)
            if asked not in self._known:
                if len(self._known) > _N_KNOWN_MAX:
                    self._known.clear()
                try:
                    found = self._tried(asked)
                except TooManyTruths:
                    found = None
                if self.uses.n_seen != n_seen:
                    # It asked for a fact that was left out of the question.
                    continue
                self._known[asked] = found
            known = self._known[asked]
            if known is None:
                raise TooManyTruths
            return known

    def _without_the_rest(self, question: _Question) -> _Question:
        """The question for what it may need only, so that one answer serves for many states of the world."""
        seen_from = self.uses.seen_from
        return question._replace(
            low=seen_from(question.name, question.low),
            high=seen_from(question.name, question.high),
            old=seen_from(question.name, question.old) if question.leniency is Leniency.STOOD_IN else (),
        )

    def _tried(self, question: _Question) -> frozenset[bytes]:
        run = self._world.declared[question.name].run
        found: set[bytes] = set()
        waiting: list[tuple[int, ...]] = [()]
        n_runs = 0
        while waiting:
            n_runs += 1
            if n_runs > N_RUNS_MAX:
                raise TooManyTruths
            choices = waiting.pop()
            imagined = _Imagined(self, question, choices)
            with suppress(SourceBroken):
                found.add(encoded(_run(run, imagined)))
            for number in range(len(choices), len(imagined.taken)):
                before = tuple(choice for choice, _ in imagined.taken[:number])
                waiting.extend((*before, other) for other in range(1, imagined.taken[number][1]))
        return frozenset(found)

    def fact_options(self, question: _Question, name: str) -> Sequence[int]:
        """What a look at the fact may give."""
        self.uses.see(question.name, name)
        number = self._index[name]
        return range(question.low[number], question.high[number] + 1)

    def call_options(self, question: _Question, name: str) -> list[object]:
        """What a nested call may give, `_FAILED` for one that raises."""
        self.uses.see(question.name, name, is_call=True)
        low, options = question.low, list[object]()
        if question.leniency in (Leniency.TROUBLED, Leniency.STOOD_IN):
            options.append(_FAILED)
            if question.leniency is Leniency.STOOD_IN and self._stands_in(name):
                low = tuple(map(min, low, question.old))
        inner = question._replace(name=name, low=low)
        return [*map(msgspec.msgpack.decode, sorted(self._possible(inner))), *options]

    def _stands_in(self, name: str) -> bool:
        return self._world.declared[name].policy.bounds.stale_if_error_s > 0

    def peek_options(self, question: _Question, name: str) -> list[object]:
        """What a peek may find, None for nothing."""
        self.uses.see(question.name, name, is_call=True)
        stored, low = question.stored, question.low
        if stored is not None and name not in stored:
            return [None]
        if question.leniency is not Leniency.SETTLED:
            low = (0,) * len(low)
        inner = question._replace(name=name, low=low)
        found = [msgspec.msgpack.decode(value) for value in sorted(self._possible(inner))]
        return found if stored is not None else [*found, None]


class _Imagined(Build):
    """A build in which each question has several answers; the choices say which."""

    def __init__(self, truths: Truths, question: _Question, choices: tuple[int, ...]) -> None:
        self._truths = truths
        self._question = question
        self._choices = choices
        self.taken: list[tuple[int, int]] = []
        """Which answer each question got, of how many."""

    @override
    def fact(self, name: str) -> Steps[int]:
        return _at_once(cast("int", self._chosen(self._truths.fact_options(self._question, name))))

    @override
    def track(self, dependency: Dependency) -> Steps[None]:
        return _at_once(None)

    @override
    def call(self, name: str) -> Steps[Any]:
        found = self._chosen(self._truths.call_options(self._question, name))
        if found is _FAILED:
            raise SourceBroken(name)
        return _at_once(found)

    @override
    def peek(self, name: str) -> Steps[Any]:
        return _at_once(self._chosen(self._truths.peek_options(self._question, name)))

    def _chosen(self, options: Sequence[Any]) -> Any:  # noqa: ANN401 - values are of any type
        if not options:
            # What is below cannot be built in this way, so neither can this.
            raise SourceBroken
        number = len(self.taken)
        choice = self._choices[number] if number < len(self._choices) else 0
        self.taken.append((choice, len(options)))
        return options[choice]


def _at_once(value: T) -> Steps[T]:
    """The value, without a step."""
    yield from ()
    return value


def _run(run: Callable[[Build], Any], build: Build) -> object:
    value = run(build)
    if not is_steps(value):
        return value
    try:
        next(value)
    except StopIteration as stop:
        return stop.value
    raise TypeError("A function of the world asks only through its build: `yield from build.fact(...)`.")


def facts_of(counts: Mapping[str, int]) -> Facts:
    """The counts as a state."""
    return tuple(counts.values())
