"""A small world of facts and of functions over them, which knows what a strict reader must not miss.

A value says of each fact that it holds how far it had come when it was looked at: {"a/1": 3, "middle:half:a/2": 1}.
Facts only grow, so a value is too old for a reader exactly when one of its numbers is below what was published before.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

import msgspec

from everfresh.model.dependency import Id, Topic
from everfresh.model.entry import Entry, Key, OnChange, Terms
from everfresh.model.event import Event, Row
from everfresh.protocol.reading import is_settled
from everfresh.protocol.requests import Load, Policy, Steps
from everfresh.stores.memory import MemoryStore
from everfresh.stores.sqlite import SqliteStore
from everfresh.stores.store import Store
from everfresh.stores.urls import open_store
from everfresh.testing.clock import FakeClock
from everfresh.testing.stepping import Building, Function, Process
from tests.redis_servers import new_prefix

FACTS: tuple[str, ...] = ("a", "b", "c")
LEASE_S = 10.0
N_SHARDS = 16
# Thousands of files live for a moment each; where there is a file system in memory, nothing is flushed for them.
_RAM = Path("/dev/shm")  # noqa: S108 - TemporaryDirectory makes a folder of its own in there
DROPS = Policy(terms=Terms(on_change=OnChange.DROP))

# A part of a value that may be older than what was published: its function asked for it as it is.
_PEEKED = "peeked"

Value = dict[str, int]
Run = Callable[[Building], Steps[Value]]


class SourceBroken(Exception):
    """The upstream does not answer."""


class World:
    """Facts outside the cache, functions over them, and the store between, opened once or more."""

    # What was built from the same facts is the same in every world.
    _true_values: ClassVar[dict[tuple[object, ...], Value]] = {}

    def __init__(self, stores: Sequence[Store], clock: FakeClock) -> None:
        self.store = stores[0]
        self.clock = clock
        self._stores = cycle(stores)
        self.facts: dict[str, int] = dict.fromkeys(FACTS, 0)
        self.published: dict[str, int] = dict.fromkeys(FACTS, 0)
        self.broken: set[str] = set()
        self.n_built: Counter[str] = Counter()
        self._functions = tuple(self._make_functions())
        self.names = tuple(function.name for function in self._functions)

    def process(self) -> Process:
        """Another process over the same store."""
        return Process(next(self._stores), map(self._counted, self._functions), self.clock)

    def begin_change(self, fact: str) -> dict[str, int]:
        """A fact changes; what is to be told of it."""
        self.facts[fact] += 1
        return {fact: self.facts[fact]}

    def publish(self, process: Process, told: Mapping[str, int]) -> None:
        """Tell of facts, without a pause."""
        process.publish(*map(event_of, told)).run()
        self.note_published(told)

    def change(self, process: Process, fact: str) -> None:
        """A fact changes and that is told, without a pause."""
        self.publish(process, self.begin_change(fact))

    def note_published(self, told: Mapping[str, int]) -> None:
        """From now on, no strict reader may see less."""
        for fact, n in told.items():
            self.published[fact] = max(self.published[fact], n)

    def stored(self) -> dict[str, Entry]:
        """All entries that there are, by name."""
        loaded = {name: self.store.carry_out(Load(Key(name))).entry for name in self.names}
        return {name: entry for name, entry in loaded.items() if entry is not None}

    def true_value(self, name: str) -> Value:
        """What the function gives now, with what else is stored now."""
        situation = (name, *self.facts.values(), "dropped" in self.stored())
        if situation not in self._true_values:
            self._true_values[situation] = self._build_anew(name)
        return self._true_values[situation]

    def check_settled(self) -> None:
        """Whatever a strict reader would be served at once misses nothing that was published."""
        for entry in self.stored().values():
            if is_settled(entry, self.clock()):
                check_not_older(entry, self.published)

    def check_ended_well(self) -> None:
        """Every entry is fresh and true."""
        for name, entry in self.stored().items():
            assert (entry.state.value, value_of(entry)) == ("fresh", self.true_value(name)), entry

    def _build_anew(self, name: str) -> Value:
        process = Process(MemoryStore(clock=self.clock), self._functions, self.clock)
        if "dropped" in self.stored():
            process.read("dropped").run()
        return value_of(process.read(name).run())

    def _make_functions(self) -> Iterable[Function]:
        yield Function("a", self._look_at("a"), depends_on=(_topic("a"),))
        yield Function("half", self._look_at("a", divisor=2), depends_on=(_topic("a"),))
        yield Function("tracked", self._track("b"))
        yield Function("middle", _sum("half", "tracked"))
        yield Function("outer", _sum("middle", "a"))
        yield Function("switch", self._switch, depends_on=(_topic("a"),))
        yield Function("dropped", self._look_at("c"), depends_on=(_topic("c"),), policy=DROPS)
        yield Function("over", _sum("dropped", "half"))
        yield Function("makeshift", self._do_without, depends_on=(_topic("b"),))
        yield Function("peeking", self._peek, depends_on=(_topic("b"),))

    def _counted(self, function: Function) -> Function:
        def run(build: Building) -> object:
            self.n_built[function.name] += 1
            return function.run(build)

        return replace(function, run=run)

    def _look_at(self, fact: str, *, divisor: int = 1) -> Run:
        def run(build: Building) -> Steps[Value]:
            n = yield from build.look(lambda: self._fact(fact))
            return {f"{fact}/{divisor}": n // divisor}

        return run

    def _track(self, fact: str) -> Run:
        """Looks first and says so afterwards, as people write it; the shape is new to the store."""

        def run(build: Building) -> Steps[Value]:
            n = yield from build.look(lambda: self._fact(fact))
            yield from build.track(Id(_type_of(fact), fact))
            return {f"{fact}/1": n}

        return run

    def _switch(self, build: Building) -> Steps[Value]:
        """Needs one thing or another."""
        n = yield from build.look(lambda: self._fact("a"))
        name = "tracked" if n % 2 else "dropped"
        value = yield from build.call(name)
        return {"a/1": n, **_below(name, value)}

    def _do_without(self, build: Building) -> Steps[Value]:
        """Goes on when what is below it fails."""
        n = yield from build.look(lambda: self._fact("b"))
        try:
            value = yield from build.call("a")
        except SourceBroken:
            value = {}
        return {"b/1": n, **_below("a", value)}

    def _peek(self, build: Building) -> Steps[Value]:
        """Takes what is there, stale or not, and does without if need be."""
        n = yield from build.look(lambda: self._fact("b"))
        value = yield from build.peek("dropped")
        return {"b/1": n, **_below(_PEEKED, value or {})}

    def _fact(self, fact: str) -> int:
        if fact in self.broken:
            raise SourceBroken(fact)
        return self.facts[fact]


@contextmanager
def world_on(kind: str) -> Iterator[World]:
    """A new world on "memory", "sqlite" or a Redis server's URL with its shards; one that is shared is opened twice."""
    clock = FakeClock()
    with TemporaryDirectory(dir=_RAM if _RAM.is_dir() else None) as folder:
        if kind == "memory":
            stores: list[Store] = [MemoryStore(clock=clock)]
        elif kind.startswith("redis:"):
            url = f"{kind}&prefix={new_prefix()}"
            stores = [open_store(url, clock=clock) for _ in range(2)]
        else:
            stores = [SqliteStore(Path(folder) / "cache.db", clock=clock) for _ in range(2)]
        try:
            yield World(stores, clock)
        finally:
            for store in stores:
                store.close()


def event_of(fact: str) -> Event:
    """What is said when the fact changed."""
    image = {"id": fact}
    return Event("fact", {"name": fact}, row=Row(_type_of(fact), before=image, after=image))


def value_of(entry: Entry) -> Value:
    """The entry's value."""
    return msgspec.msgpack.decode(entry.value, type=Value)


def check_not_older(entry: Entry, floor: Mapping[str, int]) -> None:
    """The value misses nothing of what was published."""
    for name, n in value_of(entry).items():
        if _PEEKED in name:
            continue
        fact, _, divisor = name.rpartition(":")[2].partition("/")
        assert n >= floor[fact] // int(divisor), f"{entry.key} has {name} = {n}, published was {dict(floor)}: {entry}"


def _topic(fact: str) -> Topic:
    return Topic("fact", {"name": fact})


def _type_of(fact: str) -> str:
    return f"thing_{fact}"


def _sum(*names: str) -> Run:
    def run(build: Building) -> Steps[Value]:
        total: Value = {}
        for name in names:
            total |= _below(name, (yield from build.call(name)))
        return total

    return run


def _below(name: str, value: Value) -> Value:
    return {f"{name}:{inner}": n for inner, n in value.items()}
