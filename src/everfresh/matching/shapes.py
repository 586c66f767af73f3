"""Shapes and buckets: a dependency without its values, and with them.

    Topic("bug.*", where={"bug.product": "Fedora"})     shape (topic, "bug.*", ["bug.product"])  values ["Fedora"]
    Id("article", 7, watch=("title",))                  shape (id, "article", [], ["title"])     values ["7"]

Code declares few shapes; entries supply many values. A bucket is the shape's id and a hash of the values, so all
buckets of one shape stand side by side in an ordered index and the whole shape can be touched as one range. Two
different dependencies that meet in one bucket would cost a needless rebuild, never a missed one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum
from functools import lru_cache
from hashlib import blake2b
from typing import NewType, assert_never

import msgspec

from everfresh.matching.canonical import canonical_text
from everfresh.model import dependency as dep

ShapeId = NewType("ShapeId", bytes)
Bucket = NewType("Bucket", bytes)
Values = tuple[str, ...]

SHAPE_ID_BYTES = 8
_VALUES_HASH_BYTES = 8


class ShapeKind(str, Enum):  # noqa: UP042 - StrEnum changes format(); the plain text is wanted everywhere
    """Which kind of dependency a shape is of."""

    TOPIC = "topic"
    ID = "id"
    TAG = "tag"
    CALL = "call"


class Shape(msgspec.Struct, frozen=True):
    """What remains of a dependency without its values. `pattern` is a topic pattern, or the type of an object."""

    kind: ShapeKind
    pattern: str = ""
    fields: tuple[str, ...] = ()
    watch: tuple[str, ...] = ()

    @property
    def id(self) -> ShapeId:
        """A hash that is equal in every process."""
        return _shape_id(self)


class Group(msgspec.Struct, frozen=True):
    """Dependencies of one shape, held as their value texts."""

    shape: Shape
    values: tuple[Values, ...]

    def buckets(self) -> list[Bucket]:
        """One bucket for each of the values."""
        shape_id = self.shape.id
        return [bucket_of(shape_id, values) for values in self.values]


TAG_SHAPE = Shape(ShapeKind.TAG)
CALL_SHAPE = Shape(ShapeKind.CALL)


@lru_cache(maxsize=4096)
def _shape_id(shape: Shape) -> ShapeId:
    return ShapeId(blake2b(msgspec.msgpack.encode(shape), digest_size=SHAPE_ID_BYTES).digest())


def bucket_of(shape_id: ShapeId, values: Values) -> Bucket:
    """The bucket of a shape with these values; delimiters inside values never alias."""
    joined = values[0] if len(values) == 1 else "".join(f"{len(value)}:{value}" for value in values)
    return Bucket(shape_id + blake2b(joined.encode("utf-8", "surrogatepass"), digest_size=_VALUES_HASH_BYTES).digest())


def call_bucket(key: str) -> Bucket:
    """The bucket of those built from the entry `key`."""
    return bucket_of(CALL_SHAPE.id, (key,))


def shape_and_values(dependency: dep.Dependency) -> tuple[Shape, Values]:
    """The dependency taken apart.

    Raises:
        InvalidDependency: a value has no canonical text.
    """
    match dependency:
        case dep.Topic(pattern=pattern, where=where):
            fields = tuple(sorted(where))
            return Shape(ShapeKind.TOPIC, pattern, fields), tuple(canonical_text(where[field]) for field in fields)
        case dep.Id(type=type_, id=id_, watch=watch):
            return Shape(ShapeKind.ID, type_, (), tuple(sorted(watch))), (canonical_text(id_),)
        case dep.Tag(name=name):
            return TAG_SHAPE, (canonical_text(name),)
        case dep.Call(key=key):
            return CALL_SHAPE, (key,)
        case _:
            assert_never(dependency)


def grouped(parts: Iterable[tuple[Shape, Values]]) -> tuple[Group, ...]:
    """The parts by shape, each value once, in an order that does not depend on how they came."""
    values_of: dict[Shape, set[Values]] = {}
    for shape, values in parts:
        values_of.setdefault(shape, set()).add(values)
    shapes = sorted(values_of, key=lambda shape: shape.id)
    return tuple(Group(shape, tuple(sorted(values_of[shape]))) for shape in shapes)


def buckets_of(groups: Sequence[Group]) -> set[Bucket]:
    """Every bucket in which an entry with these dependencies stands."""
    return {bucket for group in groups for bucket in group.buckets()}
