"""What is left of what expired?

500 values are put for an hour. Then 100,000 others are put for a second each, with the same tags as the first ones:
one that all share, and one of fifty. When they have expired, and some time and ordinary use have gone by, the library
keeps 500 values and what it needs to find them; how many records it keeps beyond those that it kept at first is
counted. Last the tag that all share is invalidated: none of the 500 may be served after that.

Slower stores put for some seconds only, and then the table says how many it was. A library that knows one tag for a
value has the one that all share. Records are what the library or its store counts: a value, and each member of a set
or of another container; one more for each live value is no growth, but another way to keep it. Everfresh also keeps a
log of its last 10,000 changes, however many there were; that is not counted.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from benchmarks.peers.adapter import MISSING
from benchmarks.races.scenario import Caller, Cell, failed, held, judged, not_offered, opened

TITLE = "Growth"
N_AT_ONCE = 2
ROWS = {
    "records": "records left over when so many had expired",
    "found": "of 500 live values, still served after their tag was invalidated",
}
_N_GROUPS = 50
_LIVES_S = 3600.0
_EXPIRES_S = 1.0
# Beside one more for each live value: of what the live ones need, for books that are kept in pieces.
_SPARE = 0.1


@dataclass(frozen=True)
class _Sizes:
    """How much of all."""

    n_live: int = 500
    n_puts: int = 100_000
    puts_for_s: float = 5.0
    settles_within_s: float = 14.0
    n_rounds: int = 1_000
    """Of a hundred uses each, in which what has expired may be cleared away."""


_QUICK = _Sizes(n_live=100, n_puts=500, puts_for_s=5.0, settles_within_s=10.0, n_rounds=20)


def main(peer: ModuleType, *, place: dict[str, str], is_quick: bool = False) -> dict[str, Cell]:
    """Put, let expire, use, count."""
    with opened(peer, place) as caller:
        offers = caller.adapter.offers
        if "count" not in offers or not offers & {"manual", "function"}:
            return dict.fromkeys(ROWS, not_offered("nothing to count"))
        try:
            keeper = _keeper(caller)
        except NotImplementedError:
            return dict.fromkeys(ROWS, not_offered("no lifetimes"))
        sizes = _QUICK if is_quick else _Sizes()
        return {"records": _records(caller, keeper, sizes), "found": _found(caller, keeper, sizes.n_live)}


def _records(caller: Caller, keeper: "_Keeper", sizes: _Sizes) -> Cell:
    # Twice, and read, since some keep more of a value that was put over another, or that was read.
    for number in (*range(sizes.n_live), *range(sizes.n_live)):
        keeper.put(number, _LIVES_S)
        keeper.is_there(number)
    n_first = caller.adapter.n_kept()
    n_put = 0
    ends_at = time.monotonic() + sizes.puts_for_s
    while n_put < sizes.n_puts and time.monotonic() < ends_at:
        keeper.put(sizes.n_live + n_put, _EXPIRES_S)
        n_put += 1
    n_allowed = sizes.n_live + int(n_first * _SPARE)
    n_left = _left(caller, keeper, sizes, n_first=n_first, n_allowed=n_allowed)
    text = f"{max(n_left, 0):,} of {n_put:,}"
    return (held if n_left <= n_allowed else failed)(text, n_left=n_left, n_put=n_put, n_first=n_first)


def _left(caller: Caller, keeper: "_Keeper", sizes: _Sizes, *, n_first: int, n_allowed: int) -> int:
    """What is beyond the first count when all have expired, once it is little and stays; live ones are used."""
    time.sleep(_EXPIRES_S + 0.1)
    ends_at = time.monotonic() + sizes.settles_within_s
    n_before = 0
    for nth in range(sizes.n_rounds):
        n_left = caller.adapter.n_kept() - n_first
        is_done = n_left <= 0 or (n_left <= n_allowed and n_left == n_before)
        if is_done or time.monotonic() > ends_at:
            return n_left
        n_before = n_left
        for number in range(nth * 100, nth * 100 + 100):
            keeper.put(number % sizes.n_live, _LIVES_S)
            keeper.is_there(number % sizes.n_live)
        time.sleep(0.02)
    return caller.adapter.n_kept() - n_first


def _found(caller: Caller, keeper: "_Keeper", n_live: int) -> Cell:
    if not caller.adapter.offers & {"tag", "tag_function"}:
        return not_offered("no tags")
    n_there = sum(map(keeper.is_there, range(n_live)))
    if n_there < n_live:
        return failed(f"only {n_there} were there", n_there=n_there)
    caller(caller.adapter.invalidate_tag, "all")
    return judged(sum(map(keeper.is_there, range(n_live))), n_live, "served")


def _keeper(caller: Caller) -> "_Keeper":
    """One that has been seen to work, with as many of the tags as the library takes."""
    offers = caller.adapter.offers
    if "tag" not in offers and ("tag_function" in offers or "manual" not in offers):
        return _ByCalls(caller)
    error = NotImplementedError()
    for n_tags in (2, 1) if "tag" in offers else (0,):
        keeper = _ByHand(caller, n_tags)
        try:
            keeper.put(0, _EXPIRES_S)
        except NotImplementedError as refused:
            error = refused
        else:
            return keeper
    raise error


class _Keeper:
    """Puts values, and looks for them."""

    def put(self, number: int, expires_s: float) -> None:
        """Keep one."""
        raise NotImplementedError

    def is_there(self, number: int) -> bool:
        """Whether a reader would get it from the cache."""
        raise NotImplementedError


class _ByHand(_Keeper):
    """Where values with tags can be put."""

    def __init__(self, caller: Caller, n_tags: int) -> None:
        self._caller = caller
        self._n_tags = n_tags

    def put(self, number: int, expires_s: float) -> None:
        group = number % _N_GROUPS
        tags = ("all", f"group:{group}")[: self._n_tags]
        self._caller(self._caller.adapter.put, f"group:{group}:{number}", "value", tags=tags, expires_s=expires_s)

    def is_there(self, number: int) -> bool:
        key = f"group:{number % _N_GROUPS}:{number}"
        return self._caller(self._caller.adapter.get, key) is not MISSING


class _ByCalls(_Keeper):
    """Where only functions have tags, or lifetimes: they are called, and there is what they were not run for."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self._n_runs = 0
        adapter = caller.adapter
        tags = ("all", "group:{group}") if "tag_function" in adapter.offers else ()
        self._function_by_lifetime = {
            lifetime: adapter.cached(self._body(), tags=tags, expires_s=lifetime) for lifetime in (_LIVES_S, _EXPIRES_S)
        }

    def _body(self) -> Callable[[int, int], Any]:
        def value_of(number: int, group: int) -> str:
            self._n_runs += 1
            return f"{number} {group}"

        async def value_of_async(number: int, group: int) -> str:
            return value_of(number, group)

        return value_of_async if self._caller.adapter.is_async else value_of

    def put(self, number: int, expires_s: float) -> None:
        self._caller(self._function_by_lifetime[expires_s], number, number % _N_GROUPS)

    def is_there(self, number: int) -> bool:
        n_runs = self._n_runs
        self.put(number, _LIVES_S)
        return self._n_runs == n_runs
