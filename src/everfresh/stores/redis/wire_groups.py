"""Shapes, groups and bytes as the scripts read them.

Lua reads no binary strings of msgpack, so bytes are sent as if they were text, which to Lua is the same. Nor has it the
hash of buckets, so they are sent with each group.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

import msgspec

from everfresh.matching.shapes import (
    CALL_SHAPE,
    SHAPE_ID_BYTES,
    Group,
    Shape,
    ShapeKind,
    Values,
    bucket_in,
    bucket_of,
    filtered_bucket,
    shapes_to_register,
)

_encode = msgspec.msgpack.Encoder().encode
_NIL, _TRUE, _ARRAY_OF_SIX = b"\xc0", b"\xc3", b"\x96"
# As many marks as Lua takes as arguments of one function without a second thought.
_MAX_MARKS = 200
# Of the first two bytes behind a bucket's shape, those that do not say in which part it stands.
_N_REST_BITS = 2
# The first byte of texts below 32 bytes says how long they are.
_SHORT = tuple(bytes((0xA0 | n_bytes,)) for n_bytes in range(32))


def as_text(data: bytes) -> msgspec.Raw:
    """The bytes as msgpack writes a text, whether they are one or not."""
    return msgspec.Raw(_text(data))


def _text(data: bytes) -> bytes:
    n_bytes = len(data)
    if n_bytes < len(_SHORT):
        return _SHORT[n_bytes] + data
    for code, width in ((b"\xd9", 1), (b"\xda", 2)):
        if n_bytes < 1 << (8 * width):
            return code + n_bytes.to_bytes(width, "big") + data
    return b"\xdb" + n_bytes.to_bytes(4, "big") + data


class PackedShape(msgspec.Struct, frozen=True, omit_defaults=True):
    """A shape: its id, itself encoded, and whether it is a function's own judge."""

    s: msgspec.Raw
    blob: msgspec.Raw
    p: bool = False


class PackedGroup(msgspec.Struct, frozen=True, omit_defaults=True):
    """A group: the id of its shape, its buckets, its values encoded, its shape encoded.

    Of a filtered shape also the stems and the operands of the buckets; of calls the keys. `p` says that the shape is a
    function's own judge, `r` that it is to be registered.
    """

    s: msgspec.Raw
    b: list[msgspec.Raw]
    v: msgspec.Raw
    blob: msgspec.Raw
    t: list[msgspec.Raw] = []
    o: list[Values] = []
    k: list[str] = []
    p: bool = False
    r: bool = False


@lru_cache(maxsize=4096)
def packed_shape(shape: Shape) -> PackedShape:
    """The shape as it is sent."""
    return PackedShape(as_text(shape.id), as_text(_encode(shape)), shape.kind is ShapeKind.PREDICATE)


@lru_cache(maxsize=4096)
def _is_registered(shape: Shape) -> bool:
    return any(shapes_to_register((shape,)))


def packed_group(group: Group) -> PackedGroup:
    """The group as it is sent."""
    shape, values = group.shape, group.values
    packed, shape_id = packed_shape(shape), shape.id
    packed_values = as_text(_encode(values))
    is_registered = _is_registered(shape)
    if n_filters := len(shape.filters):
        operands = [one[-n_filters:] for one in values]
        stems = [bucket_of(shape_id, one[:-n_filters]) for one in values]
        buckets = [as_text(filtered_bucket(*pair)) for pair in zip(stems, operands, strict=True)]
        of_stems = [as_text(stem) for stem in stems]
        return PackedGroup(
            packed.s, buckets, packed_values, packed.blob, of_stems, operands, p=packed.p, r=is_registered
        )
    buckets = [as_text(bucket_of(shape_id, one)) for one in values]
    keys = [key for (key,) in values] if shape == CALL_SHAPE else []
    return PackedGroup(packed.s, buckets, packed_values, packed.blob, k=keys, p=packed.p, r=is_registered)


def packed_groups(groups: Iterable[Group]) -> list[PackedGroup]:
    """The groups as they are sent."""
    return [packed_group(group) for group in groups]


