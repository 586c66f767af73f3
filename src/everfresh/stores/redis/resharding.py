"""Another number of shards: the store begins anew, and what was in it is queued to be built.

Nothing is moved: each entry would have to come with its links, its mirrors and its place in the feed, and a crash half
way would leave two stores. So all recipes are read, all keys removed, and each entry queued for its first build. Until
the workers are through, readers build what they ask for. Values that were put have no recipe, and are gone.

How far sources have come stays, as whatever is built from now on has seen what was before; and so does the quarantine.
What their consumers told comes again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice

from everfresh.model.entry import Key, Recipe, Terms
from everfresh.protocol.inspecting import Explain, ListEntries
from everfresh.protocol.queueing import Enqueue
from everfresh.protocol.requests import Load
from everfresh.protocol.sourcing import Offset, ReadQuarantine, ReadSources, Unreadable
from everfresh.stores.redis.addresses import Address
from everfresh.stores.redis.nodes import Nodes
from everfresh.stores.redis.sharded import ShardedStore
from everfresh.stores.redis.sourcing import PutBack
from everfresh.stores.redis.store import RedisStore
from everfresh.stores.store import Store

_N_LISTED = 1_000
_N_QUEUED = 500


@dataclass(frozen=True, slots=True)
class Resharded:
    """How many entries were queued, how many values without a recipe are gone, and how many keys were removed."""

    n_queued: int
    n_gone: int
    n_keys: int


def reshard(address: Address, n_before: int, n_after: int) -> Resharded:
    """Divide the store anew. Nobody else may use it meanwhile.

    Raises:
        StoreUnavailable: it does not answer, or is in another number of shards than `n_before`.
    """
    before = _opened(address, n_before)
    recipes: dict[Terms, dict[Key, Recipe]] = {}
    n_gone = 0
    try:
        for key in _keys_of(before):
            recipe, explained = before.carry_out(Load(key)).recipe, before.carry_out(Explain(key))
            if recipe is None or explained is None:
                n_gone += 1
            else:
                recipes.setdefault(explained.terms, {})[key] = recipe
        kept = _of_sources(before)
    finally:
        before.close()
    n_keys = _removed(address)
    after = _opened(address, n_after)
    try:
        after.carry_out(kept)
        n_queued = sum(_queued(after, terms, some) for terms, some in recipes.items())
    finally:
        after.close()
    return Resharded(n_queued, n_gone, n_keys)


def _opened(address: Address, n_shards: int) -> Store:
    address = replace(address, shards=n_shards)
    return RedisStore(address) if n_shards == 1 else ShardedStore(address)


def _keys_of(store: Store) -> Iterator[Key]:
    after = Key("")
    while listed := store.carry_out(ListEntries(after=after, n_max=_N_LISTED)):
        for one in listed:
            yield one.key
        after = listed[-1].key


def _of_sources(store: Store) -> PutBack:
    states = store.carry_out(ReadSources()).states
    offsets = tuple(Offset(state.source, state.offset) for state in states if state.offset is not None)
    kept: list[Unreadable] = []
    while some := store.carry_out(ReadQuarantine(after=kept[-1].place if kept else 0)):
        kept += some
    return PutBack(offsets, tuple(kept))


def _queued(store: Store, terms: Terms, recipes: dict[Key, Recipe]) -> int:
    n_queued = 0
    items = iter(recipes.items())
    while some := dict(islice(items, _N_QUEUED)):
        n_queued += store.carry_out(Enqueue(some, terms))
    return n_queued


def _removed(address: Address) -> int:
    nodes = Nodes(address)
    try:
        return nodes.remove(f"{_plain(address.prefix)}:{{s*}}:*")
    finally:
        nodes.close()


def _plain(text: str) -> str:
    """The text as a pattern that only it matches."""
    return "".join(f"\\{letter}" if letter in "*?[]^\\-" else letter for letter in text)
