"""History: many walks over one world, moved in any order, with the promises looked at after every step."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar, TypeVar

from everfresh.model.entry import Key
from everfresh.model.errors import WaitTimeout
from everfresh.protocol.requests import Delete, ReadFeed
from everfresh.testing.stepping import Walk
from tests.races.world import FACTS, LEASE_S, SourceBroken, World, check_not_older, event_of

T = TypeVar("T")
Move = tuple[str, int]

# Beyond the lease, so that whoever stands still loses it; beyond the longest wait between tries.
_JUMP_S = LEASE_S + 1.0
_LONG_S = 400.0
_MAX_ROUNDS = 400


class History:
    """Walks over one world; each method is something that happens, with a number that says to whom."""

    MOVES: ClassVar[dict[str, int]] = {
        "step": 12,
        "finish": 4,
        "read": 3,
        "refresh": 3,
        "rebuild": 1,
        "change": 3,
        "publish": 1,
        "crash": 1,
        "jump": 1,
        "toggle": 1,
        "delete": 1,
        "warm": 1,
    }
    """What may happen, and how often it does."""

    def __init__(self, world: World, *, n_processes: int = 2) -> None:
        self.world = world
        self._processes = [world.process() for _ in range(n_processes)]
        self._walks: list[tuple[Walk[Any], Callable[[Any], None]]] = []
        self._followed = world.store.carry_out(ReadFeed(None)).position
        self._version_of: dict[Key, int] = {}

    def play(self, moves: Sequence[Move]) -> None:
        """Everything that happens, then quiet; in the end all is fresh and true."""
        for name, n in moves:
            getattr(self, name)(n)
            self._check()
        self._end()

    def step(self, n: int) -> None:
        """Somebody's next request is carried out."""
        free = [walk for walk in self._walks if not walk[0].is_blocked]
        if not free:
            return
        self._step(*_nth(free, n))

    def finish(self, n: int) -> None:
        """Somebody goes on to the end, or until they have to wait."""
        if not self._walks:
            return
        walk, check = _nth(self._walks, n)
        while not walk.is_over and not walk.is_blocked:
            self._step(walk, check)
            self._check()

    def warm(self, _n: int) -> None:
        """Everything was read."""
        for name in self.world.names:
            self._walks.append((self._processes[0].read(name), _nothing))
            self.finish(-1)

    def read(self, n: int) -> None:
        """A strict reader comes."""
        check = partial(check_not_older, floor=dict(self.world.published))
        self._walks.append((_nth(self._processes, n).read(_nth(self.world.names, n)), check))

    def rebuild(self, n: int) -> None:
        """Somebody wants a value that is built now."""
        check = partial(check_not_older, floor=dict(self.world.published))
        self._walks.append((_nth(self._processes, n).rebuild(_nth(self.world.names, n)), check))

    def refresh(self, n: int) -> None:
        """A worker looks at the queue."""
        self._walks.append((_nth(self._processes, n).refresh(), _nothing))

    def change(self, n: int) -> None:
        """A fact changes, and somebody begins to publish it."""
        self.world.begin_change(_nth(FACTS, n))
        self.publish(n)

    def publish(self, n: int) -> None:
        """Somebody begins to publish a fact, whether it changed or not."""
        fact = _nth(FACTS, n)
        told = {fact: self.world.facts[fact]}
        walk = _nth(self._processes, n).publish(event_of(fact))
        self._walks.append((walk, lambda _: self.world.note_published(told)))

    def crash(self, n: int) -> None:
        """Somebody dies before the next request."""
        if self._walks:
            self._walks.remove(_nth(self._walks, n))

    def jump(self, _n: int) -> None:
        """All leases run out."""
        self.world.clock.advance(_JUMP_S)

    def toggle(self, n: int) -> None:
        """A source breaks, or is mended."""
        self.world.broken ^= {_nth(FACTS, n)}

    def delete(self, n: int) -> None:
        """Somebody deletes an entry."""
        self.world.store.carry_out(Delete((Key(_nth(self.world.names, n)),)))

    def _end(self) -> None:
        """All sources are mended and say so; whoever walks comes to the end; workers do the rest."""
        self.world.broken.clear()
        self.world.publish(self._processes[0], dict(self.world.facts))
        for _ in range(_MAX_ROUNDS):
            if not self._walks:
                break
            if all(walk.is_blocked for walk, _ in self._walks):
                self.jump(0)
            self.step(0)
            self._check()
        assert not self._walks, f"still walking: {[walk.request for walk, _ in self._walks]}"
        for _ in range(2):
            self.world.clock.advance(_LONG_S)
            self._processes[0].drain()
        self._check()
        self.world.check_ended_well()

    def _check(self) -> None:
        self.world.check_settled()
        batch = self.world.store.carry_out(ReadFeed(self._followed))
        self._followed = batch.position
        for record in batch.records:
            assert record.version >= self._version_of.get(record.key, 0), f"an older version after a newer: {record}"
            self._version_of[record.key] = record.version

    def _step(self, walk: Walk[Any], check: Callable[[Any], None]) -> None:
        walk.step()
        if walk.is_over:
            self._walks.remove((walk, check))
            _check_end(walk, check)


def _check_end(walk: Walk[T], check: Callable[[T], None]) -> None:
    if isinstance(walk.error, SourceBroken | WaitTimeout):
        return
    check(walk.value)


def _nothing(_: object) -> None:
    """Nothing is promised of it."""


def _nth(things: Sequence[T], n: int) -> T:
    return things[n % len(things)]
