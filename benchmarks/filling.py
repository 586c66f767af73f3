"""Filling a store with many entries: by its own steps, as builds do it, but many in one transaction."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from everfresh import dep
from everfresh.cache.cache import Cache
from everfresh.matching.shapes import grouped, shape_and_values
from everfresh.model.entry import Key, Lease, Recipe
from everfresh.protocol.requests import Begin, Built, Commit, Request
from everfresh.stores.store import STEPS
from everfresh.stores.tables import Tables

_N_AT_ONCE = 20_000
_LEASE_S = 60.0

Dependencies = Callable[[int], Sequence[dep.Dependency]]


@dataclass(frozen=True, slots=True)
class Fill(Request[None]):
    """Begin and commit an entry for each of the numbers."""

    numbers: Iterable[int]
    dependencies: Dependencies


def fill(cache: Cache, n: int, dependencies: Dependencies) -> int:
    """Store `n` entries with these dependencies; how many bytes their keys and values are."""
    store = cache.engine.store
    for start in range(0, n, _N_AT_ONCE):
        store.carry_out(Fill(range(start, min(start + _N_AT_ONCE, n)), dependencies))
    return sum(len(_key(number)) + len(_value(number)) for number in range(n))


def _fill(tables: Tables, request: Fill) -> None:
    steps: dict[type[Any], Callable[[Tables, Any], Any]] = STEPS
    for number in request.numbers:
        groups = grouped(map(shape_and_values, request.dependencies(number)))
        recipe = Recipe("benchmarks.filling.filled@1", b"\x81\xa6number\xce" + number.to_bytes(4, "big"))
        begin = Begin(
            key=_key(number),
            recipe=recipe,
            fingerprint="0" * 32,
            shapes=tuple(group.shape for group in groups),
            lease_s=_LEASE_S,
            good_from=None,
        )
        lease: Lease = steps[Begin](tables, begin)
        value = _value(number)
        built = Built(
            value=value,
            digest=blake2b(value, digest_size=16).hexdigest(),
            groups=groups,
            seen=(),
            good_from=lease.begun.sequence,
            build_s=0.001,
        )
        steps[Commit](tables, Commit(lease=lease, built=built, fingerprint=begin.fingerprint))


def _key(number: int) -> Key:
    return Key(f"benchmarks.filling.filled@1(number={number})")


def _value(number: int) -> bytes:
    return b"\xd9\x64" + f"value {number}".ljust(100).encode()


# A request of our own: a store carries out any step of the table as one transaction.
STEPS[Fill] = _fill
