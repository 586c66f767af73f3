"""Events over shards: each is applied by all of them, and all that this has to tell is carried before it counts.

The shards learn shapes each for itself. The rules know one list of them, which the store keeps: all shapes that any
shard knows. Of each shard it remembers how many of its shapes are in that list.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Sequence
from typing import Any

import msgspec

from everfresh.matching.index import Generation
from everfresh.matching.shapes import Shape
from everfresh.matching.triage import Touched
from everfresh.model.entry import Key
from everfresh.model.position import Position
from everfresh.protocol.applying import Applied, Apply, ShapesMoved
from everfresh.protocol.requests import Put
from everfresh.stores.redis.applying import ApplyToShard, Begun, Once
from everfresh.stores.redis.pacing import paces
from everfresh.stores.redis.sharding import Part, Parts, Sharding, Spread
from everfresh.stores.redis.sharding_routes import FIRST, elsewhere_below, fenced
from everfresh.stores.redis.sourcing import KeepOffsets


class KnownShapes:
    """The shapes of all shards; safe from every thread."""

    def __init__(self, n_shards: int) -> None:
        self._lock = threading.Lock()
        self._epoch = secrets.token_hex(8)
        self._shapes: dict[Shape, None] = {}
        self._known = [Generation("", 0)] * n_shards

    def missing(self, generation: Generation) -> ShapesMoved | None:
        """What the asker does not know; None when that is nothing."""
        with self._lock:
            shapes = tuple(self._shapes)
        if generation.epoch != self._epoch:
            return ShapesMoved(Generation(self._epoch, 0), shapes)
        if generation.n_shapes < len(shapes):
            return ShapesMoved(generation, shapes[generation.n_shapes :])
        return None

    def of_shard(self, shard: int) -> Generation:
        """How much is known of the shard's list."""
        return self._known[shard]

    def learn(self, shard: int, moved: ShapesMoved) -> None:
        """The shard knows these as well."""
        epoch, n_shapes = moved.after
        with self._lock:
            known = self._known[shard]
            if n_shapes and (known.epoch != epoch or known.n_shapes < n_shapes):
                # Those between are not known; whoever asks next is given them.
                return
            self._shapes.update(dict.fromkeys(moved.shapes))
            n_known = n_shapes + len(moved.shapes)
            if known.epoch != epoch or known.n_shapes < n_known:
                self._known[shard] = Generation(epoch, n_known)


def apply(sharding: Sharding, shapes: KnownShapes, request: Apply) -> Parts[Applied | ShapesMoved]:
    """Carry out `Apply`."""
    if shapes.missing(request.generation) is not None:
        yield from _look(sharding, shapes)
        moved = shapes.missing(request.generation)
        if moved is not None:
            return moved
    numbers = _numbers_of(sharding, request.puts)
    yield from _prepare(sharding, request, numbers)
    # Until all of them are in order, each shard counts by its part of the rate.
    spread = Spread(per_s=None if request.per_s is None else request.per_s / sharding.n_shards)
    applied: dict[int, Applied] = {}
    once = Once()
    while len(applied) < sharding.n_shards:
        waiting = [shard for shard in range(sharding.n_shards) if shard not in applied]
        parts = [_part(sharding, shapes, shard, (request, once), numbers.get(shard, ())) for shard in waiting]
        answers: list[Any] = yield from sharding.done(parts, spread)
        for part, answer in zip(parts, answers, strict=True):
            begun = answer if isinstance(answer, Begun) else Begun(answer)
            if isinstance(begun.applied, ShapesMoved):
                shapes.learn(part.shard, begun.applied)
            else:
                applied[part.shard] = begun.applied
                spread.place(part.shard, begun.placed)
        moved = shapes.missing(request.generation)
        if moved is not None:
            # Some were touched already, and will be once more, which does no harm.
            return moved
    if not request.is_dry:
        # What the event touches may be touched already, by somebody who has not told all shards yet.
        yield from sharding.settle(range(sharding.n_shards), spread)
        yield from _finish(sharding, request, spread)
    return _joined(sharding, [applied[shard] for shard in range(sharding.n_shards)], numbers, spread)


def _finish(sharding: Sharding, request: Apply, spread: Spread) -> Parts[None]:
    """Have what is touched at a pace fall due in the order of all shards; then sources have come so far."""
    if request.per_s is not None:
        moved = paces(spread.placed(), request.per_s)
        yield from sharding.done([Part(shard, pace) for shard, some in moved.items() for pace in some])
    if request.offsets:
        yield from sharding.one(FIRST, KeepOffsets(request.offsets))


def _prepare(sharding: Sharding, request: Apply, numbers: dict[int, list[int]]) -> Parts[None]:
    """Have the shards of puts to come know what these hang on, before anything is changed."""
    if request.is_dry:
        return
    for shard, some in numbers.items():
        groups = [group for number in some for group in request.puts[number].groups]
        elsewhere = elsewhere_below(sharding, shard, groups)
        if elsewhere:
            yield from sharding.learn(shard, elsewhere)


def _look(sharding: Sharding, shapes: KnownShapes) -> Parts[None]:
    """Take up all shapes that there are: whoever learns of some is to learn of all at once."""
    nothing = Apply(Touched(), Generation("", 0), (), is_dry=True)
    parts = [
        Part(shard, msgspec.structs.replace(nothing, generation=shapes.of_shard(shard)))
        for shard in range(sharding.n_shards)
    ]
    answers = yield from sharding.done(parts)
    for part, answer in zip(parts, answers, strict=True):
        if isinstance(answer, ShapesMoved):
            shapes.learn(part.shard, answer)


def _numbers_of(sharding: Sharding, puts: Sequence[Put]) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for number, put in enumerate(puts):
        found.setdefault(sharding.shard_of(put.key), []).append(number)
    return found


def _part(
    sharding: Sharding, shapes: KnownShapes, shard: int, asked: tuple[Apply, Once], numbers: Sequence[int]
) -> Part:
    request, once = asked
    puts = tuple(fenced(sharding, shard, request.puts[number]) for number in numbers)
    per_s = None if request.per_s is None else request.per_s / sharding.n_shards
    own = msgspec.structs.replace(request, generation=shapes.of_shard(shard), puts=puts, offsets=(), per_s=per_s)
    return Part(shard, own if request.is_dry else ApplyToShard(own, once))


def _place_of(sharding: Sharding, shard: int, applied: Applied, spread: Spread) -> tuple[str, int]:
    """Who has followed so far has seen every mark that the events left there."""
    place = (applied.position.epoch, applied.position.sequence)
    return later(place, spread.places.get(shard, place), sharding.epochs[shard])


def later(place: tuple[str, int], other: tuple[str, int], epoch: str) -> tuple[str, int]:
    """Which of two places of a shard is later, when that is in the epoch now: epochs themselves have no order."""
    if place[0] == other[0]:
        return max(place, other)
    return other if other[0] == epoch else place


def _joined(sharding: Sharding, applied: Sequence[Applied], numbers: dict[int, list[int]], spread: Spread) -> Applied:
    touched = dict.fromkeys(key for answer in applied for key in answer.touched) | spread.touched
    suspect: dict[Key, None] = {key: None for answer in applied for key in answer.suspect} | spread.suspect
    outrun = {
        numbers[shard][number] for shard, answer in enumerate(applied) for number in answer.outrun if shard in numbers
    }
    position = Position.of([_place_of(sharding, shard, answer, spread) for shard, answer in enumerate(applied)])
    found: Any = (key for key in suspect if key not in touched)
    return Applied(position, tuple(touched), tuple(found), frozenset(outrun))
