"""Urgency over shards: what to take next, of what was seen due on each.

Rules
- Of one shard the lowest rank goes first, and of all shards those that are more urgent by a tenth of a second or more.
- What is about as urgent is taken in turns, some of each shard, so that all nodes have something to do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from heapq import merge
from typing import NamedTuple

from everfresh.stores.redis.sharding_steps import Peeked

# Events that were sent at once are carried out by one shard after the other, so which was first says little.
_ALIKE_MICROS = 100_000
# So many of one shard in a row: to take anything costs a shard as much as two entries.
_IN_A_ROW = 16

Ranked = tuple[float, int, int, float, int, str]
"""An entry as it was seen; they are taken in this order. The last two are its shard and its function."""


class Choice(NamedTuple):
    """What to take, in order; whether there is more; and the shards that may have more of it than was seen."""

    taken: list[Ranked]
    is_more: bool
    hiding: list[int]


def chosen(
    functions: Sequence[str], peeked: Sequence[Peeked], left: Mapping[str, int], *, n_max: int, n_seen: int, turn: int
) -> Choice:
    """Choose at most `n_max`, and of each function no more than are left of it, when `n_seen` were seen at most.

    Each turn begins with another shard.
    """
    queues: list[Iterator[Ranked]] = []
    ends: list[Ranked] = []
    for shard, found in enumerate(peeked):
        turns = (shard - turn) % len(peeked)
        for name, (_, ranks, _, _) in zip(functions, found.functions, strict=True):
            if left[name] > 0 and ranks:
                queues.append(_ranked(ranks, turns, shard, name))
                if n_seen <= len(ranks) < min(n_max, left[name]):
                    ends.append((ranks[-1] // _ALIKE_MICROS, len(ranks) // _IN_A_ROW, turns, ranks[-1], shard, name))
    # Few are taken of all that were seen.
    taken, is_more = _first(merge(*queues), left, n_max)
    is_full = len(taken) == n_max
    return Choice(taken, is_more, [end[-2] for end in ends if not is_full or end < taken[-1]])


def _ranked(ranks: Sequence[float], turns: int, shard: int, name: str) -> Iterator[Ranked]:
    for number, rank in enumerate(ranks):
        yield rank // _ALIKE_MICROS, number // _IN_A_ROW, turns, rank, shard, name


def without(functions: Sequence[str], peeked: Sequence[Peeked], taken: Sequence[Ranked]) -> list[Peeked]:
    """What is left of what was seen."""
    counts = Counter((shard, name) for *_, shard, name in taken)
    left = list(peeked)
    for shard in {shard for shard, _ in counts}:
        found = peeked[shard]
        some = zip(functions, found.functions, strict=True)
        left[shard] = Peeked(
            tuple((item[0], item[1][counts[shard, name] :], *item[2:]) for name, item in some), found.now
        )
    return left


def _first(ranked: Iterable[Ranked], left: Mapping[str, int], n_max: int) -> tuple[list[Ranked], bool]:
    n_left = Counter(left)
    taken: list[Ranked] = []
    for one in ranked:
        name = one[-1]
        if n_left[name] <= 0:
            continue
        if len(taken) == n_max:
            return taken, True
        n_left[name] -= 1
        taken.append(one)
    return taken, False
