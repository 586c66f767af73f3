"""Requests of people: which entries there are, how many, and what is known of one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from everfresh.matching.shapes import Group
from everfresh.model.entry import Key, State, Terms
from everfresh.protocol.requests import Request


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """An entry without its value. `version` 0: it is known, and was not built yet. Times are unix seconds.

    `due` is when the queue looks at it; None when nothing is to be done. `n_bytes` is the size of the value.
    """

    key: Key
    function: str
    state: State
    version: int
    built_at: float
    read_at: float
    stale_since: float | None
    reason: str
    attempts: int
    due: float | None
    n_bytes: int


@dataclass(frozen=True, slots=True)
class ListEntries(Request[tuple[Listed, ...]]):
    """Entries by key, in order, at most `n_max` after the key `after`; None for whatever function or state."""

    function: str | None = None
    state: State | None = None
    after: Key = Key("")  # noqa: RUF009 - a NewType of text
    n_max: int = 1_000


@dataclass(frozen=True, slots=True)
class Counted:
    """How many entries there are, how many of them have a value, by state; and the bytes of all values."""

    n_known: int
    n_built: int
    n_by_state: Mapping[State, int]
    n_bytes: int


@dataclass(frozen=True, slots=True)
class Count(Request[Counted]):
    """Count the entries, of one function or of all."""

    function: str | None = None


class Explained(msgspec.Struct, frozen=True, kw_only=True):
    """What the store knows of an entry beside its value.

    `history` are the last events that touched it, oldest first; `seen` the entries that it was built from, with what is
    unsettled of them in `unsettled`; `outer` those that were built from it. `builder` says who built the value.
    """

    listed: Listed
    groups: tuple[Group, ...]
    seen: tuple[Key, ...]
    unsettled: tuple[Key, ...]
    outer: tuple[Key, ...]
    history: tuple[str, ...]
    builder: str
    terms: Terms
    is_leased: bool
    expires_at: float | None
    watched_until: float


@dataclass(frozen=True, slots=True)
class Explain(Request[Explained | None]):
    """What is known of an entry; None when it is not there."""

    key: Key
