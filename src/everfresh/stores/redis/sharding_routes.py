"""How each request is carried out over shards."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from heapq import nsmallest
from itertools import islice
from typing import Any

import msgspec

from everfresh.matching.shapes import CALL_SHAPE, Group
from everfresh.model.entry import Key, State
from everfresh.protocol.acknowledging import Behind
from everfresh.protocol.applying import Candidate, Candidates
from everfresh.protocol.inspecting import Count, Counted, Explain, Explained, Listed, ListEntries
from everfresh.protocol.queueing import Distrust, Enqueue, Note, Retry
from everfresh.protocol.requests import (
    Begin,
    Commit,
    Delete,
    Extend,
    Fail,
    FeedBatch,
    GiveUp,
    Load,
    Loaded,
    LoadMany,
    Put,
    ReadFeed,
    Register,
    Request,
)
from everfresh.protocol.sourcing import Tell
from everfresh.stores.redis import sourcing
from everfresh.stores.redis.chunks import N_DISTRUSTED, DistrustBegin, DistrustEnd, DistrustRows, DistrustScan
from everfresh.stores.redis.sharding import Part, Parts, Sharding, Spread
from everfresh.stores.redis.sharding_steps import Asked, Outer, Unattached

Route = Callable[[Sharding, Any], Parts[Any]]

FIRST = 0
"""The shard that has what is known of sources."""

# An entry that is detached just as somebody builds on it is asked for again; it need not be so for ever.
_N_ASKED = 3


def load(sharding: Sharding, request: Load) -> Parts[Loaded]:
    """One entry. A suspect one may only not have heard that what is below it, elsewhere, is settled."""
    shard = sharding.shard_of(request.key)
    (done,) = yield from sharding.ask([Part(shard, request)])
    loaded: Loaded = done.answer
    if loaded.entry is None or loaded.entry.state is not State.SUSPECT:
        return loaded
    elsewhere = [key for key in loaded.unsettled if sharding.shard_of(key) != shard]
    if not elsewhere:
        return loaded
    yield from sharding.learn(shard, elsewhere)
    (done,) = yield from sharding.ask([Part(shard, request)])
    again: Loaded = done.answer
    return again


def _load_many(sharding: Sharding, request: LoadMany) -> Parts[tuple[Loaded, ...]]:
    by_shard = sharding.by_shard(dict.fromkeys(request.keys))
    parts = [Part(shard, LoadMany(tuple(keys), request.fingerprint)) for shard, keys in by_shard.items()]
    answers = yield from sharding.done(parts)
    found = {
        key: loaded
        for keys, answer in zip(by_shard.values(), answers, strict=True)
        for key, loaded in zip(keys, answer, strict=True)
    }
    return tuple(found[key] for key in request.keys)


def _of_key(sharding: Sharding, request: Any) -> Parts[Any]:  # noqa: ANN401 - of several requests
    return (yield from sharding.one(sharding.shard_of(request.key), request))


def _of_lease(sharding: Sharding, request: Any) -> Parts[Any]:  # noqa: ANN401 - as above
    return (yield from sharding.one(sharding.shard_of(request.lease.key), request))


def _extend(sharding: Sharding, request: Extend) -> Parts[bool]:
    by_shard: dict[int, list[Any]] = {}
    for lease in request.leases:
        by_shard.setdefault(sharding.shard_of(lease.key), []).append(lease)
    parts = [Part(shard, Extend(tuple(leases), request.lease_s)) for shard, leases in by_shard.items()]
    return all((yield from sharding.done(parts)))


def _stored(sharding: Sharding, shard: int, request: Request[Any]) -> Parts[Any]:
    """Carry out a step that stores a value, once its shard knows all that the value hangs on."""
    n_asked = 0
    while True:
        (done,) = yield from sharding.ask([Part(shard, Asked(request, n_asked, is_last=n_asked == _N_ASKED))])
        answer = done.answer
        if not isinstance(answer, Unattached):
            yield from sharding.carry(done.posted, Spread())
            yield from sharding.pass_on_paces(done.paces)
            return answer
        yield from sharding.attach(shard, answer.keys, answer.epoch, answer.places)
        n_asked += 1


def _commit(sharding: Sharding, request: Commit) -> Parts[Any]:
    return (yield from _stored(sharding, sharding.shard_of(request.lease.key), request))


def _put(sharding: Sharding, request: Put) -> Parts[bool]:
    shard = sharding.shard_of(request.key)
    answer: bool = yield from _stored(sharding, shard, fenced(sharding, shard, request))
    yield from sharding.settle([shard], Spread())
    return answer


def fenced(sharding: Sharding, shard: int, put: Put) -> Put:
    """The put with its fence as the shard reads it."""
    return put if put.fence is None else replace(put, fence=sharding.place_in(put.fence, shard))


def elsewhere_below(sharding: Sharding, shard: int, groups: Sequence[Group]) -> list[Key]:
    """The entries on other shards that these groups name."""
    keys = [Key(str(key)) for group in groups if group.shape == CALL_SHAPE for (key,) in group.values]
    return [key for key in dict.fromkeys(keys) if sharding.shard_of(key) != shard]


def _enqueue(sharding: Sharding, request: Enqueue) -> Parts[int]:
    by_shard = sharding.by_shard(request.recipes)
    parts = [
        Part(shard, Enqueue({key: request.recipes[key] for key in keys}, request.terms))
        for shard, keys in by_shard.items()
    ]
    return sum((yield from sharding.done(parts)))


def _of_keys(sharding: Sharding, request: Retry | Delete) -> Parts[int]:
    parts = [Part(shard, replace(request, keys=tuple(keys))) for shard, keys in sharding.by_shard(request.keys).items()]
    n_done: int = sum((yield from sharding.done(parts)))
    if isinstance(request, Delete):
        yield from sharding.settle([part.shard for part in parts], Spread())
    return n_done


def _note(sharding: Sharding, request: Note) -> Parts[None]:
    def some(times: Mapping[Key, float], keys: Sequence[Key]) -> dict[Key, float]:
        return {key: times[key] for key in keys if key in times}

    by_shard = sharding.by_shard({**request.reads, **request.watched})
    yield from sharding.done(
        [Part(shard, Note(some(request.reads, keys), some(request.watched, keys))) for shard, keys in by_shard.items()]
    )


def _register(sharding: Sharding, request: Register) -> Parts[None]:
    yield from sharding.done(sharding.everywhere(request))


def _candidates(sharding: Sharding, request: Candidates) -> Parts[tuple[Candidate, ...]]:
    answers = yield from sharding.done(sharding.everywhere(request))
    return tuple(candidate for answer in answers for candidate in answer)


def _read_feed(sharding: Sharding, request: ReadFeed) -> Parts[FeedBatch]:
    """Whoever follows is told of each step, and reads then: so this changes nothing, not even if a shard is lost."""
    after = request.after
    if after is None:
        dones = yield sharding.everywhere(request)
        return FeedBatch((), sharding.position([done.answer.position for done in dones]))
    if len(after.parts()) != sharding.n_shards:
        batch = yield from _read_feed(sharding, ReadFeed(None))
        return FeedBatch((), batch.position, is_reset=True)
    parts = [Part(shard, replace(request, after=type(after)(*part))) for shard, part in enumerate(after.parts())]
    dones = yield parts
    batches: list[FeedBatch] = [done.answer for done in dones]
    if any(batch.is_reset for batch in batches):
        return FeedBatch((), sharding.position([batch.position for batch in batches]), is_reset=True)
    return _merged(sharding, batches, after.parts(), request.n_max)


def _merged(
    sharding: Sharding, batches: Sequence[FeedBatch], after: Sequence[tuple[str, int]], n_max: int
) -> FeedBatch:
    n_left = n_max
    n_waiting = sum(bool(batch.records) for batch in batches)
    records: list[Any] = []
    positions: list[Any] = []
    for batch, (epoch, sequence) in zip(batches, after, strict=True):
        # Each of those that have something gets its share, and what those before it left.
        share = -(-n_left // n_waiting) if n_waiting else 0
        taken = batch.records[:share]
        n_waiting -= bool(batch.records)
        n_left -= len(taken)
        records += taken
        if len(taken) == len(batch.records):
            positions.append(batch.position)
        else:
            positions.append(type(batch.position)(epoch, taken[-1].sequence if taken else sequence))
    return FeedBatch(tuple(records), sharding.position(positions))


def _behind(sharding: Sharding, request: Behind) -> Parts[float]:
    parts: list[Part] = []
    for shard in range(sharding.n_shards):
        place = sharding.place_in(request.position, shard)
        parts.append(Part(shard, Behind(type(place)(place.epoch, place.sequence))))
    answers: list[float] = yield from sharding.done(parts)
    return max(answers)


def _list_entries(sharding: Sharding, request: ListEntries) -> Parts[tuple[Listed, ...]]:
    answers = yield from sharding.done(sharding.everywhere(request))
    listed = (one for answer in answers for one in answer)
    return tuple(nsmallest(request.n_max, listed, key=lambda one: one.key))


def _count(sharding: Sharding, request: Count) -> Parts[Counted]:
    answers: list[Counted] = yield from sharding.done(sharding.everywhere(request))
    by_state: dict[State, int] = {}
    for counted in answers:
        for state, n in counted.n_by_state.items():
            by_state[state] = by_state.get(state, 0) + n
    return Counted(
        sum(counted.n_known for counted in answers),
        sum(counted.n_built for counted in answers),
        by_state,
        sum(counted.n_bytes for counted in answers),
    )


def _explain(sharding: Sharding, request: Explain) -> Parts[Explained | None]:
    shard = sharding.shard_of(request.key)
    explained: Explained | None = yield from sharding.one(shard, request)
    if explained is not None:
        elsewhere = [key for key in explained.unsettled if sharding.shard_of(key) != shard]
        if elsewhere:
            # They may be settled, or gone, and the shard has not heard of it.
            yield from sharding.learn(shard, elsewhere)
            explained = yield from sharding.one(shard, request)
    if explained is None:
        return None
    answers = yield from sharding.done(sharding.everywhere(Outer(request.key)))
    return msgspec.structs.replace(explained, outer=tuple(sorted({key for answer in answers for key in answer})))


def _distrust(sharding: Sharding, request: Distrust) -> Parts[int]:
    begun = yield from sharding.done(sharding.everywhere(DistrustBegin(request.reason)))
    rank_of: dict[Key, tuple[float, float]] = {}
    waiting = {shard: DistrustScan(0) for shard in range(sharding.n_shards)}
    while waiting:
        answers = yield from sharding.done([Part(shard, scan) for shard, scan in waiting.items()])
        for shard, sifted in zip(list(waiting), answers, strict=True):
            rank_of.update((key, (first, second)) for key, first, second in sifted.ranked)
            if sifted.is_end:
                del waiting[shard]
            else:
                waiting[shard] = DistrustScan(sifted.last_id)
    place_of = {key: place for place, key in enumerate(sorted(rank_of, key=lambda key: (*rank_of[key], key)))}
    parts: list[Part] = []
    for shard, keys in sharding.by_shard(place_of).items():
        left = iter(keys)
        while some := tuple(islice(left, N_DISTRUSTED)):
            places = tuple(place_of[key] for key in some)
            parts.append(Part(shard, DistrustRows(some, 0, request.per_s, request.reason, places)))
    n_dirty: int = sum((yield from sharding.done(parts)))
    yield from sharding.done(
        [Part(shard, DistrustEnd(position.epoch)) for shard, position in enumerate(begun) if position is not None]
    )
    return n_dirty


def _of_first(sharding: Sharding, request: Request[Any]) -> Parts[Any]:
    return (yield from sharding.one(FIRST, request))


ROUTES: dict[type[Request[Any]], Route] = {
    Load: load,
    LoadMany: _load_many,
    Begin: _of_key,
    Commit: _commit,
    Fail: _of_lease,
    GiveUp: _of_lease,
    Extend: _extend,
    Enqueue: _enqueue,
    Retry: _of_keys,
    Note: _note,
    Distrust: _distrust,
    Candidates: _candidates,
    Register: _register,
    Put: _put,
    Delete: _of_keys,
    ReadFeed: _read_feed,
    Behind: _behind,
    ListEntries: _list_entries,
    Count: _count,
    Explain: _explain,
    Tell: _of_first,
    **dict.fromkeys(sourcing.CHUNKED, _of_first),
}
"""Who carries out which request; events and the queue have files of their own."""
