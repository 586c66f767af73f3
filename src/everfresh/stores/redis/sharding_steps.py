"""The steps of one shard that only a store of several shards asks for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from everfresh.model.entry import Key
from everfresh.protocol.requests import Request
from everfresh.stores.redis.pacing import Placed
from everfresh.stores.redis.wire_replies import Message, Pace

N_GONE_THROUGH = 500
"""How many entries one step looks at when another shard has lost its memory."""


@dataclass(frozen=True, slots=True)
class Unattached:
    """Nothing was done: first ask the shards of these entries for what they are, giving them these places."""

    keys: tuple[Key, ...]
    epoch: str
    places: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Asked(Request[Any]):
    """A `Commit` or `Put` whose inner entries on other shards were asked for so often; the last time it is done."""

    request: Request[Any]
    n_asked: int
    is_last: bool


@dataclass(frozen=True, slots=True)
class Expect(Request[Unattached]):
    """Make places for what other shards will tell of these entries."""

    keys: tuple[Key, ...]


@dataclass(frozen=True, slots=True)
class Attach(Request[tuple[Message, ...]]):
    """Have that shard told of these entries from now on, at these places; answered with what they are now."""

    shard: int
    keys: tuple[Key, ...]
    epoch: str
    places: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Carried:
    """What was touched and what is suspect now; and what nobody here hangs on any more: its key and its place."""

    touched: tuple[Key, ...]
    suspect: tuple[Key, ...]
    detached: tuple[tuple[Key, int, str, int], ...]
    place: tuple[str, int]
    """The epoch and the sequence of the shard after it."""
    placed: Placed | None = None
    """With a pace, which places were given."""


@dataclass(frozen=True, slots=True)
class Carry(Request[Carried]):
    """Take what other shards tell; with `per_s`, what is touched falls due one after the other."""

    messages: tuple[Message, ...]
    per_s: float | None = None


@dataclass(frozen=True, slots=True)
class Delivered(Request[None]):
    """These were carried, to a shard, of a key, up to a sequence; and these are to be told to a shard no longer."""

    carried: tuple[tuple[int, Key, int], ...]
    detached: tuple[tuple[Key, int, str, int], ...]


@dataclass(frozen=True, slots=True)
class Pending(Request[tuple[Message, ...]]):
    """Some of what was not carried yet."""


@dataclass(frozen=True, slots=True)
class Hear(Request[tuple[bool, int]]):
    """Take note of the epochs of the shards, looking at entries after a number; whether that was all, and how far."""

    epochs: tuple[tuple[int, str], ...]
    after_id: int = 0


@dataclass(frozen=True, slots=True)
class Peek(Request["Peeked"]):
    """What is due of these functions."""

    functions: tuple[str, ...]
    n_max: int


@dataclass(frozen=True, slots=True)
class Peeked:
    """Of each function: how many are being built, the ranks of what is due, when to ask again, whether it fails."""

    functions: tuple[tuple[int, tuple[float, ...], float | None, bool], ...]
    now: float


@dataclass(frozen=True, slots=True)
class Allow(Request[tuple[tuple[int, float | None], ...]]):
    """For functions with a pace: how many may begin now, and when the next may."""

    functions: tuple[tuple[str, float], ...]
    n_max: int


@dataclass(frozen=True, slots=True)
class Started(Request[None]):
    """So many of them have begun."""

    functions: tuple[tuple[str, float, int], ...]


@dataclass(frozen=True, slots=True)
class SetPaces(Request[None]):
    """Take note of how refreshes of functions failed elsewhere."""

    paces: tuple[Pace, ...]


@dataclass(frozen=True, slots=True)
class Outer(Request[tuple[Key, ...]]):
    """The entries here that were built from that one."""

    key: Key
