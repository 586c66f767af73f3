"""How events travel, and what they touch: requests as the scripts read them, and replies as answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, assert_never

import msgspec

from everfresh.matching.index import Generation
from everfresh.matching.probes import Image, Probe
from everfresh.matching.shapes import Bucket, Shape
from everfresh.model.entry import Key, Recipe
from everfresh.model.position import Position
from everfresh.protocol.applying import Applied, Apply, Candidate, Candidates, Mention, ShapesMoved
from everfresh.protocol.requests import Request
from everfresh.protocol.sourcing import Offset
from everfresh.stores.redis.applying import ApplyFirst, Begun, Item, Left, Touch
from everfresh.stores.redis.pacing import Pace, Place, Placed
from everfresh.stores.redis.wire_answers import nothing
from everfresh.stores.redis.wire_groups import as_text
from everfresh.stores.redis.wire_replies import Decoded, Reply, Told, decoded
from everfresh.stores.redis.wire_requests import Fields, standing

_encode = msgspec.msgpack.Encoder().encode

# ------------------------------------------------------------------------------------------------------ requests


class PackedProbe(msgspec.Struct, frozen=True):
    """A probe, by the names of its fields."""

    stem: msgspec.Raw
    event: int
    operators: tuple[str, ...]
    before: Image | None
    after: Image | None
    is_any: bool
    steady: tuple[bool, ...]


def _apply(request: Apply) -> Fields:
    """See `Apply`."""
    return {**_same_for_all(request), **_of_shard(request)}


def _same_for_all(request: Apply) -> Fields:
    touched = request.touched
    return {
        "buckets": [(as_text(bucket), event) for bucket, event in touched.buckets.items()],
        "shapes": [(as_text(shape), event) for shape, event in touched.shapes.items()],
        "probes": [_probe(probe) for probe in touched.probes],
        "predicates": [(as_text(bucket), events) for bucket, events in touched.predicates.items()],
        "spared": [(as_text(bucket), list(keys)) for bucket, keys in request.spared.items()],
        "mentions": [_mention(mention, request) for mention in request.mentions],
        "cause": request.cause,
        "is_dry": request.is_dry,
    }


def _of_shard(request: Apply) -> Fields:
    epoch, n_shapes = request.generation
    puts = [{"key": put.key, **standing(put)} for put in request.puts]
    return {"epoch": epoch, "n_shapes": n_shapes, "puts": puts, **_for_sources(request)}


def _for_sources(request: Apply) -> Fields:
    """What most events do without."""
    fields: Fields = {}
    if request.offsets:
        fields["offsets"] = packed_offsets(request.offsets)
    if request.per_s is not None:
        fields["per_s"] = request.per_s
    return fields


def packed_offsets(offsets: Sequence[Offset]) -> list[tuple[str, str]]:
    """Each source with its text; of two of one source the last stands."""
    return list({offset.source: offset.text for offset in offsets}.items())


def _apply_first(request: ApplyFirst) -> Fields:
    """See `ApplyFirst`."""
    once = request.once
    if once is None:
        return _apply(request.apply)
    if not once.fields:
        same = _same_for_all(request.apply)
        once.fields = {name: msgspec.Raw(_encode(value)) for name, value in same.items()}
    return {**once.fields, **_of_shard(request.apply)}


def _touch(request: Touch) -> Fields:
    """See `Touch`; of all that the events mention, what these are touched for."""
    number_of = {event: number for number, event in enumerate(sorted({item.event for item in request.items}))}
    return {
        "items": [_item(item, number_of[item.event]) for item in request.items],
        "epoch": request.at.epoch,
        "sequence": request.at.sequence,
        "mentions": [_mention(request.apply.mentions[event], request.apply) for event in number_of],
        "cause": request.apply.cause,
        **_for_sources(request.apply if request.is_last else msgspec.structs.replace(request.apply, offsets=())),
        **({} if request.apply.per_s is None else {"n_before": request.n_before}),
    }


def _item(item: Item, number: int) -> tuple[str, object, int, str | None]:
    what = item.what
    packed = _probe(what) if isinstance(what, Probe) else as_text(what) if isinstance(what, bytes) else what
    return item.kind, packed, number, item.cursor


def _pace(request: Pace) -> Fields:
    """See `Pace`."""
    return {"places": request.moved}


def _candidates(request: Candidates) -> Fields:
    """See `Candidates`."""
    return {"buckets": [as_text(bucket) for bucket in request.buckets]}


def _probe(probe: Probe) -> PackedProbe:
    return PackedProbe(
        as_text(probe.stem),
        probe.event,
        probe.operators,
        probe.before,
        probe.after,
        probe.is_any,
        probe.steady,
    )


def _mention(mention: Mention, request: Apply) -> tuple[str, msgspec.Raw | None]:
    """The event in words, and encoded: which entries keep it, only the script will see."""
    event, encode = mention.event, request.encode
    data = None if event is None or encode is None or request.is_dry else encode(event)
    return mention.text, None if data is None else as_text(data)


# ------------------------------------------------------------------------------------------------------- answers


class _Applied(msgspec.Struct, array_like=True, tag="applied"):
    epoch: str
    sequence: int
    touched: tuple[Key, ...]
    suspect: tuple[Key, ...]
    outrun: frozenset[int]
    left: tuple[int, str | None, tuple[int, int] | None, tuple[Key, ...]] | None
    began: float | None = None
    places: tuple[Place, ...] = ()


class _Moved(msgspec.Struct, array_like=True, tag="moved"):
    epoch: str
    n_shapes: int
    shapes: tuple[int, ...]


_decode_apply = msgspec.msgpack.Decoder(Told[_Applied | _Moved]).decode
_decode_candidates = msgspec.msgpack.Decoder(Told[list[tuple[int, Key, str, int]]]).decode
_decode_shape = msgspec.msgpack.Decoder(Shape).decode


@lru_cache(maxsize=4096)
def shape_of(blob: bytes) -> Shape:
    """The shape; a store has few, and tells of them often."""
    return _decode_shape(blob)


def _applied(_: Apply, reply: Reply) -> Decoded[Applied | ShapesMoved]:
    """Of `Apply`, which leaves nothing."""
    told, begun = _begun(reply)
    return decoded(told, begun.applied)


def _begun_with(_: ApplyFirst | Touch, reply: Reply) -> Decoded[Begun]:
    """Of `ApplyFirst` and `Touch`."""
    return decoded(*_begun(reply))


def _begun(reply: Reply) -> tuple[Told[_Applied | _Moved], Begun]:
    told = _decode_apply(reply[0])
    match told.answer:
        case _Applied(epoch, sequence, touched, suspect, outrun, left) as done:
            placed = None if done.began is None else Placed(done.began, done.places)
            applied = Applied(Position(epoch, sequence), touched, suspect, outrun)
            return told, Begun(applied, None if left is None else _left(*left, reply), placed)
        case _Moved(epoch, n_shapes, shapes):
            known = tuple(shape_of(reply[blob]) for blob in shapes)
            return told, Begun(ShapesMoved(Generation(epoch, n_shapes), known))
        case _:
            assert_never(told.answer)


def _left(n_done: int, cursor: str | None, found: tuple[int, int] | None, keys: tuple[Key, ...], reply: Reply) -> Left:
    """What a step left; the names of buckets come one behind the other, all of one length."""
    if found is None:
        return Left(n_done, cursor, (), keys)
    blob, width = reply[found[0]], found[1]
    buckets = tuple(Bucket(blob[start : start + width]) for start in range(0, len(blob), width))
    return Left(n_done, cursor, buckets, keys)


def _found(_: Candidates, reply: Reply) -> Decoded[tuple[Candidate, ...]]:
    """Of `Candidates`."""
    told = _decode_candidates(reply[0])
    found = tuple(
        Candidate(Bucket(reply[bucket]), key, Recipe(function, reply[arguments]))
        for bucket, key, function, arguments in told.answer
    )
    return decoded(told, found)


# The values cannot be typed more narrowly in one table: each takes its own request. The last says whether it changes
# anything.
WIRES: dict[type[Request[Any]], tuple[str, Callable[[Any], Fields], Callable[[Any, Reply], Decoded[Any]], bool]] = {
    Candidates: ("candidates", _candidates, _found, False),
    # Dry alone: all others come as `ApplyFirst`.
    Apply: ("apply", _apply, _applied, True),
    ApplyFirst: ("apply", _apply_first, _begun_with, True),
    Touch: ("touch", _touch, _begun_with, True),
    Pace: ("pace", _pace, nothing, True),
}
