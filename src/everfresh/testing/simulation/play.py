"""Play: many walks over one stage, moved in any order. It does what a move says, and has the promises looked at."""

from __future__ import annotations

from collections.abc import Sequence

from everfresh.model.entry import Key
from everfresh.protocol.queueing import Distrust, Note, Retry, TakeDue
from everfresh.protocol.requests import (
    Begin,
    Commit,
    Delete,
    Fail,
    Load,
    Register,
)
from everfresh.testing.simulation.actors import JUMP_S, Kinds, Picks
from everfresh.testing.simulation.comers import Comers, nothing
from everfresh.testing.simulation.moves import Move
from everfresh.testing.simulation.promise import Broken, Promise
from everfresh.testing.stepping import Look

# Longer than anything is fresh or warm by time.
_LIFETIME_S = 26.0
# A build that lasts, within its lease.
_LINGERS_S = 6.0
_WATCHED_S = 10.0
# Longer than the longest wait between two tries.
_LONG_S = 400.0
# More than any queue holds, and as often as each entry is drained for each that it hangs on.
_N_DRAINED_MAX = 1_000
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


class Play(Comers):
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
        self._tell(picks.of(self._told_facts), picks)

    def tell(self, picks: Picks) -> None:
        """A fact changes and that is told at once."""
        self._change_and_tell(picks.of(self._facts), picks)

    def strike(self, picks: Picks) -> None:
        """The fact that was looked at last changes, and that is told at once: whoever looked is too late."""
        self._change_and_tell(self.stage.last_seen, picks)

    def delete(self, picks: Picks) -> None:
        """Somebody deletes an entry."""
        self._by_somebody(Delete((Key(picks.of([*self.stage.world.declared])),)))

    def note(self, picks: Picks) -> None:
        """A process tells that an entry is read, or watched for a while."""
        key, now = Key(picks.of(self._names)), self._clock.now
        is_watched = picks.of((False, False, True))
        self._by_somebody(Note({key: now}, {key: now + _WATCHED_S} if is_watched else {}))

    def retry(self, picks: Picks) -> None:
        """Somebody has what failed built again."""
        names = self.promises.failed() or [picks.of(self._names)]
        self._retry(names)

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

    def jump(self, picks: Picks) -> None:
        """All leases run out; or lifetimes too."""
        self._pass(picks.of((JUMP_S, JUMP_S, _LIFETIME_S)))

    def tick(self, picks: Picks) -> None:
        """A little time passes; leases hold."""
        self._pass(picks.of((1.0, 4.0)))

    def extend(self, picks: Picks) -> None:
        """Somebody's process renews the lease of the build."""
        held = [actor for actor in self._actors if isinstance(actor.walk.request, Commit | Fail)]
        if held:
            self._renew(picks.of(held))

    def linger(self, picks: Picks) -> None:
        """A build takes some seconds, in which the world may go on; its process holds the lease."""
        if not self._actors:
            return
        actor = picks.of(self._actors)
        self._run(actor, (Commit, Fail))
        if not isinstance(actor.walk.request, Commit | Fail):
            return
        if picks.of((False, True)):
            self._change_and_tell(self.stage.last_seen, picks)
        for _ in range(picks.of((1, 2))):
            self._renew(actor)
            self._pass(_LINGERS_S)
        if picks.of((False, True, True)):
            self._run(actor, ())

    def distrust(self, _: Picks) -> None:
        """The store begins a new life, and keeps what it holds for what it may be worth."""
        self._by_somebody(Distrust("it may have lost something"))

    def interrupt(self, picks: Picks) -> None:
        """A signal comes in the middle of a step: one store loses all that it holds, another undoes the step."""
        is_in_a_walk: bool = picks.of((False, True))
        if self._actors and is_in_a_walk:
            self._interrupt(picks.of(self._actors))
        else:
            self._interrupt_store()

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
        # One that waits for a while may stand above another that does; once is enough for nearly all.
        for _ in range(len(self._names) + 1):
            self._pass(_LONG_S)
            self._drain()
            self._revive()
            self._settle_down()
            self._drain()
            if self.promises.is_quiet():
                break
        self.promises.check_quiet()

    def _revive(self) -> None:
        """What failed for good waits for an event, as its source says that it is mended, or for a person."""
        failed = self.promises.failed()
        for fact in self.promises.facts_of(failed):
            self._tell(fact, Picks(0))
        if failed:
            self._retry(failed)

    def _retry(self, names: Sequence[str]) -> None:
        for name in names:
            self.promises.leasing.owe(name)
        self._by_somebody(Retry(tuple(map(Key, names))))

    def _drain(self) -> None:
        for _ in range(_N_DRAINED_MAX):
            worker = self._enter("worker", 0, self._processes[0].refresh(), nothing)
            self._settle_down()
            if not worker.walk.value:
                return
        raise Broken(Promise.NOTHING_STUCK, "the queue never gets empty")
