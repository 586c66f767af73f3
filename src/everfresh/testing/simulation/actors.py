"""Actors: who walks over the stage. They go on step by step, end or die; after each step the promises are checked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar, cast

from everfresh.model.entry import Entry
from everfresh.model.errors import WaitTimeout
from everfresh.model.event import Event
from everfresh.model.marks import override
from everfresh.protocol.publishing import Published, invalidate, publish
from everfresh.protocol.queueing import Note
from everfresh.protocol.requests import NOTHING_OLD, Bounds, Commit, Extend, Fail, ReadFeed, Request, Steps
from everfresh.stores.store import Store
from everfresh.testing.clock import FakeClock
from everfresh.testing.passing import WatchedStore
from everfresh.testing.simulation.floors import Floors, Since
from everfresh.testing.simulation.keeping import Keeping
from everfresh.testing.simulation.promise import Broken, Promise
from everfresh.testing.simulation.promises import Promises
from everfresh.testing.simulation.stage import Stage
from everfresh.testing.simulation.trace import Trace
from everfresh.testing.simulation.truths import Truths
from everfresh.testing.simulation.world import SourceBroken, World
from everfresh.testing.stepping import Cancelled, Process, Walk

T = TypeVar("T")
Kinds = type[Request[Any]] | tuple[type[Request[Any]], ...]

# Longer than the lease of any function that does not say otherwise, so that whoever stands still loses it.
JUMP_S = 11.0
# As long as a lease holds that is renewed.
RENEWED_S = 10.0
# No history is that long: beyond it, something goes round and round.
N_STEPS_MAX = 20_000
# Nor does any single walk take so many steps in one go.
_N_STEPS_OF_ONE = 2_000


class Interrupted(BaseException):
    """A signal came while the store was in the middle of a step."""


class BreakableClock(FakeClock):
    """A clock that is read in every step of a store, so that an interrupt may be had there."""

    is_breaking = False

    @override
    def __call__(self) -> float:
        if self.is_breaking:
            self.is_breaking = False
            raise Interrupted
        return self.now

    def read(self) -> float:
        """What it says to whoever only looks on."""
        return self.now


@dataclass(eq=False, slots=True)
class Actor:
    """Somebody who walks."""

    name: str
    process: int
    walk: Walk[Any]
    on_end: Callable[[Any], None]
    fact: str | None = None
    """The fact that a publisher tells of."""
    told_at: int = 0
    """How much was noted when the newest word of a fact was told, as it came."""
    rebuilds: str | None = None
    """The function that is to be built whatever its state."""


class Picks:
    """Choices out of one number, one after the other."""

    def __init__(self, number: int) -> None:
        self._number = number

    def of(self, things: Sequence[T]) -> T:
        """One of the things."""
        self._number, n = divmod(self._number, len(things))
        return things[n]


class Actors:
    """All who walk in one history, their processes, and what they still have to tell."""

    def __init__(
        self,
        world: World,
        truths: Truths,
        stores: Sequence[Store],
        clock: BreakableClock,
        *,
        n_processes: int,
        has_room: bool = True,
    ) -> None:
        self.trace = Trace()
        self.stage = Stage(world, self.trace.say, truths.uses, clock.read)
        self.floors = Floors(self.stage, clock.read, lambda: self.trace.now)
        terms = {one.name: one.policy.terms for one in world.declared.values() if not one.is_by_hand}
        keeping = Keeping(terms, clock.read, has_room=has_room)
        self.promises = Promises(self.stage, truths, stores[0], clock.read, self.floors, keeping)
        for store in stores:
            store.listen(partial(self.promises.on_records, store))
        self.n_reads = 0
        self.n_told = 0
        self._clock = clock
        self._stores = stores
        self._names = [declared.name for declared in world.declared.values() if not declared.is_by_hand]
        self._by_hand = [declared for declared in world.declared.values() if declared.is_by_hand]
        self._patient = [declared.name for declared in world.declared.values() if declared.policy.bounds != NOTHING_OLD]
        self._leaves = [name for name in self._names if truths.uses.is_leaf(name)]
        self._facts = list(world.facts)
        self._told_facts = [fact for fact, said in world.facts.items() if said]
        self._outbox: list[str] = []
        self._actors: list[Actor] = []
        self._n_actors = 0
        self._processes = [self._process(number) for number in range(n_processes)]

    def _settle_down(self) -> None:
        for n in range(N_STEPS_MAX):
            if not self._actors:
                return
            free = [actor for actor in self._actors if not actor.walk.is_blocked]
            if free:
                self._step(free[n % len(free)])
            else:
                self._pass(JUMP_S)
        still = [f"{actor.name} before {self.trace.text_of(actor.walk.request)}" for actor in self._actors]
        raise Broken(Promise.NOTHING_STUCK, f"still walking: {still}")

    def _process(self, number: int) -> Process:
        store = self._stores[number % len(self._stores)]
        watched = WatchedStore(store, self._on_answer)
        return Process(watched, self.stage.functions, self._clock)

    def _on_answer(self, request: Request[Any], answer: Any) -> None:  # noqa: ANN401 - one answer type for each request
        if not isinstance(request, ReadFeed):
            self.trace.note(request, answer)
        self.promises.on_answer(request, answer)

    def _somewhere(self, picks: Picks) -> tuple[int, Process]:
        number = picks.of(range(len(self._processes)))
        return number, self._processes[number]

    def _enter(
        self, name: str, process: int, walk: Walk[T], on_end: Callable[[T], None], fact: str | None = None
    ) -> Actor:
        self._n_actors += 1
        actor = Actor(f"{self._n_actors} {name}", process, walk, on_end, fact, self.floors.now.said)
        self._actors.append(actor)
        return actor

    def _leave(self, actor: Actor) -> None:
        self.trace.say(f"{actor.name} dies before {self.trace.text_of(actor.walk.request)}")
        self._actors.remove(actor)
        if actor.fact is not None:
            # Whoever brings events brings those again that were not taken.
            self._outbox.append(actor.fact)

    def _run(self, actor: Actor, until: Kinds) -> None:
        for n in range(_N_STEPS_OF_ONE):
            if actor.walk.is_over or actor.walk.is_blocked:
                return
            if n and until and isinstance(actor.walk.request, until):
                return
            self._step(actor)
        raise Broken(Promise.NOTHING_STUCK, f"{actor.name} goes on and on")

    def _step(self, actor: Actor) -> None:
        self.trace.who = actor.name
        if actor.rebuilds is not None:
            self.promises.leasing.note_asked_for(actor.rebuilds)
        actor.walk.step()
        self._after(actor)

    def _after(self, actor: Actor) -> None:
        self.promises.check_step()
        if not actor.walk.is_over:
            return
        self._actors.remove(actor)
        error = actor.walk.error
        self.trace.say(f"{actor.name} ends" + (f": {error!r}" if error is not None else ""))
        if error is None:
            actor.on_end(actor.walk.value)
        elif isinstance(error, Cancelled):
            if actor.fact is not None:
                self._outbox.append(actor.fact)
        elif not self._is_allowed(actor, error):
            raise Broken(Promise.ONLY_ITS_ERRORS, f"{actor.name} met {error!r}") from error

    def _is_allowed(self, actor: Actor, error: Exception) -> bool:
        if isinstance(error, SourceBroken):
            # An older failure may have been mended since, as an event that was applied may say.
            return self.stage.failed_at is not None and self.stage.failed_at >= actor.told_at
        return isinstance(error, WaitTimeout)

    def _change(self, fact: str) -> bool:
        """The fact changes; whether somebody will tell of it."""
        self.stage.facts[fact] += 1
        self.trace.say(f"{fact} becomes {self.stage.facts[fact]}")
        if fact in self.stage.world.untold:
            self.floors.note_changed(fact)
            return False
        self._outbox.append(fact)
        return True

    def _change_and_tell(self, fact: str, picks: Picks) -> None:
        if self._change(fact):
            self._tell(self._outbox.pop(), picks)
            self._run(self._actors[-1], ())

    def _tell(self, fact: str, picks: Picks) -> None:
        number, process = self._somewhere(picks)
        said = self.stage.world.facts[fact]
        self.n_told += 1
        counts: list[int] = []

        def steps() -> Steps[Published]:
            """All that is said of the fact; it is told of as it was at the first step that was taken."""
            events = [one for one in said if isinstance(one, Event)]
            names = [one for one in said if not isinstance(one, Event)]
            published: Published | None = None
            if events:
                published = yield from publish(events, process.shapes)
                counts.append(self.stage.facts[fact])
            if names:
                published = yield from invalidate(names, process.shapes)
                counts.append(self.stage.facts[fact])
            return cast("Published", published)

        def note(published: Published) -> None:
            self.promises.note_told(fact, counts[0], published.applied.position)

        self._enter(f"publisher of {fact}", number, process.walk(steps()), note, fact)

    def _check_read(
        self, name: str, entry: Entry, since: Since, bounds: Bounds = NOTHING_OLD, *, is_strict: bool = True
    ) -> None:
        self.n_reads += 1
        what = f"a reader of {name}"
        self.promises.check_value(name, entry.value, since, bounds, what=what, is_strict=is_strict)

    def _by_somebody(self, request: Request[Any]) -> None:
        """A request that is no walk; nobody else waits for its answer."""
        self.trace.who = "somebody"
        self._processes[0].carry_out(request)
        self.promises.check_step()

    def _interrupt(self, actor: Actor) -> None:
        """The next step of the actor is interrupted, and they are gone."""
        self.trace.say(f"{actor.name} is interrupted in {self.trace.text_of(actor.walk.request)}")
        self._clock.is_breaking = True
        try:
            self._step(actor)
        except Interrupted:
            self._leave(actor)
            self.promises.check_step()
        finally:
            self._clock.is_breaking = False

    def _interrupt_store(self) -> None:
        """A step that changes nothing is interrupted."""
        self.trace.say("somebody is interrupted in Note")
        self._clock.is_breaking = True
        try:
            # A store of several shards asks none of them for this, and is not interrupted.
            with suppress(Interrupted):
                self._processes[0].carry_out(Note({}, {}))
        finally:
            self._clock.is_breaking = False
        self.promises.check_step()

    def _renew(self, actor: Actor) -> None:
        """The process of the build that stands before its end renews its lease."""
        request = cast("Commit | Fail", actor.walk.request)
        self.trace.who = actor.name
        self._processes[actor.process].carry_out(Extend((request.lease,), RENEWED_S))
        self.promises.check_step()

    def _pass(self, seconds: float) -> None:
        self._clock.advance(seconds)
        self.trace.say(f"{seconds:g} s pass")
        self.promises.note_time()
