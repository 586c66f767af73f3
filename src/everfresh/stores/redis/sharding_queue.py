"""The refresh queue over shards: who is most urgent of all, and how many may begin.

look at all shards ──▶ choose ──▶ take from those that have it
      ▲                  │ some may have more than was seen: look there again
      └── or what was seen a moment ago, where that is enough
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from math import inf

from everfresh.protocol.queueing import Due, TakeDue, TookDue
from everfresh.protocol.requests import Limit
from everfresh.stores.redis.sharding import Part, Parts, Sharding, Spread
from everfresh.stores.redis.sharding_steps import Allow, Peek, Peeked, Pending, Started
from everfresh.stores.redis.sharding_urgency import Choice, Ranked, chosen, without

# How many of each shard are looked at. One that has more of what is most urgent is looked at again.
_LOOKED_AT = 32
# What was seen and not taken is taken without another look for so long: others may have queued something since.
KNOWN_S = 0.05

_UNLIMITED = Limit()


class Known:
    """What was seen a moment ago and not taken since, by the functions that were asked for; safe from every thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        """By which what was seen grows old."""
        self._seen: dict[tuple[str, ...], tuple[float, list[Peeked]]] = {}
        self._forgotten_at = -inf

    def take(self, functions: tuple[str, ...]) -> tuple[float, list[Peeked]] | None:
        """What was seen, and when, if that holds still; nobody else is given it until it is put back."""
        seen = self._seen.pop(functions, None)
        return seen if seen is not None and self.clock() - seen[0] < KNOWN_S else None

    def put(self, functions: tuple[str, ...], seen_at: float, peeked: list[Peeked]) -> None:
        """So much is left of it; what was seen before something else fell due is of no use any more."""
        if seen_at > self._forgotten_at:
            self._seen[functions] = seen_at, peeked

    def forget(self) -> None:
        """Something else may be due by now."""
        self._forgotten_at = self.clock()
        self._seen.clear()


def take_due(sharding: Sharding, request: TakeDue, turn: int, known: Known | None) -> Parts[TookDue]:
    """Carry out `TakeDue`. Each turn begins with another shard, and carries what others have left to be told of it.

    Two workers that do so at the same moment may begin more than a limit allows, by as many as one of them takes.
    """
    functions = tuple(request.functions)
    if known is not None and not all(limit == _UNLIMITED for limit in request.functions.values()):
        known = None
    seen = None if known is None else known.take(functions)
    if known is not None and seen is not None:
        choice = _chosen(request, seen[1], dict.fromkeys(functions, request.n_max + 1), turn)
        if len(choice.taken) == request.n_max and not choice.hiding:
            return (yield from _take_known(sharding, request, choice, seen, known))
    seen_at = 0.0 if known is None else known.clock()
    peeked = yield from _peeked(sharding, request, turn)
    left, next_at = yield from _left(sharding, request, functions, peeked)
    choice = _chosen(request, peeked, left, turn)
    if choice.hiding:
        yield from _look_closer(sharding, request, peeked, choice.hiding)
        choice = _chosen(request, peeked, left, turn)
    if known is not None and not any(item[3] for found in peeked for item in found.functions):
        known.put(functions, seen_at, without(functions, peeked, choice.taken))
    now = max(found.now for found in peeked)
    next_at += _next_due(functions, peeked, left)
    # What has fallen due is taken now, or waits for its turn.
    next_at = [at for at in next_at if at > now]
    if choice.is_more:
        next_at.append(now)
    took = yield from _take(sharding, request, choice.taken, peeked)
    yield from _note_starts(sharding, request, took)
    return _joined(choice.taken, took, now, next_at)


def _chosen(request: TakeDue, peeked: Sequence[Peeked], left: Mapping[str, int], turn: int) -> Choice:
    functions = tuple(request.functions)
    n_seen = min(request.n_max, _LOOKED_AT)
    return chosen(functions, peeked, left, n_max=request.n_max, n_seen=n_seen, turn=turn)