def packed_shapes(shapes: Iterable[Shape]) -> list[PackedShape]:
    """Those of the shapes that are to be registered, as they are sent."""
    return [packed_shape(shape) for shape in shapes_to_register(shapes)]


def shapes_and_ids(shapes: Iterable[Shape]) -> tuple[msgspec.Raw, msgspec.Raw]:
    """Those of the shapes that are to be registered: their ids, one behind the other, and themselves, as one text each.

    So a step that knows them all need not look into them.
    """
    return _shapes_and_ids(tuple(shapes))


@lru_cache(maxsize=4096)
def _shapes_and_ids(shapes: tuple[Shape, ...]) -> tuple[msgspec.Raw, msgspec.Raw]:
    ids = b"".join(shape.id for shape in shapes if _is_registered(shape))
    return as_text(ids), as_text(_encode(packed_shapes(shapes)))


class Links(NamedTuple):
    """What a commit says of its dependencies, so that its script need look into them only when they have changed.

    `groups` are as a row has them, None when there are none; `shapes` have, for each, its shape, and whether it is to
    be registered; `ids` are those of the registered ones, one behind the other. `marks` are all by which it is known
    whether one of them fired, one packed text after the other; None when others have to be looked at. `places` say in
    the same way where in the index the entry is to stand: of each bucket its shape, the end of the part's name, the
    rest of the bucket, and the part's number in digits. They are None where the step has to look into the shapes.
    """

    groups: bytes | None
    shapes: bytes
    ids: bytes
    marks: bytes | None
    places: bytes | None


def links_of(groups: Sequence[Group]) -> Links:
    """The dependencies of a commit as they are sent."""
    shapes, ids, is_plain = _shapes_of(tuple([group.shape for group in groups]))
    packed: list[msgspec.Raw] = []
    marks: list[bytes] = []
    buckets: list[bytes] = []
    for group in groups:
        its_buckets = [bucket_in(group.shape, one) for one in group.values]
        marks.append(group.shape.id)
        marks += its_buckets
        buckets += its_buckets
        packed.append(msgspec.Raw(_kept(group, b"".join([bucket[SHAPE_ID_BYTES:] for bucket in its_buckets]))))
    texts = places = None
    if is_plain and len(marks) <= _MAX_MARKS:
        texts = b"".join(map(_text, marks))
        if len(ids) == SHAPE_ID_BYTES * len(groups):
            places = b"".join(map(_place_of, buckets))
    return Links(_encode(packed) if packed else None, shapes, ids, texts, places)


def _place_of(bucket: bytes) -> bytes:
    """Where in the index it stands, as `_place` of tables_index.lua has it."""
    part = int.from_bytes(bucket[SHAPE_ID_BYTES : SHAPE_ID_BYTES + 2], "big") >> _N_REST_BITS
    of_part = _SHORT[2] + part.to_bytes(2, "big")
    return _text(bucket[:SHAPE_ID_BYTES]) + of_part + _text(bucket[SHAPE_ID_BYTES + 1 :]) + _text(b"%d" % part)


def _kept(group: Group, tails: bytes) -> bytes:
    """The group as a row has it: its shape's id, the rest of its buckets, its operands, values, kind and keys."""
    shape, values = group.shape, group.values
    n_filters = len(shape.filters)
    return b"".join(
        (
            _ARRAY_OF_SIX,
            _text(shape.id),
            _text(tails),
            _encode([one[-n_filters:] for one in values]) if n_filters else _NIL,
            _text(_encode(values)),
            _TRUE if shape.kind is ShapeKind.PREDICATE else _NIL,
            _encode([key for (key,) in values]) if shape == CALL_SHAPE else _NIL,
        )
    )


@lru_cache(maxsize=4096)
def _shapes_of(shapes: tuple[Shape, ...]) -> tuple[bytes, bytes, bool]:
    """See `Links`."""
    blobs = [(packed_shape(shape).blob, _is_registered(shape)) for shape in shapes]
    ids = b"".join(shape.id for shape in shapes if _is_registered(shape))
    is_plain = not any(shape.filters or shape.kind is ShapeKind.PREDICATE for shape in shapes)
    return _encode(blobs), ids, is_plain
