"""Play: many walks over one stage, moved in any order. It does what a move says, and has the promises looked at."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import TypeVar, cast

from everfresh.model.entry import Entry, Key
from everfresh.protocol.queueing import TakeDue
from everfresh.protocol.requests import (
    Begin,
    Bounds,
    Commit,
    Delete,
    Extend,
    Fail,
    Load,
    Register,
)
from everfresh.testing.simulation.actors import JUMP_S, N_STEPS_MAX, Actors, Kinds, Picks
from everfresh.testing.simulation.moves import Move
from everfresh.testing.simulation.promises import Broken, Promise
from everfresh.testing.stepping import Look

T = TypeVar("T")

# Longer than the longest wait between two tries.
_LONG_S = 400.0
_BOUNDS = tuple(
    Bounds(stale_while_revalidate_s=while_refreshed_s, stale_if_error_s=if_error_s)
    for while_refreshed_s, if_error_s in ((inf, inf), (5.0, 0.0), (0.0, 5.0), (15.0, 15.0), (0.0, 0.0))
)
# A walk can be left standing before these: what happens there is what races are made of.
_HOLDS: tuple[Kinds, ...] = (
    Commit,
    Commit,
    Look,
    Look,
    Begin,
    Register,
    (Load, TakeDue),
)


class Play(Actors):
    """One history as it happens; each move is a method."""

    def play(self, moves: Sequence[Move]) -> None:
        """Everything that happens, then quiet.

        Raises:
            Broken: a promise.
        """
        for name, number in moves:
            getattr(self, name)(Picks(number))
        self._end()

    # ------------------------------------------------------------------------------------------------ who goes on

    def step(self, picks: Picks) -> None:
        """Somebody's next request is carried out."""
        free = [actor for actor in self._actors if not actor.walk.is_blocked]
        if free:
            self._step(picks.of(free))

    def finish(self, picks: Picks) -> None:
        """Somebody goes on to the end, or until they have to wait."""
        if self._actors:
            self._run(picks.of(self._actors), ())

    def hold(self, picks: Picks) -> None:
        """Somebody goes on until just before a commit, a lease, a look, or just after a look."""
        if self._actors:
            actor, hold = picks.of(self._actors), picks.of(_HOLDS)
            self._run(actor, hold)
            if hold is Look and isinstance(actor.walk.request, Look) and picks.of((False, True, True)):
                self._step(actor)

    # ------------------------------------------------------------------------------------------------ who comes

    def read(self, picks: Picks) -> None:
        """A strict reader comes."""
        name, floor = picks.of(self._names), self.promises.floor
        number, process = self._somewhere(picks)
        self._enter(f"reader of {name}", number, process.read(name), lambda entry: self._check_read(name, entry, floor))

    def read_after(self, picks: Picks) -> None:
        """A reader comes who knows a position."""
        if not self.promises.positions:
            return
        name, (position, floor) = picks.of(self._names), picks.of(self.promises.positions[-7:])
        number, process = self._somewhere(picks)
        self._enter(
            f"reader of {name} after {position.sequence}",
            number,
            process.read(name, after=position),
            lambda entry: self._check_read(name, entry, floor),
        )

    def read_within(self, picks: Picks) -> None:
        """A reader comes who takes something older."""
        name, bounds = picks.of(self._names), picks.of(_BOUNDS)
        number, process = self._somewhere(picks)
        floor = self.promises.floor_at(self._clock() - bounds.stale_while_revalidate_s)
        floor_in_trouble = self.promises.floor_at(self._clock() - bounds.stale_if_error_s)

        def check(entry: Entry) -> None:
            self._check_read(
                name,
                entry,
                min(floor, floor_in_trouble) if self.stage.failed_at is not None else floor,
                is_strict=False,
            )

        self._enter(f"lenient reader of {name} {bounds}", number, process.read(name, bounds), check)

    def rebuild(self, picks: Picks) -> None:
        """Somebody wants a value that is built now."""
        name, floor = picks.of(self._names), self.promises.floor
        number, process = self._somewhere(picks)

        def check(entry: Entry) -> None:
            self._check_read(name, entry, floor, is_strict=False)

        rebuilder = self._enter(f"rebuilder of {name}", number, process.rebuild(name), check)
        rebuilder.rebuilds = name

    def refresh(self, picks: Picks) -> None:
        """A worker looks at the queue."""
        number, process = self._somewhere(picks)
        self._enter("worker", number, process.refresh(), _nothing)

    def fetch(self, picks: Picks) -> None:
        """Somebody wants what is put by hand."""
        if not self._by_hand:
            return
        declared, floor = picks.of(self._by_hand), self.promises.floor
        number, process = self._somewhere(picks)

        def check(value: bytes) -> None:
            self.promises.check_value(declared.name, value, floor, what=f"who wanted {declared.name}")

        self._enter(f"who wants {declared.name}", number, process.walk(self.stage.fetch(declared)), check)

    def warm(self, _: Picks) -> None:
        """Everything was read."""
        for name in self._names:
            self._enter(f"reader of {name}", 0, self._processes[0].read(name), _nothing)
            self._run(self._actors[-1], ())

    # ------------------------------------------------------------------------------------------------ what changes

    def change(self, picks: Picks) -> None:
        """A fact changes; word of it will follow."""
        self._change(picks.of(self._facts))

    def publish(self, picks: Picks) -> None:
        """Somebody begins to tell of a change, not always of the oldest."""
        if self._outbox:
            self._tell(self._outbox.pop(picks.of(range(len(self._outbox)))), picks)

    def again(self, picks: Picks) -> None:
        """An event comes once more."""
        self._tell(picks.of(self._facts), picks)

    def tell(self, picks: Picks) -> None:
        """A fact changes and that is told at once."""
        self._change_and_tell(picks.of(self._facts), picks)

    def strike(self, picks: Picks) -> None:
        """The fact that was looked at last changes, and that is told at once: whoever looked is too late."""
        self._change_and_tell(self.stage.last_seen, picks)

    def delete(self, picks: Picks) -> None:
        """Somebody deletes an entry."""
        name = picks.of([*self.stage.world.declared])
        _, process = self._somewhere(picks)
        self.trace.who = "somebody"
        process.carry_out(Delete((Key(name),)))
        self.promises.check_step()

    # ------------------------------------------------------------------------------------------------ what goes wrong

    def crash(self, picks: Picks) -> None:
        """Somebody dies before the next request."""
        if self._actors:
            self._leave(picks.of(self._actors))

    def die(self, picks: Picks) -> None:
        """A process dies, and another comes in its place, which knows nothing yet."""
        number = picks.of(range(len(self._processes)))
        for actor in [actor for actor in self._actors if actor.process == number]:
            self._leave(actor)
        self._processes[number] = self._process(number)

    def cancel(self, picks: Picks) -> None:
        """Somebody is not wanted any more."""
        if self._actors:
            actor = picks.of(self._actors)
            self.trace.say(f"{actor.name} is cancelled before {self.trace.text_of(actor.walk.request)}")
            actor.walk.cancel()
            self._after(actor)

    def jump(self, _: Picks) -> None:
        """All leases run out."""
        self._pass(JUMP_S)

    def tick(self, picks: Picks) -> None:
        """A little time passes; leases hold."""
        self._pass(picks.of((1.0, 4.0)))

    def extend(self, picks: Picks) -> None:
        """Somebody's process renews the lease of the build."""
        held = [actor for actor in self._actors if isinstance(actor.walk.request, Commit | Fail)]
        if held:
            actor = picks.of(held)
            request = cast("Commit | Fail", actor.walk.request)
            self.trace.who = actor.name
            self._processes[actor.process].carry_out(Extend((request.lease,), 10.0))
            self.promises.check_step()

    def toggle(self, picks: Picks) -> None:
        """A source breaks, or is mended."""
        self.stage.broken ^= {picks.of(self._facts)}
        self.trace.say(f"broken are now {sorted(self.stage.broken)}")

    def fall(self, picks: Picks) -> None:
        """A fact changes, that is told, and its source answers nobody who wants to know more."""
        fact = picks.of(self._facts)
        self._change_and_tell(fact, picks)
        self.stage.broken.add(fact)
        self.trace.say(f"broken are now {sorted(self.stage.broken)}")

    def stumble(self, picks: Picks) -> None:
        """A source will not answer the next one who looks."""
        self.stage.stumbling.add(picks.of(self._facts))

    def follow(self, picks: Picks) -> None:
        """One who follows the feed slowly reads on."""
        self.promises.check_follower(picks.of((1, 2, 5, 50)))

    # ------------------------------------------------------------------------------------------------ how it ends

    def _end(self) -> None:
        """Sources are mended, all is told; whoever walks comes to the end; workers do the rest."""
        self.trace.say("-- quiet --")
        self.stage.broken.clear()
        self.stage.stumbling.clear()
        while self._outbox:
            self.publish(Picks(0))
        self._settle_down()
        for _ in range(2):
            self._pass(_LONG_S)
            self._drain()
            # What failed for good waits for an event: its source says that it is mended.
            for fact in self.promises.facts_of_failed():
                self._tell(fact, Picks(0))
        self._settle_down()
        self._drain()
        self.promises.check_quiet()

    def _drain(self) -> None:
        for _ in range(N_STEPS_MAX):
            worker = self._enter("worker", 0, self._processes[0].refresh(), _nothing)
            self._settle_down()
            if not worker.walk.value:
                return
        raise Broken(Promise.NOTHING_STUCK, "the queue never gets empty")


def _nothing(_: object) -> None:
    """Nothing is promised of it."""
