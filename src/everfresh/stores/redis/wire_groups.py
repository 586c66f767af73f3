"""Shapes, groups and bytes as the scripts read them.

Lua reads no binary strings of msgpack, so bytes are sent as if they were text, which to Lua is the same. Nor has it the
hash of buckets, so they are sent with each group.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import msgspec

from everfresh.matching.shapes import (
    CALL_SHAPE,
    Group,
    Shape,
    ShapeKind,
    Values,
    bucket_of,
    filtered_bucket,
    shapes_to_register,
)

_encode = msgspec.msgpack.Encoder().encode
# The first byte of texts below 32 bytes says how long they are.
_SHORT = tuple(bytes((0xA0 | n_bytes,)) for n_bytes in range(32))


def as_text(data: bytes) -> msgspec.Raw:
    """The bytes as msgpack writes a text, whether they are one or not."""
    n_bytes = len(data)
    if n_bytes < len(_SHORT):
        return msgspec.Raw(_SHORT[n_bytes] + data)
    for code, width in ((b"\xd9", 1), (b"\xda", 2)):
        if n_bytes < 1 << (8 * width):
            return msgspec.Raw(code + n_bytes.to_bytes(width, "big") + data)
    return msgspec.Raw(b"\xdb" + n_bytes.to_bytes(4, "big") + data)


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
