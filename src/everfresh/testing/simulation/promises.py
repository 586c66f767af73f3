"""Promises: what must hold in every history, looked at after every step.

TRUE_WHEN_QUIET     when every event is applied, the queue is empty and nobody walks, each entry is fresh, and has the
                    value that its function gives now
NEVER_OLDER         no strict reader, and no reader `after` a position, gets a value that was true only before the
                    newest event that was applied when it began, or before that position; nor is such a value stored as
                    settled, where the next reader would get it. Nested functions are included. A reader with bounds
                    gets one that was true within them
MONOTONIC           the feed's sequence grows from record to record, an entry's version never goes back, a changed value
                    has a new one; whoever follows, in small pieces or large, is told the same records, each once
NO_BUILD_IN_VAIN    between two leases of one entry there is a reason: an event applied to it, or to what it was ever
                    seen to be built from; a change, a drop or a failed try of one of these; a lease of one of these
                    that ended without a commit; a clock that went past an end; a shape that was new; somebody who asked
                    for a build. So an entry is built at most once more than it had reasons
NOTHING_STUCK       when sources answer and leases have run out, every walk comes to its end, and the queue gets empty
ONE_AT_A_TIME       no two live leases for one entry, unless it was dropped in between
FENCED              nothing is stored by a build whose lease has ended
ONLY_ITS_ERRORS     a reader meets no error but that of a source that failed after the newest event that was applied
                    when it began, or of having waited for too long
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import msgspec

from everfresh.matching.shapes import Shape
from everfresh.model.clock import Clock
from everfresh.model.entry import Entry, FeedRecord, Key, Kind, Lease, State
from everfresh.model.position import Position
from everfresh.protocol.applying import Applied, Apply
from everfresh.protocol.queueing import TookDue
from everfresh.protocol.reading import is_settled
from everfresh.protocol.requests import (
    Begin,
    Commit,
    Committed,
    Delete,
    Extend,
    Fail,
    GiveUp,
    Load,
    Put,
    ReadFeed,
    Register,
    Request,
)
from everfresh.stores.store import Store
from everfresh.testing.simulation.stage import Stage
from everfresh.testing.simulation.truths import Facts, Leniency, Truths, facts_of


class Promise(Enum):
    """What is promised."""

    TRUE_WHEN_QUIET = "true when quiet"
    NEVER_OLDER = "never an older truth"
    MONOTONIC = "monotonic"
    NO_BUILD_IN_VAIN = "no build in vain"
    NOTHING_STUCK = "nothing stuck"
    ONE_AT_A_TIME = "one build at a time"
    FENCED = "fenced"
    ONLY_ITS_ERRORS = "only its own errors"


class Broken(AssertionError):
    """A promise was broken; `PromiseBroken` says it with the way there."""

    def __init__(self, promise: Promise, what: str) -> None:
        super().__init__(f"{promise.value}: {what}")
        self.promise = promise


@dataclass(slots=True)
class _Held:
    token: int
    until: float


class Promises:
    """Follows a simulation and says which promise it breaks."""

    def __init__(self, stage: Stage, truths: Truths, store: Store, clock: Clock) -> None:
        self._stage = stage
        self._truths = truths
        self._store = store
        self._clock = clock
        self.floor: Facts = facts_of(stage.facts)
        """How far each fact had come when it was last told of."""
        self.floors: list[tuple[float, Facts]] = [(clock(), self.floor)]
        """All floors that there were, each with its time."""
        self.positions: list[tuple[Position, Facts]] = []
        """What publishing gave, each with the floor from then on."""
        self.n_leases: dict[str, int] = defaultdict(int)
        """How often each entry was leased, to be built."""
        self._held: dict[Key, list[_Held]] = defaultdict(list)
        self._reasons: dict[str, int] = dict.fromkeys(stage.world.declared, 1)
        self._shapes: set[object] = set()
        self._asked: list[tuple[Request[Any], Any]] = []
        self._told: list[FeedRecord] = []
        self._start = store.carry_out(ReadFeed(None)).position
        self._lagging = self._start
        self._heard: list[FeedRecord] = []
        self._n_lagged = 0
        self._version_of: dict[Key, int] = {}
        self._digest_of: dict[Key, str] = {}
        self._functions = {name for name, declared in stage.world.declared.items() if not declared.is_by_hand}
        self._live: set[int] = set()

    # ------------------------------------------------------------------------------------------ what is followed

    def on_answer(self, request: Request[Any], answer: Any) -> None:  # noqa: ANN401 - one answer type for each request
        """Note a step of the store; nothing is raised here, where the rules would catch it."""
        if not isinstance(request, Load | ReadFeed):
            self._asked.append((request, answer))

    def on_records(self, records: Sequence[FeedRecord]) -> None:
        """Note what the step wrote to the feed."""
        self._told.extend(records)

    def note_told(self, fact: str, count: int, position: Position) -> None:
        """The fact was told of by an event that is applied, and had come that far then."""
        number = list(self._stage.facts).index(fact)
        floor = list(self.floor)
        floor[number] = max(floor[number], count)
        self.floor = tuple(floor)
        self.floors.append((self._clock(), self.floor))
        self.positions.append((position, self.floor))
        self._owe(fact)
        self._check_all_settled()

    def note_asked_for(self, name: str) -> None:
        """Somebody wants the function to be built."""
        self._reasons[name] += 1

    def note_time(self) -> None:
        """The clock went on: whatever ends by time may have ended."""
        for declared in self._stage.world.declared.values():
            terms = declared.policy.terms
            if declared.expires_s is not None or terms.expires_s is not None or terms.settle_s:
                self._owe(declared.name)

    def floor_at(self, time: float) -> Facts:
        """How far each fact was told of at that time."""
        found = self.floors[0][1]
        for at, floor in self.floors:
            if at > time:
                break
            found = floor
        return found

    # ------------------------------------------------------------------------------------------ what is looked at

    def check_step(self) -> None:
        """Look at what the step did.

        Raises:
            Broken: a promise.
        """
        asked, self._asked = self._asked, []
        told, self._told = self._told, []
        self._live = self._live_leases(asked)
        for record in told:
            self._check_record(record)
        keys = {record.key for record in told}
        for request, answer in asked:
            keys.update(_keys_of(request))
            self._follow(request, answer)
        for key in keys:
            self._check_settled(key)

    def check_value(self, name: str, value: bytes, low: Facts, *, what: str, is_strict: bool = True) -> None:
        """A reader got a value that was true after `low`; for one who is not strict, old ones may have stood in."""
        high = facts_of(self._stage.facts)
        in_trouble = Leniency.TROUBLED if is_strict else Leniency.STOOD_IN
        leniency = Leniency.BUILT if self._stage.failed_at is None else in_trouble
        if not self._truths.is_possible(name, value, low, high, leniency):
            raise Broken(Promise.NEVER_OLDER, f"{what} got {_shown(value)}; {self._between(name, low)}")

    def check_follower(self, n_max: int) -> None:
        """One who follows slowly, in small pieces, is told what all others were."""
        batch = self._store.carry_out(ReadFeed(self._lagging, n_max))
        expected = self._heard[self._n_lagged : self._n_lagged + len(batch.records)]
        if batch.is_reset or list(batch.records) != expected:
            raise Broken(Promise.MONOTONIC, f"after {self._lagging} a follower is told {batch}, others {expected}")
        self._lagging = batch.position
        self._n_lagged += len(batch.records)

    def facts_of_failed(self) -> list[str]:
        """The facts that entries need which wait, as failed for good, for an event."""
        failed = [name for name, entry in self._stored().items() if entry.state is State.FAILED]
        needed = {fact for name in failed for fact in self._truths.below(name)}
        return [fact for fact in self._stage.facts if fact in needed]

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
        while self._n_lagged < len(self._heard):
            n_before = self._n_lagged
            self.check_follower(7)
            if self._n_lagged == n_before:
                raise Broken(Promise.MONOTONIC, f"a follower was never told {self._heard[n_before]}")

    def _check_record(self, record: FeedRecord) -> None:
        last = self._heard[-1].sequence if self._heard else self._start.sequence
        if record.sequence <= last:
            raise Broken(Promise.MONOTONIC, f"{record} comes after sequence {last}")
        self._heard.append(record)
        known = self._version_of.get(record.key, 0)
        is_new = record.kind is Kind.CHANGED
        if record.version < known or (is_new and record.version == known):
            raise Broken(Promise.MONOTONIC, f"{record} comes after version {known}")
        self._version_of[record.key] = record.version
        if is_new and self._digest_of.get(record.key) == record.digest and record.key in self._functions:
            raise Broken(Promise.NO_BUILD_IN_VAIN, f"{record} has the value that was there, so nobody need be told")
        self._digest_of[record.key] = record.digest
        if record.kind is Kind.DROPPED:
            self._held.pop(record.key, None)
            del self._digest_of[record.key]
        if record.kind in (Kind.CHANGED, Kind.DROPPED, Kind.FAILED):
            self._owe(record.key, itself=record.kind is not Kind.CHANGED)

    def _follow(self, request: Request[Any], answer: Any) -> None:  # noqa: ANN401 - one answer type for each request
        self._learn(_shapes_of(request))
        for lease in _leases_of(answer):
            self._grant(lease)
        match request:
            case Commit(lease=lease, retry_in_s=retry_in_s):
                is_stored = isinstance(answer, Committed) and answer.is_stored
                if is_stored and lease.token not in self._live:
                    raise Broken(Promise.FENCED, f"{lease} has ended, and what was built under it is stored")
                self._end(lease, is_lost=not is_stored or retry_in_s is not None)
            case Fail(lease=lease) | GiveUp(lease):
                self._end(lease, is_lost=True)
            case Extend(leases, lease_s):
                self._extend(leases, lease_s)
            case Apply() if isinstance(answer, Applied):
                for key in (*answer.touched, *answer.suspect):
                    self._owe(key)
            case _:
                pass

    def _grant(self, lease: Lease) -> None:
        key, now = lease.key, self._clock()
        held = self._held[key]
        for other in held:
            if other.until > now:
                raise Broken(Promise.ONE_AT_A_TIME, f"{key} is leased as {lease} while {other} is held")
        if held:
            # It ran out, so its builder died or stood still.
            self._owe(key)
        self._held[key] = [_Held(lease.token, lease.until)]
        self.n_leases[key] += 1
        if key in self._reasons and not self._reasons[key]:
            raise Broken(Promise.NO_BUILD_IN_VAIN, f"{key} is leased to be built again, and nothing has happened to it")
        self._reasons[key] = 0

    def _live_leases(self, asked: Sequence[tuple[Request[Any], Any]]) -> set[int]:
        """The tokens of the leases that held when the step was taken, before it dropped any."""
        keys = {key for request, _ in asked for key in _keys_of(request)}
        return {held.token for key in keys for held in self._held.get(key, ()) if held.until > self._clock()}

    def _end(self, lease: Lease, *, is_lost: bool) -> None:
        held = self._held[lease.key]
        self._held[lease.key] = [other for other in held if other.token != lease.token]
        if is_lost:
            self._owe(lease.key)

    def _extend(self, leases: Iterable[Lease], lease_s: float) -> None:
        now = self._clock()
        for lease in leases:
            for held in self._held[lease.key]:
                if held.token == lease.token and held.until > now:
                    held.until = now + lease_s

    def _learn(self, shapes: Iterable[Shape]) -> None:
        """A shape that is new counts as fired for whoever builds now, as nobody knows what went before."""
        for shape in shapes:
            if shape.id not in self._shapes:
                self._shapes.add(shape.id)
                for name in self._reasons:
                    self._reasons[name] += 1

    def _owe(self, cause: str, *, itself: bool = True) -> None:
        """Whatever needs it has a reason to be built."""
        for name in self._reasons:
            if (itself and name == cause) or cause in self._truths.below(name):
                self._reasons[name] += 1

    def _check_all_settled(self) -> None:
        for name in self._stage.world.declared:
            self._check_settled(Key(name))

    def _check_settled(self, key: Key) -> None:
        """What a strict reader would be served at once misses nothing that was told."""
        if key not in self._stage.world.declared:
            return
        entry = self._store.carry_out(Load(key)).entry
        if entry is None or not is_settled(entry, self._clock()):
            return
        high = facts_of(self._stage.facts)
        if not self._truths.is_possible(key, entry.value, self.floor, high, Leniency.SETTLED):
            raise Broken(
                Promise.NEVER_OLDER, f"{key} is settled as {_shown(entry.value)}; {self._between(key, self.floor)}"
            )

    def _stored(self) -> dict[str, Entry]:
        loaded = {name: self._store.carry_out(Load(Key(name))).entry for name in self._stage.world.declared}
        return {name: entry for name, entry in loaded.items() if entry is not None}

    def _between(self, name: str, low: Facts) -> str:
        below = self._truths.below(name)
        facts = {
            fact: f"{told}..{now}"
            for (fact, now), told in zip(self._stage.facts.items(), low, strict=True)
            if fact in below
        }
        return f"what it may say must be true for {facts}"


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


def _shapes_of(request: Request[Any]) -> Iterable[Shape]:
    """The shapes that the store knows after the request."""
    match request:
        case Begin(shapes=shapes) | Register(shapes):
            return shapes
        case Put(groups=groups):
            return (group.shape for group in groups)
        case Commit(built=built):
            return (group.shape for group in built.groups)
        case _:
            return ()


def _leases_of(answer: object) -> Iterable[Lease]:
    """The leases that an answer gives."""
    match answer:
        case Lease():
            return (answer,)
        case TookDue(due=due):
            return (one.lease for one in due)
        case _:
            return ()


def _shown(value: bytes) -> str:
    return repr(msgspec.msgpack.decode(value))
