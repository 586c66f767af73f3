"""Filling a store with many entries by its own steps, as builds do it, but many at once."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, cast

from everfresh import dep
from everfresh.cache.cache import Cache
from everfresh.matching.shapes import Group, grouped, shape_and_values
from everfresh.model.entry import Key, Lease, Recipe
from everfresh.protocol.requests import Begin, Built, Commit, Request
from everfresh.stores.redis import RedisStore
from everfresh.stores.store import STEPS, Store
from everfresh.stores.tables import Tables

# In one transaction; on Redis each step is one, and so many are on their way at once.
_N_AT_ONCE = 20_000
_N_ON_THEIR_WAY = 256
_LEASE_S = 60.0
_N_VALUE_BYTES = 106

Dependencies = Callable[[int], Sequence[dep.Dependency]]


@dataclass(frozen=True, slots=True)
class Fill(Request[None]):
    """Begin and commit an entry for each of the numbers."""

    numbers: Iterable[int]
    dependencies: Dependencies


def fill(cache: Cache, n: int, dependencies: Dependencies) -> int:
    """Store `n` entries with these dependencies; how many bytes their keys and values are."""
    store = cache.engine.store
    if isinstance(store, RedisStore):
        asyncio.run(_fill_redis(store, n, dependencies))
    else:
        for start in range(0, n, _N_AT_ONCE):
            store.carry_out(Fill(range(start, min(start + _N_AT_ONCE, n)), dependencies))
    return sum(len(_key(number)) + _N_VALUE_BYTES for number in range(n))


async def leases_of(store: Store, numbers: Iterable[int], dependencies: Dependencies) -> list[Lease]:
    """The leases of the entries, which nobody else builds."""
    begins = [_begin(number, grouped(map(shape_and_values, dependencies(number)))) for number in numbers]
    return [cast("Lease", lease) for lease in await asyncio.gather(*map(store.carry_out_async, begins))]


async def commit_all(store: Store, numbers: Iterable[int], leases: Iterable[Lease], dependencies: Dependencies) -> None:
    """End the leases with values."""
    commits = [
        _commit(number, lease, grouped(map(shape_and_values, dependencies(number))))
        for number, lease in zip(numbers, leases, strict=True)
    ]
    await asyncio.gather(*map(store.carry_out_async, commits))


async def _fill_redis(store: Store, n: int, dependencies: Dependencies) -> None:
    for start in range(0, n, _N_ON_THEIR_WAY):
        numbers = range(start, min(start + _N_ON_THEIR_WAY, n))
        await commit_all(store, numbers, await leases_of(store, numbers, dependencies), dependencies)


def _fill(tables: Tables, request: Fill) -> None:
    steps: dict[type[Any], Callable[[Tables, Any], Any]] = STEPS
    for number in request.numbers:
        groups = grouped(map(shape_and_values, request.dependencies(number)))
        lease: Lease = steps[Begin](tables, _begin(number, groups))
        steps[Commit](tables, _commit(number, lease, groups))


def _begin(number: int, groups: Sequence[Group]) -> Begin:
    return Begin(
        key=_key(number),
        recipe=Recipe("benchmarks.filling.filled@1", b"\x81\xa6number\xce" + number.to_bytes(4, "big")),
        fingerprint="0" * 32,
        shapes=tuple(group.shape for group in groups),
        lease_s=_LEASE_S,
        good_from=None,
    )


def _commit(number: int, lease: Lease, groups: Sequence[Group]) -> Commit:
    # Built anew it is another value, as its lease is another.
    value = _value(number) + lease.token.to_bytes(4, "big")
    built = Built(
        value=value,
        digest=blake2b(value, digest_size=16).hexdigest(),
        groups=tuple(groups),
        seen=(),
        good_from=lease.begun.sequence,
        build_s=0.001,
    )
    return Commit(lease=lease, built=built, fingerprint="0" * 32)


def _key(number: int) -> Key:
    return Key(f"benchmarks.filling.filled@1(number={number})")


def _value(number: int) -> bytes:
    return b"\xd9\x64" + f"value {number}".ljust(100).encode()


# A request of our own: a store carries out any step of the table as one transaction.
STEPS[Fill] = _fill
