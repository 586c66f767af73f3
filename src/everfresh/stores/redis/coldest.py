"""Who would go for want of room, asked before a step that may need some.

A script cannot ask this process when an entry was last read here. So those that are next to go are asked for first,
when the store is full, and what is known here of them goes with the step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import msgspec

from everfresh.model.entry import Key
from everfresh.protocol.requests import Commit, Put, Request, Steps, ask
from everfresh.stores.evicting import MAX_SPARED, N_COLDEST
from everfresh.stores.redis.sharding_steps import Asked
from everfresh.stores.redis.wire_replies import Decoded, Reply, Told, decoded
from everfresh.stores.tables import LastRead

A = TypeVar("A")

_N_AT_FIRST = 4
_N_AT_MOST = N_COLDEST + MAX_SPARED


class Cold(msgspec.Struct, array_like=True):
    """An entry that may go: when it was last read, as the store knows; its key, and those that would go with it."""

    read_at: float
    keys: list[Key]


@dataclass(frozen=True, slots=True)
class Coldest(Request[list[Cold]]):
    """The `n` entries that would go first, if there is no room for a value of `n_bytes` under the key; else none."""

    key: Key
    n_bytes: int
    n: int = _N_AT_FIRST


@dataclass(frozen=True, slots=True)
class Knowing(Request[A]):
    """A request, and when entries were last read here that may have to go for it."""

    request: Request[A]
    last_reads: Mapping[Key, float]


def knowing(request: Request[A], last_read: LastRead) -> Steps[A] | None:
    """The steps that carry out a request that may need room; None for one that needs none."""
    # What the request is asked for does not show in its type.
    asked: Request[Any] = request
    if isinstance(asked, Asked):
        asked = asked.request
    if isinstance(asked, Commit):
        return _knowing(request, Coldest(asked.lease.key, len(asked.built.value)), last_read)
    if isinstance(asked, Put):
        return _knowing(request, Coldest(asked.key, len(asked.value)), last_read)
    return None


def _knowing(request: Request[A], coldest: Coldest, last_read: LastRead) -> Steps[A]:
    found = yield from ask(coldest)
    known = _known(found, last_read)
    is_short = coldest.n == len(found) and not any(_may_go(cold, known) for cold in found)
    if is_short:
        found = yield from ask(replace(coldest, n=_N_AT_MOST))
        known = _known(found, last_read)
    return (yield from ask(Knowing(request, known)))


def _may_go(cold: Cold, known: Mapping[Key, float]) -> bool:
    return all(known.get(key, 0.0) <= cold.read_at for key in cold.keys)


def _known(found: Sequence[Cold], last_read: LastRead) -> dict[Key, float]:
    keys = {key for cold in found for key in cold.keys}
    return {key: read_at for key in keys if (read_at := last_read(key)) is not None}


def fields(request: Coldest) -> dict[str, object]:
    """As its script reads it."""
    return {"key": request.key, "n_bytes": request.n_bytes, "n": request.n}


_decode = msgspec.msgpack.Decoder(Told[list[Cold]]).decode


def answer(_: Coldest, reply: Reply) -> Decoded[list[Cold]]:
    """From what its script replied."""
    told = _decode(reply[0])
    return decoded(told, told.answer)