def _take_known(
    sharding: Sharding, request: TakeDue, choice: Choice, seen: tuple[float, list[Peeked]], known: Known
) -> Parts[TookDue]:
    seen_at, peeked = seen
    functions = tuple(request.functions)
    known.put(functions, seen_at, without(functions, peeked, choice.taken))
    took = yield from _take(sharding, request, choice.taken, peeked)
    now = max(answer.now for _, answer in took)
    if sum(len(answer.due) for _, answer in took) == request.n_max:
        return _joined(choice.taken, took, now, [])
    # Somebody else was there. What is due now, a look will say.
    known.forget()
    return _joined(choice.taken, took, now, [now])


def _peeked(sharding: Sharding, request: TakeDue, turn: int) -> Parts[list[Peeked]]:
    looks = sharding.everywhere(Peek(tuple(request.functions), min(request.n_max, _LOOKED_AT)))
    *peeked, pending = yield from sharding.done([*looks, Part(turn % sharding.n_shards, Pending())])
    if pending:
        yield from sharding.carry(pending, Spread())
        # By now more may be due.
        peeked = yield from sharding.done(looks)
    return peeked


def _look_closer(sharding: Sharding, request: TakeDue, peeked: list[Peeked], shards: Sequence[int]) -> Parts[None]:
    """See all of these shards that might be taken."""
    parts = [Part(shard, Peek(tuple(request.functions), request.n_max)) for shard in shards]
    for shard, found in zip(shards, (yield from sharding.done(parts)), strict=True):
        peeked[shard] = found


def _next_due(functions: Sequence[str], peeked: Sequence[Peeked], left: Mapping[str, int]) -> list[float]:
    return [
        next_due
        for found in peeked
        for name, (_, _, next_due, _) in zip(functions, found.functions, strict=True)
        if left[name] > 0 and next_due is not None
    ]


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


def _take(
    sharding: Sharding, request: TakeDue, taken: Sequence[Ranked], peeked: Sequence[Peeked]
) -> Parts[list[tuple[int, TookDue]]]:
    """Take so many of each shard; its answer by the shard."""
    counts = Counter((shard, name) for *_, shard, name in taken)
    by_shard: dict[int, dict[str, Limit]] = {}
    for place, name in enumerate(request.functions):
        for shard, found in enumerate(peeked):
            n_leased, _, _, is_broken = found.functions[place]
            if n := counts[shard, name]:
                is_held_back = is_broken or request.functions[name] != _UNLIMITED
                limit = Limit(n_at_once=n_leased + n) if is_held_back else _UNLIMITED
                by_shard.setdefault(shard, {})[name] = limit
    n_of = Counter(one[-2] for one in taken)
    parts = [Part(shard, TakeDue(limits, n_of[shard], request.lease_s)) for shard, limits in by_shard.items()]
    answers = yield from sharding.done(parts)
    return list(zip(by_shard, answers, strict=True))


def _note_starts(sharding: Sharding, request: TakeDue, took: Sequence[tuple[int, TookDue]]) -> Parts[None]:
    paced = _paced(sharding, request.functions)
    if not paced:
        return
    n_started = Counter(due.recipe.function for _, answer in took for due in answer.due)
    yield from sharding.done(
        [
            Part(shard, Started(tuple((name, per_s, n_started[name]) for name, per_s in some if n_started[name])))
            for shard, some in paced.items()
        ]
    )


def _joined(
    taken: Sequence[Ranked], took: Sequence[tuple[int, TookDue]], now: float, next_at: Sequence[float]
) -> TookDue:
    answers = [answer for _, answer in took]
    next_due = [*next_at, *(answer.next_due for answer in answers if answer.next_due is not None)]
    return TookDue(
        tuple(_in_order(taken, took)),
        max((answer.now for answer in answers), default=now),
        min(next_due, default=None),
        tuple(key for answer in answers for key in answer.expired),
        tuple(key for answer in answers for key in answer.cold),
    )


def _in_order(taken: Sequence[Ranked], took: Sequence[tuple[int, TookDue]]) -> list[Due]:
    """What was taken, as it was chosen."""
    waiting = {shard: list(answer.due) for shard, answer in took}
    found = [waiting[shard].pop(0) for *_, shard, _ in taken if waiting.get(shard)]
    return found + [due for left in waiting.values() for due in left]
