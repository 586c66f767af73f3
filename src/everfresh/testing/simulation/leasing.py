"""Leasing: who may build what, and why."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from everfresh.matching.shapes import Shape
from everfresh.model.clock import Clock
from everfresh.model.entry import Key, Lease
from everfresh.protocol.queueing import TookDue
from everfresh.protocol.requests import Begin, Commit, Committed, Extend, Fail, GiveUp, Put, Register, Request
from everfresh.testing.simulation.promise import Broken, Promise
from everfresh.testing.simulation.truths import Uses


@dataclass(slots=True)
class _Held:
    lease: Lease
    until: float


class Leasing:
    """Checks that each build has its lease and its reason: ONE_AT_A_TIME, FENCED, NO_BUILD_IN_VAIN."""

    def __init__(self, names: Iterable[str], uses: Uses, clock: Clock) -> None:
        self.n_leases: dict[str, int] = defaultdict(int)
        """How often each entry was leased, to be built."""
        self._clock = clock
        self._uses = uses
        self._held: dict[Key, list[_Held]] = defaultdict(list)
        self._reasons: dict[str, int] = dict.fromkeys(names, 1)
        self._shapes: set[object] = set()

    def live(self, keys: Iterable[Key]) -> set[tuple[str, int]]:
        """The leases of the entries that hold now, each by its life of the store and its number."""
        now = self._clock()
        return {_id_of(held.lease) for key in keys for held in self._held.get(key, ()) if held.until > now}

    def follow(self, request: Request[Any], answer: Any, live: set[tuple[str, int]]) -> None:  # noqa: ANN401 - any type
        """Take in a step of the store; `live` are the leases that held before it."""
        self._learn(_shapes_of(request, answer))
        for lease in _leases_of(answer):
            self._grant(lease)
        match request:
            case Commit(lease=lease, retry_in_s=retry_in_s):
                is_stored = isinstance(answer, Committed) and answer.is_stored
                if is_stored and _id_of(lease) not in live:
                    raise Broken(Promise.FENCED, f"{lease} has ended, and what was built under it is stored")
                self._end(lease, is_lost=not is_stored or retry_in_s is not None)
            case Fail(lease=lease) | GiveUp(lease):
                self._end(lease, is_lost=True)
            case Extend(leases, lease_s):
                self._extend(leases, lease_s)
            case _:
                pass

    def owe(self, cause: str, *, itself: bool = True) -> None:
        """Whatever needs it has a reason to be built."""
        if itself and cause in self._reasons:
            self._reasons[cause] += 1
        for name in self._uses.above(cause):
            self._reasons[name] += 1

    def note_asked_for(self, name: str) -> None:
        """Somebody wants the function to be built, whatever its state."""
        self._reasons[name] += 1

    def forget(self, key: Key) -> None:
        """The entry was dropped, and its lease with it."""
        self._held.pop(key, None)

    def begin_anew(self) -> None:
        """The store has begun a new life: no lease holds, and all must be built."""
        self._held.clear()
        self._shapes.clear()
        for name in self._reasons:
            self._reasons[name] += 1

    def _grant(self, lease: Lease) -> None:
        key, now = lease.key, self._clock()
        held = self._held[key]
        for other in held:
            if other.until > now:
                raise Broken(Promise.ONE_AT_A_TIME, f"{key} is leased as {lease} while {other} is held")
        if held:
            # It ran out, so its builder died or stood still.
            self.owe(key)
        self._held[key] = [_Held(lease, lease.until)]
        self.n_leases[key] += 1
        if key in self._reasons and not self._reasons[key]:
            raise Broken(Promise.NO_BUILD_IN_VAIN, f"{key} is leased to be built again, and nothing has happened to it")
        self._reasons[key] = 0

    def _end(self, lease: Lease, *, is_lost: bool) -> None:
        held = self._held[lease.key]
        self._held[lease.key] = [other for other in held if _id_of(other.lease) != _id_of(lease)]
        if is_lost:
            self.owe(lease.key)

    def _extend(self, leases: Iterable[Lease], lease_s: float) -> None:
        now = self._clock()
        for lease in leases:
            for held in self._held[lease.key]:
                if _id_of(held.lease) == _id_of(lease) and held.until > now:
                    held.until = now + lease_s

    def _learn(self, shapes: Iterable[Shape]) -> None:
        """A shape that is new counts as fired for whoever builds now, as nobody knows what went before."""
        for shape in shapes:
            if shape.id not in self._shapes:
                self._shapes.add(shape.id)
                for name in self._reasons:
                    self._reasons[name] += 1


def _id_of(lease: Lease) -> tuple[str, int]:
    return lease.begun.epoch, lease.token


def _shapes_of(request: Request[Any], answer: object) -> Iterable[Shape]:
    """The shapes that the store knows after the request."""
    match request:
        case Begin(shapes=shapes) | Register(shapes):
            return shapes
        case Put(groups=groups):
            return (group.shape for group in groups)
        case Commit(built=built) if isinstance(answer, Committed):
            return (group.shape for group in built.groups)
        case _:
            return ()


def _leases_of(answer: object) -> Sequence[Lease]:
    """The leases that an answer gives."""
    match answer:
        case Lease():
            return (answer,)
        case TookDue(due=due):
            return [one.lease for one in due]
        case _:
            return ()
