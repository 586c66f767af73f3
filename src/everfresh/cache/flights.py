"""Flights: calls of functions that several readers of this process share while the store does not answer.

    reader ──nobody is calling──▶ calls, for all who come before that begins
      └──somebody is calling──▶ waits for the end of that call, and shares the next one with all who wait

With a store its leases let one build for all. Without it each process does so for its own readers, by one rule: nobody
is given what a call gave that began before he came, as something may have changed in between. So there is one call of
a value at a time, however many ask, and who asks waits for two at most.

A call that is cut short gives nothing to anybody; one of those who wait for it begins anew. One that takes longer than
a lease is not waited for any more.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Self

from everfresh.cache.caching_errors import own_error
from everfresh.cache.tracking import open_frame
from everfresh.feed.bells import ringer
from everfresh.model.entry import Key
from everfresh.protocol.requests import BuildAlone, Built

Outcome = Built | Exception
_Name = tuple[Key, str, bool]


class Flight:
    """One call for all who joined it; what it lands with is None when it was cut short."""

    __slots__ = ("before", "has_begun", "is_lost", "landed", "n_joined")

    def __init__(self, before: Flight | None) -> None:
        self.before = before
        self.has_begun = False
        self.is_lost = False
        self.n_joined = 0
        self.landed: Future[Outcome | None] = Future()

    @property
    def is_over(self) -> bool:
        """Whether nobody waits for it any more."""
        return self.is_lost or self.landed.done()


class Flights:
    """Those of one cache; safe from every thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # Of each name the newest that is not over.
        self._newest: dict[_Name, Flight] = {}

    @property
    def n_waiting(self) -> int:
        """How many wait for a call that has not begun; for tests."""
        with self._lock:
            return sum(flight.n_joined for flight in self._newest.values() if not flight.has_begun)

    def join(self, name: _Name) -> Flight:
        """The one that has not begun yet."""
        with self._lock:
            flight = self._newest.get(name)
            if flight is None or flight.has_begun:
                flight = self._newest[name] = Flight(flight)
            flight.n_joined += 1
            return flight

    def leave(self, name: _Name, flight: Flight) -> None:
        """Wait for it no more."""
        with self._lock:
            flight.n_joined -= 1
            if not flight.n_joined and not flight.has_begun and self._newest.get(name) is flight:
                self._forget(name, flight)
                if flight.before is not None and not flight.before.is_over:
                    # It still calls, so who comes next waits for its end.
                    self._newest[name] = flight.before

    def begin(self, flight: Flight) -> bool:
        """Whether it is this one who calls, now."""
        with self._lock:
            before = flight.before
            if flight.has_begun or (before is not None and not before.is_over):
                return False
            flight.has_begun, flight.before = True, None
            return True

    def land(self, name: _Name, flight: Flight, outcome: Outcome | None) -> None:
        """Tell all who joined it."""
        with self._lock:
            self._forget(name, flight)
        flight.landed.set_result(outcome)

    def lose(self, name: _Name, flight: Flight) -> None:
        """It takes too long: who comes next begins another."""
        with self._lock:
            flight.is_lost = True
            self._forget(name, flight)

    def _forget(self, name: _Name, flight: Flight) -> None:
        if self._newest.get(name) is flight:
            del self._newest[name]


class Party:
    """One request's part in them, as long as the block.

    Until all is there `next` says what to do: build, and tell `built`; or wait until the flight has landed, no longer
    than `wait_s`.
    """

    def __init__(self, flights: Flights, request: BuildAlone) -> None:
        self._flights = flights
        self._request = request
        self._calls = {call.key: call for call in request.calls}
        self._joined: dict[Key, Flight] = {}
        self._begun: dict[Key, Flight] = {}
        self._awaited: tuple[Key, Flight] | None = None
        self._outcomes: dict[Key, Outcome] = {}

    def __enter__(self) -> Self:
        outer = open_frame()
        if outer is not None:
            # What it is built from, nobody watches over.
            outer.is_makeshift = True
        for key in self._calls:
            self._joined[key] = self._flights.join(self._name(key))
        return self

    def __exit__(self, *_: object) -> None:
        for key, flight in self._begun.items():
            self._flights.land(self._name(key), flight, None)
        for key, flight in self._joined.items():
            self._flights.leave(self._name(key), flight)

    @property
    def wait_s(self) -> float:
        """For how long to wait for a flight at most, in seconds."""
        return min(call.policy.lease_s for call in self._request.calls)

    def next(self) -> BuildAlone | Flight | None:
        """What to build now, or which flight to wait for; None when all is there."""
        awaited, self._awaited = self._awaited, None
        if awaited is not None and not awaited[1].landed.done():
            self._flights.lose(self._name(awaited[0]), awaited[1])
        self._take_landed()
        mine = [key for key, flight in self._joined.items() if self._flights.begin(flight)]
        if mine:
            self._begun = {key: self._joined.pop(key) for key in mine}
            return BuildAlone(tuple(self._calls[key] for key in mine), self._request.is_strict)
        for key, flight in self._joined.items():
            self._awaited = key, flight.before or flight
            return self._awaited[1]
        return None

    def built(self, outcomes: Sequence[Outcome]) -> None:
        """What came of the calls that were to be built."""
        begun, self._begun = self._begun, {}
        for (key, flight), outcome in zip(begun.items(), outcomes, strict=True):
            self._outcomes[key] = outcome
            self._flights.land(self._name(key), flight, outcome)

    def outcomes(self) -> tuple[Outcome, ...]:
        """What came of each call of the request."""
        return tuple(self._outcomes[call.key] for call in self._request.calls)

    def _take_landed(self) -> None:
        for key, flight in tuple(self._joined.items()):
            if not flight.is_over:
                continue
            outcome = flight.landed.result() if flight.landed.done() else None
            if outcome is None:
                self._joined[key] = self._flights.join(self._name(key))
            else:
                del self._joined[key]
                # Each has one like it, which the others do not write into.
                self._outcomes[key] = own_error(outcome) if isinstance(outcome, Exception) else outcome

    def _name(self, key: Key) -> _Name:
        return key, self._calls[key].fingerprint, self._request.is_strict


async def landed(flight: Flight, wait_s: float) -> None:
    """Come back when it has landed, at the latest after so many seconds."""
    woken = asyncio.Event()
    ring = ringer(woken)
    flight.landed.add_done_callback(lambda _: ring())
    with suppress(TimeoutError):
        async with asyncio.timeout(wait_s):
            await woken.wait()
