"""What people ask of a cache, as rules: which entries there are, how many are built, and to drop or retry some."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Protocol

from everfresh.cache.keys import is_storable, known_keys
from everfresh.model.entry import Key, State
from everfresh.model.errors import InvalidOption
from everfresh.protocol.inspecting import Count, Listed, ListEntries
from everfresh.protocol.queueing import Retry
from everfresh.protocol.requests import Delete, Steps, ask

_NAME = re.compile(r".+@[0-9]+")
# Each page is one step of the store, which others wait for.
_PAGE = 1_000


class Named(Protocol):
    """A cached function."""

    @property
    def name(self) -> str:
        """Its name in keys: `module.qualname@version`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """How many of the entries that are known have a value, and how large all values are."""

    n_known: int
    n_built: int
    n_by_state: Mapping[State, int]
    n_bytes: int

    @property
    def percent(self) -> float:
        """The share of entries with a value, with two decimals; 100 only when none is missing."""
        if self.n_built >= self.n_known:
            return 100.0
        return min(round(100 * self.n_built / self.n_known, 2), 99.99)

    def __str__(self) -> str:
        return f"{self.n_built} of {self.n_known} entries built: {self.percent:.2f} %"


def entries(function: Named | str | None, state: State | str | None, pattern: str | None) -> Steps[list[Listed]]:
    """The entries in the order of their keys, page by page; each page is as of its own moment."""
    name, wanted = _name_of(function), _state_of(state)
    found: list[Listed] = []
    after = Key("")
    while True:
        page = yield from ask(ListEntries(name, wanted, after, _PAGE))
        found += (one for one in page if pattern is None or fnmatchcase(one.key, pattern))
        if len(page) < _PAGE:
            return found
        after = page[-1].key


def coverage(function: Named | str | None) -> Steps[Coverage]:
    """How many entries are built."""
    counted = yield from ask(Count(_name_of(function)))
    return Coverage(
        n_known=counted.n_known, n_built=counted.n_built, n_by_state=counted.n_by_state, n_bytes=counted.n_bytes
    )


def drop(function: Named | str | None, pattern: str | None) -> Steps[int]:
    """Delete what is named; how many values there were.

    Raises:
        InvalidOption: nothing is named.
    """
    if function is None and pattern is None:
        raise InvalidOption("drop: nothing is named. Give a function or a pattern; pattern='*' stands for everything.")
    keys = [one.key for one in (yield from entries(function, None, pattern))]
    n_dropped = 0
    for start in range(0, len(keys), _PAGE):
        # Who loads a value that is missing already is not meant.
        n_dropped += yield from ask(Delete(tuple(keys[start : start + _PAGE]), outruns=False))
    return n_dropped


def retry(keys: Sequence[str]) -> Steps[int]:
    """Queue entries that failed, or wait for their next try, to be built at once; how many those were."""
    known = known_keys(keys, what="retry")
    return (yield from ask(Retry(known))) if known else 0


def _name_of(function: Named | str | None) -> str | None:
    if function is None:
        return None
    name: object = function if isinstance(function, str) else getattr(function, "name", None)
    if not isinstance(name, str):
        raise InvalidOption(
            f"function: {function!r} is no cached function. Give one, or its name: module.qualname@version."
        )
    if name and not (_NAME.fullmatch(name) and is_storable(name)):
        raise InvalidOption(
            f"function: {name!r} is no function's name. Names are module.qualname@version; that of put values is empty."
        )
    return name


def _state_of(state: State | str | None) -> State | None:
    if state is None:
        return None
    try:
        return State(state)
    except ValueError as error:
        names = ", ".join(one.value for one in State)
        raise InvalidOption(f"state: {state!r} is none. Use one of {names}.") from error
