"""Simulator: one history of a world, found by a seed or given move by move, played on a real store."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from weakref import WeakKeyDictionary

from everfresh.stores.memory import MemoryStore
from everfresh.stores.sqlite import SqliteStore
from everfresh.stores.store import Store
from everfresh.stores.tables import NO_ROOM_LIMIT, Room
from everfresh.testing.clock import FakeClock
from everfresh.testing.simulation.actors import BreakableClock
from everfresh.testing.simulation.moves import Move, moves_of
from everfresh.testing.simulation.play import Play
from everfresh.testing.simulation.promise import Broken, Promise
from everfresh.testing.simulation.standard import standard_world
from everfresh.testing.simulation.truths import Truths
from everfresh.testing.simulation.world import World

OpenStores = Callable[[FakeClock], Sequence[Store]]
"""Opens one new store, once or, as by several processes, more than once; all on the clock."""

# Thousands of files live for a moment each; where there is a file system in memory, nothing is flushed for them.
_RAM = Path("/dev/shm")  # noqa: S108 - TemporaryDirectory makes a folder of its own in there
_N_PROCESSES = 3
_truths_of: WeakKeyDictionary[World, Truths] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What happened in a history that kept every promise."""

    n_moves: int
    n_requests: int
    n_reads: int
    n_events: int
    n_builds: int
    n_unknown: int


class PromiseBroken(AssertionError):
    """A history broke a promise; the message says which, how to replay it, and what everybody did."""

    def __init__(self, broken: Broken, moves: Sequence[Move], replay: str, trace: Sequence[str]) -> None:
        self.promise: Promise = broken.promise
        """The promise."""
        self.moves = tuple(moves)
        """The history."""
        steps = "\n".join(trace)
        super().__init__(f"{broken}\n\nReplay it:\n    {replay}\n\nWhat happened:\n{steps}")


class Simulator:
    """Plays one history of a world and checks every promise on the way.

    A history is found by its `seed` and length, or given as `moves`; either way it is the same each time. Without a
    world it is the standard one. `store` is "memory", "sqlite", or a function that opens another store; `room` limits
    what the first two hold, and says of another that it may drop what it has no room for.
    """

    def __init__(
        self,
        world: World | None = None,
        *,
        seed: int = 0,
        n_steps: int = 80,
        moves: Sequence[tuple[str, int]] | None = None,
        store: str | OpenStores = "memory",
        room: Room = NO_ROOM_LIMIT,
    ) -> None:
        self.world = _STANDARD if world is None else world
        self.moves = moves_of(seed, n_steps) if moves is None else [Move(*move) for move in moves]
        """The history."""
        self._how = f"seed={seed}, n_steps={n_steps}" if moves is None else ""
        self._store = store
        self._room = room

    def run(self) -> Report:
        """Play the history.

        Raises:
            PromiseBroken: it breaks a promise.
        """
        truths = _truths_of.setdefault(self.world, Truths(self.world))
        n_unknown = truths.n_unknown
        with _opened(self._store, self._room) as (stores, clock):
            has_room = self._room == NO_ROOM_LIMIT
            play = Play(self.world, truths, stores, clock, n_processes=_N_PROCESSES, has_room=has_room)
            try:
                play.play(self.moves)
            except Broken as broken:
                raise PromiseBroken(broken, self.moves, self._replay(), play.trace.lines()) from broken
        return Report(
            n_moves=len(self.moves),
            n_requests=play.trace.n_requests,
            n_reads=play.n_reads,
            n_events=play.n_told,
            n_builds=sum(play.promises.leasing.n_leases.values()),
            n_unknown=truths.n_unknown - n_unknown,
        )

    def shortened(self) -> Simulator:
        """The same with as few moves as still break the same promise; itself when none is broken."""
        promise = self._broken(self.moves)
        moves, size = list(self.moves), max(1, len(self.moves) // 2)
        while promise is not None:
            start = 0
            n_before = len(moves)
            while start < len(moves):
                fewer = moves[:start] + moves[start + size :]
                if self._broken(fewer) is promise:
                    moves = fewer
                else:
                    start += size
            if size == 1 and len(moves) == n_before:
                break
            size = max(1, size // 2)
        return Simulator(self.world, moves=moves, store=self._store, room=self._room)

    def _broken(self, moves: Sequence[tuple[str, int]]) -> Promise | None:
        try:
            Simulator(self.world, moves=moves, store=self._store, room=self._room).run()
        except PromiseBroken as broken:
            return broken.promise
        return None

    def _replay(self) -> str:
        how = self._how or f"moves={[tuple(move) for move in self.moves]}"
        world = "" if self.world is _STANDARD else f"{self.world.text}, "
        store = f", store={self._store!r}" if isinstance(self._store, str) else ", store=..."
        room = "" if self._room == NO_ROOM_LIMIT else f", room={self._room}"
        return f"Simulator({world}{how}{store}{room}).run()"


@contextmanager
def _opened(store: str | OpenStores, room: Room) -> Generator[tuple[Sequence[Store], BreakableClock]]:
    clock = BreakableClock()
    with TemporaryDirectory(dir=_RAM if _RAM.is_dir() else None) if store == "sqlite" else _nowhere() as folder:
        if not isinstance(store, str):
            stores = store(clock)
        elif store == "sqlite":
            # Opened twice, as by two processes.
            stores = [SqliteStore(Path(folder) / "cache.db", clock=clock, room=room) for _ in range(2)]
        else:
            stores = [MemoryStore(clock=clock, room=room)]
        try:
            yield stores, clock
        finally:
            for one in stores:
                one.close()


@contextmanager
def _nowhere() -> Generator[str]:
    yield ""


_STANDARD = standard_world()
