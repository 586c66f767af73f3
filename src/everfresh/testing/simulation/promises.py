"""Promises: what must hold in every history, looked at after every step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from everfresh.model.clock import Clock
from everfresh.model.entry import Entry, FeedRecord, Key, Kind, State
from everfresh.model.position import Position
from everfresh.protocol.applying import Applied, Apply
from everfresh.protocol.reading import is_settled
from everfresh.protocol.requests import (
    NOTHING_OLD,
    Begin,
    Bounds,
    Commit,
    Committed,
    Delete,
    Fail,
    GiveUp,
    Load,
    Put,
    ReadFeed,
    Request,
)
from everfresh.stores.store import Store
from everfresh.testing.simulation.floors import Floors, Since, between
from everfresh.testing.simulation.hearing import Hearing
from everfresh.testing.simulation.keeping import Keeping
from everfresh.testing.simulation.leasing import Leasing
from everfresh.testing.simulation.promise import Broken, Promise
from everfresh.testing.simulation.stage import Stage
from everfresh.testing.simulation.truths import Facts, Leniency, Truths, facts_of


class Promises:
    """Follows a simulation and says which promise it breaks."""

    def __init__(
        self, stage: Stage, truths: Truths, store: Store, clock: Clock, floors: Floors, keeping: Keeping
    ) -> None:
        self.leasing = Leasing(stage.world.declared, truths.uses, clock)
        self._stage = stage
        self._truths = truths
        self._store = store
        self._clock = clock
        self._floors = floors
        self._keeping = keeping
        self._hearing = Hearing(store)
        self._asked: list[tuple[Request[Any], Any]] = []
        self._told: list[FeedRecord] = []
        self._tells_of_new_life: Store | None = None
        self._told_of_this_life: Store | None = None
        self._functions = {name for name, declared in stage.world.declared.items() if not declared.is_by_hand}

    # ------------------------------------------------------------------------------------------ what is followed

    def on_answer(self, request: Request[Any], answer: Any) -> None:  # noqa: ANN401 - one answer type for each request
        """Note a step of the store; nothing is raised here, where the rules would catch it."""
        if not isinstance(request, Load | ReadFeed):
            self._asked.append((request, answer))

    def on_records(self, store: Store, records: Sequence[FeedRecord]) -> None:
        """Note what the step wrote to the feed; nothing at all when the store begins a new life."""
        if not records:
            self._tells_of_new_life = store
        self._told.extend(records)

    def note_told(self, fact: str, count: int, position: Position) -> None:
        """The fact was told of by an event that is applied, and had come that far then."""
        self._floors.note_told(fact, count, position)
        self.leasing.owe(fact)
        for name in self._truths.uses.above(fact):
            self._check_settled(Key(name))

    def note_time(self) -> None:
        """The clock went on: whatever ends by time may have ended."""
        for declared in self._stage.world.declared.values():
            terms = declared.policy.terms
            if declared.expires_s is not None or terms.expires_s is not None or terms.settle_s:
                self.leasing.owe(declared.name)

    # ------------------------------------------------------------------------------------------ what is looked at

    def check_step(self) -> None:
        """Look at what the step did.

        Raises:
            Broken: a promise.
        """
        asked, self._asked = self._asked, []
        told, self._told = self._told, []
        if self._is_in_new_life():
            self._begin_anew()
            return
        keys = {key for request, _ in asked for key in _keys_of(request)}
        live = self.leasing.live(keys)
        dropped = {record.key for record in told if record.kind is Kind.DROPPED and self._hearing.has_value(record.key)}
        for request, answer in asked:
            # Before it is told of the drops, with which it forgets what spoke against them.
            self._keeping.follow(request, answer, dropped)
        for record in told:
            self._check_record(record)
        for request, answer in asked:
            self._follow(request, answer, live)
        for key in keys.union(record.key for record in told):
            self._check_settled(key)

    def check_value(
        self, name: str, value: bytes, since: Since, bounds: Bounds = NOTHING_OLD, *, what: str, is_strict: bool = True
    ) -> None:
        """A reader got a value who came then; for one who is not strict, old ones may have stood in."""
        high = facts_of(self._stage.facts)
        asked = self._floors.demand(since, bounds, is_strict=is_strict)
        if not self._truths.is_possible(name, value, asked.low, high, asked.leniency, old=asked.old):
            raise Broken(Promise.NEVER_OLDER, f"{what} got {_shown(value)}; {self._between(name, asked.low)}")

    def check_follower(self, n_max: int) -> None:
        """One who follows slowly, in small pieces, is told what all others were."""
        self._hearing.follow(n_max)

    def failed(self) -> list[str]:
        """The entries that failed for good, and wait for an event, or for somebody who retries them."""
        return [name for name, entry in self._stored().items() if entry.state is State.FAILED]

    def facts_of(self, names: Sequence[str]) -> list[str]:
        """The facts that the functions need of which somebody tells."""
        needed = {fact for name in names for fact in self._truths.uses.below(name)}
        return [fact for fact, said in self._stage.world.facts.items() if said and fact in needed]

    def is_quiet(self) -> bool:
        """Whether every entry is fresh."""
        return all(entry.state is State.FRESH and is_settled(entry, self._clock()) for entry in self._stored().values())

    def check_quiet(self) -> None:
        """All is fresh and true, and every follower was told everything."""
        stored = self._stored()
        facts = facts_of(self._stage.facts)
        for name, entry in stored.items():
            if entry.state is not State.FRESH or not is_settled(entry, self._clock()):
                raise Broken(Promise.TRUE_WHEN_QUIET, f"{name} is {entry.state.value}: {entry.reason}")
            if not self._truths.is_true(name, entry.value, facts, frozenset(stored)):
                raise Broken(
                    Promise.TRUE_WHEN_QUIET,
                    f"{name} is {_shown(entry.value)}, and its function gives another value now, "
                    f"with {self._stage.facts}",
                )
        self._hearing.follow_to_the_end()

    def _is_in_new_life(self) -> bool:
        """Whether a store told of a new life just now, and is not another process that hears later of this one."""
        teller, self._tells_of_new_life = self._tells_of_new_life, None
        if teller is None:
            return False
        known_by = self._told_of_this_life
        if known_by is not None and known_by is not teller and self._hearing.is_in_its_life():
            return False
        self._told_of_this_life = teller
        return True

    def _begin_anew(self) -> None:
        """The store has lost its memory, or what it holds is distrusted."""
        self._hearing.begin_anew()
        self.leasing.begin_anew()
        self._keeping.begin_anew()
        self._floors.positions.clear()
        for name, entry in self._stored().items():
            if is_settled(entry, self._clock()):
                raise Broken(Promise.NOTHING_TRUSTED, f"{name} is settled as {_shown(entry.value)} in a new life")

    def _check_record(self, record: FeedRecord) -> None:
        is_told_again = self._hearing.hear(record)
        self._keeping.hear(record)
        if is_told_again and record.key in self._functions:
            raise Broken(Promise.NO_BUILD_IN_VAIN, f"{record} has the value that was there, so nobody need be told")
        if record.kind is Kind.DROPPED:
            self.leasing.forget(record.key)
        if record.kind in (Kind.CHANGED, Kind.DROPPED, Kind.FAILED):
            self.leasing.owe(record.key, itself=record.kind is not Kind.CHANGED)

    def _follow(
        self,
        request: Request[Any],
        answer: Any,  # noqa: ANN401 - one answer type for each request
        live: set[tuple[str, int]],
    ) -> None:
        self.leasing.follow(request, answer, live)
        if isinstance(request, Commit) and isinstance(answer, Committed):
            self._floors.note_built(self._clock() - request.lease.begun_at)
            if self._stage.failed_at is not None and request.built.good_from < request.lease.begun.sequence:
                # Something old stood in for what failed. Whoever must not have that tries again.
                self.leasing.owe(request.lease.key)
        if isinstance(request, Apply) and isinstance(answer, Applied):
            for key in (*answer.touched, *answer.suspect):
                self.leasing.owe(key)

    def _check_settled(self, key: Key) -> None:
        """What a strict reader would be served at once misses nothing that was told."""
        if key not in self._stage.world.declared:
            return
        entry = self._store.carry_out(Load(key)).entry
        if entry is None or not is_settled(entry, self._clock()):
            return
        low, high = self._floors.low(self._floors.now), facts_of(self._stage.facts)
        if not self._truths.is_possible(key, entry.value, low, high, Leniency.SETTLED):
            raise Broken(Promise.NEVER_OLDER, f"{key} is settled as {_shown(entry.value)}; {self._between(key, low)}")

    def _stored(self) -> dict[str, Entry]:
        loaded = {name: self._store.carry_out(Load(Key(name))).entry for name in self._stage.world.declared}
        return {name: entry for name, entry in loaded.items() if entry is not None}

    def _between(self, name: str, low: Facts) -> str:
        return between(low, self._stage.facts, self._truths.uses.below(name))


def _keys_of(request: Request[Any]) -> Sequence[Key]:
    match request:
        case Begin(key=key) | Put(key=key):
            return (key,)
        case Commit(lease=lease) | Fail(lease=lease) | GiveUp(lease):
            return (lease.key,)
        case Delete(keys):
            return keys
        case _:
            return ()


def _shown(value: bytes) -> str:
    return repr(msgspec.msgpack.decode(value))
