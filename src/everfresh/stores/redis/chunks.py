"""Requests about all entries, as steps of a bounded length: a script that looked at a million would stop the server.

Each chunk is a step of its own. Entries go by their numbers, which they keep; so between two chunks others may come,
which are seen, or go. One that is removed and comes back is seen twice: it counts once wherever that matters.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from heapq import nsmallest
from itertools import islice
from typing import Any

from everfresh.model.entry import Key, State
from everfresh.model.position import Position
from everfresh.protocol.inspecting import Count, Counted, Listed, ListEntries
from everfresh.protocol.queueing import Distrust
from everfresh.protocol.requests import Request, Steps, ask
from everfresh.stores.redis import sourcing

# To show an entry takes the server about 5 µs, to see whether it is to be distrusted 2 µs, and to do that 5 µs. No
# chunk should take more than a millisecond.
N_SHOWN = 200
N_SIFTED = 500
N_DISTRUSTED = 200


@dataclass(frozen=True, slots=True)
class Scanned:
    """Some entries, the number of the last one looked at, and whether that was the last of all."""

    listed: tuple[Listed, ...]
    last_id: int
    is_end: bool


@dataclass(frozen=True, slots=True)
class Scan(Request[Scanned]):
    """Show the entries after a number, looking at `n` at most."""

    after_id: int
    n: int = N_SHOWN


@dataclass(frozen=True, slots=True)
class DistrustBegin(Request[Position | None]):
    """Begin a new epoch; nothing built before is trusted from now on. None: the epoch is not `only_epoch` any more."""

    reason: str
    only_epoch: str | None = None


@dataclass(frozen=True, slots=True)
class Greet(Request[bool | int]):
    """Say which run of a server answers. If the store was written under another, a new epoch begins.

    Answered with whether distrusted entries are left that nobody sweeps.
    """

    run_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class DistrustEnd(Request[None]):
    """All distrusted entries are swept, if the store is still in that epoch."""

    epoch: str


@dataclass(frozen=True, slots=True)
class Sifted:
    """Those that are to be built anew, with what orders them, lowest first; and how far the sifting came."""

    ranked: tuple[tuple[Key, float, float], ...]
    last_id: int
    is_end: bool


@dataclass(frozen=True, slots=True)
class DistrustScan(Request[Sifted]):
    """Of the distrusted entries after a number, drop those that nobody will build; look at `n` at most."""

    after_id: int
    n: int = N_SIFTED


@dataclass(frozen=True, slots=True)
class DistrustRows(Request[int]):
    """Queue the entries in this order, so many a second, after `n_before` others; answered with how many there were."""

    keys: tuple[Key, ...]
    n_before: int
    per_s: float
    reason: str
    places: tuple[int, ...] | None = None


def list_entries(request: ListEntries) -> Steps[tuple[Listed, ...]]:
    """Carry out `ListEntries`."""
    found: dict[Key, Listed] = {}
    scan = Scan(0)
    while True:
        scanned = yield from ask(scan)
        for listed in scanned.listed:
            if _is_asked_for(listed, request):
                found[listed.key] = listed
            else:
                # It may have been there, in another state, when it was seen before.
                found.pop(listed.key, None)
        if scanned.is_end:
            return tuple(_first(found, request.n_max).values())
        if len(found) > 2 * (request.n_max + N_SHOWN):
            found = _first(found, request.n_max)
        scan = Scan(scanned.last_id)


def count(request: Count) -> Steps[Counted]:
    """Carry out `Count`."""
    n_known = n_built = n_bytes = 0
    n_by_state: Counter[State] = Counter()
    scan = Scan(0)
    while True:
        scanned = yield from ask(scan)
        for listed in scanned.listed:
            if request.function in (None, listed.function):
                n_known += 1
                n_built += listed.version > 0
                n_bytes += listed.n_bytes
                n_by_state[listed.state] += 1
        if scanned.is_end:
            return Counted(n_known, n_built, n_by_state, n_bytes)
        scan = Scan(scanned.last_id)


def distrust(request: Distrust, only_epoch: str | None = None) -> Steps[int]:
    """Carry out `Distrust`; with `only_epoch`, only if the store is still in it: else somebody else has done so."""
    begun = yield from ask(DistrustBegin(request.reason, only_epoch))
    return 0 if begun is None else (yield from sweep(begun.epoch, request.reason, request.per_s))


def sweep(epoch: str, reason: str, per_s: float) -> Steps[int]:
    """Drop what is distrusted and will not be built, and queue the rest, so many a second; how many that were.

    Whoever reads meanwhile is served nothing of it. Two may sweep at once: each entry is queued by the first.
    """
    n_dirty = 0
    keys = iter((yield from _ranked()))
    while some := tuple(islice(keys, N_DISTRUSTED)):
        n_dirty += yield from ask(DistrustRows(some, n_dirty, per_s, reason))
    yield from ask(DistrustEnd(epoch))
    return n_dirty


def _ranked() -> Steps[list[Key]]:
    """The keys of those to be built anew, the most urgent first."""
    # Of each entry only what the order needs: a store may hold more than a process.
    rank_of: dict[Key, tuple[float, float]] = {}
    scan = DistrustScan(0)
    while True:
        sifted = yield from ask(scan)
        rank_of.update((key, (first, second)) for key, first, second in sifted.ranked)
        if sifted.is_end:
            return sorted(rank_of, key=lambda key: (*rank_of[key], key))
        scan = DistrustScan(sifted.last_id)


def _is_asked_for(listed: Listed, request: ListEntries) -> bool:
    is_after = listed.key > request.after
    return is_after and request.function in (None, listed.function) and request.state in (None, listed.state)


def _first(found: dict[Key, Listed], n_max: int) -> dict[Key, Listed]:
    return {key: found[key] for key in nsmallest(n_max, found)}


# The values cannot be typed more narrowly in one table: each takes its own request.
CHUNKED: dict[type[Request[Any]], Callable[[Any], Steps[Any]]] = {
    ListEntries: list_entries,
    Count: count,
    Distrust: distrust,
    **sourcing.CHUNKED,
}
"""Who carries out a request about all entries, by steps that are carried out one by one."""
