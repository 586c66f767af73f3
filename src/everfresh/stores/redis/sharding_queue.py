"""The refresh queue over shards: who is most urgent of all, and how many may begin."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from everfresh.protocol.queueing import Due, TakeDue, TookDue
from everfresh.protocol.requests import Limit
from everfresh.stores.redis.sharding import Part, Parts, Sharding
from everfresh.stores.redis.sharding_steps import Allow, Peek, Peeked, Started


def take_due(sharding: Sharding, request: TakeDue) -> Parts[TookDue]:
    """Carry out `TakeDue`: look at all shards, then take from those that have the most urgent.

    Two workers that do so at the same moment may begin more than a limit allows, by as many as one of them takes.
    """
    functions = tuple(request.functions)
    peeked: list[Peeked] = yield from sharding.done(sharding.everywhere(Peek(functions, request.n_max)))
    left, next_at = yield from _left(sharding, request, functions, peeked)
    ranked: list[tuple[float, int, str]] = []
    for shard, found in enumerate(peeked):
        for name, (_, ranks, next_due, _) in zip(functions, found.functions, strict=True):
            if left[name] > 0:
                ranked += [(rank, shard, name) for rank in ranks]
                if next_due is not None:
                    next_at.append(next_due)
    taken, is_more = _most_urgent(ranked, left, request.n_max)
    now = max(found.now for found in peeked)
    # What has fallen due is taken now, or waits for its turn.
    next_at = [at for at in next_at if at > now]
    if is_more:
        next_at.append(now)
    parts = _parts(taken, functions, peeked, request)
    answers: list[TookDue] = yield from sharding.done(parts)
    yield from _note_starts(sharding, request, answers)
    next_at += [answer.next_due for answer in answers if answer.next_due is not None]
    return TookDue(
        tuple(_in_order(taken, parts, answers)),
        max((answer.now for answer in answers), default=now),
        min(next_at, default=None),
        tuple(key for answer in answers for key in answer.expired),
        tuple(key for answer in answers for key in answer.cold),
    )


def _left(
    sharding: Sharding, request: TakeDue, functions: Sequence[str], peeked: Sequence[Peeked]
) -> Parts[tuple[dict[str, int], list[float]]]:
    """How many of each function may begin; and when more may of those that may not now."""
    left = dict.fromkeys(functions, request.n_max + 1)
    next_at: list[float] = []
    for place, name in enumerate(functions):
        n_at_once = request.functions[name].n_at_once
        if any(found.functions[place][3] for found in peeked):
            n_at_once = 1
        if n_at_once is not None:
            n_leased = sum(found.functions[place][0] for found in peeked)
            left[name] = max(0, n_at_once - n_leased)
    paced = _paced(sharding, request.functions)
    parts = [Part(shard, Allow(tuple(some), request.n_max + 1)) for shard, some in paced.items()]
    answers = yield from sharding.done(parts)
    for some, answer in zip(paced.values(), answers, strict=True):
        for (name, _), (n_allowed, at) in zip(some, answer, strict=True):
            if left[name] > 0 and n_allowed == 0 and at is not None:
                next_at.append(at)
            left[name] = min(left[name], n_allowed)
    return left, next_at


def _paced(sharding: Sharding, functions: Mapping[str, Limit]) -> dict[int, list[tuple[str, float]]]:
    found: dict[int, list[tuple[str, float]]] = {}
    for name, limit in functions.items():
        if limit.per_s is not None:
            found.setdefault(sharding.shard_of(name), []).append((name, limit.per_s))
    return found


def _most_urgent(
    ranked: list[tuple[float, int, str]], left: Mapping[str, int], n_max: int
) -> tuple[list[tuple[float, int, str]], bool]:
    """Which to take, and whether there are more that might be taken at once."""
    n_left = Counter(left)
    taken: list[tuple[float, int, str]] = []
    for one in sorted(ranked):
        name = one[2]
        if n_left[name] <= 0:
            continue
        if len(taken) == n_max:
            return taken, True
        n_left[name] -= 1
        taken.append(one)
    return taken, False


def _parts(
    taken: Sequence[tuple[float, int, str]], functions: Sequence[str], peeked: Sequence[Peeked], request: TakeDue
) -> list[Part]:
    counts = Counter((shard, name) for _, shard, name in taken)
    by_shard: dict[int, dict[str, Limit]] = {}
    for place, name in enumerate(functions):
        for shard, found in enumerate(peeked):
            n = counts[shard, name]
            if n:
                by_shard.setdefault(shard, {})[name] = Limit(n_at_once=found.functions[place][0] + n)
    return [Part(shard, TakeDue(limits, request.n_max, request.lease_s)) for shard, limits in by_shard.items()]


def _note_starts(sharding: Sharding, request: TakeDue, answers: Sequence[TookDue]) -> Parts[None]:
    paced = _paced(sharding, request.functions)
    if not paced:
        return
    n_started = Counter(due.recipe.function for answer in answers for due in answer.due)
    yield from sharding.done(
        [
            Part(shard, Started(tuple((name, per_s, n_started[name]) for name, per_s in some if n_started[name])))
            for shard, some in paced.items()
        ]
    )


def _in_order(taken: Sequence[tuple[float, int, str]], parts: Sequence[Part], answers: Sequence[TookDue]) -> list[Due]:
    """What was taken, as it was ranked."""
    waiting = {part.shard: list(answer.due) for part, answer in zip(parts, answers, strict=True)}
    found = [waiting[shard].pop(0) for _, shard, _ in taken if waiting.get(shard)]
    return found + [due for left in waiting.values() for due in left]
